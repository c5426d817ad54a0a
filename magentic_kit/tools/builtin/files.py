"""The text files of one folder, for agents: read, list, search and, where allowed, write; nothing outside it."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from difflib import unified_diff
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated

from semantic_kernel.functions.kernel_function_decorator import kernel_function

from magentic_kit.errors import ConfigError
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
MAX_COMPARED = 4_000
"""Lines of two versions of a file that are compared for a review."""

Pattern = Annotated[str, "Which files: '*.md' by name; '**/' crosses folders, as in 'docs/**/*.md'"]


class FilesPlugin:
    """UTF-8 text files below `root`.

    Every step of a path is opened relative to the folder before it and no symbolic link is followed, so a
    link that is swapped in meanwhile leads nowhere either; only regular files count. `write` is a function
    only where it was allowed: it replaces a file whole, so another name (hard link) of the old one keeps its
    content. Raises `ConfigError` when `root` is no folder, or on a system without such opening (Windows).
    """

    REPEATABLE = ("read", "list", "search")

    def __init__(self, root: str | Path, *, write: bool = False) -> None:
        self._root = Path(root).resolve()
        if os.open not in os.supports_dir_fd:
            raise ConfigError.one("the files plugin needs a system that opens files relative to a folder (not Windows)")
        if not self._root.is_dir():
            raise ConfigError.one(f"the files plugin's root is no folder: {root}")
        if write:

            @kernel_function(name="write", description="Writes a text file whole, making its folders.")
            def write_file(path: Annotated[str, "Relative path"], text: Annotated[str, "The new content"]) -> str:
                return self._write(path, text)

            write_file.preview = self._preview  # shown to whoever approves the call
            self.write: Callable[[str, str], str] = write_file

    @kernel_function(name="read", description="Reads lines of a text file.")
    def read(
        self,
        path: Annotated[str, "Relative path"],
        start_line: Annotated[int, "First line, from 1"] = 1,
        lines: Annotated[int, "How many lines"] = 400,
    ) -> str:
        """The lines, with a last line in brackets where the file goes on. Raises `OSError` or `ValueError`."""
        with self._folder(path, upto=-1) as folder:
            text = _text(folder, path).splitlines(keepends=True)
        first = max(start_line, 1)
        end = first - 1 + max(lines, 1)
        more = f"\n[{len(text):,} lines in all; go on with start_line={end + 1}]" if end < len(text) else ""
        return "".join(text[first - 1 : end]) + more

    @kernel_function(name="list", description="Lists a folder's files and, with a slash at the end, its folders.")
    def list_files(self, path: Annotated[str, "Relative path of a folder"] = ".", pattern: Pattern = "*") -> str:
        """One path a line, relative to `path`. Raises `OSError`."""
        with self._folder(path) as folder:
            walk = _Walk(folder, pattern)
            entries = (entry for _, entry in walk.matches())
            return _lines((e for e in entries if "/" in pattern or "/" not in e.rstrip("/")), walk)

    @kernel_function(name="search", description="Finds the lines of text files that contain a text, in any case.")
    def search(self, text: Annotated[str, "Text to find, taken literally"], pattern: Pattern = "**/*") -> str:
        """`path:line: text` for every hit, in readable files."""
        with self._folder(".") as folder:
            walk = _Walk(folder, pattern)
            return _lines(_hits(walk, text.lower()), walk)

    def _preview(self, path: str, text: str) -> dict[str, str]:
        """What `write` would change in the file, as a unified diff; nothing if it is new, or too long to compare."""
        with self._folder(path, upto=-1) as folder:
            old, new = _text(folder, path).split("\n"), text.split("\n")
        if len(old) + len(new) > MAX_COMPARED:
            return {}
        lines = list(unified_diff(old, new, lineterm=""))[2:]  # without the names of the files
        return {"text": "\n".join(lines) or "nothing: the file has this content"}

    def _write(self, path: str, text: str) -> str:
        data = text.encode()
        with self._folder(path, upto=-1, create=True) as folder:
            name = PurePosixPath(path).name or "."
            if len(data) > MAX_BYTES:
                raise OSError(errno.EFBIG, f"more than {MAX_BYTES:,} bytes are not written")
            with suppress(FileNotFoundError):
                _only_regular(os.stat(name, dir_fd=folder, follow_symlinks=False))
            new = f".{secrets.token_hex(8)}.part"
            try:
                with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=folder), "wb") as file:
                    file.write(data)
                os.replace(new, name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with suppress(OSError):
                    os.unlink(new, dir_fd=folder)
                raise
        return f"wrote {len(data):,} bytes to {path}"

    @contextmanager
    def _folder(self, path: str, *, upto: int | None = None, create: bool = False) -> Iterator[int]:
        """A descriptor of the folder `path` or, with `upto=-1`, of the one it is in.

        An `OSError` that leaves here names `path`, never what it led to.
        """
        folder = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for part in _parts(path)[:upto]:
                if create:
                    with suppress(FileExistsError):
                        os.mkdir(part, dir_fd=folder)
                inner = _open_folder(part, folder)
                os.close(folder)
                folder = inner
            yield folder
        except OSError as error:
            link = error.errno in (errno.ELOOP, errno.ENOTDIR)
            reason = "not a folder, or a symbolic link, which is not followed" if link else error.strerror
            shown = path if len(path) <= MAX_PATH else f"{path[:60]}…"
            raise type(error)(f"{shown!r}: {reason}") from None
        finally:
            os.close(folder)


def _open_folder(name: str, folder: int) -> int:
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)


def _check_length(path: str) -> None:
    if len(path) > MAX_PATH:
        raise OSError(errno.ENAMETOOLONG, f"refused; a path or pattern has no more than {MAX_PATH:,} characters")


def _parts(path: str) -> tuple[str, ...]:
    _check_length(path)
    pure = PurePosixPath(path)
    if len(pure.parts) > MAX_DEPTH:
        raise OSError(errno.ENAMETOOLONG, f"refused; a path has no more than {MAX_DEPTH} parts")
    odd = path.startswith("~") or "\\" in path or "\0" in path or PureWindowsPath(path).drive
    if odd or pure.is_absolute() or ".." in pure.parts:
        raise OSError(errno.EPERM, "refused; a path starts in the plugin's folder and stays there, as in 'notes/a.md'")
    return pure.parts


def _only_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        link = stat.S_ISLNK(status.st_mode)
        raise OSError(errno.EPERM, "a symbolic link, which is not followed" if link else "not a regular file")


def _text(folder: int, path: str) -> str:
    """The file in `folder` that has the last name of `path`."""
    # Opening a FIFO must not wait for its writer; what was opened is looked at, not what has the name by now.
    name = PurePosixPath(path).name or "."
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY, dir_fd=folder)
    try:
        _only_regular(os.fstat(file))
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


class _Walk:
    """A walk through all that is below a folder, as far as the bounds go; no symbolic link is followed."""

    def __init__(self, folder: int, pattern: str) -> None:
        self.left_out: dict[str, None] = {}
        """What was not looked at, in words."""
        self._folder = folder
        _check_length(pattern)
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
                inner = _open_folder(name, folder)
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


def _hits(walk: _Walk, text: str) -> Iterator[str]:
    left = MAX_SEARCHED
    for folder, path in walk.matches():
        with suppress(OSError):
            content = _text(folder, path)
            left -= len(content)
            for number, line in enumerate(content.splitlines(), 1):
                if text in line.lower():
                    yield f"{path}:{number}: {one_line(line, 300)}"
        if left < 0:
            walk.left_out[f"only the first {MAX_SEARCHED:,} characters were searched"] = None
            return


def _lines(found: Iterable[str], walk: _Walk) -> str:
    lines: list[str] = []
    size = 0
    for line in found:
        size += len(line)
        if len(lines) == MAX_FOUND or size > MAX_CHARACTERS:
            return "\n".join([*lines, f"[only the first {len(lines)}; narrow the pattern]"])
        lines.append(one_line(line))
    return "\n".join([*(lines or ["nothing found"]), *(f"[{what}]" for what in walk.left_out)])
