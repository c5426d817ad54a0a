"""What servers refuse in a chat-completion request, and how the request is put otherwise for them.

A service's dialect is a set of the names in `DIALECT`. It is found from what a server says when it refuses a
request, or set in the team file (`services.NAME.dialect`).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

Request: TypeAlias = dict[str, Any]
"""The arguments of OpenAI's `chat.completions.create`."""

_OMITTED = (
    *("stream_options", "tool_choice", "parallel_tool_calls", "temperature", "top_p", "presence_penalty"),
    *("frequency_penalty", "logit_bias", "seed", "stop", "user", "store", "metadata", "reasoning_effort"),
)
_PLAIN_WORDS = ("seed", "stop", "user", "store", "metadata")
"""Fields whose names stand in messages about other things, too."""

DIALECT: Mapping[str, str] = {
    "alternate_roles": "Neighbouring messages of one role are joined, names kept as text.",
    "instructions_as_system": "Instructions have the role system, not developer.",
    "instructions_as_user": "Instructions open the first user message.",
    "names_as_text": "Names of speakers stand in the text, not in the field name.",
    "content_with_calls": "A message with function calls has a content, too.",
    "short_call_ids": "Ids of function calls have nine letters and digits.",
    "no_stream": "Replies are not streamed.",
    "max_completion_tokens": "The field max_tokens is sent as max_completion_tokens.",
    "max_tokens": "The field max_completion_tokens is sent as max_tokens.",
    "no_response_format_with_tools": "The field response_format is left out where functions are offered.",
    **{f"no_{field}": f"The field {field} is left out." for field in _OMITTED},
}
"""Name -> what is done, as one sentence."""


def adapt(request: Request, dialect: Collection[str]) -> Request:
    """The request as a server of this dialect takes it; the given one is left as it is."""
    adapted = dict(request)
    messages: list[Request] = [dict(message) for message in request.get("messages") or ()]
    for name, change in _MESSAGES.items():
        if name in dialect:
            messages = change(messages)
    adapted["messages"] = messages
    for field in _OMITTED:
        if f"no_{field}" in dialect:
            adapted.pop(field, None)
    if "no_stream" in dialect:
        for field in ("stream", "stream_options"):
            adapted.pop(field, None)
    if "no_response_format_with_tools" in dialect and adapted.get("tools"):
        adapted.pop("response_format", None)
    for field, other in (("max_tokens", "max_completion_tokens"), ("max_completion_tokens", "max_tokens")):
        if other in dialect and field not in dialect and field in adapted:
            adapted[other] = adapted.pop(field)
    return adapted


def refused(text: str, request: Request, dialect: Collection[str], *, tried: Collection[str] = ()) -> str | None:
    """The name in `DIALECT` by which a server that refused the request with this text may take it; None if none.

    Only what changes the request that was sent counts, so that each is tried once.
    """
    sent = adapt(request, dialect)
    for name in _candidates(text.lower(), sent):
        if name not in tried and name not in dialect and adapt(request, {*dialect, name}) != sent:
            return name
    return None


@dataclass
class Dialect:
    """What is known of one service's dialect; shared by all runs that use the service."""

    names: frozenset[str] = frozenset()

    def add(self, name: str) -> None:
        """Remembers one more."""
        self.names |= {name}


def _candidates(text: str, sent: Request) -> Iterator[str]:
    for pattern, names in _RULES:
        if pattern.search(text):
            yield from names
    for field in _OMITTED:
        quoted = rf"""['"`\[.]{field}['"`\]:]""" if field in _PLAIN_WORDS else rf"\b{field}\b"
        if field in sent and re.search(quoted, text):
            yield f"no_{field}"
    if _ANY_PARAMETER.search(text):
        yield from (f"no_{field}" for field in ("parallel_tool_calls", "tool_choice", *_OMITTED) if field in sent)
        yield "no_response_format_with_tools"


_ANY_PARAMETER = re.compile(r"no endpoints found that|requested parameters|unsupported parameters?\b(?!: *')")
"""OpenRouter, LiteLLM and others, which do not always say which parameter it is."""

_NOT = r"(?:not |un|isn't |n't )(?:supported|support|permitted|allowed|available|enabled|recognized|expected)"
_RULES: list[tuple[re.Pattern[str], tuple[str, ...]]] = [
    (
        # Chat templates of Mistral, Gemma and Llama by vLLM, llama.cpp and others; Mistral's and Perplexity's own.
        re.compile(
            r"alternat|expected last role|unexpected role|after role"
            r"|(?:consecutive|successive) \w*\s*(?:user|assist|mess)"
            r"|first message (?:must|should)|(?:start|begin)s? with an? (?:user|'user')|last message (?:must|should)"
            r"|system (?:message|prompt)s? (?:must|should|can only|may only) (?:be|come)|multiple system"
            r"|2 or more assistant|only (?:the )?first message"
        ),
        ("alternate_roles",),
    ),
    (re.compile(r"developer"), ("instructions_as_system", "instructions_as_user")),
    (re.compile(r"(?:unexpected|unknown|invalid|unsupported) (?:message )?role"), ("instructions_as_system",)),
    (
        re.compile(
            rf"system[ _]?(?:role|message|prompt|instruction)s?\W[^.]{{0,40}}{_NOT}|{_NOT}[^.]{{0,40}}\bsystem\b"
            r"|does not support 'system'|only user,? (?:and )?assistant|(?:unexpected|unknown|invalid) role\W+system"
            r"|instruction is not enabled"
        ),
        ("instructions_as_user",),
    ),
    (
        re.compile(
            r"messages?\W+\d+\W+(?:\w+\W+)?name\b|property \W?name\W? is"
            r"|(?:unknown|unrecognized|unexpected|unsupported|extra|additional)[^.]{0,40}\W?\bname\b"
            rf"|\bname\W+(?:is )?{_NOT}"
        ),
        ("names_as_text",),
    ),
    (
        re.compile(r"content\W[^.]{0,60}(?:required|missing|null|none|must be a string|valid string|empty)"),
        ("content_with_calls",),
    ),
    (re.compile(r"tool call id[^.]{0,80}(?:length|a-z)|tool_call_id[^.]{0,80}(?:length|a-z)"), ("short_call_ids",)),
    (re.compile(r"stream[ _]options|include_usage"), ("no_stream_options",)),
    (
        re.compile(rf"verified to stream|\bstream(?:ing)?\W[^.]{{0,40}}{_NOT}|{_NOT}[^.]{{0,30}}\bstream(?:ing)?\b"
                   r"|streaming is disabled|\"param\": ?\"stream\"|\bstream\W+must be false"),
        ("no_stream",),
    ),
    (re.compile(r"max_completion_tokens"), ("max_completion_tokens", "max_tokens")),
    (re.compile(r"response_format|json mode|response mime type|json_schema"), ("no_response_format_with_tools",)),
]  # fmt: skip
"""What a refusal says, in lower case -> what may cure it, in the order in which it is tried."""


def _text(message: Request) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text") or "") for part in content if isinstance(part, Mapping))


def _alternate(messages: list[Request]) -> list[Request]:
    joined: list[Request] = []
    for message in _names_as_text(messages, roles=("user",)):
        role, begun = message["role"], any(m["role"] not in ("system", "developer") for m in joined)
        if (role in ("system", "developer") and begun) or (
            role == "assistant" and not begun and not message.get("tool_calls")
        ):
            message = {"role": "user", "content": _text(message)}
        before = joined[-1] if joined else {"role": ""}
        if before["role"] == message["role"] != "tool" and not before.get("tool_calls"):
            parts = filter(None, (_text(before), _text(message)))
            joined[-1] = {**before, **message, "content": "\n\n".join(parts)}
            continue
        if before["role"] == "tool" and message["role"] == "user":
            joined.append({"role": "assistant", "content": "Done."})
        joined.append(message)
    return joined


def _names_as_text(
    messages: list[Request], *, roles: Collection[str] = ("user", "assistant", "system")
) -> list[Request]:
    changed = []
    for message in messages:
        if message.get("name") and message["role"] in roles:
            name = message["name"]
            message = {key: value for key, value in message.items() if key != "name"}
            if message["role"] == "user":
                message["content"] = f"{name}: {_text(message)}"
        changed.append(message)
    return changed


def _instructions_as_system(messages: list[Request]) -> list[Request]:
    return [{**m, "role": "system"} if m["role"] == "developer" else m for m in messages]


def _instructions_as_user(messages: list[Request]) -> list[Request]:
    instructions = [_text(m) for m in messages if m["role"] in ("system", "developer")]
    rest = [m for m in messages if m["role"] not in ("system", "developer")]
    if not instructions:
        return messages
    opening = "\n\n".join(instructions)
    if rest and rest[0]["role"] == "user":
        first = _names_as_text(rest[:1])[0]
        return [{**first, "content": f"{opening}\n\n{_text(first)}"}, *rest[1:]]
    return [{"role": "user", "content": opening}, *rest]


def _content_with_calls(messages: list[Request]) -> list[Request]:
    return [{**m, "content": _text(m)} for m in messages]


def _short_call_ids(messages: list[Request]) -> list[Request]:
    def short(id: object) -> str:
        text = re.sub(r"[^0-9A-Za-z]", "", str(id))
        if len(text) == 9 == len(str(id)):
            return text
        return f"{zlib.crc32(str(id).encode()):09x}"[-9:]

    changed = []
    for message in messages:
        if calls := message.get("tool_calls"):
            message = {**message, "tool_calls": [{**call, "id": short(call.get("id"))} for call in calls]}
        elif "tool_call_id" in message:
            message = {**message, "tool_call_id": short(message["tool_call_id"])}
        changed.append(message)
    return changed


_MESSAGES: Mapping[str, Callable[[list[Request]], list[Request]]] = {
    "instructions_as_system": _instructions_as_system,
    "names_as_text": _names_as_text,
    "instructions_as_user": _instructions_as_user,
    "alternate_roles": _alternate,
    "content_with_calls": _content_with_calls,
    "short_call_ids": _short_call_ids,
}
"""What changes messages, in the order in which it is done."""
