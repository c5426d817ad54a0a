"""Ours against its peers in one sitting, as Markdown tables: `uv run python tests/bench/compare.py`.

Each number is the median of the repeats, with the least and the greatest. All sides take turns, each in a process of
its own; peers that are not installed here run by `uv run --with`.
"""

from __future__ import annotations

import argparse
import json
import os
import pty
import select
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from model import serving

FOLDER = Path(__file__).parent
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
BY_UV = ("uv", "run", "--quiet", "--no-project", "--python", sys.executable)
AGENT_FRAMEWORK = ("agent-framework-core", "agent-framework-openai", "agent-framework-orchestrations")
AUTOGEN = ("autogen-agentchat", "autogen-ext[openai]")
PYTHONS = {
    "agent-framework": (*BY_UV, *(word for package in AGENT_FRAMEWORK for word in ("--with", package)), "python"),
    "autogen": (*BY_UV, *(word for package in AUTOGEN for word in ("--with", package)), "python"),
}
HEADS = {
    "floor": "bare client",
    "plain": "plain SK",
    "agent-framework": "Agent Framework",
    "autogen": "AutoGen",
    "ours": "ours",
    "no journal": "ours, no journal",
    "window": "ours, a window",
}
Numbers = dict[str, float]


class Load(NamedTuple):
    """What is measured: runs of so many rounds at once, whose turns are streamed in so many pieces."""

    rounds: int
    at_once: int
    pieces: int

    def __str__(self) -> str:
        runs = "one run" if self.at_once == 1 else f"{self.at_once} runs at once"
        return f"{runs}, {self.rounds} rounds, {self.pieces} pieces"


def measured(side: str, load: Load, url: str, window: int) -> Numbers:
    """What one process took. Raises `CalledProcessError` with what it printed."""
    python = PYTHONS.get(side, (sys.executable,))
    size = ("--rounds", load.rounds, "--at-once", load.at_once, "--pieces", load.pieces)
    with tempfile.TemporaryDirectory() as out:
        more = {"ours": ("--out", out), "window": ("--out", out, "--window", window)}.get(side, ())
        name = "ours" if side in ("no journal", "window") else side
        command = [*python, str(FOLDER / "sides.py"), name, url, *map(str, (*size, *more))]
        done = subprocess.run(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, check=True)
    numbers: Numbers = json.loads(done.stdout.splitlines()[-1])
    return numbers


def table(load: Load, sides: list[str], url: str, repeats: int, window: int) -> None:
    """Prints a table of one load, a side a row."""
    taken: dict[str, list[Numbers]] = {side: [] for side in sides}
    for _ in range(repeats):
        for side in sides:
            taken[side].append(measured(side, load, url, window))
    print(f"\n{load}\n")
    print("| side | processor seconds | x bare | seconds | first run: processor seconds | MB a run | characters |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    base = statistics.median(numbers["cpu"] for numbers in taken[sides[0]])
    for side in sides:
        cells = [spread(taken[side], "cpu"), f"{median(taken[side], 'cpu') / base:.2f}"]
        cells += [spread(taken[side], "seconds"), spread(taken[side], "first_cpu")]
        cells += [f"{median(taken[side], 'memory') / 1e6:.2f}", f"{median(taken[side], 'chars'):,.0f}"]
        print("|", " | ".join([HEADS[side], *cells]), "|", flush=True)


def median(taken: list[Numbers], name: str) -> float:
    return statistics.median(numbers[name] for numbers in taken)


def spread(taken: list[Numbers], name: str) -> str:
    values = [numbers[name] for numbers in taken]
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def first_line() -> float:
    """Seconds until `magentic-kit run` has put its first line on a terminal."""
    team = FOLDER.parent.parent / "configs" / "sales_analysis.yaml"
    with tempfile.TemporaryDirectory() as out:
        began = time.perf_counter()
        pid, terminal = pty.fork()
        if not pid:
            os.execve(
                sys.executable, [sys.executable, "-m", "magentic_kit", "run", str(team), "--out", out], ENVIRONMENT
            )
        seen = b""
        while b"sales" not in seen and select.select([terminal], [], [], 60)[0]:
            seen += os.read(terminal, 65_536)
        took = time.perf_counter() - began
        try:
            while os.read(terminal, 65_536):
                pass
        except OSError:  # the end of a terminal
            os.waitpid(pid, 0)
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rounds", type=int, nargs="*", default=(5, 40, 200), help="one run each")
    parser.add_argument("--at-once", type=int, nargs="*", default=(50, 200), help="runs of five rounds")
    parser.add_argument("--pieces", type=int, nargs="*", default=(1, 8, 120), help="events of a streamed reply")
    parser.add_argument("--window", type=int, default=12, help="most messages that the side with a window sends")
    parser.add_argument("--sides", nargs="*", choices=list(HEADS), default=list(HEADS))
    given = parser.parse_args()
    lines = sorted(first_line() for _ in range(given.repeats + 1))
    print(f"first line of `run` on a terminal: {statistics.median(lines):.2f} s ({lines[0]:.2f}-{lines[-1]:.2f})")
    loads = [Load(rounds, 1, 8) for rounds in given.rounds]
    loads += [Load(5, at_once, pieces) for at_once in given.at_once for pieces in given.pieces]
    with serving() as url:
        for load in loads:
            table(load, given.sides, url, given.repeats, given.window)


if __name__ == "__main__":
    main()
