"""A worker: takes runs from the database's queue, carries them out, and finishes those of workers that died."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import yaml

from magentic_kit import events as ev
from magentic_kit.cluster.database import Database, Entry, Pulse
from magentic_kit.cluster.held import HeldLog, SharedPace
from magentic_kit.errors import JournalError, KitError, UnknownToolError
from magentic_kit.factory import TeamFactory
from magentic_kit.orchestration.options import ResumeArguments
from magentic_kit.run import Run
from magentic_kit.services.pool import Pool
from magentic_kit.team.loading import load_team
from magentic_kit.team.people import by_flags
from magentic_kit.text import one_line

logger = logging.getLogger(__name__)

_POLL = 0.5
"""Seconds between looks for a run while there is none."""
_BEATS = 5
"""A worker beats so often in a lease; one whose beat stood still for as many looks is taken for dead."""
_NOTE = 2000  # characters
_TAKES = 5
"""So many workers may be lost with a run before it is parked."""


class Worker:
    """Carries out up to `concurrency` runs at once. All workers of a database should have the same `lease`.

    A worker that is silent for `lease` seconds loses its runs to others, who go on from what is in their logs;
    should it come back, it is refused at its next step. `tell` gets a line for what happens.
    """

    def __init__(
        self,
        database: Database,
        *,
        concurrency: int = 4,
        lease: float = 15.0,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._database, self._concurrency, self._lease, self._tell = database, concurrency, lease, tell
        self._live: dict[tuple[str, int], Run | None] = {}
        self._dead: list[Pulse] = []
        self._factories: dict[tuple[str, str], TeamFactory] = {}
        self._pool = Pool(lambda service: SharedPace(database, service))
        self._opened = AsyncExitStack()
        self._opened.push_async_callback(self._pool.close)
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Takes no more runs; `work` ends with those that are under way."""
        self._stopped.set()

    async def work(self) -> None:
        """Carries out runs until `stop` is called."""
        over = threading.Event()
        # A thread of its own: a tool that blocks the event loop is no reason to be taken for dead.
        beating = threading.Thread(target=self._beat, args=(asyncio.get_running_loop(), over), daemon=True)
        beating.start()
        stopped: asyncio.Future[Any] = asyncio.ensure_future(self._stopped.wait())
        carried: set[asyncio.Future[Any]] = set()
        try:
            async with self._opened:
                while not stopped.done():
                    if len(carried) < self._concurrency and (taken := await asyncio.to_thread(self._take)):
                        self._live[taken.id, taken.epoch] = None
                        carried.add(asyncio.ensure_future(self._carry(taken)))
                        continue
                    ended, _ = await asyncio.wait({stopped, *carried}, timeout=_POLL, return_when="FIRST_COMPLETED")
                    carried -= ended
                await asyncio.gather(*carried)
        finally:
            over.set()
            stopped.cancel()

    def _take(self) -> Entry | None:
        try:
            return self._database.take(self.name, self._dead)
        except JournalError as error:
            logger.error("%s", error)
            return None

    def _beat(self, loop: asyncio.AbstractEventLoop, over: threading.Event) -> None:
        looks: dict[Pulse, int] = {}
        while not over.wait(self._lease / _BEATS):
            try:
                live = set(self._live)
                held = self._database.beat(live)
                for key in live:
                    if held.get(key, True):  # taken over, or cancelled
                        loop.call_soon_threadsafe(self._end, key)
                # Looks are counted, not seconds: while the database is away, or we are frozen, nobody grows old.
                others = (pulse for pulse in self._database.pulses() if pulse[:2] not in live)
                looks = {pulse: looks.get(pulse, 0) + 1 for pulse in others}
                self._dead = [pulse for pulse, count in looks.items() if count > _BEATS]
            except JournalError as error:
                logger.error("%s", error)

    def _end(self, key: tuple[str, int]) -> None:
        if run := self._live.get(key):
            run.cancel()

    async def _carry(self, taken: Entry) -> None:
        self._tell(f"{taken.id}: taken" + (f" over, for the {taken.takes}. time" if taken.takes > 1 else ""))
        try:
            state, note = await self._run(taken)
            held = await asyncio.to_thread(self._database.leave, taken, state, note)
            self._tell(f"{taken.id}: {state if held else 'taken over by another worker'}{note and f': {note}'}")
        except JournalError as error:  # whoever can write goes on with it
            self._tell(f"{taken.id}: given up: {error}")
        finally:
            del self._live[taken.id, taken.epoch]

    async def _run(self, taken: Entry) -> tuple[str, str]:
        """The state that the run is then in, and a note. Raises `JournalError` if its log cannot be written."""
        if taken.cancel:
            return "cancelled", ""
        if taken.takes > _TAKES:
            return "parked", f"{_TAKES} workers were lost with it"
        try:
            log = HeldLog(self._database, taken)
            held = ev.effective(await asyncio.to_thread(log.read))
            if held and isinstance(ended := held[-1], ev.RunFinished) and taken.words is None:
                return _state(ended.outcome, ended.error)
            people = by_flags(**taken.spec["people"])
            options = ResumeArguments(unknown_tools=taken.words or {}, **people)
            factory = await self._factory(taken)
            run = Run.over(factory.blueprint, log, taken.spec["task"], options, taken.id, inputs=taken.spec["inputs"])
            self._live[taken.id, taken.epoch] = run
            result = await run.result()
            if log.broken is not None:
                raise log.broken
            return _state(result.outcome, result.error)
        except JournalError:
            raise
        except KitError as error:  # a team that cannot run here, a log that does not fit, a tool of unknown outcome
            return "parked", one_line(str(error), _NOTE)
        except Exception as error:
            logger.exception("run %s", taken.id)
            return "parked", one_line(f"{type(error).__name__}: {error}", _NOTE)

    async def _factory(self, taken: Entry) -> TeamFactory:
        """One factory for the runs of a team. Raises `ConfigError`."""
        key = taken.spec["team"], taken.spec["base_dir"]
        if key not in self._factories:
            team = load_team(yaml.safe_load(key[0]), base_dir=Path(key[1]))
            made = TeamFactory(team, pool=self._pool)
            self._factories[key] = await self._opened.enter_async_context(made)
        return self._factories[key]


def _state(outcome: str, error: Mapping[str, str] | None) -> tuple[str, str]:
    """The state of a run that has ended so, and a note; one whose inner run needs a person waits for that."""
    kind, message = (error or {}).get("kind"), (error or {}).get("message", "")
    return "parked" if kind == UnknownToolError.kind else outcome, one_line(message, _NOTE)
