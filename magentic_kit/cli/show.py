"""`show`: a run played from its log on the console, at once, at its own pace or live."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from magentic_kit.cli.environment import open_database
from magentic_kit.cli.options import ConsoleOptions, FiniteRange, console_options
from magentic_kit.cli.output import complain
from magentic_kit.cli.run_directory import find_run
from magentic_kit.errors import ConfigError

if TYPE_CHECKING:
    from magentic_kit.events import AnyEvent

_POLL = 0.2  # seconds between looks at a log that is followed
_FRAME = 0.1  # seconds for which the clock of a replay may stand still


@click.command()
@click.argument("run", metavar="RUN")
@click.option("--database", "url", metavar="URL", help="RUN is the id of a queued run there, whoever carries it out.")
@click.option("--follow", is_flag=True, help="Continue with what is written to the log, to the end of the run.")
@click.option(
    "--speed",
    type=FiniteRange(min=0, min_open=True),
    metavar="N",
    help="Take the time that the run took, divided by N.",
)
@console_options
def show(run: str, url: str | None, follow: bool, speed: float | None, display: ConsoleOptions) -> None:
    """Play RUN (a run directory, an id or its beginning, or `last`) as it was, at once, or live while it runs.

    With --database, RUN is a queued run, on whatever machine it is carried out.
    """
    if follow and speed:
        raise ConfigError.one("give --follow or --speed, not both", file="command line")
    from magentic_kit.runlog.record import RunRecord

    now, event, record = 0.0, None, RunRecord()
    console = display.console(clock=time.time if follow else lambda: now)
    try:
        for at, event in _timed(_queued_events(run, url, follow) if url else _events(find_run(Path(run)), follow)):
            while speed and 0 < now < at and event.type != "run_resumed":  # nobody waits where the run itself paused
                time.sleep(min(_FRAME, (at - now) / speed))
                now = min(at, now + _FRAME * speed)
            now = at
            record.apply(event)
            console(event, record)
    finally:
        console.close()
    if event is None or event.type != "run_finished":
        resumes = "a worker" if url else f"`magentic-kit resume {find_run(Path(run))}`"
        complain(f"the log ends here; {resumes} continues it, `show --follow` waits")


def _queued_events(run_id: str, url: str, follow: bool) -> Iterable[AnyEvent]:
    """The events of a queued run that hold, and with `follow` those to come. Raises `ConfigError`."""
    from magentic_kit.events import effective

    database = open_database(url)
    if follow:
        return database.follow(run_id)
    return effective(database.history(run_id).log())


def _events(run_dir: Path, follow: bool) -> Iterable[AnyEvent]:
    if follow:
        return _follow_log(run_dir)
    from magentic_kit.runlog.listing import effective_events

    return effective_events(run_dir)


def _follow_log(run_dir: Path) -> Iterator[AnyEvent]:
    """Yields the effective events of a run's log, and what is written to it until the run ends."""
    from magentic_kit.events import effective
    from magentic_kit.runlog.reader import LogTail

    log = LogTail(run_dir)
    events = effective(log.read())
    yield from events
    while not events or events[-1].type != "run_finished":
        time.sleep(_POLL)
        new = log.read()
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
