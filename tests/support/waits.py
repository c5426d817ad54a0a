"""Waiting for states, and what may not take long: by timers that ran off and processor time, never by a clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from support.bombs import YARD, yardstick

HANG = 120.0
"""Seconds after which what a test waits for will never come."""


def until(state: Callable[[], object]) -> None:
    """Waits for a state. Blocks."""
    end = time.monotonic() + HANG
    while not state():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)


async def reached(state: Callable[[], object]) -> None:
    """`until` for tests that run on an event loop."""
    end = time.monotonic() + HANG
    while not state():
        assert time.monotonic() < end, "it never came true"
        await asyncio.sleep(0.01)


@contextmanager
def no_wait_of(seconds: float) -> Iterator[None]:
    """Fails if the running loop waited for a timer so long in the block, however slow the machine is."""
    loop: Any = asyncio.get_running_loop()
    set_timer, waited = loop.call_at, list[float]()

    def watched(timer: Any, began: float) -> Any:
        def ran_off(*arguments: Any) -> None:
            waited.append(timer.when() - began)
            callback(*arguments)

        callback, timer._callback = timer._callback, ran_off
        return timer

    began = loop.time()
    for timer in loop._scheduled:  # those set before the block too
        if not timer.cancelled():
            watched(timer, began)
    loop.call_at = lambda *arguments, **options: watched(set_timer(*arguments, **options), loop.time())
    try:
        yield
    finally:
        del loop.call_at
    assert max(waited, default=0) < seconds


@contextmanager
def processor_time_below(seconds: float) -> Iterator[None]:
    """Fails if the block takes so much of this processor, and of one that does `yardstick` in `YARD`."""
    began = time.process_time()
    yield
    took = time.process_time() - began
    assert took < seconds or took * YARD / yardstick() < seconds
