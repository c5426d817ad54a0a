"""A queued run as its worker has it: its log, and the pace of its services, are in the database."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

from magentic_kit.cluster.database import Database, Entry
from magentic_kit.errors import JournalError
from magentic_kit.events import AnyEvent
from magentic_kit.services.rate_limits import Pace

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

    async def sync(self) -> None:
        """Nothing: the database has committed what was written."""

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
