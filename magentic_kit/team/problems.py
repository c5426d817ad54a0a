"""What is wrong with a value, in words for the person who wrote it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

Route: TypeAlias = tuple[str | int, ...]
"""The way to a value: `("agents", 0, "name")`; to a key itself with `KEY` behind it."""

KEY = "[key]"


def nearest(name: str, choices: Iterable[Any], *, list_all: bool = True) -> str:
    """The end of a sentence about an unknown name: the nearest one there is, else all there are."""
    import difflib

    folded = {choice.casefold(): choice for choice in choices if isinstance(choice, str)}
    if match := difflib.get_close_matches(name[:80].casefold(), folded, n=1):
        return f"; did you mean '{folded[match[0]]}'?"
    if folded and list_all:
        return f"; there is {', '.join(folded.values())}"
    return ""


def clip(value: Any) -> str:
    """A value in a few words."""
    if isinstance(value, str):
        value = " ".join(value[:80].split())
        if len(value) > 40:
            return f"'{value[:40]}…'"
        return f"'{value}'"
    kinds = {
        dict: "a mapping",
        list: "a list" if value else "an empty one",
        type(None): "nothing",
        bool: str(value).lower(),
    }
    return kinds.get(type(value)) or str(value)[:40]


def get(data: Any, *route: str | int, kind: type | None = None) -> Any:
    """What stands at `route` in any data, however wrong: None, or an empty `kind`, if that is not there."""
    for step in route:
        try:
            data = data[step]
        except (LookupError, TypeError):
            data = None
    if kind is None or isinstance(data, kind):
        return data
    return kind()


def label(route: Route, data: Any = None) -> str:
    """What to call the thing at `route`: `manager.prompts`, `agent 'Writer' model.options`; nothing for the whole."""
    words = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in route).lstrip(".")
    if route[:1] == ("agents",) and (name := get(data, *route[:2], "name", kind=str)):
        words = f"agent '{name[:40]}' {words.partition(']')[2].lstrip('.')}".rstrip()
    return words
