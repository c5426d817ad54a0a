"""The commands about queued runs, which any of several machines carries out."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from magentic_kit.cli.arguments import PATH, POSITIVE, argument, command, number
from magentic_kit.cli.common import (
    DATABASE,
    ENV_FILE,
    TASK_OPTIONS,
    TEAM_OPTIONS,
    WORD_OPTIONS,
    complain,
    load_environment,
    open_database,
    overrides_of,
    quiet_logs,
    say,
    task_of,
    words_of,
    writing,
)
from magentic_kit.errors import JournalError

_LIMIT = number(int, lambda n: n >= 0, "a whole number from 0")
_SECONDS = number(float, lambda seconds: seconds >= 1, "a number from 1")
_DELAY = number(float, lambda seconds: 0 <= seconds < 1e9, "a number from 0")
_ID = argument("id")


@command(
    DATABASE,
    argument("--concurrency", type=POSITIVE, metavar="N", help="Runs at once in a worker; holds for all; default: 4."),
    argument("--lease", type=_SECONDS, default=10, metavar="N", help="Seconds; the same for all; default: 10."),
    argument("--patience", type=_SECONDS, default=90, metavar="N", help="Seconds to wait for a database; default: 90."),
    ENV_FILE,
)
def worker(url: str | None, concurrency: int | None, env_file: Path | None, **seconds: float) -> int:
    """Carry out runs of the queue, and finish those of workers that have been silent for a lease.

    Ctrl-C or SIGTERM ends it after the runs under way, a second one at once: others then finish those.
    """
    from magentic_kit.cli.terminal import on_signals

    load_environment(env_file, beside=Path())
    database = open_database(url)

    async def work() -> None:
        from magentic_kit.cluster.worker import Worker

        working = Worker(database, concurrency=concurrency, tell=lambda line: say(line, aside=True), **seconds)
        on_signals(working.stop, lambda: None)
        say(f"{working.name}: waiting for runs", aside=True)
        try:
            await working.work()
        except JournalError as error:
            complain(str(error))
            os._exit(1)  # DBOS would try again without end

    quiet_logs()
    asyncio.run(work())
    return 0


@command(
    argument("team", type=Path),
    *TASK_OPTIONS,
    *TEAM_OPTIONS,
    DATABASE,
    argument("--id", default="", help="Name of the run: submitted twice, it is carried out once."),
    argument("--priority", type=POSITIVE, metavar="N", help="Runs without one begin first, then those of a lower one."),
    argument("--delay", type=_DELAY, default=0, metavar="N", help="Seconds before which the run does not begin."),
)
def submit(team: Path, url: str | None, id: str, approve: Sequence[str], approve_plan: bool, **given: Any) -> int:
    """Queue a run of TEAM on TASK; prints its id. The team is kept with it, as it is now.

    What the team file names (plugins, data) has to be at the same place on the workers.
    """
    task, inputs = task_of(**given)
    overrides = overrides_of(beside=team, **given)
    database = open_database(url)
    from magentic_kit.factory import TeamFactory

    factory = TeamFactory.from_yaml(team, overrides=overrides)
    when = {name: given[name] for name in ("priority", "delay")}
    say(database.submit(factory, task, inputs=inputs, id=id, approve=approve, approve_plan=approve_plan, **when))
    return 0


@command(argument("id", nargs="?", metavar="[ID]"), DATABASE)
def status(id: str | None, url: str | None) -> int:
    """Tell the state of run ID, or of all: queued, running, parked (a person is needed), or how it ended."""
    database = open_database(url)
    for entry in [database.entry(id)] if id else database.entries():
        say("\t".join(filter(None, (entry.id, entry.state, entry.worker, entry.note))))
    return 0


@command(
    _ID,
    DATABASE,
    argument("--out", **PATH, help="Also write its run directory here: log, reports, team."),
)
def result(id: str, url: str | None, out: Path | None) -> int:
    """Print the answer of run ID, and derive its log and reports. Exit code as of `run`; 1 if it has not ended."""
    from magentic_kit.cli.run import EXIT_CODES
    from magentic_kit.cluster.queued import derive
    from magentic_kit.runlog.record import RunRecord
    from magentic_kit.text import printable

    database = open_database(url)
    entry = database.entry(id)
    if out is not None:
        with writing(out):
            derive(database, id, out, ("md", "html", "json"))
    if answer := RunRecord.of(database.history(id).log()).answer:
        say(printable(answer))
    say(f"{id}: {entry.state}" + (f": {entry.note}" if entry.note else ""), aside=True)
    return EXIT_CODES.get(entry.state, 1)


@command(argument("ids", nargs="+", metavar="IDS..."), DATABASE)
def cancel(ids: tuple[str, ...], url: str | None) -> int:
    """Cancel runs IDS (or 'nightly-*'); a worker that has one ends it within a second or two."""
    from fnmatch import fnmatchcase

    database = open_database(url)
    for id in ids:
        prefix = re.split(r"[*?[]", id)[0]
        names = [entry.id for entry in database.entries(prefix) if fnmatchcase(entry.id, id)] if prefix != id else [id]
        for name in names or [id]:
            say(database.cancel(name))
    return 0


@command(
    DATABASE,
    argument("--concurrency", type=_LIMIT, metavar="N", help="Runs under way at once."),
    argument("--rpm", type=_LIMIT, metavar="N", help="Requests a minute that a service gets."),
    argument("--tpm", type=_LIMIT, metavar="N", help="Tokens a minute that a service gets."),
)
def limits(url: str | None, **given: int | None) -> int:
    """Set what all workers together may do at most, 0 for no limit; tell what holds."""
    current = open_database(url).limit(**given)
    say("\n".join(f"{name}\t{value}" for name, value in current.items()) or "no limits")
    return 0


@command(_ID, DATABASE, *WORD_OPTIONS)
def settle(id: str, url: str | None, **said: Any) -> int:
    """Let run ID go on that is parked, or that failed or was cancelled, once what stopped it has been seen to."""
    open_database(url).settle(id, words_of(**said))
    return 0
