"""How a command's process runs and ends: signals, threads that do not return, and log lines."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from magentic_kit.runlog.redaction import RedactedFormatter

_GRACE = 5.0
"""Seconds that threads get after the command has its exit code."""


def quiet_logs() -> None:
    """Keeps Semantic Kernel's own log lines off the terminal: what it logs as an error is an event of the run."""
    logging.basicConfig(level=logging.WARNING)
    for handler in logging.root.handlers:
        handler.setFormatter(RedactedFormatter("%(name)s: %(message)s"))
    for name in ("semantic_kernel", "in_process_runtime", "mcp"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def run_to_end(main: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Runs `main` like `asyncio.run`, but ends the process five seconds after `main` has returned its exit code.

    A connector's thread that cannot be interrupted would keep the process for as long as it likes.
    """
    codes: list[int] = []
    leave = threading.Timer(_GRACE, lambda: os._exit(codes[0]))
    leave.daemon = True

    async def whole() -> None:
        codes.append(await main())
        leave.start()

    try:
        asyncio.run(whole())
    finally:
        leave.cancel()
    return codes[0]


def on_signals(cancel: Callable[[], None], give_back: Callable[[], None]) -> None:
    """Makes the first Ctrl-C, SIGTERM or SIGHUP call `cancel`, and the second one leave at once.

    `give_back` returns the terminal to its normal state before that.
    """
    loop = asyncio.get_running_loop()
    signals: list[int] = []

    def handle(number: int) -> None:
        if signals:
            with suppress(Exception):
                give_back()
            os._exit(130)
        signals.append(number)
        cancel()

    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under `nohup`
        numbers.append(signal.SIGHUP)
    for number in numbers:
        try:
            loop.add_signal_handler(number, handle, number)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda number, _: loop.call_soon_threadsafe(handle, number))
