"""The run directory and its append-only log, `events.jsonl`."""

from __future__ import annotations

import json
import os
import re
import secrets
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

from magentic_kit.errors import ConfigError, JournalError
from magentic_kit.events import Event, to_dict


class Journal:
    """Writes one JSON object a line, flushed and synced before the next step goes on."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._file = (directory / "events.jsonl").open("a", encoding="utf-8")

    @classmethod
    def create(cls, out: Path, run_id: str) -> Journal:
        """The journal of a new run, in a directory of its own under `out`. Raises `ConfigError`."""
        try:
            (out / run_id).mkdir(parents=True)
            return cls(out / run_id)
        except OSError as error:
            message = f"cannot write to {out}: {error.strerror or error}; choose another directory with --out"
            raise ConfigError.one(message) from error

    def save(self, name: str, text: str) -> None:
        """Writes another file of the run."""
        (self.directory / name).write_text(text, encoding="utf-8")

    def write(self, event: Event) -> None:
        """Appends the event. Raises `JournalError` when the disk does not take it."""
        try:
            self._file.write(json.dumps(to_dict(event), ensure_ascii=False) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise JournalError(f"cannot write {self._file.name}: {error.strerror or error}") from error

    def close(self) -> None:
        """Closes the file; the log is complete."""
        with suppress(OSError):  # what a full disk did not take has been told already
            self._file.close()


def new_run_id(team: str) -> str:
    """`<UTC time>-<team>-<random>`: sorts by time and is a safe directory name."""
    slug = re.sub(r"[^a-z0-9]+", "-", team.lower()).strip("-")[:40] or "team"
    return f"{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}-{slug}-{secrets.token_hex(3)}"
