"""What all calls to one service share: how many at a time, how many a minute, and the wait after a refusal."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import anyio


class Pace:
    """When the next call to a service may be made, by this process's clock, or another that counts seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._per_call = self._per_token = 0.0  # seconds
        self._next_call = self._paid_until = self._reopens = 0.0  # by the clock

    def limit(self, *, rpm: int | None, tpm: int | None) -> None:
        """Spreads calls evenly, so that no minute has more than `rpm` requests and, in the long run, `tpm` tokens."""
        self._per_call, self._per_token = 60 / (rpm or math.inf), 60 / (tpm or math.inf)

    async def enter(self) -> float:
        """Seconds to wait before this is asked again; 0 if the call may be made now, which then counts."""
        wait = max(self._next_call, self._paid_until, self._reopens) - (now := self._clock())
        if wait <= 0:
            self._next_call = now + self._per_call
        return max(wait, 0.0)

    async def replied(self, tokens: int) -> None:
        """The service has answered."""
        self._paid_until = max(self._paid_until, self._clock()) + tokens * self._per_token

    async def refused(self, seconds: float) -> None:
        """The service has asked for so much time."""
        self._reopens = max(self._reopens, self._clock() + seconds)


class Throttle:
    """The way to one service, the same for all runs of a process that use it.

    Without limits nobody waits. A service that refuses (429) halves the calls that may be in flight and is left
    alone, by all, for as long as it asks for; each reply makes room for one more.
    """

    def __init__(self, pace: Pace | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.pace = pace or Pace()
        self._clock = clock
        self.in_flight = 0
        self._room = math.inf
        self._wave_ends = 0.0  # refusals until then are of the same wave
        self._line = anyio.Lock()
        self._left = anyio.Event()

    @property
    def closed_for(self) -> float:
        """Seconds for which the service has asked to be left alone, as far as this process knows."""
        return max(0.0, self._wave_ends - self._clock())

    async def enter(self) -> None:
        """Waits until the next call may be made; first come, first served. `leave` has to follow."""
        async with self._line:
            while (wait := math.inf if self.in_flight >= self._room else await self.pace.enter()) > 0:
                self._left = anyio.Event()
                with anyio.move_on_after(wait):
                    await self._left.wait()
            self.in_flight += 1

    def leave(self) -> None:
        """The call has ended, one way or another."""
        self.in_flight -= 1
        self._left.set()

    async def replied(self, tokens: int) -> None:
        """The service has answered."""
        self._room += 1
        await self.pace.replied(tokens)

    async def refused(self, seconds: float) -> None:
        """The service has asked for so much time."""
        now = self._clock()
        if now >= self._wave_ends:
            self._room = max(1, (self.in_flight + 1) // 2)
        self._wave_ends = max(self._wave_ends, now + seconds)
        await self.pace.refused(seconds)
