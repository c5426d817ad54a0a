"""What a queue takes: 60 short runs by three workers, and `status` of one run. `uv run python tests/bench/workers.py`

`--other FOLDER` takes turns with the tree of that folder. It needs Debian's `postgresql`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))
WORKERS, RUNS, LOOKS = 3, 60, 3
ROUNDS = [{"ledger": {"next": "Worker", "instruction": "Look."}}, {"ledger": {"satisfied": True}}]
SCRIPT = {
    "manager": {"facts": "f", "plan": "p", "ledger": ROUNDS, "answer": "done"},
    "Worker": ["a finding"],
}
TEAM = {
    "name": "bench",
    "services": {"default": {"provider": "scripted", "script": SCRIPT}},
    "agents": [{"name": "Worker", "description": "Works.", "instructions": "Work."}],
}
DRIVER = """
import json, sys, time
from magentic_kit import TeamFactory
from magentic_kit.cluster.database import Database
url, team, kind, runs = sys.argv[1:]
database, factory, began = Database(url), TeamFactory.from_dict(json.loads(team)), time.monotonic()
for n in range(int(runs)):
    database.submit(factory, f"task {n}", id=f"{kind}-{n}")
submitted = time.monotonic() - began
while {entry.state for entry in database.entries()} & {"queued", "running"}:
    time.sleep(0.1)
assert {entry.state for entry in database.entries()} == {"satisfied"}
print(submitted, time.monotonic() - began)
"""


def measure(tree: Path, url: str) -> dict[str, float]:
    """Seconds that runs by that tree took to submit, to their end, of the workers' processors, and of `status`."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "MAGENTIC_KIT_DATABASE": url}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-m", "magentic_kit"]

    def drive(kind: str, runs: int) -> tuple[float, float]:
        driver = [sys.executable, "-c", DRIVER, url, json.dumps(TEAM), kind, str(runs)]
        told = subprocess.run(driver, env=environment, check=True, stdout=subprocess.PIPE, cwd=tree).stdout
        submitted, ended = map(float, told.split())
        return submitted, ended

    with ExitStack() as stack:
        workers = []
        for _ in range(WORKERS):
            worker = subprocess.Popen([*command, "worker"], env=environment, stderr=subprocess.DEVNULL, cwd=tree)
            stack.callback(worker.kill)
            workers.append(worker)
        drive("first", WORKERS * 4)  # after which each has imported what it needs
        before = sum(map(processor_seconds, workers))
        submitted, ended = drive("run", RUNS)
        used = sum(map(processor_seconds, workers)) - before
    looks = []
    for _ in range(LOOKS):
        began = time.perf_counter()
        subprocess.run([*command, "status", "run-7"], env=environment, check=True, capture_output=True, cwd=tree)
        looks.append(time.perf_counter() - began)
    return {"submitted": submitted, "ended": ended, "processor": used, "status": min(looks)}


def processor_seconds(process: subprocess.Popen[bytes]) -> float:
    """What the process has used so far."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    import sqlalchemy as sa
    from support.postgres import Postgres

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--other", type=Path, action="append", default=[])
    options = parser.parse_args()
    trees, found = [ROOT, *options.other], dict[Path, list[dict[str, float]]]()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        server = Postgres(Path(folder))
        engine = sa.create_engine(
            server.url("postgres").replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT"
        )
        for repeat in range(options.repeats):
            for number, tree in enumerate(trees):
                name = f"bench_{repeat}_{number}"
                with engine.connect() as connection:
                    connection.execute(sa.text(f"CREATE DATABASE {name}"))
                found.setdefault(tree, []).append(measure(tree, server.url(name)))
        engine.dispose()
        server.control("stop", "-m", "immediate")
    for tree, times in found.items():
        print(tree)
        for what in times[0]:
            seconds = [each[what] for each in times]
            print(f"  {what}: {statistics.median(seconds):.2f} s ({min(seconds):.2f}-{max(seconds):.2f})")


if __name__ == "__main__":
    main()
