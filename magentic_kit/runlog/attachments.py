"""The contents of a run's attachments by their SHA-256: in memory, and beside the log once each."""

from __future__ import annotations

import errno
import hashlib
import re
from pathlib import Path
from typing import Protocol

from magentic_kit.errors import JournalError
from magentic_kit.runlog.files import make_directory, read_regular, write_private

FOLDER = "attachments"
"""In a run's directory: the contents, each under its SHA-256."""

RETURNED = "magentic_kit.contents"
"""Where the metadata of a function's result has what it returned besides text."""

_LARGEST = 2**28  # bytes
_SHA256 = re.compile("[0-9a-f]{64}")


class ContentLog(Protocol):
    """Where contents are kept with a log."""

    def keep(self, sha256: str, content: bytes) -> None:
        """Writes a content, unless it is there. Raises `JournalError`."""

    def kept(self, sha256: str) -> bytes:
        """A content that was written. Raises `JournalError`."""


class Attachments:
    """The contents of one run's attachments."""

    def __init__(self, reused: Attachments | None = None) -> None:
        """Takes the contents of another run, of which this one takes steps."""
        self.log: ContentLog | None = None
        """Where contents are written; what it raises ends the run."""
        self._reused = reused
        self._contents: dict[str, bytes] = {}

    @classmethod
    def beside(cls, run_dir: Path | None) -> Attachments:
        """The contents that a run's directory has; none if there is no directory."""
        attachments = cls()
        if run_dir is not None:
            attachments.log = RunFolder(run_dir)
        return attachments

    def keep(self, content: bytes) -> str:
        """Keeps a content and returns its SHA-256. Raises `JournalError`."""
        sha256 = hashlib.sha256(content).hexdigest()
        self._contents[sha256] = content
        if self.log is not None:
            self.log.keep(sha256, content)
        return sha256

    def read(self, sha256: str) -> bytes:
        """The content of that SHA-256. Raises `JournalError` if it is not there, or is another one."""
        content = self._contents.get(sha256)
        if content is not None:
            return content
        if self._reused is not None and self._reused.log is not None:
            content = self._reused.read(sha256)
            self.keep(content)
        elif self.log is not None:
            content = self.log.kept(sha256)
        else:
            raise JournalError(f"the attachment {sha256} is not there: the run had no directory")
        if hashlib.sha256(content).hexdigest() != sha256:
            raise JournalError(f"the attachment {sha256} was changed")
        return content


class RunFolder:
    """The contents in a run's directory, each in a file of its own."""

    def __init__(self, run_dir: Path) -> None:
        self._folder = run_dir / FOLDER

    def keep(self, sha256: str, content: bytes) -> None:
        """Writes a content, unless it is there. Raises `JournalError`."""
        path = self._folder / sha256
        try:
            if self._folder.is_symlink():
                raise OSError(errno.ELOOP, "is a link, which is not followed")
            make_directory(self._folder, exist_ok=True)
            if not path.is_file():
                write_private(path, content, durable=True)
        except OSError as error:
            raise JournalError(f"cannot write {path}: {error.strerror or error}") from error

    def kept(self, sha256: str) -> bytes:
        """Reads a content. Raises `JournalError`."""
        if not _SHA256.fullmatch(sha256):  # in a log that somebody made, it may name any file
            raise JournalError(f"the log is damaged: {sha256!r} is no SHA-256")
        path = self._folder / sha256
        try:
            return read_regular(path, _LARGEST)
        except OSError as error:
            raise JournalError(f"cannot read {path}: {error.strerror or error}") from error
