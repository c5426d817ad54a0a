"""Whole-process times of commands that need no model, as ratios to imports: `uv run python tests/bench/startup.py`."""

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
ROUNDS = 10
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
RICH, PYDANTIC = "import rich.console", "import pydantic, yaml"
AIMS = {  # command -> what it is measured against, and how many times that it may take at most
    "": (RICH, 1.0),
    "--help": (RICH, 1.0),
    "list": (RICH, 3.0),
    "show": (RICH, 3.0),
    "validate": (PYDANTIC, 2.5),
}


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
        arguments = {"list": [folder], "show": [f"{folder}/one"], "validate": ["configs/sales_analysis.yaml"]}
        commands = {code: [sys.executable, "-c", code] for code in ("pass", RICH, PYDANTIC, "import click")}
        commands |= {name: [COMMAND, *name.split(), *arguments.get(name, [])] for name in AIMS}
        times = least(commands)
    for name, took in times.items():
        line = f"{took * 1000:6.1f} ms  "
        if name in AIMS:
            floor, most = AIMS[name]
            line += f"magentic-kit {name}: {took / times[floor]:.2f} x {floor}, at most {most}"
        print(line if name in AIMS else line + name)


if __name__ == "__main__":
    main()
