"""The requests of model calls as a log has them: packed, unpacked, and compared."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping
from itertools import takewhile
from typing import Any

from magentic_kit import events as ev
from magentic_kit.errors import JournalError

_SHORT = 64
"""Texts up to this length are written as they are; a longer one is written once and then named by its hash."""

_REFERENCE = "text#"
"""The one key of what stands for a text. Such a key of a model's own is written with one more `#`."""

Request = dict[str, Any]
"""What decides a model's reply: `model`, `options`, `tools` and `messages`, as plain data."""


class Requests:
    """Packs requests for the log and unpacks them: what was said or asked before is not written again."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._last: dict[str, Request] = {}

    def learn(self, event: ev.AnyEvent) -> None:
        """Takes in the texts of an event that is in the log."""
        for text in _texts(ev.to_dict(event)):
            self._texts.setdefault(_digest(text), text)

    def pack(self, who: str, request: Request) -> dict[str, Any]:
        """The request of `who` by its difference to the last one of `who`."""
        last = self._last.get(who, {"messages": []})
        self._last[who] = request
        kept = _alike(last["messages"], request["messages"])
        changed = {key: value for key, value in request.items() if key != "messages" and last.get(key) != value}
        return {**changed, "keep": kept, "add": [self._shorten(m) for m in request["messages"][kept:]]}

    def unpack(self, who: str, packed: Mapping[str, Any]) -> Request:
        """The request that `pack` was given; packed ones have to come in the order of the log."""
        last = self._last.get(who, {"messages": []})
        changed = {key: value for key, value in packed.items() if key not in ("keep", "add")}
        try:
            messages = last["messages"][: packed["keep"]] + [self._restore(m) for m in packed["add"]]
        except (KeyError, TypeError) as error:
            raise JournalError(f"the log is damaged: a request of {who} cannot be put together: {error}") from error
        self._last[who] = {**last, **changed, "messages": messages}
        return self._last[who]

    def _shorten(self, value: Any) -> Any:
        if isinstance(value, str) and len(value) > _SHORT:
            digest = _digest(value)
            if digest in self._texts:
                return {_REFERENCE: digest}
            self._texts[digest] = value
        if isinstance(value, dict):
            return {_escaped(key): self._shorten(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._shorten(item) for item in value]
        return value

    def _restore(self, value: Any) -> Any:
        if isinstance(value, dict):
            if _REFERENCE in value:
                return self._texts[value[_REFERENCE]]
            return {_unescaped(key): self._restore(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._restore(item) for item in value]
        if isinstance(value, str) and len(value) > _SHORT:
            self._texts.setdefault(_digest(value), value)
        return value


def difference(recorded: Request, asked: Request) -> str:
    """What differs between two requests, as a few lines of a diff."""
    for key in ("model", "options", "tools"):
        if recorded.get(key) != asked.get(key):
            return "\n".join(_diff(json.dumps(recorded.get(key), indent=1), json.dumps(asked.get(key), indent=1)))
    old, new = recorded["messages"], asked["messages"]
    at = _alike(old, new)
    texts = [
        json.dumps(m[at], indent=1, ensure_ascii=False).replace("\\n", "\n") if at < len(m) else "" for m in (old, new)
    ]
    return "\n".join([f"message {at + 1}:", *_diff(*texts)])


def _alike(old: list[Any], new: list[Any]) -> int:
    """How many items two lists begin with in common."""
    return len([*takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=False))])


def _diff(old: str, new: str) -> list[str]:
    lines = list(difflib.unified_diff(old.splitlines(), new.splitlines(), "recorded", "asked now", n=1, lineterm=""))
    return lines[:20] + (["…"] if len(lines) > 20 else [])


def _escaped(key: str) -> str:
    return f"{key}#" if key.rstrip("#") == "text" and key != "text" else key


def _unescaped(key: str) -> str:
    return key[:-1] if key.startswith("text##") and key.rstrip("#") == "text" else key


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if len(value) > _SHORT:
            yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)
