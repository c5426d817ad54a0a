"""YAML that others wrote, read within bounds: how deep it nests, and how large its aliases make it."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import yaml
from yaml.constructor import SafeConstructor

MAX_DEPTH = 100
"""Lists and mappings inside each other."""
MAX_VALUES = 400_000
"""Keys and values of a document, its aliases once each: what takes a second or so to read."""
MAX_ADDED = 5_000_000
"""What aliases and merges may add to a document, in characters; each value counts as 20 and its text."""

_PAUSE = 5_000  # events of the parser after which a caller may stop

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RESOLVER: Any = yaml.SafeLoader("")
_TAG = "tag:yaml.org,2002:"
_SCALARS: dict[str, Any] = {
    f"{_TAG}null": SafeConstructor.construct_yaml_null,
    f"{_TAG}bool": SafeConstructor.construct_yaml_bool,
    f"{_TAG}int": SafeConstructor.construct_yaml_int,
    f"{_TAG}float": SafeConstructor.construct_yaml_float,
}
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?", re.ASCII)
_TEXTS = {f"{_TAG}{kind}" for kind in ("str", "timestamp", "binary", "merge", "value")}
_COLLECTIONS = {None, "!", f"{_TAG}map", f"{_TAG}seq"}


def load_yaml(text: str | bytes) -> Any:
    """The value of a YAML document, as JSON has it: keys are text as written, and so are dates.

    Raises `yaml.YAMLError` with a `problem` and a `problem_mark`, also for a document that goes past the
    bounds above. The time is proportional to the length of the text: aliases are counted, not followed.
    """
    return _whole(_Document().read(text))


def yaml_steps(text: str | bytes) -> Generator[None, None, Any]:
    """Returns what `load_yaml` does, some milliseconds of work with each step, for callers who may have to stop."""
    return _Document().read(text)


def load_yaml_list(text: str | bytes) -> Iterator[tuple[int, Any]]:
    """The line, from 1, and the value of each item of a list.

    Raises `yaml.YAMLError` as `load_yaml` does, `TypeError` if the document holds no list.
    """
    document = _Document()
    items = _whole(document.read(text))
    if not isinstance(items, list):
        raise TypeError("the document should hold a list")
    return zip(document.lines, items, strict=True)


def _whole(steps: Generator[None, None, Any]) -> Any:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


@dataclass
class _Collection:
    """A list or mapping that is being read."""

    value: list[Any] | dict[str, Any]
    anchor: str | None
    size: int = 20
    key: str | None = None
    merges: bool = False
    """Whether `key` is a `<<`, whose mappings go to `merged`."""
    merged: list[dict[str, Any]] = field(default_factory=list)


class _Document:
    """Builds a document's value from the parser's events, without recursion.

    PyYAML's own composer takes eight times as long, calls itself for each level, and expands merges without end.
    """

    def __init__(self) -> None:
        self.lines: list[int] = []
        self._root: Any = None
        self._open: list[_Collection] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._keys: dict[str, str] = {}
        self._documents = 0
        self._values = 0
        self._added = 0

    def read(self, text: str | bytes) -> Generator[None, None, Any]:
        """Builds the value; pauses now and then."""
        take: dict[type, Callable[[Any], None]] = {
            yaml.DocumentStartEvent: self._begin,
            yaml.ScalarEvent: self._scalar,
            yaml.AliasEvent: self._alias,
            yaml.SequenceStartEvent: self._start,
            yaml.MappingStartEvent: self._start,
            yaml.SequenceEndEvent: self._end,
            yaml.MappingEndEvent: self._end,
        }
        event: Any
        for number, event in enumerate(yaml.parse(text, Loader=_LOADER)):
            if number % _PAUSE == 0:
                yield
            try:
                if taker := take.get(type(event)):
                    taker(event)
            except ValueError as error:
                raise yaml.MarkedYAMLError(problem=str(error), problem_mark=event.start_mark) from None
        return self._root

    def _begin(self, event: Any) -> None:
        self._documents += 1
        if self._documents > 1:
            raise ValueError("there is more than one document")

    def _scalar(self, event: Any) -> None:
        text: str = event.value
        size = 20 + len(text)
        tag: str | None = event.tag
        is_plain = tag in (None, "!") and event.implicit[0]
        if self._expects_key():
            self._count()
            if event.anchor:
                self._anchors[event.anchor] = text, size
            self._open[-1].key = self._keys.setdefault(text, text)  # one text for all keys that are the same
            self._open[-1].merges = tag == f"{_TAG}merge" or (is_plain and text == "<<")
            self._open[-1].size += size
        elif is_plain and len(text) <= 100:  # reading 1:1:1:… as a number takes quadratic time
            self._add(_implicit(text), size, event)
        else:
            self._add(_explicit(tag, text), size, event)

    def _alias(self, event: Any) -> None:
        if event.anchor not in self._anchors:
            raise ValueError(f"the alias {event.anchor} stands before or inside of what it names")
        value, size = self._anchors[event.anchor]
        self._added += size
        if self._added > MAX_ADDED:
            raise ValueError(f"its aliases make the document larger by more than {MAX_ADDED:,} characters")
        if not self._expects_key():
            self._add(value, size, event)
        elif isinstance(value, str):
            self._open[-1].key = value
            self._open[-1].size += size
        else:
            raise ValueError("a key should be plain text")

    def _start(self, event: Any) -> None:
        if self._expects_key():
            raise ValueError("a key should be plain text")
        if event.tag not in _COLLECTIONS:
            raise ValueError(f"the tag {event.tag} is not known")
        if len(self._open) >= MAX_DEPTH:
            raise ValueError(f"the document is nested deeper than {MAX_DEPTH} levels")
        if len(self._open) == 1:
            self.lines.append(event.start_mark.line + 1)
        value: list[Any] | dict[str, Any] = {}
        if isinstance(event, yaml.SequenceStartEvent):
            value = []
        self._open.append(_Collection(value, event.anchor))

    def _end(self, event: Any) -> None:
        done = self._open.pop()
        value = done.value
        if isinstance(value, dict) and done.merged:
            inherited: dict[str, Any] = {}
            for mapping in reversed(done.merged):  # the first one that is named wins
                inherited.update(mapping)
            value = inherited | value
        if self._open:
            self._attach(value, done.size)
        else:
            self._root = value
        if done.anchor:
            self._anchors[done.anchor] = value, done.size

    def _add(self, value: Any, size: int, event: Any) -> None:
        """Puts a scalar or what an alias names where it belongs."""
        if len(self._open) == 1:
            self.lines.append(event.start_mark.line + 1)
        if isinstance(event, yaml.ScalarEvent) and event.anchor:
            self._anchors[event.anchor] = value, size
        if self._open:
            self._attach(value, size)
        else:
            self._root = value

    def _count(self) -> None:
        self._values += 1
        if self._values > MAX_VALUES:
            raise ValueError(f"the document has more than {MAX_VALUES:,} keys and values")

    def _attach(self, value: Any, size: int) -> None:
        self._count()
        parent = self._open[-1]
        parent.size += size
        if isinstance(parent.value, list):
            parent.value.append(value)
            return
        key, parent.key = parent.key, None
        if parent.merges:
            mappings = value if isinstance(value, list) else [value]
            if not all(isinstance(mapping, dict) for mapping in mappings):
                raise ValueError("<< should name a mapping")
            parent.merged += mappings
            parent.merges = False
        elif key is not None:
            parent.value[key] = value

    def _expects_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1].value, dict) and self._open[-1].key is None


@lru_cache(maxsize=10_000)
def _implicit(text: str) -> Any:
    """The value of a plain scalar, by its looks. Raises `ValueError`."""
    if number := _NUMBER.fullmatch(text):  # as YAML has most of them, and four times as quick as its resolver
        return float(text) if number[1] else int(text)
    return _explicit(_RESOLVER.resolve(yaml.ScalarNode, text, (True, False)), text)


def _explicit(tag: str | None, text: str) -> Any:
    """The value of a scalar that has this tag, text if it has none. Raises `ValueError`."""
    if tag in (None, "!") or tag in _TEXTS:
        return text
    if tag not in _SCALARS:
        raise ValueError(f"the tag {tag} is not known")
    return _SCALARS[tag](_RESOLVER, yaml.ScalarNode(tag, text))
