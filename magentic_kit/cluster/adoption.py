"""What tells that a worker is alive, and what puts the runs of dead ones back into the queue.

A worker that lives holds a Postgres advisory lock for its DBOS executor id. DBOS takes a run back from a worker
that is started again under its old name, and leaves the others' to a service of its own that is not free.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable

import sqlalchemy as sa

from magentic_kit.cluster.database import CONNECT, Database
from magentic_kit.cluster.entry import QUEUE, WORKFLOW
from magentic_kit.cluster.limits import reason_of

logger = logging.getLogger(__name__)

_LOOKS = 5
"""A worker looks so often in a lease; the lock of one that is dead was free in as many looks, one after the other."""


class Liveness(threading.Thread):
    """Holds this worker's lock until `end`; one of all workers also adopts the runs of those whose lock is free.

    A thread of its own: a tool that blocks the event loop is no reason to be taken for dead. A session that is
    silent for `lease` seconds, its worker frozen or cut off, is ended by Postgres, and its locks are free then.
    Calls `lost`, once, when the database has been away for `patience` seconds.
    """

    def __init__(
        self, database: Database, worker: str, *, lease: float, patience: float, lost: Callable[[str], object]
    ) -> None:
        super().__init__(name="liveness", daemon=True)
        self._client, self._worker, self._lease = database.connect(wait=False), worker, lease
        self._patience, self._lost = patience, lost
        # What is closed is closed, and its locks with it.
        self._engine = sa.create_engine(
            database.url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT", connect_args=CONNECT
        )
        self._over = threading.Event()
        self._free: dict[str, int] = {}  # looks in which a worker's lock was free
        self._failing: float | None = None  # since; not the time of the last answer, which a freeze makes an old one

    def end(self) -> None:
        """Gives the locks back."""
        self._over.set()
        self.join()

    def run(self) -> None:
        """Looks again and again, in a new session when one was lost."""
        while not self._over.is_set():
            try:
                with self._engine.connect() as session:
                    self._look_until_over(session)
            except sa.exc.SQLAlchemyError as error:
                if self._failing is None:
                    self._failing = time.monotonic()
                    logger.warning("the database does not answer, trying again: %s", reason_of(error))
                if time.monotonic() - self._failing > self._patience:
                    self._lost(f"the database has not answered for {self._patience:g} s: {reason_of(error)}")
                    return
                self._over.wait(self._lease / _LOOKS)

    def _look_until_over(self, session: sa.Connection) -> None:
        session.execute(sa.text(f"SET idle_session_timeout = {int(self._lease * 1000)}"))
        alive = decides = False
        self._free.clear()  # with our session, all others' may have been lost, and their locks
        while True:
            alive = alive or _lock(session, self._worker)
            # One worker decides: whoever has this lock has it as long as its session lasts.
            decides = decides or _lock(session, "adopter")
            session.execute(sa.text("SELECT 1"))  # the session is not silent
            if decides:
                self._adopt(session)
            self._failing = None
            if self._over.wait(self._lease / _LOOKS):
                return

    def _adopt(self, session: sa.Connection) -> None:
        pending = self._client.list_workflows(status="PENDING", name=WORKFLOW, load_input=False, load_output=False)
        workers = {status.executor_id for status in pending if status.executor_id} - {self._worker}
        # Looks are counted, not seconds: while the database is away, or we are frozen, nobody grows old.
        self._free = {worker: self._free.get(worker, 0) + 1 for worker in workers if _is_free(session, worker)}
        for status in pending:
            dead = self._free.get(status.executor_id or "", 0) >= _LOOKS
            # Asked once more, as it also shows that our own session lives, and with it the right to decide.
            if dead and _is_free(session, str(status.executor_id)):
                logger.warning("%s: put back, as %s is gone", status.workflow_id, status.executor_id)
                self._client.resume_workflow(status.workflow_id, queue_name=status.queue_name or QUEUE)
        # Should a worker come back and take a run, it has as long again to take its lock.
        self._free = {worker: looks for worker, looks in self._free.items() if looks < _LOOKS}


def _is_free(session: sa.Connection, name: str) -> bool:
    return _lock(session, name) and _lock(session, name, "pg_advisory_unlock")


def _lock(session: sa.Connection, name: str, function: str = "pg_try_advisory_lock") -> bool:
    key = int.from_bytes(hashlib.sha256(f"magentic-kit {name}".encode()).digest()[:8], "big", signed=True)
    return bool(session.scalar(sa.text(f"SELECT {function}(:key)"), {"key": key}))
