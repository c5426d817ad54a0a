"""The commands about queued runs, which any of several machines carries out."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from magentic_kit.cli.environment import load_environment, open_database
from magentic_kit.cli.files import writing
from magentic_kit.cli.loading import loading
from magentic_kit.cli.options import (
    PATH,
    POSITIVE,
    FiniteRange,
    TaskOptions,
    TeamOptions,
    attach_option,
    database_option,
    env_file_option,
    task_options,
    team_argument,
    team_options,
)
from magentic_kit.cli.output import complain, say
from magentic_kit.errors import JournalError
from magentic_kit.text import one_line

_NOTE = 500  # characters
_LIMIT = click.IntRange(min=0)
_F = TypeVar("_F", bound=Callable[..., Any])


def _seconds(flag: str, default: float, help: str) -> Callable[[_F], _F]:
    return click.option(flag, type=FiniteRange(min=1), default=default, metavar="N", show_default=True, help=help)


@click.command()
@database_option
@click.option("--concurrency", type=POSITIVE, metavar="N", help="Runs at once in each of all workers; default: 4.")
@_seconds("--lease", 10, "Seconds of silence after which others take over; the same for all workers.")
@_seconds("--patience", 90, "Seconds that the database may be away.")
@click.option(
    "--allow",
    multiple=True,
    type=PATH,
    metavar="DIR",
    help="Teams may have code, commands and data below it; default: the current folder.",
)
@env_file_option
def worker(
    url: str | None,
    concurrency: int | None,
    lease: float,
    patience: float,
    allow: tuple[Path, ...],
    env_file: Path | None,
) -> None:
    """Carry out runs of the queue, and finish those of workers that have been silent for a lease.

    Ctrl-C or SIGTERM ends it after the runs under way, a second one at once: others then finish those.
    """
    import asyncio

    from magentic_kit.cli.process import on_signals, quiet_logs

    load_environment(env_file, beside=Path())
    database = open_database(url)

    async def work() -> None:
        with loading():
            from magentic_kit.cluster.worker import Worker

        working = Worker(
            database,
            concurrency=concurrency,
            lease=lease,
            patience=patience,
            allow=allow or [Path()],
            tell=lambda line: say(line, err=True),
        )
        on_signals(working.stop, lambda: None)
        say(f"{working.name}: waiting for runs", err=True)
        try:
            await working.work()
        except JournalError as error:
            complain(str(error))
            os._exit(1)  # the threads of DBOS try again without end

    quiet_logs()
    asyncio.run(work())


@click.command()
@team_argument
@task_options
@team_options
@database_option
@attach_option
@click.option("--id", "run_id", default="", help="Name of the run: submitted twice, it is carried out once.")
@click.option("--priority", type=POSITIVE, metavar="N", help="Runs without one begin first, then those of a lower one.")
@click.option("--delay", type=FiniteRange(min=0), default=0, metavar="N", help="Seconds until the run may begin.")
def submit(
    team: Path,
    task: TaskOptions,
    options: TeamOptions,
    url: str | None,
    attach: tuple[Path, ...],
    run_id: str,
    priority: int | None,
    delay: float,
) -> None:
    """Queue a run of TEAM on TASK; prints its id. The team is kept with it, as it is now.

    Attached files go with it; what the team file names (plugins, data) has to be at the same place on the workers.
    """
    text, inputs = task.read()
    load_environment(options.env_file, beside=team)
    overrides = options.overrides()
    database = open_database(url)
    from magentic_kit.factory import TeamFactory

    factory = TeamFactory.from_yaml(team, overrides=overrides)
    name = database.submit(
        factory,
        text,
        inputs=inputs,
        attach=attach,
        id=run_id,
        approve=options.approve,
        approve_plan=options.approve_plan,
        priority=priority,
        delay=delay,
    )
    say(name)


@click.command()
@click.argument("run_id", required=False, metavar="[ID]")
@database_option
def status(run_id: str | None, url: str | None) -> None:
    """Show the state of run ID, or of all: queued, running, waiting for a person, or how it ended."""
    database = open_database(url)
    entries = database.entries() if run_id is None else [database.entry(run_id)]
    for entry in entries:
        say("\t".join(filter(None, (entry.id, entry.state, entry.worker, one_line(entry.note, _NOTE)))))


@click.command()
@click.argument("run_id", metavar="ID")
@database_option
@click.option("--out", type=PATH, help="Also write its run directory here: log, reports, team.")
def result(run_id: str, url: str | None, out: Path | None) -> int:
    """Print the answer of run ID, and derive its log and reports. Exit code as of `run`; 1 if it has not ended."""
    from magentic_kit.cli.follow import EXIT_CODES
    from magentic_kit.cluster.queued import derive
    from magentic_kit.runlog.record import RunRecord

    database = open_database(url)
    entry = database.entry(run_id)
    if out is not None:
        with writing(out):
            derive(database, run_id, out, ("md", "html", "json"))
    if answer := RunRecord.of(database.history(run_id).log()).answer:
        say(answer)
    note = f": {one_line(entry.note, _NOTE)}" if entry.note else ""
    say(f"{run_id}: {entry.state}{note}", err=True)
    return EXIT_CODES.get(entry.state, 1)


@click.command()
@click.argument("ids", nargs=-1, required=True)
@database_option
def cancel(ids: tuple[str, ...], url: str | None) -> None:
    """Cancel runs IDS (or 'nightly-*'); a worker that has one ends it within a second or two."""
    import re
    from fnmatch import fnmatchcase

    database = open_database(url)
    for pattern in ids:
        prefix = re.split(r"[*?[]", pattern)[0]
        found = [pattern]
        if prefix != pattern:
            found = [entry.id for entry in database.entries(prefix) if fnmatchcase(entry.id, pattern)]
        for run_id in found or [pattern]:
            say(database.cancel(run_id))


@click.command()
@database_option
@click.option("--concurrency", type=_LIMIT, metavar="N", help="Runs under way at once.")
@click.option("--rpm", type=_LIMIT, metavar="N", help="Requests a minute that a service gets.")
@click.option("--tpm", type=_LIMIT, metavar="N", help="Tokens a minute that a service gets.")
def limits(url: str | None, concurrency: int | None, rpm: int | None, tpm: int | None) -> None:
    """Set what all workers together may do at most, 0 for no limit; prints the limits in force."""
    in_force = open_database(url).limit(concurrency=concurrency, rpm=rpm, tpm=tpm)
    say("\n".join(f"{name}\t{value}" for name, value in in_force.items()) or "no limits")


@click.command()
@database_option
@click.option("--older-than", "days", type=FiniteRange(min=0), required=True, metavar="DAYS", help="Since they ended.")
def purge(url: str | None, days: float) -> None:
    """Delete runs that ended some time ago, with their logs; prints their ids. Runs that wait for a person stay."""
    from datetime import datetime, timedelta, timezone

    database = open_database(url)
    for run_id in database.purge(datetime.now(timezone.utc) - timedelta(days=days)):
        say(run_id)
