"""What the environment gives to commands: `.env` files, and the database of the queue."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from magentic_kit.errors import ConfigError

if TYPE_CHECKING:
    from magentic_kit.cluster.database import Database

DATABASE_VARIABLE = "MAGENTIC_KIT_DATABASE"


def load_environment(env_file: Path | None, *, beside: Path) -> None:
    """Reads the given environment file, or `.env` here and beside the team; variables that are set stay as they are.

    Raises `ConfigError` if `env_file` is not there.
    """
    if env_file is not None and not env_file.is_file():
        raise ConfigError.one("there is no such environment file", file=str(env_file))
    paths = [Path(".env"), beside.parent / ".env"] if env_file is None else [env_file]
    for path in paths:
        if path.is_file():
            from dotenv import load_dotenv

            load_dotenv(path)


def database_url(url: str | None) -> str | None:
    """Returns the database that the option `--database` names, else the one that the environment names."""
    return url or os.environ.get(DATABASE_VARIABLE)


def open_database(url: str | None) -> Database:
    """Opens the queue's database. Raises `ConfigError`."""
    named = database_url(url)
    if not named:
        raise ConfigError.one(f"which? Give --database, or set {DATABASE_VARIABLE}", file="command line")
    try:
        from magentic_kit.cluster.database import Database

        return Database(named)
    except ImportError as error:
        raise ConfigError.one(f"{error.name} is missing: pip install 'magentic-kit[cluster]'") from error
