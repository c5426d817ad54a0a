"""Finds the execution settings in a team that its connectors do not take.

Semantic Kernel drops those that a connector does not know without a word, and checks values in the middle of a run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pydantic import ValidationError
from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase
from semantic_kernel.connectors.ai.prompt_execution_settings import PromptExecutionSettings

from magentic_kit.errors import Problem
from magentic_kit.services.connectors import connector_class
from magentic_kit.team.loading import Team
from magentic_kit.team.problems import KEY, Route, nearest
from magentic_kit.text import one_line


def wrong_options(team: Team, services: Mapping[str, ChatCompletionClientBase] | None = None) -> list[Problem]:
    """Every option that its connector does not take, at its place; `services` are those that the caller brings."""
    found = []
    for name, route, options in _options(team):
        made = (services or {}).get(name)
        if made is not None:
            cls: Any = type(made)
        elif name in team.config.services:
            cls = connector_class(team.config.services[name].provider)
        else:
            continue
        known = _known(cls)
        for option, value in options.items() if known else ():
            if option not in known:
                message = f"{cls.__name__} has no option '{option}'{nearest(option, known, list_all=False)}"
                found.append(team.problem((*route, option, KEY), message))
            elif problem := _problem(cls, option, value):
                found.append(team.problem((*route, option), f"{cls.__name__} does not take this {option}: {problem}"))
    return found


def _problem(cls: Any, option: str, value: object) -> str:
    """What a connector has against the value of an option; "" if nothing."""
    try:
        cls.get_prompt_execution_settings_class(None)(**{option: value})
    except ValidationError as error:
        return error.errors()[0]["msg"]
    except Exception as error:  # a connector's own checks, of whatever kind
        return one_line(str(error), 200)
    return ""


def _options(team: Team) -> Iterator[tuple[str, Route, Mapping[str, Any]]]:
    """The service's name, the route and the options of each part of the team that has some."""
    for name, service in team.config.services.items():
        yield name, ("services", name, "options"), service.options
    yield team.manager_service, ("manager", "options"), team.config.manager.options
    for n, agent in enumerate(team.config.agents):
        if agent.type == "chat_completion_agent":
            yield team.service_of(agent), ("agents", n, "model", "options"), agent.model.options


def _known(cls: Any) -> Collection[str]:
    """The options of a connector; none for one without settings of its own, which takes what it likes."""
    if cls is None:
        return ()
    settings = cls.get_prompt_execution_settings_class(None)  # every connector's is the same for all its instances
    fields: Collection[str] = settings.model_fields
    if len(fields) > len(PromptExecutionSettings.model_fields):
        return fields
    return ()
