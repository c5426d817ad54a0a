"""The messages that a participant is sent: others' as `user`, its own as `assistant`, each text once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any

from semantic_kernel.contents import (
    ChatHistory,
    ChatMessageContent,
    FunctionCallContent,
    FunctionResultContent,
    TextContent,
)
from semantic_kernel.contents.utils.author_role import AuthorRole

from magentic_kit.runlog.attachments import RETURNED
from magentic_kit.runlog.redaction import Redactor
from magentic_kit.services.contents import Content, beside_text, is_named_text, size_of

_RETURNED = "What {names} returned besides text:"


def as_conversation(
    history: ChatHistory, *, me: str, can_see: Callable[[Content], bool] = lambda _: False
) -> ChatHistory:
    """The history as the participant named `me` is to be sent it; the given one is left as it is.

    Behind the results of functions stands what they returned besides text, as far as the model `can_see` it.

    Semantic Kernel 1.45 passes others' turns as `assistant` (DESIGN.md, defect 12), repeats in the last
    message of a tool loop what was said before the tools (15), and sends empty messages on (10).
    """
    sent: list[ChatMessageContent] = []
    returned: list[FunctionResultContent] = []
    said = ""  # what this participant has said since it was last spoken to, before its tool calls
    for message in history.messages:
        if message.role != AuthorRole.TOOL:
            sent += _behind_results(returned, can_see)
            returned = []
        if message.role == AuthorRole.ASSISTANT:
            calls = any(isinstance(item, FunctionCallContent) for item in message.items)
            # The task ledger that opens the manager's history is not a reply of its own to anybody.
            if (message.name and message.name != me) or not sent:
                said = ""
                message = _with(message, role=AuthorRole.USER)
            elif calls:
                said += message.content
            elif said and message.content.startswith(said):
                message = _with(message, text=message.content[len(said) :])
            if not calls and not message.content:
                continue
        elif message.role == AuthorRole.TOOL:
            returned += [item for item in message.items if isinstance(item, FunctionResultContent)]
        else:
            said = ""
        sent.append(message)
    return ChatHistory(messages=[*sent, *_behind_results(returned, can_see)])


def _behind_results(
    results: list[FunctionResultContent], can_see: Callable[[Content], bool]
) -> list[ChatMessageContent]:
    """A message with what functions returned besides text, in the order of the calls' ids; none if that is nothing."""
    items: list[Any] = []
    names = []
    for result in sorted(results, key=lambda result: (str(result.id), str(result.result))):
        seen = [content for content in result.metadata.get(RETURNED, ()) if can_see(content)]
        if seen:
            names.append((result.name or "").replace("-", ".", 1))
            items += seen
    if not items:
        return []
    text = TextContent(text=_RETURNED.format(names=", ".join(dict.fromkeys(names))))
    return [ChatMessageContent(role=AuthorRole.USER, items=[text, *items])]


def plain(messages: Iterable[ChatMessageContent]) -> list[dict[str, Any]]:
    """The messages as plain data, for the log: role, name, text, function calls and results, attachments by hash.

    Results of parallel calls come in the order in which they finish; here they stand in the order of ids.
    """
    plain_messages: list[dict[str, Any]] = []
    for is_tool, group in groupby(messages, lambda message: message.role == AuthorRole.TOOL):
        if is_tool:
            found = [item for m in group for item in m.items if isinstance(item, FunctionResultContent)]
            pairs = sorted(((str(i.id), str(i.result), i.id) for i in found), key=lambda pair: pair[:2])
            plain_messages.append({"role": "tool", "results": [{"id": id, "result": text} for _, text, id in pairs]})
            continue
        for message in group:
            calls = [
                {"id": item.id, "name": item.name, "arguments": item.arguments}
                for item in message.items
                if isinstance(item, FunctionCallContent)
            ]
            data: dict[str, Any] = {"role": message.role.value, "name": message.name, "text": _text(message)}
            data.update(calls=calls, attachments=beside_text(message))
            plain_messages.append({key: value for key, value in data.items() if value})
    return plain_messages


def characters(messages: Iterable[ChatMessageContent], redactor: Redactor) -> int:
    """The length of the messages, of texts, function calls and results: as logged, so the same when resumed."""
    items = [item for message in messages for item in message.items]
    sizes = [size_of(item) for item in items]
    return sum(len(redactor.text(str(item))) if size is None else size for item, size in zip(items, sizes, strict=True))


def _text(message: ChatMessageContent) -> str:
    """The text of a message without those that go with it."""
    return next((item.text for item in message.items if isinstance(item, TextContent) and not is_named_text(item)), "")


def _with(
    message: ChatMessageContent, *, role: AuthorRole | None = None, text: str | None = None
) -> ChatMessageContent:
    items = message.items if text is None else [TextContent(text=text)]
    return ChatMessageContent(role=role or message.role, items=list(items), name=message.name)
