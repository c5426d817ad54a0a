"""Reads folders by descriptor, within bounds and past no symbolic link."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import PurePosixPath, PureWindowsPath

from magentic_kit.text import one_line

MAX_BYTES = 5_000_000
"""Size of a file that is read or written."""


MAX_DEPTH = 32


MAX_PATH = 1_000
"""Folders in each other, and characters of a path or pattern."""


MAX_FOUND = 500


MAX_CHARACTERS = 100_000
"""Lines that `list` and `search` return, and their characters."""


MAX_ENTRIES = 10_000


MAX_SEARCHED = 200_000_000
"""Files and folders that `list` and `search` look at, and bytes that `search` reads."""


def open_folder(name: str, folder: int) -> int:
    """A descriptor of a folder in another one; a link is not followed. Raises `OSError`."""
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)


def check_length(path: str) -> None:
    """Raises `OSError` for a path or pattern that is too long."""
    if len(path) > MAX_PATH:
        raise OSError(errno.ENAMETOOLONG, f"refused; a path or pattern has no more than {MAX_PATH:,} characters")


def path_parts(path: str) -> tuple[str, ...]:
    """The parts of a relative path that stays below its folder. Raises `OSError` for any other."""
    check_length(path)
    pure = PurePosixPath(path)
    if len(pure.parts) > MAX_DEPTH:
        raise OSError(errno.ENAMETOOLONG, f"refused; a path has no more than {MAX_DEPTH} parts")
    odd = path.startswith("~") or "\\" in path or "\0" in path or PureWindowsPath(path).drive
    if odd or pure.is_absolute() or ".." in pure.parts:
        raise OSError(errno.EPERM, "refused; a path starts in the plugin's folder and stays there, as in 'notes/a.md'")
    return pure.parts


def require_regular(status: os.stat_result) -> None:
    """Raises `OSError` for what is no regular file."""
    if not stat.S_ISREG(status.st_mode):
        link = stat.S_ISLNK(status.st_mode)
        raise OSError(errno.EPERM, "a symbolic link, which is not followed" if link else "not a regular file")


def read_text(folder: int, path: str) -> str:
    """The file in `folder` that has the last name of `path`."""
    # Opening a FIFO must not wait for its writer; what was opened is looked at, not what has the name by now.
    name = PurePosixPath(path).name or "."
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY, dir_fd=folder)
    try:
        require_regular(os.fstat(file))
        with os.fdopen(file, "rb", closefd=False) as stream:
            data = stream.read(MAX_BYTES + 1)
    finally:
        os.close(file)
    if len(data) > MAX_BYTES:
        raise OSError(errno.EFBIG, f"larger than {MAX_BYTES:,} bytes")
    try:
        if b"\0" not in data:
            return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    raise OSError(errno.EINVAL, "not a UTF-8 text file")


class Walk:
    """A walk through all that is below a folder, as far as the bounds go; no symbolic link is followed."""

    def __init__(self, folder: int, pattern: str) -> None:
        self.left_out: dict[str, None] = {}
        """What was not looked at, in words."""
        self._folder = folder
        check_length(pattern)
        self._patterns = (pattern, pattern.replace("**/", ""))
        self._entries = 0

    def matches(self) -> Iterator[tuple[int, str]]:
        """Descriptor of its folder and path of what matches; a folder's path ends with a slash."""
        for folder, path in self._below(self._folder, "", 0):
            if any(fnmatchcase(path.rstrip("/"), pattern) for pattern in self._patterns):
                yield folder, path

    def _below(self, folder: int, prefix: str, depth: int) -> Iterator[tuple[int, str]]:
        """A folder's folders and files by name, then what is in each of its folders."""
        with os.scandir(folder) as found:
            entries = list(islice(found, MAX_ENTRIES - self._entries))
            if next(found, None):
                self.left_out[f"only the first {MAX_ENTRIES:,} files and folders were looked at"] = None
        self._entries += len(entries)
        folders = sorted(entry.name for entry in entries if _is_folder(entry))
        files = sorted(entry.name for entry in entries if not _is_folder(entry))
        for name in [*(f"{name}/" for name in folders), *files]:
            yield folder, prefix + name
        for name in folders:
            with suppress(OSError):  # it is a link, gone by now, or not for us
                inner = open_folder(name, folder)
                try:
                    if depth + 1 < MAX_DEPTH:
                        yield from self._below(inner, f"{prefix}{name}/", depth + 1)
                    else:
                        self.left_out[f"what is deeper than {MAX_DEPTH} folders was not looked at"] = None
                finally:
                    os.close(inner)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder or a link to one, which is listed but not entered."""
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle
        return False


def hits(walk: Walk, text: str) -> Iterator[str]:
    """`path:line: text` for each line that has the text, in any case."""
    left = MAX_SEARCHED
    for folder, path in walk.matches():
        with suppress(OSError):
            content = read_text(folder, path)
            left -= len(content)
            for number, line in enumerate(content.splitlines(), 1):
                if text in line.lower():
                    yield f"{path}:{number}: {one_line(line, 300)}"
        if left < 0:
            walk.left_out[f"only the first {MAX_SEARCHED:,} characters were searched"] = None
            return


def listing(found: Iterable[str], walk: Walk) -> str:
    """What was found, a line each, as far as the bounds go, and what was left out."""
    lines: list[str] = []
    size = 0
    for line in found:
        size += len(line)
        if len(lines) == MAX_FOUND or size > MAX_CHARACTERS:
            return "\n".join([*lines, f"[only the first {len(lines)}; narrow the pattern]"])
        lines.append(one_line(line))
    return "\n".join([*(lines or ["nothing found"]), *(f"[{what}]" for what in walk.left_out)])
