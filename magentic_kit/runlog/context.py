"""What the parts of one run share: events go out through it, limits and cancellation come in."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

import anyio

from magentic_kit import events as ev
from magentic_kit.errors import LimitReached, RunCancelled
from magentic_kit.events import AnyEvent
from magentic_kit.runlog.directory import RunLog
from magentic_kit.runlog.redaction import Redactor
from magentic_kit.runlog.replay import Request, Steps
from magentic_kit.team.models import Limits

if TYPE_CHECKING:
    from magentic_kit.runlog.settle import UnknownTools

logger = logging.getLogger(__name__)

Sink = Callable[[AnyEvent], None]
"""Receives every event of a run, in order. One that raises is logged and never harms the run."""

CALL: ContextVar[tuple[RunContext, Iterator[str]] | None] = ContextVar("call", default=None)
"""Within a call that a run makes: that run, and a name for each run that is begun inside the call."""


class RunContext:
    """One run's way out (`emit`) and the two things that may end any of its steps: a limit, a cancel."""

    def __init__(
        self,
        *,
        run_id: str,
        limits: Limits,
        sinks: list[Sink],
        steps: Steps | None = None,
        redactor: Redactor | None = None,
    ) -> None:
        self.run_id = run_id
        self.limits = limits
        self.steps = steps or Steps()
        self.limit: LimitReached | None = None
        self.cancelled = asyncio.Event()
        self.tokens = 0
        self.redactor = redactor or Redactor()
        self.log: RunLog | None = None
        """Where logged events are written first; what it raises ends the run."""
        self.unknown_tools: UnknownTools = {}  # for the runs that its calls begin
        self._sinks = sinks
        self._broken: set[int] = set()
        self._seq = self.steps.next_seq
        self._scopes: set[anyio.CancelScope] = set()
        self._began = self._asked = time.monotonic()
        self._asking = 0  # people who are being asked just now; the clock stands still

    # -- events out

    def emit(self, event: AnyEvent) -> None:
        """Stamps, redacts and logs the event, then shows it to every sink. Raises only what the log raises."""
        if event.key in self.steps.known:
            return  # a run that is resumed has told this already
        if self.steps.resumed_from is not None:
            last, self.steps.resumed_from = self.steps.resumed_from, None
            self.emit(ev.RunResumed(from_seq=last))
        seq = self._seq if event.logged else -1
        event = replace(self.redactor.event(event), seq=seq, time=ev.now(), run_id=self.run_id)
        try:
            if event.logged:
                self._seq += 1
                if self.log is not None:
                    self.log.write(event)
                    self.steps.requests.learn(event)
        finally:
            for sink in self._sinks:
                self.show(sink, event)

    def begin_call(self, event: ev.ModelCallStarted, request: Request) -> None:
        """Emits the start of a model call, with its request packed for the log."""
        if event.key in self.steps.known:
            if self.steps.asked(event.call) == request:
                return
            self.steps.known.discard(event.key)  # it broke off, and is now asked differently
        self.emit(replace(event, request=self.steps.requests.pack(event.who, request)) if self.log else event)

    def show(self, sink: Sink, event: AnyEvent) -> None:
        """Hands the event to one sink, whatever the sink makes of it."""
        try:
            sink(event)
        except Exception:
            if id(sink) not in self._broken:
                self._broken.add(id(sink))
                logger.warning("the sink %r raised; the run goes on", sink, exc_info=True)

    async def logged(self) -> None:
        """Waits until what was logged is safe: what was paid for, or begun, is safe before the run goes on."""
        if self.log is not None:
            await self.log.sync()

    def enter(self, call: str) -> None:
        """Makes the runs that this task begins from here on parts of the call."""
        CALL.set((self, (f"{call}.{n}" for n in count())))

    # -- limits and cancellation in

    def begin(self) -> None:
        """Starts the clock that the deadline is measured by."""
        self._began = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the run began, but for the time that people took to answer."""
        return (self._asked if self._asking else time.monotonic()) - self._began

    def cancel(self) -> None:
        """Ends whatever is under way, in milliseconds; later steps raise `RunCancelled` at once."""
        self.cancelled.set()
        for scope in tuple(self._scopes):
            scope.cancel()

    def reach(self, limit: str, detail: str) -> LimitReached:
        """Marks the run as ended by this limit; only the first one counts."""
        if self.limit is None:
            self.limit = LimitReached(limit, detail)
            self.emit(ev.LimitReached(limit=limit, detail=detail))
        return self.limit

    def check(self, *, final: bool = False) -> None:
        """Raises if the run may not go on. After a limit the `final` answer may still be written."""
        if self.cancelled.is_set():
            raise RunCancelled("the run was cancelled")
        limits = self.limits
        if self._seconds_left(final=final) <= 0.001:
            reached = self.reach("deadline", f"the time of {limits.deadline:g} s for the run is used up")
            if final:
                raise reached
        if final:
            return
        if limits.max_tokens is not None and self.tokens >= limits.max_tokens:
            self.reach("max_tokens", f"{self.tokens} tokens were used; the limit is {limits.max_tokens}")
        if self.limit is not None:
            raise self.limit

    @contextmanager
    def interruptible(
        self, *, seconds: float | None = None, final: bool = False, person: bool = False
    ) -> Iterator[None]:
        """Ends the awaits inside on cancel, at the deadline, or after `seconds`.

        The time that a `person` takes does not count against the deadline.

        Raises `RunCancelled`, `LimitReached` or `TimeoutError` accordingly. The body must not yield to
        other code while inside (no `yield` of a generator), as a cancel scope belongs to one task.
        """
        self.check(final=final)
        unbound = float("inf")
        bound = min(unbound if person else self._seconds_left(final=final), unbound if seconds is None else seconds)
        if person:
            self._asked = self._asked if self._asking else time.monotonic()
            self._asking += 1
        with anyio.CancelScope(deadline=anyio.current_time() + max(bound, 0)) as scope:
            self._scopes.add(scope)
            try:
                yield
            finally:
                self._scopes.discard(scope)
                if person:
                    self._asking -= 1
                    self._began += 0 if self._asking else time.monotonic() - self._asked
        if scope.cancelled_caught:
            self.check(final=final)
            raise TimeoutError

    def _seconds_left(self, *, final: bool) -> float:
        """Until the deadline; work stops a fifth (at most 30 s) earlier, so that an answer can be written."""
        if self.limits.deadline is None:
            return float("inf")
        kept = 0.0 if final else min(30.0, self.limits.deadline / 5)
        return self.limits.deadline - kept - self.elapsed
