"""The text files of one folder, for agents: read, list, search and, where allowed, write; nothing outside it."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated

from semantic_kernel.functions.kernel_function_decorator import kernel_function

from magentic_kit.errors import ConfigError
from magentic_kit.text import one_line

MAX_BYTES = 5_000_000
"""Size of a file that is read or written."""
MAX_FOUND = 500
"""Lines that `list` and `search` tell; they look at no more than 10,000 entries."""

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
            entries = (entry for _, entry in _below(folder, pattern))
            return _lines(e for e in entries if "/" in pattern or "/" not in e.rstrip("/"))

    @kernel_function(name="search", description="Finds the lines of text files that contain a text, in any case.")
    def search(self, text: Annotated[str, "Text to find, taken literally"], pattern: Pattern = "**/*") -> str:
        """`path:line: text` for every hit, in readable files."""
        with self._folder(".") as folder:
            return _lines(_hits(folder, text.lower(), pattern))

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
                inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
                os.close(folder)
                folder = inner
            yield folder
        except OSError as error:
            link = error.errno in (errno.ELOOP, errno.ENOTDIR)
            reason = "not a folder, or a symbolic link, which is not followed" if link else error.strerror
            raise type(error)(f"{path!r}: {reason}") from None
        finally:
            os.close(folder)


def _parts(path: str) -> tuple[str, ...]:
    pure = PurePosixPath(path)
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


def _below(folder: int, pattern: str) -> Iterator[tuple[int, str]]:
    """Descriptor of its folder and path of what matches below `folder`; a folder's path ends with a slash."""
    patterns = (pattern, pattern.replace("**/", ""))

    def entries() -> Iterator[tuple[int, str]]:
        for top, folders, files, inner in os.fwalk(".", dir_fd=folder):
            folders.sort()
            for name in [*(f"{name}/" for name in folders), *sorted(files)]:
                yield inner, f"{top}/{name}".removeprefix("./")

    for inner, path in islice(entries(), 10_000):
        if any(fnmatchcase(path.rstrip("/"), pattern) for pattern in patterns):
            yield inner, path


def _hits(folder: int, text: str, pattern: str) -> Iterator[str]:
    for inner, path in _below(folder, pattern):
        with suppress(OSError):
            for number, line in enumerate(_text(inner, path).splitlines(), 1):
                if text in line.lower():
                    yield f"{path}:{number}: {one_line(line, 300)}"


def _lines(found: Iterable[str]) -> str:
    lines = [one_line(line) for line in islice(found, MAX_FOUND + 1)]
    if len(lines) > MAX_FOUND:
        lines[MAX_FOUND:] = [f"[only the first {MAX_FOUND}; narrow the pattern]"]
    return "\n".join(lines) or "nothing found"
