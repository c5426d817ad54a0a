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
REPEATS = 10
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def best(*arguments: str) -> float:
    """The least of several whole-process times in seconds, files and byte code in the cache."""
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        subprocess.run(arguments, cwd=ROOT, env=ENVIRONMENT, capture_output=True, check=True)
        times.append(time.perf_counter() - began)
    return min(times)


def main() -> None:
    import sample_events

    from magentic_kit.journal import Journal

    with tempfile.TemporaryDirectory() as folder:
        runs = [Journal.create(Path(folder), name) for name in ("one", "two", "three")]
        for journal in runs:
            for event in sample_events.satisfied():
                if event.logged:
                    journal.write(event)
            journal.close()
        base = best(sys.executable, "-c", "import rich")
        print(f"{base * 1000:6.1f} ms  1.00  import rich")
        for what in ("click", "yaml", "pydantic", "rich.live, rich.markdown"):
            took = best(sys.executable, "-c", f"import {what}")
            print(f"{took * 1000:6.1f} ms {took / base:5.2f}  import {what}")
        show = ("show", str(runs[0].directory))
        team = "configs/sales_analysis.yaml"
        for command in ((), ("--help",), ("list", folder), show, ("validate", team)):
            took = best(COMMAND, *command)
            print(f"{took * 1000:6.1f} ms {took / base:5.2f}  magentic-kit {' '.join(command[:1])}")


if __name__ == "__main__":
    main()
