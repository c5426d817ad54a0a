"""Whatever YAML a team file is, it is a team, or problems that say where they are."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from support.team_files import GOOD, PLUGINS, load, with_files

from magentic_kit.errors import ConfigError

ENV = {"HOST": "h", "ROUNDS": "9", "KEY": "k", "PORT": "1", "TOKEN": "t"}
TEAMS = [yaml.safe_load(text) for text in (GOOD, PLUGINS)]
WORDS = sorted(set(re.findall(r"\w+", GOOD + PLUGINS)))
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.dates(), st.text(max_size=6), st.sampled_from(WORDS)
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS
    | st.sampled_from(["${A}", "${A:-b}", "$${A}", "{{$x}}", "{{a.b $c}}", "a.*", "1h", "-1s", "*", "&a", "!x y"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS) | SCALARS, inner, max_size=4),
    max_leaves=12,
)
PUNCTUATION = st.sampled_from(
    ["\n", " ", ": ", "- ", "{", "}", "[", "]", "'", '"', "#", "&a ", "*a", "|", "\t", "!!set ", "? "]
)


@pytest.fixture(scope="module")
def folder_of_all(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_files(tmp_path_factory.mktemp("teams"))


def places(value: Any) -> list[tuple[Any, Any]]:
    """Each container in a value, with each of its keys."""
    if not isinstance(value, dict | list):
        return []
    keys = list(value) if isinstance(value, dict) else range(len(value))
    return [*((value, key) for key in keys), *(place for key in keys for place in places(value[key]))]


@st.composite
def nearly_teams(draw: Callable[[st.SearchStrategy[Any]], Any]) -> str:
    """A valid team with one to three values changed, dropped, renamed or moved."""
    team = yaml.safe_load(yaml.safe_dump(draw(st.sampled_from(TEAMS))))
    for _ in range(draw(st.integers(1, 3))):
        container, key = draw(st.sampled_from(places(team)))
        match draw(st.sampled_from(["change", "drop", "rename", "copy"])):
            case "change":
                container[key] = draw(VALUES)
            case "drop":
                del container[key]
            case "rename" if isinstance(container, dict):
                container[draw(st.sampled_from(WORDS))] = container.pop(key)
            case _:
                other, name = draw(st.sampled_from(places(team)))
                container[key] = yaml.safe_load(yaml.safe_dump(other[name]))
        if not places(team):
            break
    return yaml.safe_dump(team, sort_keys=False, allow_unicode=True)


@st.composite
def edited(draw: Callable[[st.SearchStrategy[Any]], Any]) -> str:
    """The text of a valid team with a piece cut out, written twice, or put in from elsewhere."""
    text = draw(st.sampled_from([GOOD, PLUGINS]))
    start, end = sorted(draw(st.tuples(*[st.integers(0, len(text))] * 2)))
    return text[:start] + draw(st.just("") | PUNCTUATION | st.just(text[start:end] * 2)) + text[end:]


@example(text="plugins:\n  api: {")  # libyaml has ends of files on a line of their own
@given(nearly_teams() | edited() | VALUES.map(yaml.safe_dump) | st.lists(PUNCTUATION | SCALARS.map(str)).map("".join))
@example(GOOD)
@example(PLUGINS)
def test_any_yaml_is_a_team_or_problems_with_their_places(folder_of_all: Path, text: str) -> None:
    try:
        team = load(folder_of_all, text, env=ENV)
    except ConfigError as error:
        assert error.problems
        for problem in error.problems:
            assert Path(problem.file).is_relative_to(folder_of_all) and problem.message, problem
            assert problem.line >= 1 or problem.message == "the file should hold keys with values", problem
    else:
        assert team.config.agents
