"""`worker`, `submit`, `status`, `result`, `cancel`, `settle`: runs that any of several machines carries out."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magentic_kit.commands.arguments import PATH, POSITIVE, argument, command, number
from magentic_kit.commands.common import (
    ENV_FILE,
    TASK_OPTIONS,
    TEAM_OPTIONS,
    UNKNOWN_TOOL_OPTIONS,
    load_environment,
    overrides_of,
    pair,
    quiet_logs,
    say,
    task_of,
    writing,
)
from magentic_kit.errors import ConfigError

if TYPE_CHECKING:
    from magentic_kit.cluster import Database

_VARIABLE = "MAGENTIC_KIT_DATABASE"
_DATABASE = argument(
    "--database",
    dest="url",
    metavar="URL",
    help=f"sqlite:///FILE for one machine, postgresql://… for many; default: the variable {_VARIABLE}.",
)
_SECONDS = number(float, lambda seconds: seconds >= 1, "a number from 1")
_ID = argument("id")


@command(
    _DATABASE,
    argument("--concurrency", type=POSITIVE, default=4, metavar="N", help="Runs at once; default: 4."),
    argument("--lease", type=_SECONDS, default=15, metavar="N", help="Seconds; the same for all; default: 15."),
    ENV_FILE,
)
def worker(url: str | None, concurrency: int, lease: float, env_file: Path | None) -> int:
    """Carry out runs of the queue, and finish those of workers that have been silent for a lease.

    Ctrl-C or SIGTERM ends it after the runs under way, a second one at once: others then finish those.
    """
    from magentic_kit.terminal import on_signals

    load_environment(env_file, beside=Path())
    database = _open(url)

    async def work() -> None:
        from magentic_kit.worker import Worker

        working = Worker(database, concurrency=concurrency, lease=lease, tell=lambda line: say(line, aside=True))
        on_signals(working.stop, lambda: None)
        say(f"{working.name}: waiting for runs", aside=True)
        await working.work()

    quiet_logs()
    asyncio.run(work())
    return 0


@command(
    argument("team", type=Path),
    *TASK_OPTIONS,
    *TEAM_OPTIONS,
    _DATABASE,
    argument("--id", default="", help="Name of the run: submitted twice, it is carried out once."),
)
def submit(
    team: Path,
    task: str | None,
    task_file: Path | None,
    inputs: tuple[str, ...],
    url: str | None,
    id: str,
    **team_options: Any,
) -> int:
    """Queue a run of TEAM on TASK; prints its id. The team is kept with it, as it is now.

    What the team file names (plugins, data) has to be at the same place on the workers.
    """
    text = task_of(task, task_file)
    overrides = overrides_of(beside=team, **team_options)
    given = dict(pair(value, "--input") for value in inputs)
    database = _open(url)
    from magentic_kit.factory import TeamFactory

    factory = TeamFactory.from_yaml(team, overrides=overrides)
    say(database.submit(factory, text, inputs=given, id=id))
    return 0


@command(argument("id", nargs="?", metavar="[ID]"), _DATABASE)
def status(id: str | None, url: str | None) -> int:
    """Tell the state of run ID, or of all: queued, running, parked (a person is needed), or how it ended."""
    for entry in _open(url).entries(id):
        say("\t".join(filter(None, (entry.id, entry.state, entry.worker, entry.note))))
    return 0


@command(
    _ID,
    _DATABASE,
    argument("--out", **PATH, help="Also write its run directory here: log, reports, team."),
)
def result(id: str, url: str | None, out: Path | None) -> int:
    """Print the answer of run ID, and derive its log and reports. Exit code as of `run`; 1 if it has not ended."""
    from magentic_kit.cluster import OUTCOMES
    from magentic_kit.commands.run import EXIT_CODES
    from magentic_kit.record import RunRecord
    from magentic_kit.text import printable

    database = _open(url)
    (entry,), events = database.entries(id), database.log(id)
    record = RunRecord.of(events)
    if entry.state in OUTCOMES:
        record.outcome = entry.state  # one that was cancelled while nobody had it has no last event
    if out is not None:
        from magentic_kit.journal import Journal, read_log
        from magentic_kit.report import write_reports

        with writing(out):
            (out / id).mkdir(parents=True, exist_ok=True)
            journal = Journal(out / id)
            for event in events[len(read_log(out / id)[0]) :]:
                journal.write(event)
            journal.save("team.yaml", entry.spec["team"])
            journal.close()
            write_reports(out / id, record, ("md", "html", "json"))
    say(printable(record.answer)) if record.answer else None
    say(f"{id}: {entry.state}" + (f": {entry.note}" if entry.note else ""), aside=True)
    return EXIT_CODES.get(entry.state, 1)


@command(_ID, _DATABASE)
def cancel(id: str, url: str | None) -> int:
    """Cancel run ID: at once if nobody has it, else its worker ends it within a fifth of its lease."""
    say(_open(url).cancel(id))
    return 0


@command(_ID, _DATABASE, *UNKNOWN_TOOL_OPTIONS)
def settle(id: str, url: str | None, repeat_tool: bool, skip_tool: str | None) -> int:
    """Let run ID, which is parked, go on, once what it was parked for has been seen to."""
    _open(url).settle(id, [skip_tool] if skip_tool is not None else "repeat" if repeat_tool else None)
    return 0


def _open(url: str | None) -> Database:
    if not (url := url or os.environ.get(_VARIABLE)):
        raise ConfigError.one(f"which? Give --database, or set {_VARIABLE}", file="command line")
    try:
        from magentic_kit.cluster import Database

        return Database(url)
    except ImportError as error:
        raise ConfigError.one(f"{error.name} is missing: pip install 'magentic-kit[cluster]'") from error
