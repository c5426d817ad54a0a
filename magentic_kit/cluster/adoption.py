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
from sqlalchemy import exc

from magentic_kit.cluster.database import WORKFLOW, Database
from magentic_kit.cluster.limits import QUEUE

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
        self, database: Database, worker: str, *, lease: float, patience: float, lost: Callable[[str], None]
    ) -> None:
        super().__init__(name="liveness", daemon=True)
        self._database, self._worker, self._lease = database, worker, lease
        self._patience, self._lost = patience, lost
        self._over = threading.Event()
        self._session: sa.Connection | None = None
        self._locks: set[str] = set()
        self._free: dict[str, int] = {}  # looks in which a worker's lock was free

    def end(self) -> None:
        """Gives the locks back."""
        self._over.set()
        self.join()

    def run(self) -> None:
        """Looks again and again."""
        failing: float | None = None  # since; not the time of the last answer, which a freeze makes an old one
        while True:
            try:
                self._look()
                failing = None
            except exc.SQLAlchemyError as error:
                self._leave()
                failing = failing or time.monotonic()
                if time.monotonic() - failing > self._patience:
                    return self._lost(f"the database has not answered for {self._patience:g} s: {error}")
            if self._over.wait(self._lease / _LOOKS):
                return self._leave()

    def _look(self) -> None:
        if self._session is None:
            self._session = self._database.connection.engine.connect()
            self._session.execution_options(isolation_level="AUTOCOMMIT")
            self._session.execute(sa.text(f"SET idle_session_timeout = {int(self._lease * 1000)}"))
        self._lock(self._worker)
        # One worker decides: whoever has this lock has it as long as its session lasts.
        if self._lock("adopter"):
            self._adopt()

    def _adopt(self) -> None:
        pending = self._database.client.list_workflows(
            status="PENDING", name=WORKFLOW, load_input=False, load_output=False
        )
        workers = {status.executor_id for status in pending if status.executor_id} - {self._worker}
        # Looks are counted, not seconds: while the database is away, or we are frozen, nobody grows old.
        self._free = {worker: self._free.get(worker, 0) + 1 for worker in workers if self._is_free(worker)}
        for worker, looks in self._free.items():
            if looks >= _LOOKS:
                self._adopt_from(worker)

    def _adopt_from(self, worker: str) -> None:
        """Puts the runs of a dead worker back. `worker` is never empty: DBOS takes no id for any id."""
        for status in self._database.client.list_workflows(
            status="PENDING", name=WORKFLOW, executor_id=worker, load_input=False, load_output=False
        ):
            if self._is_free(worker):  # also: our own session lives
                logger.warning("%s: put back, as %s is gone", status.workflow_id, worker)
                self._database.client.resume_workflow(status.workflow_id, queue_name=QUEUE)

    def _lock(self, name: str) -> bool:
        if name not in self._locks and self._call("pg_try_advisory_lock", name):
            self._locks.add(name)
        else:
            assert self._session is not None
            self._session.execute(sa.text("SELECT 1"))  # the session is not idle
        return name in self._locks

    def _is_free(self, name: str) -> bool:
        return self._call("pg_try_advisory_lock", name) and self._call("pg_advisory_unlock", name)

    def _call(self, function: str, name: str) -> bool:
        assert self._session is not None
        key = int.from_bytes(hashlib.sha256(f"magentic-kit {name}".encode()).digest()[:8], "big", signed=True)
        return bool(self._session.scalar(sa.text(f"SELECT {function}(:key)"), {"key": key}))

    def _leave(self) -> None:
        self._locks.clear()
        if self._session is not None:
            self._session.invalidate()  # closes it, and with it the locks go
            self._session.close()
            self._session = None
