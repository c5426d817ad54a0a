"""`worker`, `submit`, `status`, `result`, `cancel`, `settle`: runs that any of several machines carries out."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from magentic_kit.commands.common import (
    PATH,
    TASK_OPTIONS,
    TEAM_OPTIONS,
    WORD_OPTIONS,
    load_environment,
    overrides_of,
    pair,
    quiet_logs,
    task_of,
    words_of,
)
from magentic_kit.errors import ConfigError

if TYPE_CHECKING:
    from magentic_kit.cluster import Database

_DATABASE = click.option(
    "--database",
    "url",
    envvar="MAGENTIC_KIT_DATABASE",
    required=True,
    help="sqlite:///FILE for one machine, postgresql://… for many.  [env: MAGENTIC_KIT_DATABASE]",
)


@click.command()
@_DATABASE
@click.option("--concurrency", type=click.IntRange(1), default=4, show_default=True, help="Runs at once.")
@click.option("--lease", type=click.FloatRange(1), default=15, show_default=True, help="Seconds; the same for all.")
@click.option("--env-file", type=PATH, help="Environment file to read; default: .env.")
def worker(url: str, concurrency: int, lease: float, env_file: Path | None) -> int:
    """Carry out runs of the queue, and finish those of workers that have been silent for a lease.

    Ctrl-C or SIGTERM ends it after the runs under way, a second one at once: others then finish those.
    """
    from magentic_kit.terminal import on_signals

    load_environment(env_file, beside=Path())
    database = _open(url)

    async def work() -> None:
        from magentic_kit.worker import Worker

        working = Worker(database, concurrency=concurrency, lease=lease, tell=lambda line: click.echo(line, err=True))
        on_signals(working.stop, lambda: None)
        click.echo(f"{working.name}: waiting for runs", err=True)
        await working.work()

    quiet_logs()
    asyncio.run(work())
    return 0


@click.command()
@click.argument("team", type=PATH)
@TASK_OPTIONS
@TEAM_OPTIONS
@_DATABASE
@click.option("--id", default="", help="Name of the run: submitted twice, it is carried out once.")
def submit(
    team: Path,
    task: str | None,
    task_file: Path | None,
    inputs: tuple[str, ...],
    url: str,
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
    click.echo(database.submit(factory, text, inputs=given, id=id))
    return 0


@click.command()
@click.argument("id", required=False)
@_DATABASE
def status(id: str | None, url: str) -> int:
    """Tell the state of run ID, or of all: queued, running, parked (a person is needed), or how it ended."""
    for entry in _open(url).entries(id):
        click.echo("\t".join(filter(None, (entry.id, entry.state, entry.worker, entry.note))))
    return 0


@click.command()
@click.argument("id")
@_DATABASE
@click.option("--out", type=PATH, help="Also write its run directory here: log, reports, team.")
def result(id: str, url: str, out: Path | None) -> int:
    """Print the answer of run ID, and derive its log and reports. Exit code as of `run`; 1 if it has not ended."""
    from magentic_kit.commands.run import EXIT_CODES
    from magentic_kit.held import derive
    from magentic_kit.record import RunRecord
    from magentic_kit.text import printable

    database = _open(url)
    (entry,) = database.entries(id)
    if out is not None:
        derive(database, id, out, ("md", "html", "json"))
    if answer := RunRecord.of(database.log(id)).answer:
        click.echo(printable(answer))
    click.echo(f"{id}: {entry.state}" + (f": {entry.note}" if entry.note else ""), err=True)
    return EXIT_CODES.get(entry.state, 1)


@click.command()
@click.argument("id")
@_DATABASE
def cancel(id: str, url: str) -> int:
    """Cancel run ID: at once if nobody has it, else its worker ends it within a fifth of its lease."""
    click.echo(_open(url).cancel(id))
    return 0


@click.command()
@click.argument("id")
@_DATABASE
@WORD_OPTIONS
def settle(id: str, url: str, **said: Any) -> int:
    """Let run ID go on that is parked, or that failed or was cancelled, once what stopped it has been seen to."""
    _open(url).settle(id, words_of(**said))
    return 0


def _open(url: str) -> Database:
    try:
        from magentic_kit.cluster import Database

        return Database(url)
    except ImportError as error:
        raise ConfigError.one(f"{error.name} is missing: pip install 'magentic-kit[cluster]'") from error
