"""A PostgreSQL server for this process, and a database of its own for each test."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
import sqlalchemy as sa
from support.cluster import brain
from support.needs import lacking
from support.openai_server import OpenAIServer
from support.postgres import Postgres, installed

from magentic_kit.cluster.database import Database

_NUMBERS = count()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server whose database `template` has our tables."""
    if not installed():
        lacking("PostgreSQL", "apt-get install postgresql")
    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder:
        started = Postgres(Path(folder))
        create(started, "template", "template1")
        made = Database(started.url("template"))
        made.client.destroy()
        made.engine.dispose()
        yield started
        started.control("stop", "-m", "immediate")


def create(postgres: Postgres, name: str, template: str) -> None:
    url = postgres.url("postgres").replace("postgresql:", "postgresql+psycopg:")
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    engine.dispose()


@pytest.fixture
def url(postgres: Postgres) -> str:
    name = f"test_{next(_NUMBERS)}"
    create(postgres, name, "template")
    return postgres.url(name)


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = Database(url)
    yield opened
    opened.client.destroy()
    opened.engine.dispose()


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(brain) as server:
        yield server


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")
