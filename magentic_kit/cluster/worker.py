"""A worker: a DBOS process that carries out queued runs, and finishes those of workers that died."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

from dbos import DBOS

from magentic_kit.cluster.adoption import Liveness
from magentic_kit.cluster.carrier import Carrier
from magentic_kit.cluster.database import Database
from magentic_kit.cluster.folders import AllowedFolders
from magentic_kit.cluster.workflow import RunWorkflow
from magentic_kit.errors import JournalError

_DRAIN = 10**9
"""Seconds that `stop` leaves to the runs under way: as many as they need."""


class Worker:
    """Carries out runs until `stop`; one for each process, since DBOS is one for each process.

    `concurrency` is the number of runs at once in one worker: DBOS has it at the queue, so that the last one that
    is given holds for all workers. A worker that is silent for `lease` seconds loses its runs to others, who go on
    from what is in their logs; should it come back, it is refused at its next step. The database may be away for
    `patience` seconds. Teams may load code and read files below the folders `allow` alone (default: any). `tell`
    gets a line for what happens.
    """

    def __init__(
        self,
        database: Database,
        *,
        concurrency: int | None = None,
        lease: float = 10.0,
        patience: float = 90.0,
        allow: Sequence[Path] | None = None,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._database, self._concurrency = database, concurrency
        self._lease, self._patience = lease, patience
        self._opened = AsyncExitStack()
        carrier = Carrier(database, self.name, AllowedFolders(allow), self._opened, tell)
        self._workflow = RunWorkflow(database, self.name, carrier.carry_out)
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Takes no more runs; `work` ends with those that are under way."""
        self._stopped.set()

    async def work(self) -> None:
        """Carries out runs until `stop` is called.

        Raises `JournalError` if the database is away for too long. The process has to end then, by `os._exit`: the
        threads of DBOS try again without end.
        """
        loop = asyncio.get_running_loop()
        lost: asyncio.Future[None] = loop.create_future()
        await asyncio.to_thread(self._database.limit, worker_concurrency=self._concurrency)
        liveness = Liveness(
            self._database,
            self.name,
            lease=self._lease,
            patience=self._patience,
            lost=lambda why: loop.call_soon_threadsafe(lost.set_exception, JournalError(why)),
        )
        liveness.start()
        try:
            async with self._opened:
                self._workflow.launch()
                await _unless(lost, self._stopped.wait())
                self._workflow.stop_waiting()
                # In a thread: it waits for the runs under way, which go on in this loop.
                drain = partial(DBOS.destroy, destroy_registry=True, workflow_completion_timeout_sec=_DRAIN)
                await _unless(lost, asyncio.to_thread(drain))
                loop.set_default_executor(ThreadPoolExecutor())  # DBOS had put its own there, and has closed it
        finally:
            liveness.end()


async def _unless(lost: asyncio.Future[None], awaitable: Awaitable[Any]) -> None:
    """Waits for the one or the other, and raises what `lost` has."""
    waiting: asyncio.Future[Any] = asyncio.ensure_future(awaitable)
    await asyncio.wait([lost, waiting], return_when=asyncio.FIRST_COMPLETED)
    if lost.done():
        lost.result()
