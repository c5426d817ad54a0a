"""JSON Schemas that others wrote: what a `$ref` points at is put in its place, within a budget."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from typing import Any, TypeAlias

Schema: TypeAlias = Any
"""A piece of a JSON Schema: a mapping, a list, text, a number, true, false or None."""

MAX_ADDED_TO_ONE = 100_000
MAX_ADDED = 4_000_000
"""What references may add to one schema and to all of a plugin: characters; each value counts as 20 and its text."""
MAX_DEPTH = 100
"""Levels of a schema. Semantic Kernel, pydantic and the connectors call themselves for each."""


class SchemaReferences:
    """Follows the references of one plugin's schemas, since Semantic Kernel sends models no `$defs`.

    References of references can stand for more text than there is memory: 12 levels of ten make 10¹² copies. They
    are followed level by level as long as there is budget. One that is too much, leads to itself or elsewhere is
    left out, which leaves the schema open at that place; so is what lies too deep.
    """

    def __init__(self) -> None:
        self._left = MAX_ADDED
        self._left_here = 0
        self._sizes: dict[tuple[int, str], int] = {}

    def inlined(self, schema: Schema, root: Mapping[str, Any]) -> Schema:
        """`schema`, whose references point into `root`, without them. It takes time by its size and the budget."""
        self._left_here = min(MAX_ADDED_TO_ONE, self._left)
        result: list[Any] = [None]
        # Level by level, so that no deep branch uses up what shallow ones need; and depth costs no recursion.
        waiting: deque[tuple[Any, Any, Schema, int, tuple[str, ...]]] = deque([(result, 0, schema, 0, ())])
        while waiting:
            holder, key, node, depth, within = waiting.popleft()
            if isinstance(node, dict | list) and depth >= MAX_DEPTH:
                holder[key] = {}
            elif isinstance(node, dict):
                node, within = self._followed(node, root, within)
                holder[key] = copy = dict.fromkeys(node)
                waiting.extend((copy, name, child, depth + 1, within) for name, child in node.items())
            elif isinstance(node, list):
                holder[key] = copies = [None] * len(node)
                waiting.extend((copies, index, child, depth + 1, within) for index, child in enumerate(node))
            else:
                holder[key] = node
        return result[0]

    def inlined_at_top(self, node: Schema, root: Mapping[str, Any]) -> Schema:
        """What `node` refers to, with the references inside it left as they are; `node` if it refers to nothing."""
        if not isinstance(node, dict):
            return node
        self._left_here = min(MAX_ADDED_TO_ONE, self._left)
        return self._followed(node, root, ())[0]

    def _followed(
        self, node: dict[str, Any], root: Mapping[str, Any], within: tuple[str, ...]
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """The mapping that `node` stands for, and the references that led there."""
        while isinstance(ref := node.get("$ref"), str):
            rest = {name: value for name, value in node.items() if name != "$ref"}
            if ref in within or len(within) >= MAX_DEPTH:
                return rest, within
            target = _target(ref, root)
            if not isinstance(target, dict) or not self._pay(ref, target, root):
                return rest, within
            node, within = target | rest, (*within, ref)
        return node, within

    def _pay(self, ref: str, target: dict[str, Any], root: Mapping[str, Any]) -> bool:
        """Whether there is budget for another copy of `target`, which it takes from the budget."""
        if self._left <= 0:
            return False
        size = self._sizes.get((id(root), ref))
        if size is None:
            size = self._sizes[id(root), ref] = _size(target)
            self._left -= min(size, MAX_ADDED_TO_ONE)  # to measure it takes time as well
        if size > min(self._left_here, self._left):
            return False
        self._left_here -= size
        self._left -= size
        return True


def with_definitions(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """An object's schema with its `$defs`, as it was written, for models that follow references.

    None if there are no `$defs`, or it is too large or too deep, or has a reference that leads nowhere in it.
    """
    definitions = {name: schema[name] for name in ("$defs", "definitions") if isinstance(schema.get(name), dict)}
    if not definitions:
        return None
    kept = {"type": "object", "properties": schema.get("properties", {}), "required": schema.get("required", [])}
    kept |= definitions
    if _size(kept) > MAX_ADDED_TO_ONE:
        return None
    level: list[Schema] = [kept]
    for _ in range(MAX_DEPTH):
        below: list[Schema] = []
        for node in level:
            if isinstance(node, dict):
                ref = node.get("$ref")
                if isinstance(ref, str) and not isinstance(_target(ref, kept), dict):
                    return None
                below += node.values()
            elif isinstance(node, list):
                below += node
        if not below:
            return kept
        level = below
    return None


def _target(ref: str, root: Mapping[str, Any]) -> Schema:
    """What a JSON pointer such as `#/$defs/Name` leads to; None if it leads nowhere or to another document."""
    if ref != "#" and not ref.startswith("#/"):
        return None
    node: Any = root
    for step in ref.split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        if isinstance(node, dict) and key in node:
            node = node[key]
        elif isinstance(node, list) and re.fullmatch("0|[1-9][0-9]{0,8}", key) and int(key) < len(node):
            node = node[int(key)]
        else:
            return None
    return node


def _size(schema: Schema) -> int:
    """The size of `schema` without what it refers to; some number past `MAX_ADDED_TO_ONE` if it is larger."""
    size = 0
    waiting = [schema]
    while waiting and size <= MAX_ADDED_TO_ONE:
        node = waiting.pop()
        size += 20
        if isinstance(node, str):
            size += len(node)
        elif isinstance(node, dict | list):
            if 20 * len(node) > MAX_ADDED_TO_ONE:
                return 20 * len(node)
            if isinstance(node, dict):
                size += sum(map(len, node))
                node = list(node.values())
            waiting += node
    return size
