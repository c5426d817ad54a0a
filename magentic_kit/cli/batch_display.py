"""What `batch` shows: tasks as they end, on a bar or as lines, then a table, and the checks that failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from magentic_kit.cli.output import say
from magentic_kit.runlog.usage import sum_known
from magentic_kit.text import duration, money, one_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from magentic_kit.batch.results import TaskResult
    from magentic_kit.batch.runner import Batch

_LONGEST = 300  # characters of a line on one task
_LONGEST_ID = 40


@contextmanager
def progress(total: int, *, plain: bool) -> Iterator[tuple[Callable[[TaskResult], None], Callable[[], None]]]:
    """Yields what shows a task that has ended (on a bar, or as lines), and what ends the display."""
    from rich.progress import Progress

    console = _console(plain=plain)
    live = not plain and console.is_terminal and not console.is_dumb_terminal and not console.no_color
    ended: Counter[str] = Counter()

    def show(result: TaskResult) -> None:
        ended[one_line(result.outcome)] += 1
        bar.update(task, advance=1, description=", ".join(f"{n} {outcome}" for outcome, n in ended.items()))
        trouble = result.error or next((f"{c.check}: {c.problem}" for c in result.checks if c.problem), "")
        if trouble or not live:
            text = f"{result.id}: {result.outcome}, {duration(result.seconds)}"
            text = f"{text}; {trouble}" if trouble else text
            _print(console, f"{ended.total()}/{total}", text, wrap=not plain)

    with Progress(console=console, disable=not live) as bar:
        task = bar.add_task("", total=total)
        yield show, bar.stop


def print_summary(work: Batch, results: Sequence[TaskResult], *, plain: bool) -> None:
    """Prints a table of how the tasks ended, the checks that failed, what is left to do, and where it all is."""
    console = _console(plain=plain)
    console.print(_table(results, plain=plain))
    order = {task.id: place for place, task in enumerate(work.tasks)}
    in_order = sorted(results, key=lambda result: order[result.id])
    failed = [(result.id, check) for result in in_order for check in result.checks if check.problem]
    if failed:
        say(f"failed checks: {len(failed)}", err=True)
    for task, check in failed:
        _print(console, f"  {one_line(task, _LONGEST_ID)}:", f"{check.check}: {check.problem}", wrap=not plain)
    if left := len(work.tasks) - len(results):
        fate = "not begun"
        if work.queued:
            name = f"{work.directory.name}-*"
            fate = f"continue in the queue; --resume follows them, `magentic-kit cancel '{name}'` ends them"
        say(f"{left} {fate}", err=True)
    say(f"see {work.directory / 'batch.html'}", err=True)


def _console(*, plain: bool) -> Console:
    from rich.console import Console

    return Console(stderr=True, color_system=None if plain else "auto")


def _print(console: Console, head: str, text: str, *, wrap: bool) -> None:
    """Prints a line; on a terminal it may wrap between words, with `head` alone at the margin."""
    from rich.table import Table
    from rich.text import Text

    text = one_line(text, _LONGEST)
    if not (wrap and console.is_terminal):
        console.print(f"{head} {text}", markup=False, highlight=False, soft_wrap=True)
        return
    row = Table.grid(padding=(0, 1))
    row.add_column(no_wrap=True)
    row.add_row(Text(head), Text(text))
    console.print(row, highlight=False)


def _table(results: Sequence[TaskResult], *, plain: bool) -> Table:
    """Makes a table with a row for each outcome; a plain one has no lines."""
    from statistics import median

    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None if plain else SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("outcome", "tasks", "tokens", "cost", "median", "longest", "checks passed"):
        table.add_column(heading, no_wrap=" " not in heading)
    for outcome in sorted({result.outcome for result in results}):
        some = [result for result in results if result.outcome == outcome]
        tokens = sum_known(result.tokens for result in some) or 0
        times = [result.seconds for result in some]
        checks = [not check.problem for result in some for check in result.checks]
        passed = f"{sum(checks)} of {len(checks)}" if checks else ""
        cells = (f"{len(some)}", f"{tokens:,}", _cost(some), duration(median(times)), duration(max(times)), passed)
        table.add_row(Text(one_line(outcome)), *cells)
    return table


def _cost(results: Sequence[TaskResult]) -> str:
    known = sum_known(result.cost for result in results)
    if known is None:
        return "unknown"
    least = "at least " if any(result.cost is None for result in results) else ""
    return least + money(known)
