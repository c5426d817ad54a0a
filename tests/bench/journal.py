"""What the journal costs and how large it grows: `uv run python tests/bench/journal.py`."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.openai_server import OpenAIServer, ledger, text_of

from magentic_kit import TeamFactory

SIZE = 20_000  # characters of each agent's message


def brain(rounds: int, size: int) -> Any:
    def reply(request: Any) -> str:
        if request.purpose == "ledger":
            done = sum(text_of(message).startswith("Transferred to") for message in request.messages)
            return ledger("Solo", f"step {done}") if done < rounds else ledger(satisfied=True)
        return f"{request.purpose} {len(request.messages)} " + "x" * (size if request.purpose == "turn" else 100)

    return reply


def team(base_url: str, rounds: int) -> dict[str, Any]:
    return {
        "name": "bench",
        "services": {"default": {"provider": "openai", "model": "m", "base_url": base_url}},
        "agents": [{"name": "Solo", "description": "d", "instructions": "i"}],
        "manager": {"max_rounds": rounds},
        "report": {"formats": []},
    }


async def timed(factory: TeamFactory, out: Path | None) -> float:
    began = time.perf_counter()
    result = await factory.run("t", out=out)
    assert result.outcome == "satisfied", result.error
    return time.perf_counter() - began


async def cost(rounds: int, repeats: int = 5) -> None:
    with OpenAIServer(brain(rounds, SIZE)) as server, tempfile.TemporaryDirectory() as folder:
        async with TeamFactory.from_dict(team(server.base_url, rounds)) as factory:
            await timed(factory, None)  # warms up
            off, on = [], []
            for _ in range(repeats):  # in turns, since the machine is noisy
                off.append(await timed(factory, None))
                on.append(await timed(factory, Path(folder)))
    calls = 2 * rounds + 4
    each = (min(on) - min(off)) / calls * 1000
    ratio = min(on) / min(off)
    print(f"journal on against off, {rounds} rounds of {SIZE} characters: {ratio:.2f} times, {each:.2f} ms a call")


async def size(rounds: int) -> None:
    with OpenAIServer(brain(rounds, 1000)) as server, tempfile.TemporaryDirectory() as folder:
        async with TeamFactory.from_dict(team(server.base_url, rounds)) as factory:
            result = await factory.run("t", out=Path(folder))
        assert result.run_dir is not None
        bytes_ = (result.run_dir / "events.jsonl").stat().st_size
        said = sum(len(turn.text) for turn in result.record.turns)
        print(f"log of {rounds:3} rounds: {bytes_ / 1000:8.1f} kB, {bytes_ / rounds:7.0f} bytes a round, said {said}")


async def main() -> None:
    await cost(20)
    for rounds in (5, 50, 200):
        await size(rounds)


if __name__ == "__main__":
    os.environ.setdefault("OPENAI_API_KEY", "sk-bench-0123456789abcdef")
    asyncio.run(main())
