"""YAML text to nodes, which know where they stand, and plain data to nodes and text."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any, TypeAlias

import yaml
from yaml.constructor import SafeConstructor

from magentic_kit.errors import ConfigError
from magentic_kit.team.yaml_errors import syntax_problem

Place: TypeAlias = tuple[str, int, int]
"""File, line and column, which count from 1; 0 means the file as a whole."""

MAX_DEPTH = 60
MAX_VALUES = 100_000
"""Bounds that no honest team file meets; aliases count as often as they are used."""

TOO_MUCH = "this is nested too deep or too large"

_SAFE_DEPTH = 500
"""PyYAML 6.0.2 has no bound: libyaml's composer crashes a thread with a stack of 512 kB at some 1000 levels."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_SCALARS: dict[str, Any] = {
    f"{_TAG}{kind}": getattr(SafeConstructor, f"construct_yaml_{kind}")
    for kind in ("null", "bool", "int", "float", "str")
}
"""How to read a scalar of each known tag."""

_YAML: Any = yaml.SafeLoader("")


def read_bytes(path: Path) -> bytes:
    """What a file holds. Raises `ConfigError` if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError.one(f"cannot be read: {error.strerror}", file=str(path)) from None


def compose(path: Path) -> yaml.Node:
    """The mapping that a YAML file holds. Raises `ConfigError` if it holds none."""
    raw = read_bytes(path)
    try:
        _check_depth(raw)
        stream: Any = io.BytesIO(raw)
        stream.name = str(path)  # which marks then have
        root = yaml.compose(stream, Loader=_LOADER)
    except yaml.YAMLError as error:
        raise ConfigError([syntax_problem(error, str(path), raw)]) from None
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError.one("the file should hold keys with values", file=str(path))
    return root


def _check_depth(raw: bytes) -> None:
    """Raises `MarkedYAMLError` if collections stand too deep inside each other."""
    # A bracket or a column makes two levels at most: `[a: …` or a list that stands right below its key.
    longest = max(map(len, raw.splitlines()), default=0)
    if 2 * (raw.count(b"[") + raw.count(b"{") + longest) <= _SAFE_DEPTH:
        return
    depth = 0
    event: Any
    for event in yaml.parse(raw, Loader=_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=TOO_MUCH, problem_mark=event.start_mark)


def place_of(node: yaml.Node) -> Place | None:
    """Where a node stands; None for a part of what was made in Python."""
    mark = node.start_mark
    if mark:
        return (mark.name, mark.line + 1, mark.column + 1)
    return None


def scalar_value(node: yaml.ScalarNode, text: str) -> Any:
    """The value of a scalar whose text, after `${NAME}` is filled in, is `text`. Raises `ValueError` with its tag."""
    tag: str = node.tag
    if text != node.value and not node.style:  # unquoted, it is read as if it stood there itself
        tag = str(_YAML.resolve(yaml.ScalarNode, text, (True, False)))
    tag = tag.replace("timestamp", "str")  # since JSON has no dates
    try:
        value = _SCALARS[tag](_YAML, yaml.ScalarNode(tag, text))
    except (ValueError, KeyError, IndexError):  # as PyYAML raises for `!!bool x`, `!!int ''`
        raise ValueError(tag.replace(_TAG, "!!")) from None
    if isinstance(value, int) and value.bit_length() > 63:  # too long to be written down
        raise ValueError(tag.replace(_TAG, "!!"))
    return value


class _Dumper(yaml.SafeDumper):
    """Takes any mapping and paths too, nodes as they are, and writes long texts line by line."""


_Dumper.add_multi_representer(Mapping, yaml.SafeDumper.represent_dict)  # type: ignore[type-abstract]
_Dumper.add_multi_representer(PurePath, lambda dumper, path: dumper.represent_str(str(path)))
_Dumper.add_representer(yaml.ScalarNode, lambda _, node: node)
_Dumper.add_representer(
    str, lambda dumper, text: dumper.represent_scalar(f"{_TAG}str", text, style="|" if "\n" in text else None)
)


def text_node(text: str, *, quoted: bool) -> yaml.ScalarNode:
    """A text that is written as it is, in quotes or not: unquoted, `${NAME}` may stand for a number."""
    return yaml.ScalarNode(f"{_TAG}str", text, style='"' if quoted else None)


def dump(data: Any) -> str:
    """Data, in which nodes may stand, as YAML text."""
    return str(yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100))


def node_of(value: Any, file: str) -> yaml.Node:
    """A value made in Python as a node that stands in `file`. Raises `ConfigError` if YAML cannot hold it."""
    try:
        node: yaml.Node = _Dumper(io.StringIO(), sort_keys=False).represent_data(value)
    except yaml.representer.RepresenterError as error:
        what = f"a {type(error.args[1]).__name__} cannot stand in a team; inject it as a service or plugin"
        raise ConfigError.one(what, file=file) from None
    node.start_mark = yaml.Mark(file, 0, -1, -1, None, 0)
    return node
