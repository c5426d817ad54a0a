"""Whole-process times of commands that need no model, against `import rich`: `uv run python tests/bench/startup.py`."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))
COMMAND = str(Path(sys.executable).parent / "magentic-kit")
ROUNDS = 30
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
FLOOR = ("pass", "import rich", "import argparse", "import argparse, dataclasses, json, pathlib", "import yaml")


def least(commands: dict[str, list[str]]) -> dict[str, float]:
    """The least whole-process time of each in seconds; all take turns, so that all meet the same noise."""
    times = dict.fromkeys(commands, float("inf"))
    for _ in range(ROUNDS):
        for name, command in commands.items():
            began = time.perf_counter()
            subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, check=True)
            times[name] = min(times[name], time.perf_counter() - began)
    return times


def main() -> None:
    from support import sample_events

    from magentic_kit.runlog.directory import Journal

    with tempfile.TemporaryDirectory() as folder:
        for name in ("one", "two", "three"):
            journal = Journal.create(Path(folder), name)
            for event in sample_events.satisfied():
                if event.logged:
                    journal.write(event)
            journal.close()
        lines = (
            [],
            ["--help"],
            ["list", folder],
            ["show", f"{folder}/one"],
            ["validate", "configs/sales_analysis.yaml"],
        )
        commands = {code: [sys.executable, "-c", code] for code in FLOOR}
        commands |= {" ".join(["magentic-kit", *line[:1]]): [COMMAND, *line] for line in lines}
        times = least(commands)
        for name, took in times.items():
            print(f"{took * 1000:6.1f} ms {took / times['import rich']:5.2f}  {name}")


if __name__ == "__main__":
    main()
