"""One side of the comparison in a process of its own: runs a team so many times at once, and prints what it took."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from cases import AGENTS, INSTRUCTIONS, task
from peers import SIDES, Side


def ours(base_url: str, rounds: int, out: str | None, **window: Any) -> Side:
    """The same team by `TeamFactory`, one factory for all runs; `window` is what all of the team have as `context`."""
    from magentic_kit import TeamFactory

    factory = TeamFactory.from_dict(
        {
            "name": "bench",
            "services": {"default": {"provider": "openai", "model": "m", "base_url": base_url}},
            "agents": [
                {"name": name, "description": f"The {name}.", "instructions": INSTRUCTIONS, **window} for name in AGENTS
            ],
            "manager": {"max_rounds": rounds, **window},
        }
    )

    async def run(task: str) -> None:
        result = await factory.run(task, out=out)
        assert result.outcome == "satisfied", result.error

    return run


async def measure(make: Callable[[], Side], rounds: int, at_once: int, pieces: int, base_url: str) -> dict[str, float]:
    """Seconds, processor seconds and memory (bytes a run) of so many runs at once, and characters of one's prompts.

    `first` and `first_cpu` are what the first run of the process took, imports included.
    """
    cpu, began = time.process_time(), time.perf_counter()
    run = make()
    await run(task(f"warm{uuid.uuid4().hex}", min(rounds, 5), pieces))
    first, first_cpu = time.perf_counter() - began, time.process_time() - cpu
    names = [uuid.uuid4().hex for _ in range(at_once)]
    memory, cpu, began = _peak(), time.process_time(), time.perf_counter()
    await asyncio.gather(*(run(task(name, rounds, pieces)) for name in names))
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    sent = json.load(urllib.request.urlopen(base_url))[names[0]]
    memory = (_peak() - memory) / at_once
    return {"first": first, "first_cpu": first_cpu, "seconds": took, "cpu": cpu, "memory": memory, **sent}


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side", choices=("ours", *SIDES))
    parser.add_argument("base_url")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--at-once", type=int, default=1)
    parser.add_argument("--pieces", type=int, default=8, help="events of a streamed reply")
    parser.add_argument("--out", type=Path, help="where run directories go; none: no journal")
    parser.add_argument("--window", type=int, help="most messages that anyone of ours is sent")
    given = parser.parse_args()
    os.environ["OPENAI_API_KEY"] = "sk-bench-0123456789abcdef"
    if given.side != "ours":
        make = partial(SIDES[given.side], given.base_url, given.rounds)
    else:
        window = {"context": {"messages": given.window}} if given.window else {}
        make = partial(ours, given.base_url, given.rounds, given.out and str(given.out), **window)
    print(json.dumps(asyncio.run(measure(make, given.rounds, given.at_once, given.pieces, given.base_url))))


if __name__ == "__main__":
    main()
