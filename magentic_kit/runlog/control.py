"""What may end a step of a run: a cancel, the deadline, another limit, or a time of its own."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from magentic_kit import events as ev
from magentic_kit.errors import LimitReached, RunCancelled
from magentic_kit.runlog.emitter import RunEmitter
from magentic_kit.text import money

_FOR_THE_ANSWER = 30.0
"""Seconds before the deadline, or a fifth of it if that is less, that are kept for writing the answer."""

_GRACE, _LEAST = 2.0, 0.5
"""Seconds after the deadline by which the run has ended, and that any part of its end is given."""


class StepTimeout(Exception):
    """A step took longer than the time it was given."""


class RunClock:
    """Counts the seconds of a run, without the time that people take to answer."""

    def __init__(self) -> None:
        self._began = self._paused_at = time.monotonic()
        self._pauses = 0  # people who are being asked just now
        self.used = 0.0
        """Seconds of an earlier part of the run, with which it begins."""

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        now = self._paused_at if self._pauses else time.monotonic()
        return now - self._began

    def start(self) -> None:
        """Begins to count."""
        self._began = time.monotonic() - self.used

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Stops the clock while the body runs."""
        if not self._pauses:
            self._paused_at = time.monotonic()
        self._pauses += 1
        try:
            yield
        finally:
            self._pauses -= 1
            if not self._pauses:
                self._began += time.monotonic() - self._paused_at


class RunControl:
    """Holds the limits of one run and ends its steps when one is reached or the run is cancelled."""

    def __init__(self, limits: ev.RunLimits, emitter: RunEmitter) -> None:
        self.limits = limits
        self.clock = RunClock()
        self.cancelled = asyncio.Event()
        self.reached: LimitReached | None = None
        """The limit that ends the run; the first one counts."""
        self.tokens = 0
        self.cost = 0.0
        """US dollars, estimated where a provider counted no tokens."""
        self._emitter = emitter
        self._scopes: set[anyio.CancelScope] = set()

    def cancel(self) -> None:
        """Ends whatever is under way, in milliseconds; later steps raise `RunCancelled` at once."""
        self.cancelled.set()
        for scope in tuple(self._scopes):
            scope.cancel()

    # -- limits

    def check(self, *, final: bool = False) -> None:
        """Raises `RunCancelled` or `LimitReached` if the run may not go on; the `final` answer may follow a limit."""
        if self.cancelled.is_set():
            raise RunCancelled("the run was cancelled")
        if self._seconds_left(final=final) <= 0.001:
            reached = self._reach("deadline", f"the time of {self.limits.deadline:g} s for the run is used up")
            if final:
                raise reached
        if final:
            return
        most = self.limits.max_tokens
        if most is not None and self.tokens >= most:
            self._reach("max_tokens", f"{self.tokens} tokens were used; the limit is {most}")
        budget = self.limits.max_cost
        if budget is not None and self.cost >= budget:
            self._reach("max_cost", f"{money(self.cost)} was spent; the limit is {money(budget)}")
        if self.reached is not None:
            raise self.reached

    def require_seconds(self, seconds: float, reason: str, *, final: bool = False) -> None:
        """Raises `LimitReached` at once if the deadline comes before so many seconds have passed."""
        if self.limits.deadline is not None and seconds > max(0.0, self._seconds_left(final=final)):
            reached = self._reach("deadline", f"{reason}, but the deadline is {self.limits.deadline:g} s")
            raise reached

    def time_to_end(self, most: float) -> float:
        """Seconds that something may take to end: `most`, less if the deadline is near or has passed."""
        if self.limits.deadline is None:
            return most
        return min(most, max(_LEAST, self.limits.deadline + _GRACE / 2 - self.clock.elapsed))

    def check_progress(self, *, round: int, stalls: int, resets: int) -> None:
        """Raises `LimitReached` if no further round, or no further plan, is allowed.

        The round after the last is judged too: work that its last agent finished counts as finished.
        """
        limits = self.limits
        if limits.max_rounds is not None and round > limits.max_rounds:
            raise self._reach("max_rounds", f"all {limits.max_rounds} rounds were used")
        if limits.max_stalls is None or limits.max_resets is None:
            return
        if stalls > limits.max_stalls and resets >= limits.max_resets:
            raise self._reach("max_resets", f"stalled again after {resets} new plans")

    def _reach(self, limit: str, detail: str) -> LimitReached:
        if self.reached is None:
            self.reached = LimitReached(limit, detail)
            self._emitter.emit(ev.LimitReached(limit=limit, detail=detail))
        return self.reached

    # -- steps

    @contextmanager
    def step(self, *, seconds: float | None = None, final: bool = False) -> Iterator[None]:
        """Ends the awaits inside on cancel, at the deadline, or after `seconds`.

        Raises `RunCancelled`, `LimitReached` or `StepTimeout` accordingly. The body must not yield to other
        code while inside (no `yield` of a generator), as a cancel scope belongs to one task.
        """
        self.check(final=final)
        bound = self._seconds_left(final=final)
        if seconds is not None:
            bound = min(bound, seconds)
        with anyio.CancelScope(deadline=anyio.current_time() + max(bound, 0)) as scope, self._ending(scope):
            yield
        if scope.cancelled_caught:
            self.check(final=final)
            raise StepTimeout

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Stops the clock while a person is asked, and ends the awaits inside on cancel. Raises `RunCancelled`."""
        self.check()
        with self.clock.pause(), anyio.CancelScope() as scope, self._ending(scope):
            yield
        if scope.cancelled_caught:
            self.check()

    @contextmanager
    def _ending(self, scope: anyio.CancelScope) -> Iterator[None]:
        """Lets `cancel` end the scope."""
        self._scopes.add(scope)
        try:
            yield
        finally:
            self._scopes.discard(scope)

    def _seconds_left(self, *, final: bool) -> float:
        deadline = self.limits.deadline
        if deadline is None:
            return math.inf
        kept = 0.0 if final else min(_FOR_THE_ANSWER, deadline / 5)
        return deadline - kept - self.clock.elapsed
