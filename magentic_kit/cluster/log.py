"""The log of a run in the stream of its DBOS workflow, which takes nothing from a worker that has lost the run."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dbos import DBOS
from dbos import error as dbos_error

from magentic_kit.cluster.history import STREAM, History
from magentic_kit.errors import JournalError
from magentic_kit.events import AnyEvent, to_dict


class StreamLog:
    """The log of a run that this worker carries out, and of the runs that its calls begin, which share its fate.

    Made in the workflow's step, whose context it needs: DBOS compares its token with that of the run's owner in
    the transaction that adds to the stream. `on_broken` is called when they differ.
    """

    directory: Path | None = None

    def __init__(self, history: History, run: str = "", outer: StreamLog | None = None) -> None:
        self.history, self._run = history, run
        self._root: StreamLog = outer._root if outer else self
        self._unwritten: list[str] = []
        self._writing: asyncio.Future[None] | None = None
        self._is_left = False
        self.broken: JournalError | None = None
        self.on_broken: Callable[[], None] = lambda: None

    def read(self) -> list[AnyEvent]:
        """Returns what was written so far."""
        return self.history.log(self._run)

    def describe(self, team: str) -> None:
        """Does nothing: the workflow's input has the team."""

    def write(self, event: AnyEvent) -> None:
        """Adds the event to the next value of the stream. Raises `JournalError` if a value was not taken."""
        root = self._root
        if root.broken is not None:
            raise root.broken
        if root._is_left:
            return
        self.history.add(self._run, event)
        root._unwritten.append(_as_json({"run": self._run, "event": to_dict(event)}))
        root._start()  # though nobody waits: a run that is lost should end before its next call

    async def take(self, worker: str) -> None:
        """Notes that this worker takes the run. Raises `JournalError`."""
        self._unwritten.append(_as_json({"worker": worker}))
        await self.sync()

    async def leave(self) -> None:
        """Notes that the run waits for a person, and writes nothing that follows. Raises `JournalError`."""
        self._is_left = True
        self._unwritten.append(_as_json({"waits": True}))
        await self.sync()

    async def sync(self) -> None:
        """Waits until the database has what was written. Raises `JournalError`, once for all."""
        # A call that is cancelled does not take along what others have written.
        await asyncio.shield(self._root._start())
        if self._root.broken is not None:
            raise self._root.broken

    def _start(self) -> asyncio.Future[None]:
        if self._writing is None or self._writing.done():
            self._writing = asyncio.ensure_future(self._write())
        return self._writing

    async def _write(self) -> None:
        while self._unwritten and self.broken is None:
            value, self._unwritten = f"[{','.join(self._unwritten)}]", []
            try:
                await DBOS.write_stream_async(STREAM, value)
            except dbos_error.DBOSWorkflowConflictIDError:
                self._break(f"another worker has taken {DBOS.workflow_id} over")
            except Exception as error:
                self._break(f"the log of {DBOS.workflow_id} cannot be written: {error}")

    def _break(self, why: str) -> None:
        self.broken = JournalError(why)
        self.on_broken()

    def keep(self, sha256: str, content: bytes) -> None:
        """Adds the content of an attachment to the stream, unless it is there."""
        if sha256 not in self.history.contents:
            self.history.contents[sha256] = content
            self._root._unwritten.append(_as_json({"sha256": sha256, "content": b64encode(content).decode()}))

    def kept(self, sha256: str) -> bytes:
        """The content of an attachment. Raises `JournalError`."""
        if sha256 not in self.history.contents:
            raise JournalError(f"the attachment {sha256} is not in the log of the run")
        return self.history.contents[sha256]

    def inside(self, call: str, team: str) -> StreamLog:
        """The log of the run that this call of the run begins, or began earlier."""
        return StreamLog(self.history, f"{self._run}/{call}".removeprefix("/"), self)

    def close(self) -> None:
        """Does nothing: the worker syncs once more when the run has ended."""


def _as_json(item: dict[str, Any]) -> str:
    return json.dumps(item, default=str)  # at once: an event shares what it holds
