"""What all calls to one service share: how many at a time, how many a minute, and the wait after a refusal."""

from __future__ import annotations

import math
import time

import anyio
from pydantic import BaseModel


class Throttle:
    """The way to one service, the same for all runs and lanes that use it.

    Without limits nobody waits. A service that refuses (429) halves the calls that may be in flight and is left
    alone, by all, for as long as it asks for; each reply makes room for one more.
    """

    def __init__(self) -> None:
        self.in_flight = 0
        self._room = math.inf
        self._per_call = self._per_token = 0.0  # seconds
        self._next_call = self._paid_until = self._reopens = 0.0  # by the monotonic clock
        self._line = anyio.Lock()
        self._left = anyio.Event()

    @classmethod
    def of(cls, service: BaseModel) -> Throttle:
        """The throttle of a service; copies made of the service from now on share it."""
        if "_throttle" not in service.__dict__:
            object.__setattr__(service, "_throttle", cls())
        throttle: Throttle = service.__dict__["_throttle"]
        return throttle

    def pace(self, *, rpm: int | None, tpm: int | None) -> None:
        """Spreads calls evenly, so that no minute has more than `rpm` requests and, in the long run, `tpm` tokens."""
        self._per_call, self._per_token = 60 / (rpm or math.inf), 60 / (tpm or math.inf)

    async def enter(self) -> None:
        """Waits until the next call may be made; first come, first served. `leave` has to follow."""
        async with self._line:
            while (wait := self._wait()) > 0:
                self._left = anyio.Event()
                with anyio.move_on_after(wait):
                    await self._left.wait()
            self._next_call = max(self._next_call, time.monotonic()) + self._per_call
            self.in_flight += 1

    def leave(self) -> None:
        """The call has ended, one way or another."""
        self.in_flight -= 1
        self._left.set()

    def replied(self, tokens: int) -> None:
        """The service has answered."""
        self._room += 1
        self._paid_until = max(self._paid_until, time.monotonic()) + tokens * self._per_token

    def refused(self, seconds: float) -> None:
        """The service has asked for so much time."""
        now = time.monotonic()
        if now >= self._reopens:  # else it is one of several calls of the same wave
            self._room = max(1, (self.in_flight + 1) // 2)
        self._reopens = max(self._reopens, now + seconds)

    def _wait(self) -> float:
        if self.in_flight >= self._room:
            return math.inf
        return max(self._next_call, self._paid_until, self._reopens) - time.monotonic()
