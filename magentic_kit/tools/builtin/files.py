"""The text files of one folder, for agents: read, list, search and, where allowed, write; nothing outside it."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from difflib import unified_diff
from pathlib import Path, PurePosixPath
from typing import Annotated

from semantic_kernel.functions.kernel_function_decorator import kernel_function

from magentic_kit.errors import ConfigError
from magentic_kit.tools.builtin.folders import (
    MAX_BYTES,
    MAX_PATH,
    Walk,
    hits,
    listing,
    open_folder,
    path_parts,
    read_text,
    require_regular,
)

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
            text = read_text(folder, path).splitlines(keepends=True)
        first = max(start_line, 1)
        end = first - 1 + max(lines, 1)
        more = f"\n[{len(text):,} lines in all; go on with start_line={end + 1}]" if end < len(text) else ""
        return "".join(text[first - 1 : end]) + more

    @kernel_function(name="list", description="Lists a folder's files and, with a slash at the end, its folders.")
    def list_files(self, path: Annotated[str, "Relative path of a folder"] = ".", pattern: Pattern = "*") -> str:
        """One path a line, relative to `path`. Raises `OSError`."""
        with self._folder(path) as folder:
            walk = Walk(folder, pattern)
            entries = (entry for _, entry in walk.matches())
            return listing((e for e in entries if "/" in pattern or "/" not in e.rstrip("/")), walk)

    @kernel_function(name="search", description="Finds the lines of text files that contain a text, in any case.")
    def search(self, text: Annotated[str, "Text to find, taken literally"], pattern: Pattern = "**/*") -> str:
        """`path:line: text` for every hit, in readable files."""
        with self._folder(".") as folder:
            walk = Walk(folder, pattern)
            return listing(hits(walk, text.lower()), walk)

    def _preview(self, path: str, text: str) -> dict[str, str]:
        """What `write` would change in the file, as a unified diff; nothing if it is new, or too long to compare."""
        with self._folder(path, upto=-1) as folder:
            old, new = read_text(folder, path).split("\n"), text.split("\n")
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
                require_regular(os.stat(name, dir_fd=folder, follow_symlinks=False))
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
            for part in path_parts(path)[:upto]:
                if create:
                    with suppress(FileExistsError):
                        os.mkdir(part, dir_fd=folder)
                inner = open_folder(part, folder)
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
