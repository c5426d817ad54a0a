"""The way out of a run: each event is stamped, redacted, logged, folded into the record once, and then shown."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from magentic_kit import events as ev
from magentic_kit.events import AnyEvent
from magentic_kit.runlog.attachments import Attachments
from magentic_kit.runlog.directory import RunLog
from magentic_kit.runlog.record import RunRecord, View
from magentic_kit.runlog.redaction import Redactor
from magentic_kit.runlog.replay import RecordedSteps
from magentic_kit.runlog.requests import Request

logger = logging.getLogger(__name__)

Sink = Callable[[AnyEvent], None]
"""Receives every event of a run, in order. One that raises is logged and never harms the run."""


class RunEmitter:
    """Emits the events of one run, behind those that its log holds already.

    `views` and `sinks` are called in the task that emits; one that raises is logged once and never harms the run.
    """

    def __init__(
        self,
        run_id: str,
        *,
        redactor: Redactor,
        steps: RecordedSteps,
        views: Iterable[View] = (),
        sinks: Iterable[Sink] = (),
    ) -> None:
        self.run_id = run_id
        self.redactor = redactor
        self.record = RunRecord()
        self.attachments = Attachments(steps.attachments)
        self._log: RunLog | None = None
        self._steps = steps
        self._views = list(views)
        self._sinks = tuple(sinks)
        self._broken: set[int] = set()
        self._seq = steps.next_seq

    @property
    def log(self) -> RunLog | None:
        """Where logged events are written before they are shown; what it raises ends the run."""
        return self._log

    @log.setter
    def log(self, log: RunLog | None) -> None:
        self._log = self.attachments.log = log

    def add_view(self, view: View) -> None:
        """Shows later events to this view too, before those that are there already."""
        self._views.insert(0, view)

    def emit(self, event: AnyEvent) -> None:
        """Stamps, redacts, logs and shows the event, unless the log has it. Raises only what the log raises."""
        if self._steps.is_logged(event):
            return
        last = self._steps.take_resume_point()
        if last is not None:
            self.emit(ev.RunResumed(from_seq=last))
        seq = self._seq if event.logged else -1
        event = self.redactor.event(event, seq=seq, time=ev.now(), run_id=self.run_id)
        try:
            if event.logged:
                self._seq += 1
                if self.log is not None:
                    self.log.write(event)
                    self._steps.requests.learn(event)
        finally:
            self.show(event)

    def begin_call(self, event: ev.ModelCallStarted, request: Request) -> None:
        """Emits the start of a model call, with its request packed for the log."""
        if self._steps.is_request_logged(event, request):
            return
        if self.log is not None:
            event = replace(event, request=self._steps.requests.pack(event.who, request))
        self.emit(event)

    def show(self, event: AnyEvent) -> None:
        """Takes an event of the log into the record and shows it, without writing it."""
        if event.logged:
            self._call(self.record.apply, event)
        for view in self._views:
            self._call(view, event, self.record)
        for sink in self._sinks:
            self._call(sink, event)

    async def synced(self) -> None:
        """Waits until the log is on the disk: what was paid for, or begun, is safe before the run goes on."""
        if self.log is not None:
            await self.log.sync()

    def _call(self, receiver: Callable[..., None], *arguments: Any) -> None:
        try:
            receiver(*arguments)
        except Exception:
            if id(receiver) not in self._broken:
                self._broken.add(id(receiver))
                logger.warning("the sink %r raised; the run goes on", receiver, exc_info=True)


@dataclass(frozen=True)
class ParentCall:
    """A call of a run inside which other teams may run, as parts of it."""

    emitter: RunEmitter
    steps: RecordedSteps
    name: str
    _numbers: Iterator[int] = field(default_factory=count)

    def next_run(self) -> str:
        """A name for the next run that begins inside this call."""
        return f"{self.name}.{next(self._numbers)}"


PARENT_CALL: ContextVar[ParentCall | None] = ContextVar("parent_call", default=None)
"""The innermost call of a run that the current code is part of."""
