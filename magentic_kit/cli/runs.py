"""`list`, `show` and `report`: runs read from their logs, without Semantic Kernel."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from magentic_kit.cli.files import writing
from magentic_kit.cli.options import (
    PATH,
    ConsoleOptions,
    FiniteRange,
    console_options,
    json_option,
    run_argument,
)
from magentic_kit.cli.output import complain, say, say_json
from magentic_kit.errors import ConfigError, KitError
from magentic_kit.text import duration, one_line

if TYPE_CHECKING:
    from magentic_kit.events import AnyEvent

_POLL = 0.2  # seconds between looks at a log that is followed
_FRAME = 0.1  # seconds for which the clock of a replay may stand still

_PLACES = ("*", "tasks/*/*", "*/tasks/*/*")  # of run directories: below runs, a batch, and batches
_FORMATS = ("md", "html", "json")


@click.command()
@run_argument
@click.option("--follow", is_flag=True, help="Continue with what is written to the log, to the end of the run.")
@click.option(
    "--speed",
    type=FiniteRange(min=0, min_open=True),
    metavar="N",
    help="Take the time that the run took, divided by N.",
)
@console_options
def show(run_dir: Path, follow: bool, speed: float | None, display: ConsoleOptions) -> None:
    """Play RUN (a run directory) on the console as it was, at once, or live from another terminal."""
    if follow and speed:
        raise ConfigError.one("give --follow or --speed, not both", file="command line")
    from magentic_kit.runlog.record import RunRecord

    now, event, record = 0.0, None, RunRecord()
    console = display.console(clock=time.time if follow else lambda: now)
    try:
        for at, event in _timed(_follow_log(run_dir) if follow else _effective_events(run_dir)):
            while speed and 0 < now < at and event.type != "run_resumed":  # nobody waits where the run itself paused
                time.sleep(min(_FRAME, (at - now) / speed))
                now = min(at, now + _FRAME * speed)
            now = at
            record.apply(event)
            console(event, record)
    finally:
        console.close()
    if event is None or event.type != "run_finished":
        complain(f"the log ends here; `magentic-kit resume {run_dir}` continues it, `show --follow` waits")


@click.command("list")
@click.argument("folder", type=PATH, default=Path("runs"), metavar="[DIR]")
@json_option(help="Print JSON.")
def list_runs(folder: Path, as_json: bool) -> None:
    """List the runs in DIR (default: runs) with outcome, time, tokens and task, the newest first.

    DIR may also be the directory of a batch, or of several.
    """
    logs = [log for kind in _PLACES for log in folder.glob(f"{kind}/events.jsonl")]
    runs = [_summary(log.parent) for log in sorted(logs, key=lambda log: log.parent.name, reverse=True)]
    if as_json:
        say_json(runs)
        return
    if not runs:
        complain(f"there are no runs in {folder}; `magentic-kit run TEAM` makes one")
    width = None
    if sys.stdout.isatty():
        import shutil

        width = shutil.get_terminal_size().columns
    for run in runs:
        took = "" if run["seconds"] is None else duration(run["seconds"])
        tokens = "?" if run["tokens"] is None else f"{run['tokens']:,}"
        row = one_line(f"{run['run']}  {run['outcome']:10}") + f" {took:>12} {tokens:>9}  "
        say(row + one_line(run["error"] or run["task"], width and max(width - len(row), 20)))


@click.command()
@run_argument
@click.option("--format", "formats", multiple=True, type=click.Choice(_FORMATS), help="Default: all of them.")
def report(run_dir: Path, formats: tuple[str, ...]) -> None:
    """Write the report of RUN (a run directory) again from its log."""
    from magentic_kit.runlog.record import RunRecord
    from magentic_kit.views.report import write_reports

    record = RunRecord.of(_effective_events(run_dir))
    with writing(run_dir):
        paths = write_reports(run_dir, record, formats or _FORMATS)
    say("\n".join(map(str, paths)))


def _effective_events(run_dir: Path) -> Iterable[AnyEvent]:
    """Returns the events of a run's log without those that a resumed run took back."""
    from magentic_kit.events import effective
    from magentic_kit.runlog.directory import read_log

    return effective(read_log(run_dir)[0])


def _follow_log(run_dir: Path) -> Iterator[AnyEvent]:
    """Yields the effective events of a run's log, and what is written to it until the run ends."""
    from magentic_kit.runlog.directory import LOG, read_log

    size, events = 0, [*_effective_events(run_dir)]
    yield from events
    while not events or events[-1].type != "run_finished":
        time.sleep(_POLL)
        if size != (size := (run_dir / LOG).stat().st_size):
            new = read_log(run_dir)[0][events[-1].seq + 1 if events else 0 :]
            yield from new
            events += new


def _timed(events: Iterable[AnyEvent]) -> Iterator[tuple[float, AnyEvent]]:
    """Yields events with their times in seconds since 1970, and before it an agent's text, split over its time."""
    from magentic_kit import events as ev

    before = 0.0
    for event in events:
        at = ev.seconds(event.time)
        if isinstance(event, ev.ModelCallFinished) and event.purpose == "turn":
            words = re.findall(r"\s*\S+\s*", event.text)
            for number, word in enumerate(words, 1):
                piece = ev.TextDelta(who=event.who, purpose="turn", text=word)
                yield before + (at - before) * number / len(words), piece
        yield at, event
        before = at


def _summary(run_dir: Path) -> dict[str, Any]:
    """Returns one row of `list`; a log that cannot be read has the outcome `damaged` and the reason."""
    from magentic_kit.runlog.record import RunRecord

    error = ""
    try:
        record = RunRecord.of(_effective_events(run_dir))
    except KitError as problem:
        record, error = RunRecord(outcome="damaged"), str(problem)
    return {
        "run": str(run_dir),
        "outcome": record.outcome or "unfinished",
        "tokens": record.tokens,
        "error": error,
        "team": record.team,
        "task": record.task,
        "started": record.started,
        "seconds": record.seconds,
    }
