"""The log of a run in the stream of its DBOS workflow, which takes nothing from a worker that has lost the run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from dbos import DBOS
from dbos import error as dbos_error

from magentic_kit import events as ev
from magentic_kit.errors import JournalError
from magentic_kit.events import AnyEvent, from_dict, to_dict

STREAM = "log"
"""The stream of a run: each value is a JSON list of what follows.

`{"worker": name}`: it takes the run; `{"waits": true}`: for a person; `{"run", "event"}`: an event of the run, or of
one inside it.
"""


@dataclass(kw_only=True)
class History:
    """The stream of a run: how often workers have taken it, and the events by the run inside it, `""` for itself.

    `lost` counts the workers that did not bring it to its end or to a question; `ended` is whether its end is last.
    """

    takes: int = 0
    lost: int = 0
    ended: bool = False
    values: int = 0
    logs: dict[str, dict[int, AnyEvent]] = field(default_factory=dict)

    def read(self, value: str) -> None:
        """Adds what a value of the stream has."""
        self.values += 1
        for item in json.loads(value):
            if "worker" in item:
                self.takes += 1
                self.lost += 1
            elif "waits" in item:
                self.lost, self.ended = 0, False
            else:
                self.add(item["run"], from_dict(item["event"]))

    def add(self, run: str, event: AnyEvent) -> None:
        """Adds an event. One that was written twice, as the connection was lost, counts once."""
        self.logs.setdefault(run, {})[event.seq] = event
        if not run:
            self.ended = isinstance(event, ev.RunFinished)
            if self.ended:
                self.lost = 0

    def log(self, run: str = "") -> list[AnyEvent]:
        """The events of the run, or of the one that a call of it has begun."""
        return list(self.logs.get(run, {}).values())

    def end(self, state: str, at: float | None) -> None:
        """Gives the log of a run that was cancelled its last event, which DBOS takes from no worker any more."""
        log = self.log()
        if state == "cancelled" and log and not self.ended:
            time = datetime.fromtimestamp(at or 0, timezone.utc).isoformat(timespec="milliseconds")
            end = ev.RunFinished(outcome="cancelled", answer="", seq=log[-1].seq + 1, run_id=log[0].run_id)
            self.add("", replace(end, time=time.replace("+00:00", "Z")))

    def is_idle(self, questions: Iterable[str]) -> bool:
        """Whether no function is under way but those inside which these questions are asked."""
        paths = {next(iter(log.values())).run_id: run for run, log in self.logs.items()}
        asking = []
        for question in questions:
            run_id, _, name = question.partition("/")
            asking.append(f"{paths.get(run_id, '')}/{name}".removeprefix("/"))
        for run in self.logs:
            calls = set()
            for event in ev.effective(self.log(run)):
                if isinstance(event, ev.ToolCallStarted):
                    calls.add(event.call)
                elif isinstance(event, ev.ToolCallFinished | ev.ToolCallFailed):
                    calls.discard(event.call)
            for call in calls:
                inside = f"{run}/{call}.".removeprefix("/")
                if not any(name.startswith(inside) for name in asking):
                    return False
        return True


class StreamLog:
    """The log of a run that this worker carries out, and of the runs that its calls begin, which share its fate.

    Made in the workflow's step, whose context it needs: DBOS compares its token with that of the run's owner in
    the transaction that adds to the stream. `on_broken` is called when they differ.
    """

    directory: Path | None = None

    def __init__(self, history: History, run: str = "", outer: StreamLog | None = None) -> None:
        self.history, self._run = history, run
        self._root: StreamLog = outer._root if outer else self
        self._unwritten: list[str] = []
        self._writing: asyncio.Future[None] | None = None
        self._is_left = False
        self.broken: JournalError | None = None
        self.on_broken: Callable[[], None] = lambda: None

    def read(self) -> list[AnyEvent]:
        """Returns what was written so far."""
        return self.history.log(self._run)

    def describe(self, team: str) -> None:
        """Does nothing: the workflow's input has the team."""

    def write(self, event: AnyEvent) -> None:
        """Adds the event to the next value of the stream. Raises `JournalError` if a value was not taken."""
        root = self._root
        if root.broken is not None:
            raise root.broken
        if root._is_left:
            return
        self.history.add(self._run, event)
        root._unwritten.append(_as_json({"run": self._run, "event": to_dict(event)}))
        root._start()  # though nobody waits: a run that is lost should end before its next call

    async def take(self, worker: str) -> None:
        """Notes that this worker takes the run. Raises `JournalError`."""
        self._unwritten.append(_as_json({"worker": worker}))
        await self.sync()

    async def leave(self) -> None:
        """Notes that the run waits for a person, and writes nothing that follows. Raises `JournalError`."""
        self._is_left = True
        self._unwritten.append(_as_json({"waits": True}))
        await self.sync()

    async def sync(self) -> None:
        """Waits until the database has what was written. Raises `JournalError`, once for all."""
        # A call that is cancelled does not take along what others have written.
        await asyncio.shield(self._root._start())
        if self._root.broken is not None:
            raise self._root.broken

    def _start(self) -> asyncio.Future[None]:
        if self._writing is None or self._writing.done():
            self._writing = asyncio.ensure_future(self._write())
        return self._writing

    async def _write(self) -> None:
        while self._unwritten and self.broken is None:
            value, self._unwritten = f"[{','.join(self._unwritten)}]", []
            try:
                await DBOS.write_stream_async(STREAM, value)
            except dbos_error.DBOSWorkflowConflictIDError:
                self._break(f"another worker has taken {DBOS.workflow_id} over")
            except Exception as error:
                self._break(f"the log of {DBOS.workflow_id} cannot be written: {error}")

    def _break(self, why: str) -> None:
        self.broken = JournalError(why)
        self.on_broken()

    def inside(self, call: str, team: str) -> StreamLog:
        """The log of the run that this call of the run begins, or began earlier."""
        return StreamLog(self.history, f"{self._run}/{call}".removeprefix("/"), self)

    def close(self) -> None:
        """Does nothing: the worker syncs once more when the run has ended."""


def _as_json(item: dict[str, Any]) -> str:
    return json.dumps(item, default=str)  # at once: an event shares what it holds
