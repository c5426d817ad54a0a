"""Reads the log of a run, `events.jsonl`: a line an event, each with its checksum and its types checked."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

from magentic_kit import events as ev
from magentic_kit.errors import ConfigError, JournalError
from magentic_kit.events import AnyEvent
from magentic_kit.runlog.event_json import event_of
from magentic_kit.runlog.files import open_regular

LOG = "events.jsonl"

_LONGEST_LINE = 2**26  # bytes

_SUM = re.compile(r', "sum": "([0-9a-f]{8})"\}$')


class LogTail:
    """Reads a log that is written meanwhile, each time from where it left off."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / LOG
        self.events = 0
        """Events that were read."""
        self.size = 0
        """Bytes of the whole lines that were read."""

    def read(self) -> list[AnyEvent]:
        """The events since the last time; a last line that is torn is left for later.

        Raises `JournalError` with the number of a line that was changed, `ConfigError` if there is no log.
        """
        events: list[AnyEvent] = []
        try:
            with open_regular(self._path) as file:
                file.seek(self.size)
                while (line := file.readline(_LONGEST_LINE)).endswith(b"\n"):
                    events.append(_event(line[:-1].decode("utf-8"), seq=self.events))
                    self.events += 1
                    self.size += len(line)
            if len(line) == _LONGEST_LINE:
                raise _too_long()
        except OSError as error:
            raise missing(self._path, error) from error
        except ValueError as error:
            raise JournalError(f"{self._path}:{self.events + 1}: the log is damaged: {error}") from error
        return events


def read_log(directory: Path) -> tuple[list[AnyEvent], int]:
    """The events of a run, and the bytes that whole lines take; raises as `LogTail.read`."""
    log = LogTail(directory)
    return log.read(), log.size


def read_start(directory: Path) -> ev.RunStarted | None:
    """The first event of a run, None if the log is empty. Raises as `read_log`."""
    path = directory / LOG
    try:
        with open_regular(path) as file:
            line = file.readline(_LONGEST_LINE)
        if len(line) == _LONGEST_LINE:
            raise _too_long()
        if not line.endswith(b"\n"):
            return None
        event = _event(line[:-1].decode("utf-8"), seq=0)
    except OSError as error:
        raise missing(path, error) from error
    except ValueError as error:
        raise JournalError(f"{path}:1: the log is damaged: {error}") from error
    if isinstance(event, ev.RunStarted):
        return event
    return None


def _too_long() -> ValueError:
    return ValueError(f"the line has more than {_LONGEST_LINE:,} bytes")


def _event(line: str, *, seq: int) -> AnyEvent:
    match = _SUM.search(line)
    if match is None:
        raise ValueError("the line has no checksum")
    body = line[: match.start()] + "}"
    if zlib.crc32(body.encode()) != int(match[1], 16):
        raise ValueError("the checksum does not fit")
    event = event_of(body)
    if event.seq != seq:
        raise ValueError(f"event {event.seq} stands in the place of {seq}")
    return event


def missing(path: Path, error: OSError) -> ConfigError:
    """The error of a log that cannot be opened."""
    hint = f"there is no run here: {error.strerror or error}; `magentic-kit list` shows runs"
    return ConfigError.one(hint, file=str(path))
