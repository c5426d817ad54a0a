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
    """Runs the same on both sides, in turns."""

    def __init__(self, url: str, repeats: int) -> None:
        self._url, self._repeats = url, repeats

    def sides(self, rounds: int, at_once: int, window: int | None = None) -> dict[str, Took]:
        """What plain Semantic Kernel took, and ours with the journal, without, and with a window."""
        size = ["--rounds", str(rounds), "--at-once", str(at_once)]
        with tempfile.TemporaryDirectory() as out:
            journal = ["--out", out]
            wanted: dict[str, list[str]] = {"plain": [], "ours": journal, "no journal": []}
            if window:
                wanted["window"] = [*journal, "--window", str(window)]
            took: dict[str, list[Took]] = {name: [] for name in wanted}
            for _ in range(self._repeats):
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
    parser.add_argument("--rounds", type=int, nargs="*", default=(5, 40, 200), help="one run each")
    parser.add_argument("--at-once", type=int, nargs="*", default=(50, 200), help="runs of five rounds")
    parser.add_argument("--window", type=int, default=12, help="most messages that the rows with a window send")
    given = parser.parse_args()
    if given.quick:
        given.repeats, given.rounds, given.at_once = 1, (5, 40), (50,)
    print("| what | plain SK | ours | ratio | without journal |")
    print("|---|---:|---:|---:|---:|")
    imports = {side: best([timed_import(side) for _ in range(given.repeats + 1)]) for side in IMPORTS}
    row("imports: seconds", *(took["seconds"] for took in imports.values()))
    with serving() as url:
        bench = Bench(url, given.repeats)
        for at_once in given.at_once:
            rows(f"{at_once} runs at once, 5 rounds", bench.sides(5, at_once))
        for rounds in given.rounds:
            name, took = f"one run, {rounds} rounds", bench.sides(rounds, 1, given.window)
            rows(name, took)
            for side in ("ours", "window") if given.window else ("ours",):
                row(f"{name}: prompt characters, {side}", took["plain"]["chars"], took[side]["chars"], "{:,.0f}")


if __name__ == "__main__":
    main()
