"""`batch`: a team on many tasks, with one progress display, a table of how they ended, and JUnit XML."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, BinaryIO

from magentic_kit.cli.arguments import PATH, POSITIVE, argument, command, flag
from magentic_kit.cli.common import (
    DATABASE,
    TEAM_OPTIONS,
    database_of,
    open_database,
    overrides_of,
    quiet_logs,
    run_to_end,
    say,
)
from magentic_kit.errors import ConfigError
from magentic_kit.runlog.usage import sum_known
from magentic_kit.text import duration, one_line

if TYPE_CHECKING:
    from magentic_kit.batch.runner import Batch, TaskResult
    from magentic_kit.cluster.queued import Queue
    from magentic_kit.team.loading import Team


def _writable(path: str) -> BinaryIO:
    """Opened before anything is paid for."""
    try:
        return Path(path).open("wb")
    except OSError as error:
        raise ArgumentTypeError(f"'{path}' cannot be written: {error.strerror}") from error


@command(
    argument("team", nargs="?", type=Path, metavar="[TEAM]"),
    argument("tasks", nargs="?", type=Path, metavar="[TASKS]"),
    argument("--concurrency", type=POSITIVE, metavar="N", help="Tasks under way at a time; default: 8."),
    argument("--rpm", type=POSITIVE, metavar="N", help="Requests a minute that a service gets at most."),
    argument("--tpm", type=POSITIVE, metavar="N", help="Tokens a minute that a service gets at most."),
    argument("--out", **PATH, default=Path("batches"), help="Where batch directories go; default: batches."),
    argument("--resume", type=Path, metavar="DIR", help="Go on with this batch; TEAM and TASKS may be left out."),
    DATABASE,
    argument("--junit", type=_writable, metavar="FILE", help="Write the results as JUnit XML."),
    flag("--json", dest="as_json", help="Print the results as JSON."),
    *TEAM_OPTIONS,
)
def batch(team: Path | None, tasks: Path | None, **options: Any) -> int:
    """Run TEAM on every task of TASKS (.jsonl, .yaml or .csv), several at a time.

    With a database workers carry the tasks out, under the limits given here for all runs of that queue together;
    Ctrl-C stops following them, --resume follows on, and lets those go on that failed or were cancelled.

    A task has `task` or `inputs`, and if you like an `id` and `expect`: contains, regex, json_schema or python.
    Exit code: 0 all checks passed, 1 some did not; without any: 0 all satisfied, 1 some failed, 3 limited or
    rejected; 130 cancelled.
    """
    if not options["resume"] and not (team and tasks):
        raise ConfigError.one("give TEAM and TASKS, or --resume DIR", file="command line")
    from magentic_kit.team.loading import load_team

    overrides = overrides_of(beside=team or options["resume"], **options)
    checked = load_team(team, overrides=overrides) if team else None

    async def whole() -> int:
        from magentic_kit.cli.terminal import by_flags, on_signals

        work = _open(checked, tasks, overrides, options)
        people = {name: options[name] for name in ("approve", "approve_plan")}
        queue = _queue(work, options, people)
        limits = {name: options[name] for name in ("concurrency", "rpm", "tpm")}
        results: list[TaskResult] = []
        async with work.factory:
            with _progress(len(work.tasks)) as (show, give_back):
                on_signals(work.cancel, give_back)
                async for result in work.results(**limits, queue=queue, **by_flags(**people)):
                    results.append(result)
                    show(result)
        return _tell(work, results, options)

    quiet_logs()
    return run_to_end(whole)


def _open(checked: Team | None, tasks: Path | None, overrides: dict[str, Any], options: dict[str, Any]) -> Batch:
    from magentic_kit.batch.runner import Batch
    from magentic_kit.batch.tasks import load_tasks
    from magentic_kit.factory import TeamFactory

    old = options["resume"]
    if checked and tasks and not old:
        factory = TeamFactory(checked)
        return Batch.new(factory, load_tasks(tasks, factory), out=options["out"], base_dir=tasks.parent)
    work = Batch.load(old, overrides=overrides)
    other_team = checked and checked.config_hash != work.factory.blueprint.team.config_hash
    if other_team or (tasks and load_tasks(tasks, work.factory) != work.tasks):
        raise ConfigError.one("the batch began with another team or other tasks: leave them out", file=str(old))
    return work


def _queue(work: Batch, options: dict[str, Any], people: dict[str, Any]) -> Queue | None:
    """The queue of the database that is named, for a batch that is new or was begun there."""
    if not database_of(options["url"]) or (options["resume"] and not work.queued):
        return None
    database = open_database(options["url"])
    from magentic_kit.cluster.queued import Queue

    queue = Queue(database, work, **people)
    say(f"queued as {queue.prefix}*: `magentic-kit worker`, on any host, carries them out", aside=True)
    return queue


@contextmanager
def _progress(total: int) -> Iterator[tuple[Callable[[TaskResult], None], Callable[[], None]]]:
    """What shows a task that has ended, on a bar and a line for trouble, or as lines; and what ends the display."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    live = console.is_terminal and not console.is_dumb_terminal and not console.no_color
    ended: Counter[str] = Counter()

    def show(result: TaskResult) -> None:
        ended[result.outcome] += 1
        progress.update(bar, advance=1, description=", ".join(f"{n} {outcome}" for outcome, n in ended.items()))
        trouble = result.error or next((f"{c.check}: {c.problem}" for c in result.checks if c.problem), "")
        if trouble or not live:
            line = f"{ended.total()}/{total} {result.id}: {result.outcome}, {duration(result.seconds)}"
            line = one_line(f"{line}; {trouble}" if trouble else line, 300)
            console.print(line, markup=False, highlight=False, soft_wrap=True)

    with Progress(console=console, disable=not live) as progress:
        bar = progress.add_task("", total=total)
        yield show, progress.stop


def _tell(work: Batch, results: list[TaskResult], options: dict[str, Any]) -> int:
    """Tells of all tasks together, in a table and as it was asked for; the exit code."""
    from rich.console import Console
    from rich.table import Table

    from magentic_kit.batch.junit import junit

    table = Table("outcome", "tasks", "tokens", "median time", "longest", "checks passed")
    for outcome in sorted({result.outcome for result in results}):
        some = [result for result in results if result.outcome == outcome]
        tokens = sum_known(result.tokens for result in some) or 0
        times = [r.seconds for r in some]
        checks = [not check.problem for r in some for check in r.checks]
        passed = f"{sum(checks)} of {len(checks)}" if checks else ""
        table.add_row(outcome, str(len(some)), f"{tokens:,}", duration(median(times)), duration(max(times)), passed)
    Console(stderr=True).print(table)
    if left := len(work.tasks) - len(results):
        go_on = f"go on in the queue; --resume follows them, `magentic-kit cancel '{work.directory.name}-*'` ends them"
        say(f"{left} {go_on if work.queued else 'not begun'}", aside=True)
    say(f"see {work.directory}", aside=True)
    if options["junit"]:
        with options["junit"] as file:
            file.write(junit(work, results))
    if options["as_json"]:
        say(json.dumps([asdict(result) for result in results], indent=2, default=str))
    outcomes = {result.outcome for result in results}
    if len(results) < len(work.tasks) or "cancelled" in outcomes:
        return 130
    if any(task.expect for task in work.tasks):
        return int(not all(result.passed for result in results))
    return 0 if outcomes == {"satisfied"} else 1 if outcomes & {"failed", "parked"} else 3
