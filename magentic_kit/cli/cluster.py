"""The commands about queued runs, which any of several machines carries out."""

from __future__ import annotations

from pathlib import Path

import click

from magentic_kit.cli.environment import load_environment, open_database
from magentic_kit.cli.files import writing
from magentic_kit.cli.options import (
    PATH,
    POSITIVE,
    FiniteRange,
    TaskOptions,
    TeamOptions,
    UnknownCallOptions,
    database_option,
    env_file_option,
    task_options,
    team_argument,
    team_options,
    unknown_call_options,
)
from magentic_kit.cli.output import say

_LIMIT = click.IntRange(min=0)


@click.command()
@database_option
@click.option("--concurrency", type=POSITIVE, default=4, metavar="N", show_default=True, help="Runs at once.")
@click.option(
    "--lease",
    type=FiniteRange(min=1),
    default=15,
    metavar="N",
    show_default=True,
    help="Seconds; the same for all workers.",
)
@env_file_option
def worker(url: str | None, concurrency: int, lease: float, env_file: Path | None) -> None:
    """Carry out runs of the queue, and finish those of workers that have been silent for a lease.

    Ctrl-C or SIGTERM ends it after the runs under way, a second one at once: others then finish those.
    """
    import asyncio

    from magentic_kit.cli.process import on_signals, quiet_logs

    load_environment(env_file, beside=Path())
    database = open_database(url)

    async def work() -> None:
        from magentic_kit.cluster.worker import Worker

        working = Worker(database, concurrency=concurrency, lease=lease, tell=lambda line: say(line, err=True))
        on_signals(working.stop, lambda: None)
        say(f"{working.name}: waiting for runs", err=True)
        await working.work()

    quiet_logs()
    asyncio.run(work())


@click.command()
@team_argument
@task_options
@team_options
@database_option
@click.option("--id", "run_id", default="", help="Name of the run: submitted twice, it is carried out once.")
def submit(team: Path, task: TaskOptions, options: TeamOptions, url: str | None, run_id: str) -> None:
    """Queue a run of TEAM on TASK; prints its id. The team is kept with it, as it is now.

    What the team file names (plugins, data) has to be at the same place on the workers.
    """
    text, inputs = task.read()
    load_environment(options.env_file, beside=team)
    overrides = options.overrides()
    database = open_database(url)
    from magentic_kit.factory import TeamFactory

    factory = TeamFactory.from_yaml(team, overrides=overrides)
    approve, approve_plan = options.approve, options.approve_plan
    say(database.submit(factory, text, inputs=inputs, id=run_id, approve=approve, approve_plan=approve_plan))


@click.command()
@click.argument("run_id", required=False, metavar="[ID]")
@database_option
def status(run_id: str | None, url: str | None) -> None:
    """Show the state of run ID, or of all: queued, running, parked (a person is needed), or how it ended."""
    for entry in open_database(url).entries(run_id):
        say("\t".join(filter(None, (entry.id, entry.state, entry.worker, entry.note))))


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
    (entry,) = database.entries(run_id)
    if out is not None:
        with writing(out):
            derive(database, run_id, out, ("md", "html", "json"))
    if answer := RunRecord.of(database.log(run_id)).answer:
        say(answer)
    note = f": {entry.note}" if entry.note else ""
    say(f"{run_id}: {entry.state}{note}", err=True)
    return EXIT_CODES.get(entry.state, 1)


@click.command()
@click.argument("ids", nargs=-1, required=True)
@database_option
def cancel(ids: tuple[str, ...], url: str | None) -> None:
    """Cancel runs IDS (or 'nightly-*'): at once, or if a worker has it within a fifth of its lease."""
    from fnmatch import fnmatchcase

    database = open_database(url)
    for pattern in ids:
        found = [entry.id for entry in database.entries() if fnmatchcase(entry.id, pattern)]
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
@click.argument("run_id", metavar="ID")
@database_option
@unknown_call_options
def settle(run_id: str, url: str | None, unknown_calls: UnknownCallOptions) -> None:
    """Let run ID continue that is parked, failed or was cancelled, once the cause has been dealt with."""
    open_database(url).settle(run_id, unknown_calls.results())
