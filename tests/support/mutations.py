"""Valid logs with something changed and right checksums, as a stranger could hand them over."""

from __future__ import annotations

import copy
import json
import random
import zlib
from pathlib import Path
from typing import Any

ATTACK = "\x1b]0;x\x07\x9b2J\u202e\x7f\r"
"""Sets a terminal's title, clears it, turns the direction of text around."""
FORBIDDEN = ("\x1b]", "\x07", "\x9b", "\u202e", "\x7f")
"""What of it must not reach a terminal; a display writes control sequences of its own that begin otherwise."""

_VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    3,
    10**30,
    10**400,
    -0.5,
    1e300,
    float("inf"),
    float("nan"),
    "",
    "manager",
    "Analyst",
    ATTACK,
    "x" * 5000,
    "__class__",
    "\ud800",
    "9999-12-31T23:59:59.999Z",
    "0001-01-01T00:00:00Z",
    "2025-06-01",
    [],
    [1, "a", None],
    {},
    {"answer": 1},
    {"kind": None},
    {ATTACK: ATTACK},
    {"text#": "0" * 24},
]


def write_log(directory: Path, events: list[Any], *, plain: bool = True) -> Path:
    """A log of these lines with right checksums; those that are text already stand as they are."""
    directory.mkdir(parents=True, exist_ok=True)
    lines = []
    for event in events:
        body = event if isinstance(event, str) else json.dumps(event, ensure_ascii=plain)
        data = body.encode("utf-8", "backslashreplace")
        lines.append(data[:-1] + b', "sum": "%08x"}\n' % zlib.crc32(data))
    (directory / "events.jsonl").write_bytes(b"".join(lines))
    return directory


def mutated(events: list[dict[str, Any]], seed: int) -> list[Any]:
    """The events with one to three things changed; which, the seed says."""
    choice = random.Random(seed)
    events = copy.deepcopy(events)
    for _ in range(choice.randint(1, 3)):
        _mutate(choice, events)
    return [_nested(event) if choice.random() < 0.002 else event for event in events]


def _mutate(choice: random.Random, events: list[dict[str, Any]]) -> None:
    place = choice.randrange(len(events))
    what = choice.random()
    if what < 0.06:
        del events[place]
    elif what < 0.12:
        events.insert(place, copy.deepcopy(choice.choice(events)))
    elif what < 0.18:
        other = choice.randrange(len(events))
        events[place], events[other] = events[other], events[place]
    else:
        _change(choice, events[place])
        return
    for number, event in enumerate(events):
        event["seq"] = number


def _change(choice: random.Random, event: dict[str, Any]) -> None:
    """Changes, drops, adds or renames one value, at any depth."""
    container, key = choice.choice(list(_places(event)))
    what = choice.random()
    if what < 0.75 or isinstance(container, list):
        alike = [value for value in _VALUES if type(value) is type(container[key])]
        container[key] = copy.deepcopy(choice.choice(alike if alike and choice.random() < 0.7 else _VALUES))
    elif what < 0.85:
        del container[key]
    elif what < 0.95:
        container[choice.choice(["extra", "answer", "call", ATTACK])] = choice.choice(_VALUES)
    else:
        container[ATTACK] = container.pop(key)


def _places(value: Any) -> Any:
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])


def _nested(event: dict[str, Any]) -> str:
    """The line of an event with a field nested deeper than Python's stack."""
    return json.dumps(event)[:-1] + ', "inputs": ' + "[" * 100_000 + "]" * 100_000 + "}"
