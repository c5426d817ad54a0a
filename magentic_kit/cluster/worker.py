"""A worker: a DBOS process that carries out queued runs, and finishes those of workers that died."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer

from magentic_kit import events as ev
from magentic_kit.cluster.adoption import Liveness
from magentic_kit.cluster.database import APPLICATION, CONNECT, QUEUE, VERSION, WORKFLOW, Database, Spec
from magentic_kit.cluster.limits import SharedPace
from magentic_kit.cluster.log import StreamLog
from magentic_kit.errors import JournalError, KitError, UnknownToolError
from magentic_kit.factory import TeamFactory
from magentic_kit.orchestration.options import ResumeArguments
from magentic_kit.run import Run
from magentic_kit.services.pool import Pool
from magentic_kit.team.loading import load_team
from magentic_kit.team.people import by_flags
from magentic_kit.text import one_line

logger = logging.getLogger(__name__)

_NOTE = 2000  # characters
_TAKES = 5
"""So many workers may be lost with a run before it is parked."""
_DRAIN = 10**9
"""Seconds that `stop` leaves to the runs under way: as many as they need."""

State = dict[str, str]
"""What a workflow returns: `state` and `note`, as for `Entry`."""


class Worker:
    """Carries out runs until `stop`; one for each process, since DBOS is one for each process.

    `concurrency` is the number of runs at once in one worker: DBOS has it at the queue, so that the last one that
    is given holds for all workers. A worker that is silent for `lease` seconds loses its runs to others, who go on
    from what is in their logs; should it come back, it is refused at its next step. The database may be away for
    `patience` seconds. `tell` gets a line for what happens.
    """

    def __init__(
        self,
        database: Database,
        *,
        concurrency: int | None = None,
        lease: float = 10.0,
        patience: float = 90.0,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._database, self._concurrency, self._tell = database, concurrency, tell
        self._lease, self._patience = lease, patience
        self._factories: dict[tuple[str, str], TeamFactory] = {}
        self._pool = Pool(lambda service: SharedPace(database.engine, service))
        self._opened = AsyncExitStack()
        self._opened.push_async_callback(self._pool.close)
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
                self._launch()
                await _unless(lost, self._stopped.wait())
                # In a thread: it waits for the runs under way, which go on in this loop.
                drain = partial(DBOS.destroy, destroy_registry=True, workflow_completion_timeout_sec=_DRAIN)
                await _unless(lost, asyncio.to_thread(drain))
                loop.set_default_executor(ThreadPoolExecutor())  # DBOS had put its own there, and has closed it
        finally:
            liveness.end()

    def _launch(self) -> None:
        """Makes this process a DBOS executor whose workflows go on in this event loop."""
        config: DBOSConfig = {
            "name": APPLICATION,
            "system_database_url": self._database.url,
            "db_engine_kwargs": {"connect_args": CONNECT},
            "executor_id": self.name,
            "application_version": VERSION,
            "serializer": DBOSPortableJSONSerializer(),
            "log_level": "ERROR",  # what it warns of, again and again, is that the database is away
        }
        DBOS(config=config)
        DBOS.listen_queues([QUEUE])

        @DBOS.workflow(name=WORKFLOW, max_recovery_attempts=None)  # `_TAKES` counts what DBOS forgets at a resume
        async def run(spec: str) -> State:
            return await DBOS.run_step_async({"name": "carry out", "preemptible": True}, self._carry_out, spec)

        DBOS.launch()

    async def _carry_out(self, text: str) -> State:
        """Carries out the run of this workflow, the one step of it. It is cancelled if the workflow is."""
        id, spec = DBOS.workflow_id, json.loads(text)
        assert id is not None
        entry = await asyncio.to_thread(self._database.entry, id)
        history = await asyncio.to_thread(self._database.history, id)
        takes = history.takes - entry.settled
        self._tell(f"{id}: taken" + (f" over, for the {takes + 1}. time" if takes else ""))
        log = StreamLog(history)
        try:
            await log.take(self.name)
            words = None if takes else entry.words
            state, note = await self._run(id, spec, log, words, takes)
            await log.sync()
        except JournalError as error:
            self._tell(f"{id}: given up: {error}")
            raise
        except asyncio.CancelledError:
            self._tell(f"{id}: cancelled")
            raise
        self._tell(f"{id}: {state}{note and f': {note}'}")
        return {"state": state, "note": note}

    async def _run(
        self, id: str, spec: Spec, log: StreamLog, words: Mapping[str, str | None] | None, takes: int
    ) -> tuple[str, str]:
        """The state that the run is then in, and a note. Raises `JournalError` if its log cannot be written."""
        if takes >= _TAKES:
            return "parked", f"{_TAKES} workers were lost with it"
        try:
            events = ev.effective(log.read())
            if events and isinstance(ended := events[-1], ev.RunFinished) and words is None:
                return _state(ended.outcome, ended.error)
            people = by_flags(**spec["people"])
            options = ResumeArguments(unknown_tools=words or {}, **people)
            factory = await self._factory(spec)
            run = Run.over(factory.blueprint, log, spec["task"], options, id, inputs=spec["inputs"])
            log.on_broken = run.cancel  # no call more is paid for
            try:
                result = await run.result()
            except asyncio.CancelledError:
                run.cancel()
                await run.result()
                raise
            if log.broken is not None:
                raise log.broken
            return _state(result.outcome, result.error)
        except JournalError:
            raise
        except KitError as error:  # a team that cannot run here, a log that does not fit, a tool of unknown outcome
            return "parked", one_line(str(error), _NOTE)
        except Exception as error:
            logger.exception("run %s", id)
            return "parked", one_line(f"{type(error).__name__}: {error}", _NOTE)

    async def _factory(self, spec: Spec) -> TeamFactory:
        """One factory for the runs of a team. Raises `ConfigError`."""
        key = spec["team"], spec["base_dir"]
        if key not in self._factories:
            team = load_team(yaml.safe_load(key[0]), base_dir=Path(key[1]))
            factory = TeamFactory(team, pool=self._pool)
            self._factories[key] = await self._opened.enter_async_context(factory)
        return self._factories[key]


async def _unless(lost: asyncio.Future[None], awaitable: Awaitable[Any]) -> None:
    """Waits for the one or the other, and raises what `lost` has."""
    waiting: asyncio.Future[Any] = asyncio.ensure_future(awaitable)
    await asyncio.wait([lost, waiting], return_when=asyncio.FIRST_COMPLETED)
    if lost.done():
        lost.result()


def _state(outcome: str, error: Mapping[str, str] | None) -> tuple[str, str]:
    """The state of a run that has ended so, and a note; one whose inner run needs a person waits for that."""
    kind, message = (error or {}).get("kind"), (error or {}).get("message", "")
    return "parked" if kind == UnknownToolError.kind else outcome, one_line(message, _NOTE)
