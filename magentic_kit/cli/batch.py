"""`batch`: a team on many tasks, with one progress display, a table of how they ended, and JUnit XML."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from magentic_kit.cli.announce import announce
from magentic_kit.cli.environment import database_url, load_environment, open_database
from magentic_kit.cli.loading import loading
from magentic_kit.cli.options import PATH, POSITIVE, TeamOptions, database_option, json_option, team_options
from magentic_kit.cli.output import say, say_json
from magentic_kit.errors import ConfigError

if TYPE_CHECKING:
    from magentic_kit.batch.results import TaskResult
    from magentic_kit.batch.runner import Batch
    from magentic_kit.cluster.queued import Queue


@click.command()
@click.argument("team", type=PATH, required=False)
@click.argument("tasks", type=PATH, required=False)
@click.option("--concurrency", type=POSITIVE, metavar="N", help="Tasks under way at a time; default: 8.")
@click.option("--rpm", type=POSITIVE, metavar="N", help="Requests a minute that a service gets at most.")
@click.option("--tpm", type=POSITIVE, metavar="N", help="Tokens a minute that a service gets at most.")
@click.option(
    "--out", type=PATH, default=Path("batches"), help="Where batch directories are created.", show_default=True
)
@click.option("--resume", type=PATH, metavar="DIR", help="Continue this batch; TEAM and TASKS may be left out.")
@database_option
@click.option("--junit", type=PATH, metavar="FILE", help="Write the results as JUnit XML.")
@click.option("--plain", is_flag=True, help="Plain lines: no colour, no progress bar.")
@json_option(help="Print the results as JSON.")
@team_options
def batch(
    team: Path | None,
    tasks: Path | None,
    concurrency: int | None,
    rpm: int | None,
    tpm: int | None,
    out: Path,
    resume: Path | None,
    url: str | None,
    junit: Path | None,
    plain: bool,
    as_json: bool,
    options: TeamOptions,
) -> int:
    """Run TEAM on every task of TASKS (.jsonl, .yaml or .csv), several at a time.

    With a database workers carry the tasks out, under the limits given here for all runs of that queue together;
    Ctrl-C stops following them, --resume follows on, and lets those continue that failed or were cancelled.

    A task has `task` or `inputs`, and if you like an `id` and `expect`: contains, regex, json_schema or python.
    Exit code: 0 all checks passed, 1 some did not; without any: 0 all satisfied, 1 some failed, 3 limited or
    rejected; 130 cancelled.
    """
    junit_file = _open_junit(junit)
    if not resume and not (team and tasks):
        raise ConfigError.one("give TEAM and TASKS, or --resume DIR", file="command line")
    from magentic_kit.team.loading import load_team

    load_environment(options.env_file, beside=team or resume or Path())
    overrides = options.overrides()
    loaded = load_team(team, overrides=overrides) if team else None
    if loaded and tasks:
        announce(loaded.config.name, f"tasks of {tasks}", plain=plain)

    from magentic_kit.cli.batch_display import print_summary, progress
    from magentic_kit.cli.process import on_signals, quiet_logs, run_to_end
    from magentic_kit.team.people import PeopleOptions, by_flags
    from magentic_kit.views.display import make_console

    def load() -> Batch:
        from magentic_kit.batch.runner import Batch
        from magentic_kit.batch.tasks import load_tasks
        from magentic_kit.factory import TeamFactory

        if resume is not None:
            work = Batch.load(resume, overrides=overrides)
            other_team = loaded and loaded.config_hash != work.factory.blueprint.team.config_hash
            if other_team or (tasks and load_tasks(tasks, work.factory) != work.tasks):
                problem = "the batch began with another team or other tasks: leave them out"
                raise ConfigError.one(problem, file=str(resume))
            return work
        assert loaded and tasks
        factory = TeamFactory(loaded)
        return Batch.new(factory, load_tasks(tasks, factory), out=out, base_dir=tasks.parent)

    console = make_console(mode="plain" if plain else "auto")

    async def whole() -> int:
        with loading(console):
            work = load()
        queue = None
        if database_url(url) and (resume is None or work.queued):
            queue = await asyncio.to_thread(_open_queue, work, url, options)
        people: PeopleOptions = {}
        if queue is None:  # whose workers are told by the queue
            people = by_flags(approve=options.approve, approve_plan=options.approve_plan)
        results: list[TaskResult] = []
        async with work.factory:
            with progress(len(work.tasks), plain=plain) as (show, give_back):
                on_signals(work.cancel, give_back)
                async for result in work.results(concurrency=concurrency, rpm=rpm, tpm=tpm, queue=queue, **people):
                    results.append(result)
                    show(result)
        print_summary(work, results, plain=plain)
        if junit_file:
            from magentic_kit.batch.junit import junit as junit_xml

            with junit_file:
                junit_file.write(junit_xml(work, results))
        if as_json:
            say_json([asdict(result) for result in results])
        return _exit_code(work, results)

    quiet_logs()
    return run_to_end(whole)


def _open_junit(path: Path | None) -> BinaryIO | None:
    """Opens the file before anything is paid for. Raises `click.BadParameter`."""
    try:
        if path:
            return path.open("wb")
        return None
    except OSError as error:
        raise click.BadParameter(f"'{path}' cannot be written: {error.strerror}", param_hint="--junit") from error


def _open_queue(work: Batch, url: str | None, options: TeamOptions) -> Queue:
    database = open_database(url)
    from magentic_kit.cluster.queued import Queue

    queue = Queue(database, work, approve=options.approve, approve_plan=options.approve_plan)
    say(f"queued as {queue.prefix}*: `magentic-kit worker`, on any host, carries them out", err=True)
    return queue


def _exit_code(work: Batch, results: Sequence[TaskResult]) -> int:
    outcomes = {result.outcome for result in results}
    if len(results) < len(work.tasks) or "cancelled" in outcomes:
        return 130
    if any(task.expect for task in work.tasks):
        return int(not all(result.passed for result in results))
    if outcomes == {"satisfied"}:
        return 0
    if outcomes & {"failed", "waiting"}:
        return 1
    return 3
