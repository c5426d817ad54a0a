"""In what two requests of a model call are alike, and where they differ."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from itertools import takewhile
from typing import Any


def difference(recorded: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """What differs between two requests, as a few lines of a diff."""
    for key in ("model", "options", "tools"):
        if recorded.get(key) != asked.get(key):
            return "\n".join(_diff(json.dumps(recorded.get(key), indent=1), json.dumps(asked.get(key), indent=1)))
    old, new = recorded["messages"], asked["messages"]
    at = alike(old, new)
    texts = [
        json.dumps(m[at], indent=1, ensure_ascii=False).replace("\\n", "\n") if at < len(m) else "" for m in (old, new)
    ]
    return "\n".join([f"message {at + 1}:", *_diff(*texts)])


def alike(old: list[Any], new: list[Any]) -> int:
    """How many items two lists begin with in common."""
    return len([*takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=False))])


def _diff(old: str, new: str) -> list[str]:
    lines = list(difflib.unified_diff(old.splitlines(), new.splitlines(), "recorded", "asked now", n=1, lineterm=""))
    return lines[:20] + (["…"] if len(lines) > 20 else [])
