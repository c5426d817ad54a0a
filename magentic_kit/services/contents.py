"""What goes with a text: Semantic Kernel's contents, as the log describes them and as a model takes them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias, TypeGuard

from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase
from semantic_kernel.contents import AudioContent, ChatHistory, ChatMessageContent, ImageContent, TextContent
from semantic_kernel.contents.binary_content import BinaryContent
from semantic_kernel.contents.file_reference_content import FileReferenceContent
from semantic_kernel.contents.utils.author_role import AuthorRole

from magentic_kit.errors import ConfigError, JournalError
from magentic_kit.events import Attachment
from magentic_kit.runlog.attachments import Attachments

Content: TypeAlias = ImageContent | AudioContent | BinaryContent | FileReferenceContent | TextContent

_KINDS: dict[str, type[BinaryContent]] = {"image": ImageContent, "audio": AudioContent, "binary": BinaryContent}
_TEXTS = {"text": "The file {name}", "earlier_run": "What was done before, in the run {name}"}
"""Types of texts that go with another -> how they are introduced to the model."""

_LABEL = "magentic_kit.attachment"
"""Where the metadata of a text says that it goes with another: its type and name."""

_TAKEN: dict[str, tuple[str, ...]] = {
    "OpenAIChatCompletionBase": ("image",),
    "AnthropicChatCompletion": ("image",),
    "GoogleAIChatCompletion": ("image",),
    "OllamaChatCompletion": ("image",),
    "MistralAIChatCompletion": ("image",),
    "BedrockChatCompletion": ("image",),
    "AzureAIInferenceChatCompletion": ("image",),
}
"""Semantic Kernel's connector -> what it can put into a request; one that is not here is left to say so itself."""

_NEEDS_DATA = ("GoogleAIChatCompletion", "OllamaChatCompletion", "BedrockChatCompletion")
"""Connectors that send no image of which they have the address only."""

_NO_USER_BEHIND_RESULTS = ("MistralAIChatCompletion",)
"""Connectors of servers that refuse a user's message behind the results of functions."""

_IMAGE_CHARACTERS = 4_000
"""What an image counts for where characters are counted: about the tokens that providers take for one."""


def described(content: object) -> tuple[Attachment, bytes]:
    """How the log describes a content, and the bytes of it. Raises `TypeError` for a kind that nobody can send."""
    if isinstance(content, TextContent):
        label = content.metadata.get(_LABEL, {"type": "text", "name": ""})
        return _attachment(label["type"], content.text.encode(), name=label["name"], mime_type="text/plain")
    if isinstance(content, FileReferenceContent):
        return _attachment("file_reference", b"", uri=content.file_id or "")
    if not isinstance(content, BinaryContent):
        raise TypeError(f"a task cannot have a {type(content).__name__}")
    kind = next((name for name, cls in _KINDS.items() if isinstance(content, cls)), "binary")
    uri = "" if content.uri is None else str(content.uri)
    data = bytes(content.data)
    if data:  # the address of what is there may be a path of this machine, which is nobody's business
        return _attachment(kind, data, name=uri.rpartition("/")[2], mime_type=content.mime_type)
    return _attachment(kind, data, uri=uri)


def _attachment(
    kind: str, content: bytes, *, name: str = "", mime_type: str = "", uri: str = ""
) -> tuple[Attachment, bytes]:
    sha256 = hashlib.sha256(content).hexdigest() if content else ""
    size = len(content)
    return (
        {"type": kind, "name": name, "mime_type": mime_type, "sha256": sha256, "size": size, "uri": uri},
        content,
    )


class KeptContents:
    """The contents of a run, kept beside its log."""

    def __init__(self, attachments: Attachments) -> None:
        self._attachments = attachments

    def keep(self, content: Content) -> Attachment:
        """Keeps a content and returns how the log describes it. Raises `JournalError`."""
        attachment, data = described(content)
        if data:
            self._attachments.keep(data)
        return attachment

    def restore(self, attachment: Attachment) -> Content:
        """The content that the log describes. Raises `JournalError` if it is gone."""
        return restored(attachment, self._attachments)


def restored(attachment: Attachment, attachments: Attachments) -> Content:
    """The content that the log describes. Raises `JournalError` if it is gone."""
    kind, uri = attachment["type"], attachment["uri"]
    if kind not in ("file_reference", *_KINDS, *_TEXTS):
        raise JournalError(f"the log has an attachment of a type that is not known: {kind!r}")
    if kind == "file_reference":
        return FileReferenceContent(file_id=uri)
    if not attachment["sha256"]:
        return _KINDS[kind](uri=uri)
    return rebuilt(attachment, attachments.read(attachment["sha256"]))


def rebuilt(attachment: Attachment, data: bytes) -> Content:
    """A content of these bytes."""
    kind, name = attachment["type"], attachment["name"]
    if kind in _TEXTS:
        return named_text(data.decode(), name, kind=kind)
    # Its name stands where the address would: Semantic Kernel has no other place for it.
    content = _KINDS[kind](data=data, data_format="base64", mime_type=attachment["mime_type"])
    content.uri = name or None
    return content


def named_text(text: str, name: str, *, kind: str = "text") -> TextContent:
    """A text that goes with another, of a file or of an earlier run."""
    return TextContent(text=text, metadata={_LABEL: {"type": kind, "name": name}})


def is_named_text(content: object) -> bool:
    """Whether a content is a text that goes with another."""
    return isinstance(content, TextContent) and _LABEL in content.metadata


def is_beside_text(content: object) -> TypeGuard[Content]:
    """Whether a content of a message goes with its text, as images and files do."""
    return is_named_text(content) or isinstance(content, BinaryContent | FileReferenceContent)


def normal(content: Content) -> Content:
    """The same content as it comes back from a log; whatever it was made of, each connector can send it."""
    attachment, data = described(content)
    if not data or attachment["type"] not in (*_KINDS, *_TEXTS):
        return content
    return rebuilt(attachment, data)


def beside_text(message: ChatMessageContent) -> list[Attachment]:
    """How the log describes what a message has besides its text."""
    return [described(item)[0] for item in message.items if is_beside_text(item)]


def size_of(content: object) -> int | None:
    """The characters that a content counts for; None if it counts for its text."""
    return _IMAGE_CHARACTERS if isinstance(content, BinaryContent | FileReferenceContent) else None


def opened_with(history: ChatHistory, contents: Sequence[Content]) -> ChatHistory:
    """The conversation with these contents in the first message that is no instruction, unless it has them."""
    if not contents:
        return history
    messages = list(history.messages)
    for at, message in enumerate(messages):
        if message.role == AuthorRole.USER:
            known = beside_text(message)
            added = [content for content in contents if described(content)[0] not in known]
            items: list[Any] = [*message.items, *added]
            messages[at] = ChatMessageContent(role=message.role, items=items, name=message.name)
            break
    return ChatHistory(messages=messages)


def as_sent(history: ChatHistory) -> ChatHistory:
    """The conversation with one text a message: of several, most connectors of Semantic Kernel send the first only."""
    messages = []
    for message in history.messages:
        texts = [item for item in message.items if isinstance(item, TextContent)]
        if len(texts) > 1:
            others = [item for item in message.items if not isinstance(item, TextContent)]
            text = TextContent(text="\n\n".join(map(_introduced, texts)))
            message = ChatMessageContent(role=message.role, items=[text, *others], name=message.name)
        messages.append(message)
    return ChatHistory(messages=messages)


def _introduced(text: TextContent) -> str:
    label = text.metadata.get(_LABEL)
    if label is None:
        return text.text
    return f"{_TEXTS[label['type']].format(name=label['name'])}:\n\n{text.text}"


def can_take(service: ChatCompletionClientBase, content: Content, *, behind_results: bool = False) -> bool:
    """Whether the service's connector puts such a content into a request, there also `behind_results` of functions."""
    attachment, _ = described(content)
    if attachment["type"] in _TEXTS:
        return True
    ancestors = [cls.__name__ for cls in type(service).__mro__]
    known = next((name for name in ancestors if name in _TAKEN), None)
    if known is None:
        return True
    if known in _NEEDS_DATA and not attachment["sha256"]:
        return False
    if known in _NO_USER_BEHIND_RESULTS and behind_results:
        return False
    return attachment["type"] in _TAKEN[known]


def require_takes(service: ChatCompletionClientBase, name: str, contents: Iterable[Content]) -> None:
    """Raises `ConfigError` if the service's connector cannot send one of the contents of a task."""
    for content in contents:
        if not can_take(service, content):
            attachment, _ = described(content)
            what = attachment["name"] or attachment["uri"] or attachment["mime_type"]
            kind = attachment["type"].replace("_", " ")
            if attachment["uri"] and attachment["type"] == "image":
                kind = "image by its address alone"
            message = f"the service '{name}' cannot be sent this {kind} ({what}): its connector takes none"
            raise ConfigError.one(message, file="task")
