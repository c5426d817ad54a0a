"""The run directory and its append-only log, `events.jsonl`: a line an event, each with its checksum."""

from __future__ import annotations

import errno
import json
import os
import re
import threading
import zlib
from contextlib import suppress
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from magentic_kit import events as ev
from magentic_kit.errors import ConfigError, JournalError
from magentic_kit.events import AnyEvent, to_dict
from magentic_kit.runlog.attachments import RunFolder
from magentic_kit.runlog.files import (
    lock_directory,
    make_directory,
    open_private,
    read_regular,
    to_disk,
    write_private,
)
from magentic_kit.runlog.reader import LOG, missing, read_log

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

_CALLER = "caller"
"""File in the directory of a run that another run began: the call that began it."""
_SYNCED = (
    ev.RunStarted,
    ev.PlanReviewed,
    ev.ToolReviewed,
    ev.ModelCallFinished,
    ev.ToolCallStarted,
    ev.ToolCallFinished,
    ev.ToolCallFailed,
)
"""Events that a run cannot make again from others: all else follows from these when it is resumed."""
_LONGEST_CALL = 10_000  # bytes
_UNSAFE = re.compile("[\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")  # what JSON leaves and a terminal obeys


class RunLog(Protocol):
    """Where a run's events are written before it goes on: a directory here, or a database for many machines."""

    directory: Path | None

    def read(self) -> list[AnyEvent]:
        """What was written so far. Raises `JournalError`."""

    def describe(self, team: str) -> None:
        """Tells the team file as it holds from here on; it is kept with the first event that follows."""

    def write(self, event: AnyEvent) -> None:
        """Appends the event. Raises `JournalError`."""

    async def sync(self) -> None:
        """Waits until what was written outlasts a power cut. Raises `JournalError`."""

    def keep(self, sha256: str, content: bytes) -> None:
        """Writes the content of an attachment, unless it is there. Raises `JournalError`."""

    def kept(self, sha256: str) -> bytes:
        """The content of an attachment that was written. Raises `JournalError`."""

    def inside(self, call: str, team: str) -> RunLog:
        """The log of the run that this call of the run begins, or began earlier."""

    def close(self) -> None:
        """Lets others at the log."""


class Journal:
    """Writes one JSON object a line, before the next step goes on: a killed process loses nothing.

    What cannot be had again for nothing is synced to the disk too, before the run goes on, so that a power cut
    does not take it: whoever writes such an event calls `sync` next.

    One process at a time: a second one on the same run gets a `ConfigError`.
    """

    def __init__(self, directory: Path) -> None:
        self.directory: Path | None = directory
        self.path = directory / LOG
        self._team = ""
        self._described: Path | None = None  # the team file that the disk need not have yet
        self._read: tuple[list[AnyEvent], int] | None = None  # until the next write
        self._unsynced = False
        self._syncing = threading.Lock()  # a run that is cancelled does not wait for its thread
        self._file: BinaryIO | None = None
        try:
            self._lock = lock_directory(directory, "run")
            if not self.path.exists():
                self._file = open_private(self.path, append=True)
        except OSError as error:
            raise _unwritable(directory, error) from error

    @classmethod
    def create(cls, out: Path, run_id: str) -> Journal:
        """The journal of a new run, in a directory of its own under `out`. Raises `ConfigError`."""
        try:
            make_directory(out / run_id)
        except OSError as error:
            raise _unwritable(out, error) from error
        return cls(out / run_id)

    @classmethod
    def existing(cls, directory: Path) -> Journal:
        """The journal of a run that is there. Raises `ConfigError` if there is none."""
        try:
            (directory / LOG).stat()
        except OSError as error:
            raise missing(directory / LOG, error) from error
        return cls(directory)

    def read(self) -> list[AnyEvent]:
        """What was written so far. Raises `JournalError`."""
        return list(self._whole()[0])

    def _whole(self) -> tuple[list[AnyEvent], int]:
        """The events, and the bytes that they take; the file is read once for all who ask before the next write."""
        if self._read is None:
            self._read = read_log(self.path.parent)
        return self._read

    def describe(self, team: str) -> None:
        """Tells the team file as it holds from here on; it is kept with the first event that follows."""
        self._team = team

    def keep(self, sha256: str, content: bytes) -> None:
        """Writes the content of an attachment, unless it is there. Raises `JournalError`."""
        RunFolder(self.path.parent).keep(sha256, content)

    def kept(self, sha256: str) -> bytes:
        """The content of an attachment that was written. Raises `JournalError`."""
        return RunFolder(self.path.parent).kept(sha256)

    def inside(self, call: str, team: str) -> Journal:
        """The journal of the run that this call of the run begins, or began earlier. Raises `ConfigError`."""
        teams = self.path.parent / "teams"
        try:
            if teams.is_symlink():
                raise OSError(errno.ELOOP, "is a link, which is not followed")
            for caller in teams.glob(f"*/{_CALLER}"):
                if read_regular(caller, _LONGEST_CALL) == call.encode():
                    return Journal(caller.parent)
            journal = Journal.create(teams, new_run_id(team))
            write_private(journal.path.with_name(_CALLER), call.encode())
        except OSError as error:
            raise _unwritable(teams, error) from error
        return journal

    def write(self, event: AnyEvent) -> None:
        """Appends the event. Raises `JournalError` when the disk does not take it."""
        text = json.dumps(to_dict(event), ensure_ascii=False, default=str)
        body = _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text).encode()
        line = body[:-1] + b', "sum": "%08x"}\n' % zlib.crc32(body)
        try:
            if self._team:
                self._described = self.path.with_name("team.yaml")
                write_private(self._described, self._team.encode())
                self._team = ""
            if self._file is None:  # the first new line of a run that is resumed takes a torn one's place
                _, whole = self._whole()
                self._file = open_private(self.path, append=True)
                self._file.truncate(whole)
            self._read = None
            self._file.write(line)
            self._file.flush()
            if os.fstat(self._file.fileno()).st_nlink == 0:  # or it would be written to until the end, for nobody
                raise FileNotFoundError(errno.ENOENT, "it was removed while the run went on")
            if isinstance(event, ev.RunFinished):  # after which nobody waits for anything
                to_disk(self._file)
            self._unsynced |= isinstance(event, _SYNCED)
        except OSError as error:
            raise self._failed(error) from error

    async def sync(self) -> None:
        """Waits, in a thread, until the disk has what it needs to have. Raises `JournalError`."""
        import asyncio  # who only reads a log does not wait for it

        if self._unsynced:
            self._unsynced = False
            await asyncio.get_running_loop().run_in_executor(_threads(), self._sync)

    def _sync(self) -> None:
        with self._syncing:
            try:
                if self._described is not None:  # a log is of no use without its team
                    with self._described.open("r+b") as file:
                        to_disk(file)
                    self._described = None
                if self._file is not None:
                    to_disk(self._file)
            except OSError as error:
                raise self._failed(error) from error

    def _failed(self, error: OSError) -> JournalError:
        return JournalError(f"cannot write {self.path}: {error.strerror or error}")

    def close(self) -> None:
        """Closes the file and lets others at the run."""
        with self._syncing, suppress(OSError):  # what a full disk did not take has been told already
            if self._file is not None:
                self._file.close()
            self._file = None
        self._lock.release()


@cache
def _threads() -> ThreadPoolExecutor:
    """Not asyncio's own, whose few threads a plugin's functions may keep busy."""
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(8, thread_name_prefix="journal")


def new_run_id(team: str) -> str:
    """`<UTC time>-<team>-<random>`: sorts by time and is a safe directory name."""
    import secrets

    slug = re.sub(r"[^a-z0-9]+", "-", team.lower()).strip("-")[:40] or "team"
    return f"{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}-{slug}-{secrets.token_hex(3)}"


def _unwritable(directory: Path, error: OSError) -> ConfigError:
    return ConfigError.one(f"cannot write here: {error.strerror or error}; choose another --out", file=str(directory))
