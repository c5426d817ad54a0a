"""A team file's text as plain data that remembers where each value stands; `${NAME}` is filled in."""

from __future__ import annotations

import datetime
import re
import textwrap
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import yaml

from magentic_kit.errors import ConfigError, Problem

Route: TypeAlias = tuple[str | int, ...]
"""The way to a value: `("agents", 0, "name")`."""

MAX_DEPTH = 60
MAX_VALUES = 100_000
"""Bounds that no honest team file meets; aliases count as often as they are used."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CORE = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float")}
_TEXT = {f"tag:yaml.org,2002:{name}" for name in ("str", "timestamp", "value")}
_REFERENCE = re.compile(r"\$\$\{|\$\{(?:([A-Za-z_]\w*)(:-[^}]*)?\})?")
_SECRET = re.compile("KEY|TOKEN|SECRET|PASSWORD", re.IGNORECASE)


class Place(NamedTuple):
    """Where something stands; line and column count from 1, 0 means the file as a whole."""

    file: str
    line: int = 0
    column: int = 0

    def problem(self, message: str) -> Problem:
        """A problem here, in one line of bearable length whatever stands in the file."""
        return Problem(self.file, self.line, self.column, textwrap.shorten(message, 300, placeholder="…"))


@dataclass
class Source:
    """Data, the places of its values and keys, and what was found wrong with it so far.

    `shown` holds the text to show in place of a value that a secret variable went into.
    """

    file: str
    data: Any = None
    places: dict[Route, Place] = field(default_factory=dict)
    keys: dict[Route, Place] = field(default_factory=dict)
    shown: dict[Route, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    broken: set[Route] = field(default_factory=set)

    def problem(self, route: Route, message: str, *, key: bool = False) -> Problem:
        """A problem at the value (or its key); at the nearest thing around it if it has no place itself."""
        place = self.keys.get(route) if key else None
        while place is None and (place := self.places.get(route)) is None and route:
            route = route[:-1]
        return (place or Place(self.file)).problem(message)

    def report(self, route: Route, message: str, *, key: bool = False) -> None:
        """Note a problem, unless something around the value is broken already: that is problem enough."""
        if not any(route[:n] in self.broken for n in range(len(route) + 1)):
            self.problems.append(self.problem(route, message, key=key))

    def broke(self, route: Route, message: str) -> None:
        """Note a problem after which the value at `route` means nothing."""
        self.report(route, message)
        self.broken.add(route)

    def adopt(self, route: Route, value: Any, place: Place) -> Any:
        """The value as it may stand at `route`, in place of whatever was known there."""
        for known in (self.places, self.keys, self.shown):
            for old in [old for old in known if old[: len(route)] == route]:
                del known[old]
        self.places[route] = self.keys[route] = place
        return _Reader(self, None, None).value(value, route)

    def graft(self, route: Route, other: Source, *, over: Mapping[str, Any]) -> dict[str, Any]:
        """Take in `other`'s mapping as what stands at `route`, its keys overridden by `over`; returns it."""
        for known in ("places", "keys", "shown"):
            theirs = getattr(other, known).items()
            getattr(self, known).update({route + r: it for r, it in theirs if not r or r[0] not in over})
        self.problems += other.problems
        self.broken |= {route + r for r in other.broken}
        return {**other.data, **over}


def read_text(path: Path, *, file: str) -> str:
    """The UTF-8 text of a file. Raises `ConfigError`, which speaks of it as `file`."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError.one("there is no such file", file=file) from None
    except IsADirectoryError:
        raise ConfigError.one("this is a folder, not a file", file=file) from None
    except OSError as error:
        raise ConfigError.one(f"cannot be read: {error.strerror}", file=file) from error
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        message = f"this is not UTF-8 text (byte 0x{raw[error.start]:02x}); save the file as UTF-8"
        raise ConfigError([Problem(file, line, 1, message)]) from None


def parse(text: str, *, file: str, env: Mapping[str, str] | None) -> Source:
    """The mapping that a YAML text holds. `env` fills `${NAME}`; None leaves the text as it is.

    Raises `ConfigError` if there is no mapping to speak of; smaller problems are noted in the source.
    """
    source = Source(file)
    try:
        _refuse_bombs(text)
        loader = _LOADER(text)
        root = loader.get_single_node()
        if not isinstance(root, yaml.MappingNode):
            what = {yaml.SequenceNode: "a list", yaml.ScalarNode: "a single value"}.get(type(root), "nothing")
            raise ConfigError.one(f"the file should hold keys with values, but holds {what}", file=file)
        source.data = _Reader(source, env, loader).node(root, ())
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file)
        if isinstance(error, yaml.reader.ReaderError):
            place = Place(file, text.encode()[: error.position].count(b"\n") + 1, 1)
        what = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        line = (text.split("\n")[mark.line : mark.line + 1] or [""])[0][: mark.column + 1] if mark else ""
        if "\t" in line:
            what = "a tab stands where YAML wants spaces"
        elif re.search(r"[{\[,:] *\$\{", line):
            what = "inside { } and [ ], ${…} has to stand in quotes"
        raise ConfigError([place.problem(f"this is not valid YAML: {what}")]) from None
    return source


def from_data(data: Any, *, env: Mapping[str, str]) -> Source:
    """The same for a mapping made in Python, which has no places. Raises `ConfigError` if it is none."""
    if not isinstance(data, Mapping):
        raise ConfigError.one(f"a team should be a mapping, not {type(data).__name__}")
    source = Source("team")
    source.data = _Reader(source, env, _LOADER("")).value(data, ())
    return source


def _refuse_bombs(text: str) -> None:
    """Go through the text without building it; raise if building it would take too much depth or memory."""
    open_nodes: list[tuple[Any, list[tuple[int, int]]]] = [(None, [])]
    anchors: dict[Any, tuple[int, int]] = {}
    event: Any
    for event in yaml.parse(text, Loader=_LOADER):
        size = (0, 0)
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, []))
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, inside = open_nodes.pop()
            size = (1 + sum(n for n, _ in inside), 1 + max((depth for _, depth in inside), default=0))
            anchors.update({anchor: size} if anchor else {})
        elif isinstance(event, yaml.AliasEvent):
            if any(event.anchor == anchor for anchor, _ in open_nodes):
                raise _refusal("an alias stands inside itself", event)
            size = anchors.get(event.anchor, (1, 1))
        elif isinstance(event, yaml.ScalarEvent):
            size = (1, 1)
        open_nodes[-1][1].append(size)
        if len(open_nodes) + size[1] > MAX_DEPTH or size[0] > MAX_VALUES:
            raise _refusal("nested too deep or too large", event)


def _refusal(problem: str, at: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=at.start_mark)


class _Reader:
    """Turns YAML nodes, or data made in Python, into the data of a source."""

    def __init__(self, source: Source, env: Mapping[str, str] | None, loader: Any) -> None:
        self.source, self.env, self.loader = source, env, loader

    def node(self, node: Any, route: Route) -> Any:
        """The data of one YAML node."""
        self.source.places[route] = self.place(node)
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, route)
        if isinstance(node, yaml.SequenceNode):
            return [self.node(item, (*route, n)) for n, item in enumerate(node.value)]
        tag, text = node.tag, self.filled(node.value, route)
        if text != node.value and not node.style:
            tag = self.loader.resolve(yaml.ScalarNode, text, (True, False))
        return self.scalar(tag, text, route)

    def mapping(self, node: Any, route: Route) -> dict[str, Any]:
        """The data of a YAML mapping; a key given twice counts once and is a problem."""
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _refusal("a key should be plain text", key)
            if key.value in lines:
                problem = f"key '{key.value[:40]}' is given twice; it stands in line {lines[key.value]} already"
                self.source.problems.append(self.place(key).problem(problem))
            lines.setdefault(key.value, key.start_mark.line + 1)
        self.loader.flatten_mapping(node)
        data: dict[str, Any] = {}
        for key, value in node.value:
            self.source.keys[(*route, key.value)] = self.place(key)
            data[key.value] = self.node(value, (*route, key.value))
        return data

    def scalar(self, tag: str, text: str, route: Route) -> Any:
        """The value of a YAML scalar; dates stay text, since JSON has none."""
        if tag in _TEXT:
            return text
        try:
            if tag in _CORE:
                value = self.loader.construct_object(yaml.ScalarNode(tag, text))
                if not isinstance(value, int) or value.bit_length() < 64:
                    return value
                raise ValueError(text)
            self.source.broke(route, f"tag {tag.replace('tag:yaml.org,2002:', '!!')} is not known here")
        except (ValueError, KeyError, IndexError):  # as PyYAML raises for `!!bool x`, `!!int ''`
            self.source.broke(route, "this value cannot be read as what it claims to be")
        return None

    def value(self, value: Any, route: Route) -> Any:
        """A copy of a value made in Python, with texts treated as plain YAML scalars."""
        if len(route) > MAX_DEPTH:
            self.source.broke(route, "this is nested too deep")
            return None
        if isinstance(value, Mapping):
            return {str(key): self.value(item, (*route, str(key))) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item, (*route, n)) for n, item in enumerate(value)]
        if isinstance(value, str):
            if (text := self.filled(value, route)) == value:
                return value
            return self.scalar(self.loader.resolve(yaml.ScalarNode, text, (True, False)), text, route)
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, Path | datetime.date):
            return str(value)
        self.source.broke(route, f"a {type(value).__name__} cannot stand in a team; inject it as a service or plugin")
        return None

    def filled(self, text: str, route: Route) -> str:
        """The text with its `${NAME}` references replaced."""
        if self.env is None or "${" not in text:
            return text
        names = {match[1] for match in _REFERENCE.finditer(text) if match[1]}
        if secrets := {name for name in names if _SECRET.search(name)}:
            self.source.shown[route] = _REFERENCE.sub(lambda m: self.reference(m, route, secrets), text)
        return _REFERENCE.sub(lambda m: self.reference(m, route), text)

    def reference(self, match: re.Match[str], route: Route, secrets: Collection[str] | None = None) -> str:
        """What one reference stands for; with `secrets`, what may be shown of it."""
        name, default = match.groups()
        if match[0] == "$${":
            return "${" if secrets is None else "$${"
        if not name:
            self.source.broke(route, "${ should begin a reference such as ${NAME}; write $${ for the characters")
            return ""
        if secrets and name in secrets:
            return "${" + name + (":-}" if default == ":-" else "}")
        value = (self.env or {}).get(name)
        if default is not None and not value:
            value = default[2:]
        if value is None:
            self.source.broke(route, f"environment variable {name} is not set; set it or write ${{{name}:-default}}")
            return ""
        return value if secrets is None else escaped(value)

    def place(self, node: Any) -> Place:
        """Where a node begins."""
        return Place(self.source.file, node.start_mark.line + 1, node.start_mark.column + 1)


def escaped(text: str) -> str:
    """The text as it has to be written so that it is read back as it is."""
    return text.replace("${", "$${")
