"""What a function returned, as the model is given it: a text, and the images and files that stand behind it."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

from pydantic import BaseModel
from semantic_kernel.contents import ChatMessageContent, TextContent
from semantic_kernel.contents.binary_content import BinaryContent

from magentic_kit.events import Attachment
from magentic_kit.text import sendable


class ToolResult(NamedTuple):
    """A function's result: its text, and what it has besides."""

    text: str
    contents: tuple[BinaryContent, ...] = ()


class TextWithContents(str):
    """A text as a function returns it that has images besides; for whoever knows nothing of these, it is the text."""

    contents: tuple[BinaryContent, ...] = ()


class ContentStore(Protocol):
    """Keeps contents beside the log of a run, and has them back when it is resumed."""

    def keep(self, content: Any) -> Attachment:
        """Keeps a content and returns how the log describes it. Raises `JournalError`."""

    def restore(self, attachment: Attachment) -> Any:
        """The content that the log describes. Raises `JournalError`."""


def result_of(value: object) -> ToolResult:
    """What a function returned: contents of Semantic Kernel's apart, anything else as text."""
    if isinstance(value, TextWithContents):
        return ToolResult(sendable(value), value.contents)
    items: list[Any] = [value]
    if isinstance(value, ChatMessageContent):
        items = value.items
    elif isinstance(value, list | tuple) and value:
        items = list(value)
    contents = tuple(item for item in items if isinstance(item, BinaryContent))
    if not contents:
        return ToolResult(result_text(value))
    texts = [_name_of(item) if isinstance(item, BinaryContent) else result_text(item) for item in items]
    return ToolResult("\n".join(texts), contents)


def _name_of(content: BinaryContent) -> str:
    if content.can_read:
        return f"[{content.mime_type}, {len(bytes(content.data)):,} bytes]"
    return f"[{content.uri}]"


def result_text(value: object) -> str:
    """A tool's result as the text that the model is given."""
    if isinstance(value, str):
        return sendable(value)
    if isinstance(value, TextContent):
        return sendable(value.text)
    if isinstance(value, BaseModel):
        return value.model_dump_json()
    if value is None or isinstance(value, dict | list | tuple | bool | int | float):
        with suppress(TypeError, ValueError):
            return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)
