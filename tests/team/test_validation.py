"""pydantic's errors, as problems of ours: none is left in its words, and each leads to a place in the data."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from support.team_files import GOOD, PLUGINS

from magentic_kit.team.models import TeamConfig
from magentic_kit.team.problems import KEY, Route, get
from magentic_kit.team.validation import validate

VALUES: list[Any] = [None, True, 7, -1, 2.5, "", "x y", [], [7], {}, {"x": 1}]


def team() -> Any:
    data = yaml.safe_load(GOOD)
    data["plugins"] |= yaml.safe_load(PLUGINS)["plugins"]
    data["agents"] = data["agents"][1:] + yaml.safe_load(PLUGINS)["agents"]
    data["manager"] |= {"max_rounds": 7, "context": {"messages": 9, "summarize": True}, "options": {"seed": 1}}
    data["review"] = {"plan": True, "tools": ["files.*"]}
    return data


def routes(data: Any, route: Route = ()) -> Iterator[Route]:
    """Every place in the data."""
    yield route
    for key in data if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ():
        yield from routes(data[key], (*route, key))


def replaced(data: Any, route: Route, value: Any) -> Any:
    if not route:
        return value
    get(data, *route[:-1])[route[-1]] = value
    return data


def test_the_team_that_is_broken_below_is_valid() -> None:
    config, problems = validate(TeamConfig, team())
    assert problems == [] and isinstance(config, TeamConfig)


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_no_wrong_value_is_described_in_the_words_of_pydantic(value: Any) -> None:
    found, good = 0, team()
    for route in routes(good):
        broken = replaced(copy.deepcopy(good), route, value)
        _, problems = validate(TeamConfig, broken)
        try:
            TeamConfig.model_validate(broken)
        except ValidationError as error:
            theirs = {one["msg"] for one in error.errors()}
        else:
            theirs = set()
        assert bool(problems) is bool(theirs)
        for place, message in problems:
            around, last = (place[:-2], place[-2]) if place[-1:] == (KEY,) else (place[:-1], place[-1:])
            assert isinstance(get(broken, *around), dict | list) or not last, (route, place)
            assert not any(words in message for words in theirs), message
        found += len(problems)
    assert found > 30


def test_what_is_called_like_a_kind_of_service_is_found_all_the_same() -> None:
    services = {"openai": {"provider": "openai", "openai": 1}, "http": {"provider": "python", "python": {}}}
    plugins = {"mcp": {"type": "mcp", "transport": "http", "http": 1, "mcp": 2}}
    _, problems = validate(TeamConfig, {**team(), "services": services, "plugins": plugins})
    assert [route for route, _ in problems] == [
        ("services", "openai", "openai", KEY),
        ("services", "http", "target"),
        ("services", "http", "python", KEY),
        ("plugins", "mcp", "url"),
        ("plugins", "mcp", "http", KEY),
        ("plugins", "mcp", "mcp", KEY),
    ]


def test_a_list_with_only_broken_items_is_not_called_empty_too() -> None:
    _, problems = validate(TeamConfig, {**team(), "agents": ["Writer"]})
    wanted = "agents[0] should be a mapping such as {name: Writer, description: Writes the answer.}, not 'Writer'"
    assert problems == [(("agents", 0), wanted)]


def test_a_key_without_a_space_behind_its_colon_is_recognised() -> None:
    _, problems = validate(TeamConfig, {**team(), "limits": "deadline:5m", "agents": ["name:Writer"]})
    ends = [message.partition("; ")[2] for _, message in problems]
    assert ends == [
        "a space is missing behind the colon of 'name:'",
        "a space is missing behind the colon of 'deadline:'",
    ]
