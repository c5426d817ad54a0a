"""`list`, `show` and `report`: what is told about runs from their logs, without Semantic Kernel."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magentic_kit.cli.arguments import argument, command, flag, number, repeated
from magentic_kit.cli.common import VERBOSITY_OPTIONS, complain, say, writing
from magentic_kit.errors import ConfigError, KitError
from magentic_kit.text import duration, one_line

if TYPE_CHECKING:
    from magentic_kit.events import AnyEvent

_POLL = 0.2  # seconds between looks at a log that is followed
_FRAME = 0.1  # seconds for which the clock of a replay may stand still

_PLACES = ("*", "tasks/*/*", "*/tasks/*/*")  # of run directories: below runs, a batch, and batches
_FORMATS = ("md", "html", "json")
_SPEED = number(float, lambda speed: speed > 0, "a number above 0")
_RUN = argument("run_dir", type=Path, metavar="RUN")


@command(
    _RUN,
    flag("--follow", help="Go on with what is written to the log, to the end of the run."),
    argument("--speed", type=_SPEED, metavar="N", help="Take the time it took; 2: half of it."),
    flag("--plain", help="Plain lines: no colour, no live display."),
    *VERBOSITY_OPTIONS,
)
def show(run_dir: Path, follow: bool, speed: float | None, plain: bool, verbosity: str, show_reasons: bool) -> None:
    """Play RUN (a run directory) on the console as it was, at once, or live from another terminal."""
    from magentic_kit.runlog.record import RunRecord
    from magentic_kit.views.display import make_console

    if follow and speed:
        raise ConfigError.one("give --follow or --speed, not both", file="command line")
    now, event, record = 0.0, None, RunRecord()
    console = make_console(
        mode="plain" if plain else "auto",
        verbosity=verbosity,
        show_reasons=show_reasons,
        clock=time.time if follow else lambda: now,
    )
    try:
        for at, event in _timed(_followed(run_dir) if follow else _held(run_dir)):
            while speed and 0 < now < at and event.type != "run_resumed":  # nobody waits where the run itself paused
                time.sleep(min(_FRAME, (at - now) / speed))
                now = min(at, now + _FRAME * speed)
            now = at
            record.apply(event)
            console(event, record)
    finally:
        console.close()
    if event is None or event.type != "run_finished":
        complain(f"the log ends here; `magentic-kit resume {run_dir}` goes on, `show --follow` waits")


@command(
    argument("folder", nargs="?", type=Path, metavar="[DIR]", default=Path("runs")),
    flag("--json", dest="as_json", help="Print JSON."),
)
def list(folder: Path, as_json: bool) -> None:  # the command's name
    """List the runs in DIR (default: runs) with outcome, time, tokens and task, the newest first.

    DIR may also be the directory of a batch, or of several.
    """
    logs = [log for kind in _PLACES for log in folder.glob(f"{kind}/events.jsonl")]
    runs = [_summary(log.parent) for log in sorted(logs, key=lambda log: log.parent.name, reverse=True)]
    if as_json:
        return say(json.dumps(runs, indent=2))
    if not runs:
        complain(f"there are no runs in {folder}; `magentic-kit run TEAM` makes one")
    import shutil

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for run in runs:
        took = "" if run["seconds"] is None else duration(run["seconds"])
        tokens = "?" if run["tokens"] is None else f"{run['tokens']:,}"
        row = f"{one_line(run['run'])}  {one_line(run['outcome']):10} {took:>12} {tokens:>9}  "
        say(row + one_line(run["error"] or run["task"], width and max(width - len(row), 20)))
    return None


@command(_RUN, repeated("--format", dest="formats", choices=_FORMATS, help="Default: all of them."))
def report(run_dir: Path, formats: tuple[str, ...]) -> None:
    """Write the report of RUN (a run directory) again from its log."""
    from magentic_kit.runlog.record import RunRecord
    from magentic_kit.views.report import write_reports

    record = RunRecord.of(_held(run_dir))
    with writing(run_dir):
        paths = write_reports(run_dir, record, formats or _FORMATS)
    say("\n".join(map(str, paths)))


def _held(run_dir: Path) -> Iterable[AnyEvent]:
    """What holds of a run's log."""
    from magentic_kit.events import effective
    from magentic_kit.runlog.directory import read_log

    return effective(read_log(run_dir)[0])


def _followed(run_dir: Path) -> Iterator[AnyEvent]:
    """What holds of a run's log, and what is written to it until the run ends."""
    from magentic_kit.runlog.directory import LOG, read_log

    size, events = 0, [*_held(run_dir)]
    yield from events
    while not events or events[-1].type != "run_finished":
        time.sleep(_POLL)
        if size != (size := (run_dir / LOG).stat().st_size):
            new = read_log(run_dir)[0][events[-1].seq + 1 if events else 0 :]
            yield from new
            events += new


def _timed(events: Iterable[AnyEvent]) -> Iterator[tuple[float, AnyEvent]]:
    """Events with their times in seconds since 1970, what agents said once more in the pieces in which it came."""
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
    """What is told of a run in one line; a log that cannot be read is told too."""
    from magentic_kit.runlog.record import RunRecord

    error = ""
    try:
        record = RunRecord.of(_held(run_dir))
    except KitError as problem:
        record, error = RunRecord(outcome="damaged"), str(problem)
    data = {name: getattr(record, name) for name in ("team", "task", "started", "seconds")}
    told = {"outcome": record.outcome or "unfinished", "tokens": record.tokens, "error": error}
    return {"run": str(run_dir), **told, **data}
