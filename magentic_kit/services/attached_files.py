"""Files that go with a task: images as images, other files as text with their names."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

from semantic_kernel.contents import AudioContent, ImageContent

from magentic_kit.errors import ConfigError
from magentic_kit.runlog.files import read_regular
from magentic_kit.services.contents import Content, named_text
from magentic_kit.text import sendable

_LARGEST = 20 * 2**20  # bytes of a file; what providers take at most lies around it
_LONGEST_TEXT = 1_000_000  # characters

_SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
    b"ID3": "audio/mpeg",
}
"""How a file of a type begins; a name's ending may be wrong, and a provider refuses what is not what it says."""

_IN_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav"}
_PDF = b"%PDF-"


def attached(paths: Iterable[str | Path]) -> tuple[Content, ...]:
    """The contents of files. Raises `ConfigError` for one that cannot be read, or is of a kind nobody can send."""
    return tuple(_content(Path(path)) for path in paths)


def _content(path: Path) -> Content:
    try:
        data = read_regular(path, _LARGEST)
    except OSError as error:
        raise ConfigError.one(f"cannot be attached: {error.strerror or error}", file=str(path)) from error
    mime_type = _type_of(data)
    kind = {"image": ImageContent, "audio": AudioContent}.get(mime_type.partition("/")[0])
    if kind is not None:
        content = kind(data=data, data_format="base64", mime_type=mime_type)
        content.uri = path.name  # where it lies, perhaps a temporary folder, is nobody's business
        return content
    text = _pdf_text(data, path) if data.startswith(_PDF) else _text(data, path)
    if len(text) > _LONGEST_TEXT:
        message = f"cannot be attached: its text has {len(text):,} characters, more than {_LONGEST_TEXT:,}"
        raise ConfigError.one(message, file=str(path))
    if not text.strip():
        raise ConfigError.one("cannot be attached: there is no text in it", file=str(path))
    return named_text(sendable(text), path.name)


def _type_of(data: bytes) -> str:
    """The media type of an image or a sound; "" for anything else."""
    if data.startswith(b"RIFF"):
        return _IN_RIFF.get(data[8:12], "")
    return next((kind for beginning, kind in _SIGNATURES.items() if data.startswith(beginning)), "")


def _text(data: bytes, path: Path) -> str:
    problem = "cannot be attached: it is no text in UTF-8, no PDF, and no PNG, JPEG, GIF or WebP image"
    if b"\0" in data:
        raise ConfigError.one(problem, file=str(path))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError.one(problem, file=str(path)) from error


def _pdf_text(data: bytes, path: Path) -> str:
    """The text of a PDF, page by page."""
    try:
        from pypdf import PdfReader
    except ImportError as error:
        message = "cannot be attached: PDF needs an extra: pip install 'magentic-kit[pdf]'"
        raise ConfigError.one(message, file=str(path)) from error
    try:
        return "\n\n".join(page.extract_text() for page in PdfReader(io.BytesIO(data)).pages)
    except Exception as error:  # a damaged file may run into anything there
        message = f"cannot be attached: this PDF cannot be read: {type(error).__name__}: {error}"
        raise ConfigError.one(message, file=str(path)) from error
