"""Forms that bring files along, which are kept in a folder of their own until a run has taken them in."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import BinaryIO, NamedTuple
from weakref import finalize

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message

from magentic_kit.errors import Problem
from magentic_kit.serve.page.questions import Form
from magentic_kit.serve.page.security import Keys, check_secret

FILES_FORM = "multipart/form-data"

_LARGEST = 2**26
"""Bytes of a form with its files."""
_MOST_FILES = 20
_LARGEST_FIELD = 2**21  # bytes
_UNSAFE = re.compile(r'[\x00-\x1f\x7f:*?"<>|]')
"""What no file's name can have on some system, besides slashes."""
_LONGEST_NAME = 255
"""Bytes of a file's name."""


class UploadFolder:
    """A folder for files that were sent; it is removed with the last use of this."""

    def __init__(self) -> None:
        self.name = mkdtemp(prefix="magentic-kit-")
        finalize(self, shutil.rmtree, self.name, ignore_errors=True)


class SentForm(NamedTuple):
    """The fields of a form, and the files that came with it."""

    fields: Form
    files: tuple[Path, ...]
    folder: UploadFolder

    def named(self, problems: Sequence[Problem]) -> tuple[Problem, ...]:
        """The problems, with the sender's names of files in place of where they are kept here."""
        kept = {str(path): path.name for path in self.files}
        return tuple(problem._replace(file=kept.get(problem.file, problem.file)) for problem in problems)


async def read_form_with_files(request: Request, keys: Keys) -> SentForm:
    """Returns the fields and files of a form of this server. Raises `HTTPException` for any other."""
    taken = 0

    async def receive() -> Message:
        nonlocal taken
        message = await request.receive()
        taken += len(message.get("body", b""))
        if taken > _LARGEST:
            raise HTTPException(413, f"a form and its files have at most {_LARGEST:,} bytes")
        return message

    bounded = Request(request.scope, receive)
    folder = UploadFolder()
    async with bounded.form(max_files=_MOST_FILES, max_part_size=_LARGEST_FIELD) as data:
        fields: dict[str, str] = {}
        files: list[Path] = []
        for name, value in data.multi_items():
            if not isinstance(value, UploadFile):
                fields[name] = value.replace("\r\n", "\n")
            elif value.filename:
                path = Path(folder.name, str(len(files)), _name(value.filename))
                await asyncio.to_thread(_store, value.file, path)
                files.append(path)
    return SentForm(check_secret(fields, keys), tuple(files), folder)


def _name(sent: str) -> str:
    """The name of a file as its sender has it, without folders; what no system takes is replaced."""
    name = _UNSAFE.sub("_", re.split(r"[/\\]", sent)[-1])
    name = name.encode(errors="replace")[-_LONGEST_NAME:].decode(errors="ignore")
    if not name.strip("."):
        return "file"
    return name


def _store(content: BinaryIO, path: Path) -> None:
    path.parent.mkdir()
    with path.open("wb") as file:
        shutil.copyfileobj(content, file)
