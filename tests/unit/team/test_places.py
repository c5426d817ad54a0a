"""YAML with places: each value knows its line and column, and what cannot be read is refused with both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from magentic_kit.errors import ConfigError
from magentic_kit.team.loading import load_team
from magentic_kit.team.yaml_nodes import compose, dump, node_of, place_of, scalar_value

TEXT = """\
name: Tëam
agents:
  - name: A
    tools: [one, "two"]
  - {name: B}
text: |
  lines
"""


def nodes(node: yaml.Node) -> list[yaml.Node]:
    """The node and all below it, in the order of the file."""
    if isinstance(node, yaml.MappingNode):
        return [node, *(it for pair in node.value for part in pair for it in nodes(part))]
    if isinstance(node, yaml.SequenceNode):
        return [node, *(it for part in node.value for it in nodes(part))]
    return [node]


def test_every_value_knows_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "team.yaml"
    path.write_text(TEXT, encoding="utf-8")
    found = {node.value: place_of(node) for node in nodes(compose(path)) if isinstance(node, yaml.ScalarNode)}
    places = {"name": (5, 6), "Tëam": (1, 7), "A": (3, 11), "one": (4, 13), "two": (4, 18), "B": (5, 12)}
    for value, (line, column) in {**places, "lines\n": (6, 7), "agents": (2, 1)}.items():
        assert found[value] == (str(path), line, column)


def test_what_was_made_in_python_stands_in_the_file_as_a_whole() -> None:
    assert place_of(node_of({"a": [1]}, "made")) == ("made", 0, 0)
    with pytest.raises(ConfigError, match=r"^made: a object cannot stand in a team"):
        node_of({"a": object()}, "made")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- a\n", "team.yaml: the file should hold keys with values"),
        ("", "team.yaml: the file should hold keys with values"),
        ("a: " + "[" * 300 + "]" * 300, "team.yaml:1:63: "),
        ("a: 1\nb: [1\n", "team.yaml:3:1: "),
    ],
)
def test_what_is_no_mapping_is_refused_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "team.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        compose(path)
    assert str(refused.value).replace(f"{tmp_path}/", "").startswith(told)


@pytest.mark.parametrize(
    ("written", "filled", "value"),
    [
        ("1", "1", 1),
        ("'1'", "1", "1"),
        ("${N}", "1", 1),
        ("'${N}'", "1", "1"),
        ("${N}", "true", True),
        ("${N}", "", None),
        ("2020-01-01", "2020-01-01", "2020-01-01"),
        ("1.5", "1.5", 1.5),
        ("~", "~", None),
    ],
)
def test_a_value_is_read_as_if_it_stood_there_itself(written: str, filled: str, value: object) -> None:
    node = yaml.compose(written, Loader=yaml.SafeLoader)
    assert scalar_value(node, filled) == value


@pytest.mark.parametrize(
    ("written", "tag"), [("!!bool x", "!!bool"), ("!!int ''", "!!int"), (str(2**64), "!!int"), ("!other x", "!other")]
)
def test_a_value_that_its_tag_cannot_hold_is_refused_by_the_tag(written: str, tag: str) -> None:
    node = yaml.compose(written, Loader=yaml.SafeLoader)
    with pytest.raises(ValueError) as refused:
        scalar_value(node, node.value)
    assert str(refused.value) == tag


def test_data_is_written_in_its_order_and_long_texts_line_by_line() -> None:
    text = dump({"b": "one\ntwo\n", "a": [1, None], "p": Path("x/y")})
    assert text == "b: |\n  one\n  two\na:\n- 1\n- null\np: x/y\n"


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["${X}", "openai", "./a.yaml"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "agents", "services", "default", "provider", "manager", "plugins", "limits", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=40)
@given(VALUES)
def test_any_yaml_is_a_team_or_problems_with_their_places(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(yaml.safe_dump(data, allow_unicode=True), encoding="utf-8")
    try:
        load_team(path)
    except ConfigError as error:
        assert error.problems
        lines = path.read_text("utf-8").count("\n") + 1
        assert all(problem.file == str(path) and 0 <= problem.line <= lines for problem in error.problems)
