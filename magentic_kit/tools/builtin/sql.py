"""SQL for agents: one database, read only unless stated; the database itself enforces it."""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from semantic_kernel.functions.kernel_function_decorator import kernel_function

from magentic_kit.errors import ConfigError
from magentic_kit.text import count, one_line

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, CursorResult

MAX_SECONDS = 60
"""How long SQLite and PostgreSQL let one statement run."""
MAX_VALUE = 500_000
MAX_COLUMNS = 64
"""Bytes of one value that SQLite reads or makes, and columns of a result, unless a table has more."""
MAX_CHARACTERS = 200_000
"""Length of a result."""
DRIVERS = {"sqlite": "pysqlite", "postgresql": "psycopg", "mysql": "pymysql", "mariadb": "pymysql"}
"""The driver for each database. Others, such as psycopg2, would run `COMMIT; DROP …` as two statements."""


class SqlPlugin:
    """Queries the database at `url` (SQLAlchemy's form); `execute` is a function only where writing is allowed.

    SQLite files are opened with `mode=ro` and `query_only`; an authorizer lets neither ATTACH nor a PRAGMA
    through, even when writing is allowed. PostgreSQL and MySQL run each query, one statement, in
    a read-only transaction that is rolled back; what else it may do there (call a function, touch a server's file)
    is for the rights of the database user. Raises `ConfigError` for a URL that cannot be used or a missing package.
    """

    REPEATABLE = ("query", "schema")

    def __init__(self, url: str, *, write: bool = False, max_rows: int = 100) -> None:
        self._max_rows = max_rows
        try:
            from sqlalchemy import create_engine, make_url
            from sqlalchemy.exc import ArgumentError
            from sqlalchemy.pool import NullPool

            parsed = make_url(url)
            self._kind = parsed.get_backend_name()
            drivername = f"{self._kind}+{DRIVERS.get(self._kind)}"
            if parsed.drivername not in (self._kind, drivername) or self._kind not in DRIVERS:
                known = ", ".join(f"{kind}+{driver}" for kind, driver in DRIVERS.items())
                raise ConfigError.one(f"the SQL plugin knows {known}; not {parsed.drivername}")
            parsed = parsed.set(drivername=drivername)
            self._reader = create_engine(self._opened(parsed, "ro"), poolclass=NullPool)
            self._writer = create_engine(self._opened(parsed, "rwc"), poolclass=NullPool)
        except ModuleNotFoundError as error:
            raise ConfigError.one(
                f"the SQL plugin needs {error.name}: pip install 'magentic-kit[sql]' {error.name}"
            ) from error
        except ArgumentError as error:
            raise ConfigError.one("the SQL plugin's url is no database URL, such as sqlite:///data/sales.db") from error
        if write:

            @kernel_function(name="execute", description="Runs one SQL statement that may change the database.")
            def execute(sql: Annotated[str, "One SQL statement"]) -> str:
                return self._run(sql, write=True)

            self.execute: Callable[[str], str] = execute

    @kernel_function(name="query", description="Runs one SQL SELECT and returns its rows as a Markdown table.")
    def query(self, sql: Annotated[str, "One SELECT statement"]) -> str:
        """The rows, no more than `max_rows`, with a last line in brackets where there are more."""
        return self._run(sql, write=False)

    @kernel_function(name="schema", description="Lists the tables and views with their columns and foreign keys.")
    def schema(self) -> str:
        """One line for each table or view."""
        from sqlalchemy import inspect

        with self._connection(write=False) as connection:
            inspector, lines = inspect(connection), []
            for table in [*inspector.get_table_names(), *inspector.get_view_names()]:
                columns = [f"{column['name']} {column['type']}" for column in inspector.get_columns(table)]
                for key in inspector.get_foreign_keys(table):
                    ours, theirs = ", ".join(key["constrained_columns"]), ", ".join(key["referred_columns"])
                    columns.append(f"({ours}) -> {key['referred_table']}({theirs})")
                lines.append(f"{table}({', '.join(columns)})")
        return "\n".join(lines) or "no tables"

    def _opened(self, url: URL, mode: str) -> URL:
        if self._kind != "sqlite":
            return url
        if url.database in (None, "", ":memory:"):
            raise ConfigError.one("the SQL plugin needs a database file, as in sqlite:///data/sales.db")
        return url.set(database=Path(url.database).resolve().as_uri(), query={"mode": mode, "uri": "true"})

    def _run(self, sql: str, *, write: bool) -> str:
        with self._connection(write=write) as connection:
            if self._kind == "sqlite":
                connection.exec_driver_sql(f"PRAGMA query_only = {not write:d}")
                _limit_sizes(connection.connection.driver_connection)
                _confine(connection.connection.driver_connection)
            # stream_results: PostgreSQL then reads through a cursor, which takes one SELECT only, and row by row.
            options = {"no_parameters": True, "stream_results": not write}
            result = connection.exec_driver_sql(sql, execution_options=options)
            changed = f"{count(result.rowcount, 'row')} changed" if result.rowcount >= 0 else "done"
            text = self._table(result) if result.returns_rows else changed
            if write:
                connection.commit()
        return text

    @contextmanager
    def _connection(self, *, write: bool) -> Iterator[Connection]:
        from sqlalchemy.exc import SQLAlchemyError

        try:
            with (self._writer if write else self._reader).connect() as connection:
                if self._kind == "postgresql":
                    connection.execution_options(postgresql_readonly=not write)
                    connection.exec_driver_sql(f"SET LOCAL statement_timeout = '{MAX_SECONDS}s'")
                elif self._kind != "sqlite" and not write:  # for this one, and for one after a DDL's implicit commit
                    connection.exec_driver_sql("SET SESSION TRANSACTION READ ONLY")
                    connection.exec_driver_sql("START TRANSACTION READ ONLY")
                yield connection
        except (SQLAlchemyError, sqlite3.Warning) as error:  # Python 3.10 warns of a second statement
            how = "" if write else " (it is open for reading only)"
            raise ValueError(f"the database answered{how}: {getattr(error, 'orig', None) or error}") from None

    def _table(self, result: CursorResult[Any]) -> str:
        keys = list(result.keys())
        lines = [_line(keys), _line(["---"] * len(keys))]
        size, note = 0, "no rows"
        for number, row in enumerate(result):
            if number == self._max_rows or size > MAX_CHARACTERS:
                note = f"only the first {count(number, 'row')}"
                break
            line = _line([one_line(str(cell), 1_000) for cell in row])
            size += len(line)
            lines.append(line)
            note = ""
        return "\n".join(lines) + (f"\n\n[{note}]" if note else "")


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _limit_sizes(connection: Any) -> None:
    """Keep what one statement takes of memory within some hundred MB: values may have a GB each by default."""
    if sys.version_info >= (3, 11):
        # This also reads the schema, which has to happen under the usual limits.
        widest = "SELECT count(*) FROM sqlite_master AS m, pragma_table_info(m.name) GROUP BY m.name ORDER BY 1 DESC"
        columns = connection.execute(widest).fetchone() or (0,)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE)
        connection.setlimit(sqlite3.SQLITE_LIMIT_COLUMN, max(columns[0], MAX_COLUMNS))
    else:
        # Python 3.10 has no limits for one connection. This one is for all SQLite databases of the process.
        connection.execute(f"PRAGMA hard_heap_limit = {400 * MAX_VALUE}")


def _confine(connection: Any) -> None:
    """Keep a SQLite connection to its file and its settings, and to its time."""

    def authorize(action: int, name: str | None, *_: object) -> int:
        # Asked for each thing a statement would do when it is prepared; full-text tables read data_version.
        pragma = action == sqlite3.SQLITE_PRAGMA and name != "data_version"
        outside = pragma or action in (sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH)
        if outside:
            return sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_OK

    connection.set_authorizer(authorize)
    until = time.monotonic() + MAX_SECONDS
    connection.set_progress_handler(lambda: time.monotonic() > until, 1_000)  # one step may take a second
