"""Files that the command line names: what goes wrong with them is a `ConfigError`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from magentic_kit.errors import ConfigError


def read_text(path: Path) -> str:
    """Returns the text of a file. Raises `ConfigError`."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError.one(f"cannot be read: {error}", file=str(path)) from error


def read_standard_input() -> str:
    """Returns all of standard input. Raises `ConfigError` if it is not text."""
    try:
        return sys.stdin.read()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError.one(f"cannot be read: {error}", file="standard input") from error


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns an `OSError` about `path` into a `ConfigError` with the reason."""
    try:
        yield
    except OSError as error:
        raise ConfigError.one(f"cannot be written: {error.strerror or error}", file=str(path)) from error


def write_new(files: Mapping[Path, str]) -> None:
    """Writes all the files or none of them. Raises `ConfigError`."""
    for path in files:
        if path.exists():
            raise ConfigError.one("exists already; nothing was written", file=str(path))
    made: list[Path] = []
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8", newline="\n") as file:
                made.append(path)
                file.write(text)
    except OSError as error:
        for written in made:
            written.unlink()
        raise ConfigError.one(f"cannot be written: {error.strerror}", file=str(path)) from error
