"""The run directory and its append-only log, `events.jsonl`: a line an event, each with its checksum."""

from __future__ import annotations

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
from magentic_kit.events import AnyEvent, from_dict, to_dict

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

LOG = "events.jsonl"
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
_SUM = re.compile(r', "sum": "([0-9a-f]{8})"\}$')


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
        from filelock import FileLock, Timeout  # who only reads a log does not wait for it

        self.directory: Path | None = directory
        self.path = directory / LOG
        self._team = ""
        self._described: Path | None = None  # the team file that the disk need not have yet
        self._lock = FileLock(directory / ".lock", timeout=0)
        try:
            self._lock.acquire()
        except Timeout:
            raise ConfigError.one("another process is at work on this run", file=str(directory)) from None
        except OSError as error:
            raise _unwritable(directory, error) from error
        self._read: tuple[list[AnyEvent], int] | None = None  # until the next write
        self._unsynced = False
        self._syncing = threading.Lock()  # a run that is cancelled does not wait for its thread
        self._file: BinaryIO | None = None if self.path.exists() else self.path.open("ab")

    @classmethod
    def create(cls, out: Path, run_id: str) -> Journal:
        """The journal of a new run, in a directory of its own under `out`. Raises `ConfigError`."""
        try:
            (out / run_id).mkdir(parents=True)
        except OSError as error:
            raise _unwritable(out, error) from error
        return cls(out / run_id)

    @classmethod
    def existing(cls, directory: Path) -> Journal:
        """The journal of a run that is there. Raises `ConfigError` if there is none."""
        try:
            (directory / LOG).stat()
        except OSError as error:
            raise _missing(directory / LOG, error) from error
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

    def inside(self, call: str, team: str) -> Journal:
        """The journal of the run that this call of the run begins, or began earlier. Raises `ConfigError`."""
        teams = self.path.parent / "teams"
        for caller in teams.glob(f"*/{_CALLER}"):
            if caller.read_text(encoding="utf-8") == call:
                return Journal(caller.parent)
        journal = Journal.create(teams, new_run_id(team))
        (journal.path.parent / _CALLER).write_text(call, encoding="utf-8")
        return journal

    def write(self, event: AnyEvent) -> None:
        """Appends the event. Raises `JournalError` when the disk does not take it."""
        body = json.dumps(to_dict(event), ensure_ascii=False, default=str).encode("utf-8", "backslashreplace")
        line = body[:-1] + b', "sum": "%08x"}\n' % zlib.crc32(body)
        try:
            if self._team:
                self._described = self.path.with_name("team.yaml")
                self._described.write_text(self._team, encoding="utf-8")
                self._team = ""
            if self._file is None:  # the first new line of a run that is resumed takes a torn one's place
                _, whole = self._whole()
                self._file = self.path.open("ab")
                self._file.truncate(whole)
            self._read = None
            self._file.write(line)
            self._file.flush()
            if isinstance(event, ev.RunFinished):  # after which nobody waits for anything
                _to_disk(self._file)
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
                        _to_disk(file)
                    self._described = None
                if self._file is not None:
                    _to_disk(self._file)
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


def _to_disk(file: BinaryIO) -> None:
    # Where it can be, without the file's times, which nobody reads: half the wait.
    getattr(os, "fdatasync", os.fsync)(file.fileno())


@cache
def _threads() -> ThreadPoolExecutor:
    """Not asyncio's own, whose few threads a plugin's functions may keep busy."""
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(8, thread_name_prefix="journal")


def read_log(directory: Path) -> tuple[list[AnyEvent], int]:
    """The events of a run, and the bytes that whole lines take; a last line that was torn is left out.

    Raises `JournalError` with the number of a line that was changed, `ConfigError` if there is no log.
    """
    path = directory / LOG
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _missing(path, error) from error
    events: list[AnyEvent] = []
    *lines, torn = data.split(b"\n")
    for number, line in enumerate(lines, 1):
        try:
            events.append(_event(line.decode("utf-8")))
            if events[-1].seq != number - 1:
                raise ValueError(f"event {events[-1].seq} stands in the place of {number - 1}")
        except ValueError as error:
            raise JournalError(f"{path}:{number}: the log is damaged: {error}") from error
    return events, len(data) - len(torn)


def read_start(directory: Path) -> ev.RunStarted | None:
    """The first event of a run, None if the log is empty. Raises as `read_log`."""
    path = directory / LOG
    try:
        with path.open("rb") as file:
            line = file.readline()
    except OSError as error:
        raise _missing(path, error) from error
    if not line.endswith(b"\n"):
        return None
    try:
        event = _event(line[:-1].decode("utf-8"))
    except ValueError as error:
        raise JournalError(f"{path}:1: the log is damaged: {error}") from error
    return event if isinstance(event, ev.RunStarted) else None


def _event(line: str) -> AnyEvent:
    match = _SUM.search(line)
    if match is None:
        raise ValueError("the line has no checksum")
    body = line[: match.start()] + "}"
    if zlib.crc32(body.encode()) != int(match[1], 16):
        raise ValueError("the checksum does not fit")
    return from_dict(json.loads(body))


def new_run_id(team: str) -> str:
    """`<UTC time>-<team>-<random>`: sorts by time and is a safe directory name."""
    import secrets

    slug = re.sub(r"[^a-z0-9]+", "-", team.lower()).strip("-")[:40] or "team"
    return f"{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}-{slug}-{secrets.token_hex(3)}"


def _missing(path: Path, error: OSError) -> ConfigError:
    hint = f"there is no run here: {error.strerror or error}; `magentic-kit list` shows runs"
    return ConfigError.one(hint, file=str(path))


def _unwritable(directory: Path, error: OSError) -> ConfigError:
    return ConfigError.one(f"cannot write here: {error.strerror or error}; choose another --out", file=str(directory))
