"""Ours against plain Semantic Kernel in one run, as a Markdown table: `uv run python tests/bench/compare.py`."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from model import serving

SIDES = Path(__file__).parent / "sides.py"
IMPORTS = {
    "plain": "from semantic_kernel.agents import MagenticOrchestration, StandardMagenticManager\n"
    "from semantic_kernel.connectors.ai.open_ai import OpenAIChatCompletion",
    "ours": "from magentic_kit import TeamFactory",
}
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
Took = dict[str, float]


def best(times: list[Took]) -> Took:
    """The least of each number: what the machine did beside it can only have added."""
    return {name: min(took[name] for took in times) for name in times[0]}


def child(*arguments: str) -> Took:
    told = subprocess.run([sys.executable, *arguments], env=ENVIRONMENT, capture_output=True, text=True, check=False)
    if told.returncode:
        sys.exit(told.stderr)
    took: Took = json.loads(told.stdout.splitlines()[-1]) if told.stdout else {}
    return took


def timed_import(side: str) -> Took:
    began = time.perf_counter()
    child("-c", IMPORTS[side])
    return {"seconds": time.perf_counter() - began}


class Bench:
    """Runs the same on both sides in turns, and keeps the rows of the table."""

    def __init__(self, url: str, repeats: int) -> None:
        self.repeats = repeats
        self._url = url

    def sides(self, rounds: int, at_once: int, **more: Any) -> dict[str, Took]:
        """What plain Semantic Kernel took, and ours with the journal, without, and with `more` for the manager."""
        size = ["--rounds", str(rounds), "--at-once", str(at_once)]
        with tempfile.TemporaryDirectory() as out:
            journal = ["--out", out]
            wanted = {"plain": [], "ours": journal, "no journal": []}
            wanted |= {name: [*journal, "--manager", json.dumps(value)] for name, value in more.items()}
            took: dict[str, list[Took]] = {name: [] for name in wanted}
            for _ in range(self.repeats):
                for name, arguments in wanted.items():
                    side = "plain" if name == "plain" else "ours"
                    took[name].append(child(str(SIDES), side, self._url, *size, *arguments))
        return {name: best(times) for name, times in took.items()}


def row(what: str, plain: float, ours: float, form: str = "{:.2f}", without: float | None = None) -> None:
    cells = [what, form.format(plain), form.format(ours), f"{ours / plain:.2f}"]
    print("|", " | ".join([*cells, "" if without is None else form.format(without)]), "|", flush=True)


def rows(name: str, took: dict[str, Took]) -> None:
    plain, ours, without = took["plain"], took["ours"], took["no journal"]
    row(f"{name}: seconds", plain["seconds"], ours["seconds"], without=without["seconds"])
    row(f"{name}: processor seconds", plain["cpu"], ours["cpu"], without=without["cpu"])
    row(f"{name}: memory, MB a run", *(side["memory"] / 1e6 for side in (plain, ours)), without=without["memory"] / 1e6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the short rows only, once")
    parser.add_argument("--repeats", type=int, default=3, help="the best of so many is told")
    given = parser.parse_args()
    repeats = 1 if given.quick else given.repeats
    print("| what | plain SK | ours | ratio | without journal |")
    print("|---|---:|---:|---:|---:|")
    imports = {side: best([timed_import(side) for _ in range(repeats + 1)]) for side in IMPORTS}
    row("imports: seconds", *(took["seconds"] for took in imports.values()))
    with serving() as url:
        bench = Bench(url, repeats)
        for rounds in (5, 40) if given.quick else (5, 40, 200):
            bench.repeats = 1 if rounds == 200 else repeats
            took = bench.sides(rounds, 1)
            rows(f"one run, {rounds} rounds", took)
            row(f"{rounds} rounds: prompt characters", took["plain"]["chars"], took["ours"]["chars"], "{:,.0f}")
        for at_once in (50,) if given.quick else (50, 200):
            bench.repeats = 1 if at_once == 200 else repeats
            rows(f"{at_once} runs at once, 5 rounds", bench.sides(5, at_once))


if __name__ == "__main__":
    main()
