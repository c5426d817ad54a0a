"""A queued run as its worker has it: its log and the pace of its services, in the database; and as a directory."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from magentic_kit.cluster import OUTCOMES, Database, Entry
from magentic_kit.errors import JournalError
from magentic_kit.events import AnyEvent
from magentic_kit.journal import Journal
from magentic_kit.rates import Pace
from magentic_kit.record import RunRecord
from magentic_kit.report import write_reports

logger = logging.getLogger(__name__)


class HeldLog:
    """The log of a run that a worker has, and of the runs that its calls begin, which share its fate."""

    directory: Path | None = None

    def __init__(self, database: Database, held: Entry, run: str = "", outer: HeldLog | None = None) -> None:
        self._database, self._held, self._run = database, held, run or held.id
        self._root: HeldLog = outer._root if outer else self
        self.broken: JournalError | None = None

    def read(self) -> list[AnyEvent]:
        """What was written so far. Raises `JournalError`."""
        return self._database.log(self._run)

    def describe(self, team: str) -> None:
        """Nothing: the queue has the team."""

    def write(self, event: AnyEvent) -> None:
        """Appends the event. Raises `JournalError`, once for all: nothing may follow a gap."""
        if self._root.broken is None:
            try:
                return self._database.write(self._held, event, to=self._run)
            except JournalError as error:
                self._root.broken = error
        raise self._root.broken

    def inside(self, call: str, team: str) -> HeldLog:
        """The log of the run that this call of the run begins, or began earlier."""
        return HeldLog(self._database, self._held, f"{self._run}/{call}", self)

    def close(self) -> None:
        """Nothing: the worker tells the database how it leaves the run."""


class SharedPace(Pace):
    """When the next call to a service may be made, for all workers of a database together.

    While the database is away nobody calls: what is not logged may not happen.
    """

    def __init__(self, database: Database, service: str) -> None:
        super().__init__()
        self._database, self._service = database, hashlib.sha256(service.encode()).hexdigest()

    async def enter(self) -> float:
        """Seconds to wait before this is asked again; 0 if the call may be made now, which then counts."""
        return await _surely(lambda: self._database.enter(self._service))

    async def replied(self, tokens: int) -> None:
        """The service has answered."""
        await _surely(lambda: self._database.replied(self._service, tokens))

    async def refused(self, seconds: float) -> None:
        """The service has asked for so much time."""
        await _surely(lambda: self._database.refused(self._service, seconds))


async def _surely(work: Callable[[], float | None]) -> float:
    while True:
        try:
            return await asyncio.to_thread(work) or 0.0
        except JournalError as error:
            logger.error("%s", error)


def derive(database: Database, id: str, out: Path, formats: Sequence[str]) -> tuple[RunRecord, Path]:
    """Writes the run's directory under `out`, or what it lacks: its log and reports, and those of runs inside it.

    Returns its record and its directory. Raises `ConfigError`.
    """
    (entry,) = database.entries(id)
    (out / id).mkdir(parents=True, exist_ok=True)
    journals, records = {id: Journal(out / id)}, {}
    journals[id].describe(entry.spec["team"])
    try:
        for run in [id, *database.inner(id)]:
            events = database.log(run)
            records[run] = RunRecord.of(events)
            if run != id:
                outer, _, call = run.rpartition("/")
                journals[run] = journals[outer].inside(call, records[run].team)
            elif entry.state in OUTCOMES:
                records[run].outcome = entry.state  # one that was cancelled while nobody had it has no last event
            for event in events[len(journals[run].read()) :]:
                journals[run].write(event)
            write_reports(journals[run].path.parent, records[run], formats)
    finally:
        for journal in journals.values():
            journal.close()
    return records[id], out / id
