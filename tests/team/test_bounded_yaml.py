"""YAML of others: read as JSON has it, or refused where it nests or expands too much."""

from __future__ import annotations

import json

import pytest
import yaml

from magentic_kit.team.bounded_yaml import load_yaml, load_yaml_list


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("text", "text"),
        ("[1, 2.5, true, ~, 'yes', 2020-01-01, 0x10]", [1, 2.5, True, None, "yes", "2020-01-01", 16]),
        ("200: a\nyes: b\n1.10: c", {"200": "a", "yes": "b", "1.10": "c"}),
        ("a: &a [1]\nb: *a", {"a": [1], "b": [1]}),
        ("a: &a {x: 1, y: 1}\nb: {<<: *a, x: 2}", {"a": {"x": 1, "y": 1}, "b": {"x": 2, "y": 1}}),
        ("<<: [{x: 1}, {x: 2, y: 2}]", {"x": 1, "y": 2}),
        ("'<<': 1", {"<<": 1}),
        ("&k a: *k", {"a": "a"}),
        ("a: |\n  two\n  lines\n", {"a": "two\nlines\n"}),
        ("!!str 1", "1"),
        ("1" * 101, "1" * 101),
    ],
)
def test_values_are_as_in_json(text: str, value: object) -> None:
    assert load_yaml(text) == value
    assert load_yaml(text.encode()) == value


def test_json_is_yaml() -> None:
    value = {"a": [1, -2.5, None, True, {"b": ["", "\n\u00fc\U0001f600"]}], "c": {}}
    assert load_yaml(json.dumps(value, ensure_ascii=False)) == load_yaml(yaml.safe_dump(value)) == value


@pytest.mark.parametrize(
    ("text", "problem", "line"),
    [
        ("a: 1\nb: " + "[" * 101 + "]" * 101, "nested deeper than 100 levels", 2),
        ("a: &a [*a]", "stands before or inside of what it names", 1),
        ("a: *b", "stands before or inside of what it names", 1),
        ("a: 1\n---\nb: 1", "more than one document", 2),
        ("? [a]\n: 1", "a key should be plain text", 1),
        ("a: &a [1]\n*a : 1", "a key should be plain text", 2),
        ("<<: 1", "<< should name a mapping", 1),
        ("a: !python/object:os.system x", "the tag !python/object:os.system is not known", 1),
        ("a: !!set {x}", "the tag tag:yaml.org,2002:set is not known", 1),
        ("t: &t " + "x" * 10_000 + "\nb: [" + "*t, " * 600 + "]", "larger by more than 5,000,000 characters", 2),
    ],
    ids=lambda it: it[:20] if isinstance(it, str) else "",
)
def test_what_is_refused_names_its_line(text: str, problem: str, line: int) -> None:
    with pytest.raises(yaml.MarkedYAMLError) as error:
        load_yaml(text)
    assert problem in str(error.value.problem)
    assert error.value.problem_mark is not None and error.value.problem_mark.line + 1 == line


def test_items_of_a_list_come_with_their_lines() -> None:
    assert list(load_yaml_list("- a\n- {b: [c]}\n\n- - 1\n- &x y\n- *x")) == [
        (1, "a"),
        (2, {"b": ["c"]}),
        (4, [1]),
        (5, "y"),
        (6, "y"),
    ]
    with pytest.raises(TypeError, match="should hold a list"):
        load_yaml_list("a: 1")
