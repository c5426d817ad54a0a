"""Reads events back from the JSON that they are written as."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from magentic_kit import events as ev
from magentic_kit.events import AnyEvent


@cache
def _adapter(kind: str) -> TypeAdapter[AnyEvent]:
    return TypeAdapter(ev.TYPES[kind])


def from_dict(data: dict[str, Any]) -> AnyEvent:
    """The event that `events.to_dict` wrote.

    Raises `ValueError` on an unknown type or version, or a field that is wrong.
    """
    values = dict(data)
    if (version := values.pop("v", None)) != ev.VERSION:
        raise ValueError(f"event format {version!r} is not {ev.VERSION}; read it with the release that wrote it")
    kind = values.pop("type", "")
    if not isinstance(kind, str) or kind not in ev.TYPES:
        raise ValueError(f"unknown event type {kind!r}")
    try:
        # As JSON: strictly read, Python's objects would have to be events. Lone surrogates become `?`, as everywhere.
        event = _adapter(kind).validate_json(json.dumps(values, ensure_ascii=False).encode("utf-8", "replace"))
        if event.time:
            ev.seconds(event.time)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "it"
        raise ValueError(f"bad {kind} event: {place}: {first['msg']}") from None
    except (ValueError, OverflowError) as error:
        raise ValueError(f"bad {kind} event: {error}") from None
    return event


def event_of(text: str) -> AnyEvent:
    """The event that is written as JSON. Raises `ValueError` if it is none."""
    try:
        data = json.loads(text)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if not isinstance(data, dict):
        raise ValueError("should be an object")
    return from_dict(data)
