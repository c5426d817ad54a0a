"""Arguments of a model that nest deeper than what logs and sends them can bear."""

from __future__ import annotations

import json
from typing import Any

import pytest

from magentic_kit.tools.arguments import MAX_DEPTH, check_arguments


def nested(levels: int) -> Any:
    """An object with `levels` levels, half of them lists."""
    value: Any = {"a": 1} if levels % 2 else [1]
    for level in range(levels - 1):
        value = {"a": value} if (levels + level) % 2 else [value]
    return value if isinstance(value, dict) else {"a": value[0]}


@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 900, 100_000])
def test_arguments_that_nest_too_deep_are_refused_as_text_and_as_value(levels: int) -> None:
    with pytest.raises(ValueError, match="nested deeper than 64 levels"):
        check_arguments('{"a":' * levels + "1" + "}" * levels)
    with pytest.raises(ValueError, match="nested deeper than 64 levels"):
        check_arguments(nested(levels))


@pytest.mark.parametrize(
    "arguments",
    [None, "", {}, '{"a": "' + "[" * 1_000 + '"}', json.dumps({"a": '\\"' + "{" * 1_000}), {"a": "[" * 1_000}],
    ids=["none", "empty", "no arguments", "brackets in text", "escaped quotes", "value"],
)
def test_other_arguments_pass(arguments: Any) -> None:
    check_arguments(arguments)


def test_the_deepest_arguments_that_pass() -> None:
    arguments = nested(MAX_DEPTH)
    check_arguments(arguments)
    check_arguments(json.dumps(arguments))


@pytest.mark.parametrize("piece", ['"', '\\"', "[", "{", "]", '"\\'])
def test_hostile_text_takes_time_by_its_length_only(piece: str) -> None:
    try:
        check_arguments(piece * 1_000_000)
    except ValueError as error:
        assert "nested deeper" in str(error)
