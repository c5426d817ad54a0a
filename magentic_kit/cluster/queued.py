"""A queued run as anybody else sees it: derived as a directory, or followed as a part of a batch."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magentic_kit.cluster.database import Database
from magentic_kit.cluster.entry import OUTCOMES, Entry
from magentic_kit.events import AnyEvent
from magentic_kit.runlog.directory import Journal
from magentic_kit.runlog.files import make_directory
from magentic_kit.runlog.record import RunRecord
from magentic_kit.runlog.result import RunResult
from magentic_kit.text import one_line
from magentic_kit.views.report import write_reports

if TYPE_CHECKING:
    from magentic_kit.batch.runner import Batch
    from magentic_kit.batch.tasks import Task

_POLL = 0.5
"""Seconds between looks at the states of runs."""
_NOTE = 500  # characters


class Queue:
    """Lets the workers of a database carry out the tasks of a batch; whoever follows may stop and come back.

    `approve` and `approve_plan` as for `Database.submit`. Limits that the batch is given are set for the database.
    """

    def __init__(
        self, database: Database, batch: Batch, *, approve: Sequence[str] = (), approve_plan: bool = False
    ) -> None:
        self._database, self._factory = database, batch.factory
        self._people: dict[str, Any] = {"approve": approve, "approve_plan": approve_plan}
        self.prefix = f"{batch.directory.name}-"
        self._entries: dict[str, Entry] = {}
        self._looking: asyncio.Future[None] | None = None
        self._stopped = False

    async def prepare(self, limits: Mapping[str, int | None]) -> float:
        """Sets the limits, and lets those runs go on that are there already and failed or were cancelled."""
        await asyncio.to_thread(self._prepare, limits)
        return math.inf

    def _prepare(self, limits: Mapping[str, int | None]) -> None:
        self._database.limit(**limits)
        for entry in self._database.entries(self.prefix):
            if entry.state in ("failed", "cancelled"):
                self._database.answer(entry.id, "retry")
        self._look()

    async def run(self, task: Task, home: Path) -> RunResult | None:
        """Queues the run if it is not; waits for its end, and derives its directory. None once cancelled."""
        id = self.prefix + home.name.partition("-")[0]
        if id not in self._entries:
            given = {"inputs": task.inputs, "attach": task.attach, **self._people}
            await asyncio.to_thread(self._database.submit, self._factory, task.task, id=id, **given)
        while (entry := self._entries.get(id)) is None or entry.state not in (*OUTCOMES, "waiting"):
            if self._stopped:
                return None
            await self._next_look()
        formats = self._factory.blueprint.config.report.formats
        record, run_dir = await asyncio.to_thread(derive, self._database, id, home, formats)
        if entry.state == "waiting":
            message = f"{one_line(entry.note, _NOTE)}: see magentic-kit inbox {id}"
            record.outcome, record.error = "waiting", {"kind": "waiting", "message": message}
        return RunResult.of(record, run_dir)

    def cancel(self) -> None:
        """Stops following; the runs go on."""
        self._stopped = True

    async def _next_look(self) -> None:
        """Waits for the next look at all runs, which all who wait for one share."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._look_later())
        await asyncio.shield(self._looking)

    async def _look_later(self) -> None:
        await asyncio.sleep(_POLL)
        await asyncio.to_thread(self._look)

    def _look(self) -> None:
        self._entries = {entry.id: entry for entry in self._database.entries(self.prefix)}


def derive(database: Database, id: str, out: Path, formats: Sequence[str]) -> tuple[RunRecord, Path]:
    """Writes the run's directory under `out`, or what it lacks: its log and reports, and those of runs inside it.

    Returns its record and its directory. Raises `ConfigError`.
    """
    from magentic_kit.cluster.queueable import contents_of

    entry, history, spec = database.entry(id), database.history(id), database.spec(id)
    make_directory(out / id, exist_ok=True)
    journals, records = {"": _journal(out / id, history.log())}, dict[str, RunRecord]()
    journals[""].describe(spec["team"])
    try:
        for sha256, content in (history.contents | contents_of(spec)).items():
            journals[""].keep(sha256, content)
        for run in sorted({"", *history.logs}):  # each after the one that began it
            events = history.log(run)
            records[run] = RunRecord.of(events)
            if run:
                outer, _, call = run.rpartition("/")
                journals[run] = journals[outer].inside(call, records[run].team)
            elif entry.state in OUTCOMES:
                records[run].outcome = entry.state  # of one that was cancelled before it began
            for event in events[len(journals[run].read()) :]:
                journals[run].write(event)
            write_reports(journals[run].path.parent, records[run], formats)
    finally:
        for journal in journals.values():
            journal.close()
    return records[""], out / id


def _journal(directory: Path, events: Sequence[AnyEvent]) -> Journal:
    """The journal of a run, without what it has otherwise: the end of one that was cancelled and goes on."""
    journal = Journal(directory)
    written = journal.read()
    if written != events[: len(written)]:
        journal.path.unlink()
        journal.close()
        journal = Journal(directory)
    return journal
