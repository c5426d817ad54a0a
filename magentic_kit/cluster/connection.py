"""The Postgres database that workers and their clients share, and what is done while it is away."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa
from dbos import DBOS, DBOSClient, DBOSPortableJSONSerializer
from sqlalchemy import exc

from magentic_kit.errors import ConfigError, JournalError

_T = TypeVar("_T")

APPLICATION = "magentic-kit"
"""Name of our application in a DBOS system database, which several may share."""
PATIENCE = 60.0
"""Seconds that the database may be away before a call that needs it fails."""
CONNECT = {"connect_timeout": 10, "tcp_user_timeout": 30_000}
"""A host that vanished is noticed in half a minute, not in the quarter of an hour that TCP takes."""


class Connection:
    """A DBOS system database: its engine and its client. Raises `ConfigError` if it cannot be opened."""

    def __init__(self, url: str) -> None:
        try:
            parsed = sa.make_url(url)
            if parsed.get_backend_name() != "postgresql":
                raise ConfigError.one(
                    "should be postgresql://…; one machine needs no database: see `magentic-kit batch`",
                    file="--database",
                )
            parsed = parsed.set(drivername="postgresql+psycopg")
            self.url = parsed.render_as_string(hide_password=False)
            self.engine = sa.create_engine(self.url, connect_args=CONNECT, pool_pre_ping=True)
            self.engine.connect().close()
            DBOS.migrate(self.url)  # a client alone does not make the tables
            self.client = DBOSClient(
                system_database_engine=self.engine,
                serializer=DBOSPortableJSONSerializer(),
                application_name=APPLICATION,
                retry_connection_errors=False,  # without end; `patiently` has one
            )
        except exc.SQLAlchemyError as error:
            cause = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
            raise ConfigError.one(f"cannot be opened: {cause}", file="--database") from error

    def patiently(self, call: Callable[[], _T]) -> _T:
        """Returns what the call returns; makes it again while the database is away. It blocks.

        The call should have the same effect twice as once: when a connection is lost nobody knows whether the
        statement took effect. Raises `JournalError` after `PATIENCE` seconds.
        """
        began, wait = time.monotonic(), 0.05
        while True:
            try:
                return call()
            except exc.SQLAlchemyError as error:
                if time.monotonic() + wait > began + PATIENCE:
                    raise JournalError(f"the database does not answer: {error}") from error
            time.sleep(wait)
            wait = min(2 * wait, 1.0)

    def run(self, statement: sa.Executable) -> list[sa.Row[tuple[object, ...]]]:
        """Executes one statement, patiently, and returns its rows, if it has any."""

        def execute() -> list[sa.Row[tuple[object, ...]]]:
            with self.engine.begin() as connection:
                result = connection.execute(statement)
                return list(result.all()) if result.returns_rows else []

        return self.patiently(execute)
