"""Blocking calls in threads that cannot keep the process from ending."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future, wait
from typing import TypeVar

import anyio

_T = TypeVar("_T")

_STEP = threading.Lock()
"""Held by the thread that takes a step of some work that may be stopped."""


def within(seconds: float | None, call: Callable[[], _T]) -> _T:
    """What `call` returns, made in a thread of its own if its time is limited. Raises `TimeoutError`."""
    if seconds is None:
        return call()
    made = _started(call)
    wait([made], seconds)
    if not made.done():
        raise TimeoutError(f"not ready within {seconds:g} s")
    return made.result()


async def in_daemon_thread(call: Callable[[], _T]) -> _T:
    """Like `asyncio.to_thread`, but the process may end while the call has not returned."""
    return await asyncio.wrap_future(_started(call))


def _started(call: Callable[[], _T]) -> Future[_T]:
    done: Future[_T] = Future()
    done.set_running_or_notify_cancel()  # nobody can call it off
    state = contextvars.copy_context()

    def work() -> None:
        try:
            done.set_result(state.run(call))
        except (StopIteration, SystemExit, KeyboardInterrupt) as error:  # asyncio's futures do not take these
            done.set_exception(RuntimeError(f"{type(error).__name__}: {error}"))
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=work, name="magentic-kit", daemon=True).start()
    return done


async def in_stoppable_thread(steps: Generator[None, None, _T]) -> _T:
    """Runs `steps` in a thread and returns what it returns; if cancelled, it stops at its next `yield`.

    One thread takes a step at a time: side by side they are no quicker, and the event loop would wait for all of
    them before it could take an interrupt. The cancelled caller waits for the end of the step, up to a second: before
    Python 3.14, a thread that is in compiled code when the process ends can make it abort.
    """
    stop = threading.Event()

    def work() -> _T:
        while not stop.is_set():
            with _STEP:
                try:
                    next(steps)
                except StopIteration as end:
                    result: _T = end.value
                    return result
        raise RuntimeError("the thread was stopped")

    thread = asyncio.ensure_future(in_daemon_thread(work))
    try:
        return await asyncio.shield(thread)
    finally:
        stop.set()
        if not thread.done():
            with anyio.CancelScope(shield=True):
                await asyncio.wait({thread}, timeout=1)
        if not thread.done():
            thread.cancel()
        elif not thread.cancelled():
            thread.exception()  # so that asyncio does not report that nobody asked for it
