"""Files in directories that somebody else may have made: regular ones are read, no link is written through.

What is written is for its owner alone: files have mode 0600, directories 0700.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from magentic_kit.errors import ConfigError

if TYPE_CHECKING:
    from filelock import BaseFileLock

_FILE = 0o600
_DIRECTORY = 0o700
# Windows lacks some of these. Without O_NONBLOCK the opening of a FIFO waits for its other end.
_ALWAYS = sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY", "O_BINARY"))
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


def open_regular(path: Path) -> BinaryIO:
    """Opens a file to be read. Raises `OSError`, also for what is no regular file: a FIFO, a device, a directory."""
    return os.fdopen(_open(path, os.O_RDONLY), "rb")


def read_regular(path: Path, most: int) -> bytes:
    """The content of a regular file of at most `most` bytes. Raises `OSError`."""
    with open_regular(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"has more than {most:,} bytes")
    return data


def open_private(path: Path, *, append: bool = False) -> BinaryIO:
    """Opens a file to be written anew, or `append`ed to; it is made if it is not there. Raises `OSError`."""
    how = os.O_APPEND if append else 0
    file = os.fdopen(_open(path, os.O_WRONLY | os.O_CREAT | _NO_LINK | how), "ab" if append else "wb")
    if not append:
        file.truncate()
    return file


def write_private(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Writes a file, which appears whole or not at all; a link of that name is replaced. Raises `OSError`.

    A `durable` one outlasts a power cut.
    """
    partial = path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")
    try:
        with os.fdopen(_open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK), "wb") as file:
            file.write(data)
            if durable:
                file.flush()
                to_disk(file)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def to_disk(file: BinaryIO) -> None:
    """Waits until the disk has what was written. Raises `OSError`."""
    # Where it can be, without the file's times, which nobody reads: half the wait.
    getattr(os, "fdatasync", os.fsync)(file.fileno())


def make_directory(path: Path, *, exist_ok: bool = False) -> None:
    """Makes a directory for its owner alone, and those above it as usual. Raises `OSError`."""
    path.mkdir(mode=_DIRECTORY, parents=True, exist_ok=exist_ok)


def lock_directory(directory: Path, what: str) -> BaseFileLock:
    """Keeps other processes away from a directory that holds `what`, until the lock is released.

    Raises `ConfigError` if one is at work there, `OSError` if there can be no lock.
    """
    from filelock import FileLock, Timeout  # who only reads does not wait for it

    path = directory / ".lock"
    if path.is_symlink() or (path.exists() and not path.is_file()):  # the lock would empty what a link leads to
        raise OSError(errno.EINVAL, f"{path.name} is not a regular file")
    lock = FileLock(path, timeout=0, mode=_FILE)
    try:
        lock.acquire()
    except Timeout:
        raise ConfigError.one(f"another process is at work on this {what}", file=str(directory)) from None
    return lock


def _open(path: Path, flags: int) -> int:
    try:
        descriptor = os.open(path, flags | _ALWAYS, _FILE)
    except OSError as error:
        if error.errno == errno.ELOOP and flags & _NO_LINK:
            raise OSError(error.errno, "is a link, which is not followed") from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is not a regular file")
    return descriptor
