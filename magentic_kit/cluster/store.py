"""The tables of the queue, in SQLite or Postgres, and statements that are made again when the database was away."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import exc

from magentic_kit.errors import ConfigError, JournalError

_T = TypeVar("_T")

PATIENCE = 60.0
"""Seconds that a database may be away before what needs it is given up."""


_DRIVERS: dict[str, tuple[str, dict[str, Any]]] = {
    "sqlite": ("sqlite+pysqlite", {"timeout": 30}),
    # A host that vanished is noticed in half a minute, not in the quarter of an hour that TCP takes.
    "postgresql": ("postgresql+psycopg", {"connect_timeout": 10, "tcp_user_timeout": 30_000}),
}
"""Kind of database -> SQLAlchemy's name for it with the driver, and how to connect."""
METADATA = sa.MetaData()
RUNS = sa.Table(
    "magentic_runs",
    METADATA,
    sa.Column("id", sa.String(100), primary_key=True),
    sa.Column("spec", sa.JSON, nullable=False),
    sa.Column("created", sa.String(40), nullable=False),
    sa.Column("state", sa.String(20), nullable=False, index=True),
    sa.Column("note", sa.Text, nullable=False, default=""),
    sa.Column("worker", sa.String(200), nullable=False, default=""),
    sa.Column("epoch", sa.Integer, nullable=False, default=0),  # of its worker: who holds a lower one is out
    sa.Column("beat", sa.Integer, nullable=False, default=0),  # moves as long as its worker lives
    sa.Column("takes", sa.Integer, nullable=False, default=0),
    sa.Column("cancel", sa.Boolean, nullable=False, default=False),
    # While it runs: the lowest that is free, so that two cannot exceed a limit.
    sa.Column("slot", sa.Integer, unique=True),
    sa.Column("settled", sa.JSON),  # a person's words on tool calls of unknown outcome
    sa.Column("settled_at", sa.Integer),  # the epoch they were given at; they hold for the next one alone
)
EVENTS = sa.Table(
    "magentic_events",
    METADATA,
    sa.Column("run", sa.String(500), primary_key=True),  # its id, or `id/call` for one that this call has begun
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("body", sa.Text, nullable=False),
)
LIMITS = sa.Table(
    "magentic_limits",
    METADATA,
    sa.Column("name", sa.String(20), primary_key=True),
    sa.Column("value", sa.Integer),
)
SERVICES = sa.Table(  # when the next call to each may be made, in seconds by the database's clock
    "magentic_services",
    METADATA,
    sa.Column("name", sa.String(64), primary_key=True),
    *(sa.Column(name, sa.Float, nullable=False, default=0.0) for name in ("next_call", "paid_until", "reopens")),
)


class Store:
    """A database with these tables. Its methods raise `JournalError` if it is away for long.

    `now` is its clock, in seconds since 1970, and `greatest` its greatest of several values.
    """

    def __init__(self, url: str) -> None:
        """Opens the database, and makes its tables. Raises `ConfigError` if it cannot be had."""
        try:
            parsed = sa.make_url(url)
            if (kind := parsed.get_backend_name()) not in _DRIVERS:
                raise ConfigError.one("should be sqlite:///FILE or postgresql://…", file="--database")
            name, connect = _DRIVERS[kind]
            self.engine = sa.create_engine(
                parsed.set(drivername=name), isolation_level="AUTOCOMMIT", connect_args=connect
            )
            self.engine.connect().close()
            for _ in range(2):  # each may fail once where another process is making the same table
                with suppress(exc.DBAPIError):
                    METADATA.create_all(self.engine)
            METADATA.create_all(self.engine)
        except exc.SQLAlchemyError as error:
            cause = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
            raise ConfigError.one(f"cannot be opened: {cause}", file="--database") from error
        if kind == "sqlite":
            self.do(lambda connection: connection.exec_driver_sql("PRAGMA journal_mode = WAL"))
            self.greatest: Any = sa.func.max
            self.now: Any = sa.literal_column("(julianday('now') - 2440587.5) * 86400.0", sa.Float)
        else:
            self.greatest = sa.func.greatest
            self.now = sa.literal_column("extract(epoch from clock_timestamp())::float8", sa.Float)

    def insert(self, table: sa.Table, row: dict[str, Any]) -> None:
        """Adds a row unless there is one with its key."""

        def insert(connection: sa.Connection) -> None:
            with suppress(exc.IntegrityError):  # it is there already
                connection.execute(sa.insert(table).values(row))

        self.do(insert)

    def changed(self, update: sa.Update) -> bool:
        """Whether there was a row to change."""
        return self.do(lambda connection: connection.execute(update).rowcount > 0)

    def all(self, statement: sa.Executable) -> list[Any]:
        """The rows that a statement gives."""
        return self.do(lambda connection: list(connection.execute(statement).all()))

    def do(self, work: Callable[[sa.Connection], _T]) -> _T:
        """Does it; and again for a while when the database is away. It blocks: what is not logged may not happen."""
        began, wait = time.monotonic(), 0.05
        while True:
            try:
                with self.engine.connect() as connection:
                    return work(connection)
            except exc.SQLAlchemyError as error:
                if time.monotonic() + wait > began + PATIENCE:
                    raise JournalError(f"the database does not answer: {error}") from error
            time.sleep(wait)
            wait = min(2 * wait, 1.0)
