"""Limits that all workers keep together: DBOS has those of runs, these tables have requests and tokens a minute."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from contextlib import suppress

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.dialects.postgresql import insert

from magentic_kit.cluster.connection import Connection
from magentic_kit.errors import ConfigError, JournalError
from magentic_kit.services.rate_limits import Pace

logger = logging.getLogger(__name__)

QUEUE = "magentic-kit"
"""The DBOS queue of all runs."""
_METADATA = sa.MetaData()
_LIMITS = sa.Table(
    "magentic_limits",
    _METADATA,
    sa.Column("name", sa.String(20), primary_key=True),
    sa.Column("value", sa.Integer, nullable=False),
)
_SERVICES = sa.Table(  # when the next call to each may be made, in seconds by the database's clock
    "magentic_services",
    _METADATA,
    sa.Column("name", sa.String(64), primary_key=True),
    *(sa.Column(name, sa.Float, nullable=False, default=0.0) for name in ("next_call", "paid_until", "reopens")),
)
_NOW: sa.ColumnElement[float] = sa.literal_column("extract(epoch from clock_timestamp())::float8", sa.Float)
_WORKER_CONCURRENCY = 4
_POLL = 0.25
"""Seconds between a worker's looks for runs that are queued."""


def _seconds_each(limit: str) -> sa.ColumnElement[float]:
    """How far calls or tokens are apart under a limit a minute."""
    value = sa.select(_LIMITS.c.value).where(_LIMITS.c.name == limit).scalar_subquery()
    return sa.func.coalesce(sa.literal_column("60.0", sa.Float) / value, 0.0)


class SharedLimits:
    """The limits of a database's workers. Methods raise `JournalError` if the database is away for long."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        for _ in range(3):  # another process may be making the same tables
            with suppress(exc.IntegrityError, exc.ProgrammingError):
                _METADATA.create_all(connection.engine)
                break

    def set(self, **limits: int | None) -> dict[str, int]:
        """Sets those limits that are not None; 0 lifts one. Returns all.

        `concurrency` is of runs under way in all workers, `worker_concurrency` of those in one (4 if not set);
        `rpm` and `tpm` are requests and tokens a minute of each service. Raises `ConfigError` if one is out of range.
        """
        for name, value in limits.items():
            if value is None:
                continue
            if not 0 <= value < 2**31:
                raise ConfigError.one(f"should be from 0 to {2**31 - 1}, not {value}", file=f"--{name}")
            if value:
                row = insert(_LIMITS).values(name=name, value=value)
                self._connection.run(row.on_conflict_do_update(index_elements=["name"], set_={"value": value}))
            else:
                self._connection.run(sa.delete(_LIMITS).where(_LIMITS.c.name == name))
        rows = self._connection.run(sa.select(_LIMITS.c.name, _LIMITS.c.value).order_by(_LIMITS.c.name))
        current = {str(row.name): int(row.value) for row in rows}
        self._limit_queue(current.get("concurrency"), current.get("worker_concurrency", _WORKER_CONCURRENCY))
        return current

    def _limit_queue(self, overall: int | None, each: int) -> None:
        each = each if overall is None else min(each, overall)  # DBOS refuses a worker more than all together
        client = self._connection.client
        self._connection.patiently(
            lambda: client.register_queue(
                QUEUE, global_concurrency=overall, worker_concurrency=each, polling_interval_sec=_POLL
            )
        )

    def enter(self, service: str) -> float:
        """Seconds to wait before this is asked again; 0 if a call may be made now, which then counts."""
        this = _SERVICES.c.name == service
        opens = sa.func.greatest(_SERVICES.c.next_call, _SERVICES.c.paid_until, _SERVICES.c.reopens)
        call = sa.update(_SERVICES).where(this, opens <= _NOW).values(next_call=_NOW + _seconds_each("rpm"))
        if self._connection.run(call.returning(_SERVICES.c.name)):
            return 0.0
        for row in self._connection.run(sa.select((opens - _NOW).label("wait")).where(this)):
            return max(float(row.wait), 0.001)
        self._connection.run(insert(_SERVICES).values(name=service).on_conflict_do_nothing())
        return 0.001

    def replied(self, service: str, tokens: int) -> None:
        """Counts the tokens of a reply."""
        paid = sa.func.greatest(_SERVICES.c.paid_until, _NOW) + tokens * _seconds_each("tpm")
        self._connection.run(sa.update(_SERVICES).where(_SERVICES.c.name == service).values(paid_until=paid))

    def refused(self, service: str, seconds: float) -> None:
        """Leaves a service alone for the seconds that it asked for."""
        reopens = sa.func.greatest(_SERVICES.c.reopens, _NOW + seconds)
        self._connection.run(sa.update(_SERVICES).where(_SERVICES.c.name == service).values(reopens=reopens))


class SharedPace(Pace):
    """When the next call to a service may be made, for all workers of a database together.

    While the database is away nobody calls: what is not logged may not happen.
    """

    def __init__(self, limits: SharedLimits, service: str) -> None:
        super().__init__()
        self._limits, self._service = limits, hashlib.sha256(service.encode()).hexdigest()

    async def enter(self) -> float:
        """Seconds to wait before this is asked again; 0 if the call may be made now, which then counts."""
        return await _surely(lambda: self._limits.enter(self._service))

    async def replied(self, tokens: int) -> None:
        """Counts the tokens of a reply."""
        await _surely(lambda: self._limits.replied(self._service, tokens))

    async def refused(self, seconds: float) -> None:
        """Leaves the service alone for the seconds that it asked for."""
        await _surely(lambda: self._limits.refused(self._service, seconds))


async def _surely(call: Callable[[], float | None]) -> float:
    while True:
        try:
            return await asyncio.to_thread(call) or 0.0
        except JournalError as error:
            logger.error("%s", error)
