"""What a round costs as a run grows: `uv run python tests/bench/growth.py [--rounds 1000] [--window 12]`.

There is no network: a service of this process answers at once. The journal is on. Prints the processor seconds of
each hundred rounds, and the last hundred as a multiple of the first.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from cases import AGENTS, INSTRUCTIONS

from magentic_kit import TeamFactory
from magentic_kit.testing import ScriptedChatCompletion, ledger

WORDS = "the quick brown fox jumps over the lazy dog " * 13


def script(rounds: int) -> dict[str, Any]:
    """What the service answers: facts and plan, then a ledger and a turn for each round, and the answer."""
    ledgers = [ledger(next=AGENTS[number % len(AGENTS)], instruction=f"Do step {number}.") for number in range(rounds)]
    manager = {"facts": ["facts"], "plan": ["plan"], "answer": ["answer"]}
    turns = [f"I did a step: {WORDS}"] * rounds
    return {"manager": {**manager, "ledger": [*ledgers, ledger(satisfied=True)]}, **dict.fromkeys(AGENTS, turns)}


async def measure(rounds: int, window: int | None) -> list[float]:
    """Processor seconds after each hundred rounds."""
    shown: dict[str, Any] = {"context": {"messages": window}} if window else {}
    agents = [{"name": name, "description": f"The {name}.", "instructions": INSTRUCTIONS, **shown} for name in AGENTS]
    team = {"name": "bench", "agents": agents, "manager": {"max_rounds": rounds, **shown}}
    marks = [time.process_time()]

    def watch(event: Any) -> None:
        if event.type == "progress_ledger" and event.round % 100 == 0 and event.round:
            marks.append(time.process_time())

    with tempfile.TemporaryDirectory() as out:
        services = {"default": ScriptedChatCompletion(script(rounds))}
        async with TeamFactory.from_dict(team, services=services) as factory:
            result = await factory.run("Take many steps.", out=out, sinks=[watch])
    assert result.outcome == "satisfied", result.error
    return marks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--window", type=int, help="most messages that anyone is sent; none: all")
    given = parser.parse_args()
    marks = asyncio.run(measure(given.rounds, given.window))
    hundreds = [end - begin for begin, end in pairwise(marks)]
    print("processor seconds of each hundred rounds:", " ".join(f"{took:.2f}" for took in hundreds))
    print(f"the last hundred cost {hundreds[-1] / hundreds[0]:.2f} times the first")


if __name__ == "__main__":
    main()
