"""Limits that all workers keep together: DBOS has those of runs, two tables have requests and tokens a minute."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from magentic_kit.services.rate_limits import Pace

logger = logging.getLogger(__name__)

TABLES = """
    SELECT pg_advisory_xact_lock(7361);  -- two that create one table at once fail, even if it may exist
    CREATE TABLE IF NOT EXISTS magentic_limits (name text PRIMARY KEY, value integer NOT NULL);
    CREATE TABLE IF NOT EXISTS magentic_services (
        name text PRIMARY KEY, opens timestamptz NOT NULL, paid_until timestamptz NOT NULL)
"""
"""`opens` is when the next call to a service may be made, `paid_until` when its tokens so far have had their time."""
SET_LIMIT = """
    INSERT INTO magentic_limits VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = excluded.value
"""
"""0 is no limit."""
GET_LIMITS = "SELECT name, value FROM magentic_limits WHERE value > 0 ORDER BY name"
_IN_TURN = "SELECT set_config('idle_in_transaction_session_timeout', '10s', true), pg_advisory_xact_lock(7362)"
_LIMIT = "(SELECT nullif(value, 0) FROM magentic_limits WHERE name = '{}')"
_EACH = f"coalesce(interval '1 minute' / {_LIMIT}, interval '0')"
"""How far calls (`rpm`) or tokens (`tpm`) are apart."""
_ENTER = f"""
    INSERT INTO magentic_services AS s VALUES (:service, clock_timestamp() + {_EACH.format("rpm")}, '-infinity')
    ON CONFLICT (name) DO UPDATE SET opens = excluded.opens
    WHERE greatest(s.opens, s.paid_until) <= clock_timestamp() RETURNING 0.0
"""
_WAIT = """
    SELECT extract(epoch FROM greatest(opens, paid_until) - clock_timestamp()) FROM magentic_services
    WHERE name = :service
"""
_REPLIED = f"""
    UPDATE magentic_services SET paid_until = greatest(paid_until, clock_timestamp())
    + :tokens * {_EACH.format("tpm")} WHERE name = :service
"""
_REFUSED = """
    UPDATE magentic_services SET opens = greatest(opens, clock_timestamp() + :seconds * interval '1 second')
    WHERE name = :service
"""


def reason_of(error: SQLAlchemyError) -> str:
    """Returns what the database's driver says of an error, in one line."""
    return str(getattr(error, "orig", None) or error).strip().partition("\n")[0]


@contextmanager
def in_turn(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction of the one process that sets limits of runs, or takes runs from a queue under them.

    Postgres ends that of a process which is frozen in it, so that the others go on.
    """
    with engine.begin() as connection:
        connection.execute(sa.text(_IN_TURN))
        yield connection


class SharedPace(Pace):
    """When the next call to a service may be made, for all workers together, by the clock of their database.

    While the database is away nobody calls: what is not logged may not happen.
    """

    def __init__(self, engine: sa.Engine, service: str) -> None:
        super().__init__()
        self._engine, self._service = engine, hashlib.sha256(service.encode()).hexdigest()

    async def enter(self) -> float:
        """Returns seconds to wait before this is asked again; 0 if the call may be made now, which then counts."""
        wait = await self._execute(_ENTER)
        if wait is None:
            wait = max(await self._execute(_WAIT) or 0.0, 0.001)
        return wait

    async def replied(self, tokens: int) -> None:
        """Counts the tokens of a reply."""
        await self._execute(_REPLIED, tokens=tokens)

    async def refused(self, seconds: float) -> None:
        """Leaves the service alone for the seconds that it asked for."""
        await self._execute(_REFUSED, seconds=seconds)

    async def _execute(self, statement: str, **values: float) -> float | None:
        """Executes the statement, once the database answers; returns the number that it returns, if any."""
        while True:
            try:
                return await asyncio.to_thread(self._execute_now, statement, values)
            except SQLAlchemyError as error:
                logger.debug("the database does not answer: %s", reason_of(error))
                await asyncio.sleep(1)

    def _execute_now(self, statement: str, values: dict[str, float]) -> float | None:
        with self._engine.begin() as connection:
            result = connection.execute(sa.text(statement), {"service": self._service, **values})
            row = result.first() if result.returns_rows else None
            if row is None:
                return None
            return float(row[0])
