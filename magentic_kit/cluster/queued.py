"""A queued run as anybody else sees it: derived as a directory, or followed as a part of a batch."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magentic_kit.cluster.database import OUTCOMES, Database
from magentic_kit.runlog.directory import Journal
from magentic_kit.runlog.files import make_directory
from magentic_kit.runlog.record import RunRecord
from magentic_kit.runlog.result import RunResult
from magentic_kit.views.report import write_reports

if TYPE_CHECKING:
    from magentic_kit.batch.runner import Batch
    from magentic_kit.batch.tasks import Task

_POLL = 0.5
"""Seconds between looks at how runs stand."""


class Queue:
    """Lets the workers of a database carry out the tasks of a batch; whoever follows may stop and come back.

    `approve` and `approve_plan` as for `Database.submit`. Limits that the batch is given are set for the database.
    """

    def __init__(
        self, database: Database, batch: Batch, *, approve: Sequence[str] = (), approve_plan: bool = False
    ) -> None:
        self._database, self._factory = database, batch.factory
        self._people: Any = {"approve": approve, "approve_plan": approve_plan}
        self.prefix = f"{batch.directory.name}-"
        self._known: dict[str, tuple[str, str]] = {}
        self._looking: asyncio.Future[None] | None = None
        self._stopped = False

    def prepare(self, limits: Mapping[str, int | None]) -> float:
        """Sets the limits, and lets those runs go on that are there already and failed or were cancelled."""
        self._database.limit(**limits)
        for id, (state, _) in self._database.states(self.prefix).items():
            if state in ("failed", "cancelled"):
                self._database.settle(id, {})
        self._known = self._database.states(self.prefix)
        return math.inf

    async def run(self, task: Task, home: Path) -> RunResult | None:
        """Queues the run if it is not; waits for its end, and derives its directory. None once cancelled."""
        id = self.prefix + home.name.partition("-")[0]
        if id not in self._known:
            how = {"inputs": task.inputs, "id": id, **self._people}
            await asyncio.to_thread(self._database.submit, self._factory, task.task, **how)
        while (known := self._known.get(id, ("", "")))[0] not in (*OUTCOMES, "parked"):
            if self._stopped:
                return None
            await self._look()
        formats = self._factory.blueprint.config.report.formats
        record, run_dir = await asyncio.to_thread(derive, self._database, id, home, formats)
        if known[0] == "parked":
            told = f"{known[1]}; then magentic-kit settle {id}"
            record.outcome, record.error = "parked", {"kind": "parked", "message": told}
        return RunResult.of(record, run_dir)

    def cancel(self) -> None:
        """Stops following; the runs go on."""
        self._stopped = True

    async def _look(self) -> None:
        """Waits for the next look at all runs, which all who wait for one share."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._look_later())
        await asyncio.shield(self._looking)

    async def _look_later(self) -> None:
        await asyncio.sleep(_POLL)
        self._known = await asyncio.to_thread(self._database.states, self.prefix)


def derive(database: Database, id: str, out: Path, formats: Sequence[str]) -> tuple[RunRecord, Path]:
    """Writes the run's directory under `out`, or what it lacks: its log and reports, and those of runs inside it.

    Returns its record and its directory. Raises `ConfigError`.
    """
    (entry,) = database.entries(id)
    make_directory(out / id, exist_ok=True)
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
