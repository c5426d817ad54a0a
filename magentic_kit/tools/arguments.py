"""Bounds on the arguments that a model sends with a function call."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MAX_DEPTH = 64
"""Lists and objects inside each other. What logs, copies and sends arguments calls itself for each level."""

_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]', re.DOTALL)
"""A text, also one that is never closed, or a bracket: each character is looked at once."""


def check_arguments(arguments: str | Mapping[str, Any] | None) -> None:
    """Raises `ValueError` with one sentence for the model if `arguments`, JSON or its value, nest too deep.

    Neither parses the text nor calls itself, and takes time in proportion to the size.
    """
    depth = _depth_of_text(arguments) if isinstance(arguments, str) else _depth_of_value(arguments)
    if depth > MAX_DEPTH:
        raise ValueError(f"they are nested deeper than {MAX_DEPTH} levels")


def _depth_of_text(text: str) -> int:
    depth = deepest = 0
    for token in _TOKEN.finditer(text):
        if token[0] in "[{":
            depth += 1
        elif token[0] in "]}":
            depth -= 1
        deepest = max(deepest, depth)
    return deepest


def _depth_of_value(value: Any) -> int:
    """Levels of `value`; it looks no deeper than one level past the bound."""
    deepest = 0
    waiting = [(value, 1)]
    while waiting and deepest <= MAX_DEPTH:
        node, depth = waiting.pop()
        if isinstance(node, Mapping):
            children = list(node.values())
        elif isinstance(node, list | tuple):
            children = list(node)
        else:
            continue
        deepest = max(deepest, depth)
        waiting += [(child, depth + 1) for child in children]
    return deepest
