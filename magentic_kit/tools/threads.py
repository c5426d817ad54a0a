"""Blocking calls in threads that cannot keep the process from ending."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

_T = TypeVar("_T")


async def in_daemon_thread(call: Callable[[], _T]) -> _T:
    """Like `asyncio.to_thread`, but the process may end while the call has not returned."""
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
    return await asyncio.wrap_future(done)
