"""Reads events back from the JSON that they are written as."""

from __future__ import annotations

import json
from typing import Any

from magentic_kit import events as ev
from magentic_kit.events import AnyEvent
from magentic_kit.runlog.typed_json import read_dataclass


def from_dict(data: dict[str, Any]) -> AnyEvent:
    """The event that `events.to_dict` wrote.

    Raises `ValueError` on an unknown type or version, or a field that is wrong.
    """
    values = dict(data)
    if (version := values.pop("v", None)) != ev.VERSION:
        raise ValueError(f"event format {version!r} is not {ev.VERSION}; read it with the release that wrote it")
    kind = values.pop("type", "")
    cls = ev.TYPES.get(kind) if isinstance(kind, str) else None
    if cls is None:
        raise ValueError(f"unknown event type {kind!r}")
    try:
        event: AnyEvent = read_dataclass(cls, values)  # type: ignore[assignment]
        if event.time:
            ev.seconds(event.time)
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
