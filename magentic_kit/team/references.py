"""What one part of a team says about another: services, agents, tools, template variables.

The checks read plain data, since they have to find what they can in a team whose parts are not all valid.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from fnmatch import filter as matching
from typing import Any

from magentic_kit.errors import Problem
from magentic_kit.team.agents import AGENT_TYPES, KnownAgents
from magentic_kit.team.answers import check_answer
from magentic_kit.team.document import Document
from magentic_kit.team.functions import functions_of
from magentic_kit.team.problems import KEY, Route, clip, get, label, nearest
from magentic_kit.team.skills import PLUGIN, check_skills
from magentic_kit.team.templates import templates
from magentic_kit.team.values import wire_name

_TOOL = re.compile(r"(\w+)\.([\w-]+|\*)", re.ASCII)
_ALLOWED = {
    "human": {"type", "name", "description", "instructions"},
    "team": {"type", "name", "description", "team", "mode"},
    "python": {"type", "name", "description", "target", "args"},
    "a2a": {"type", "name", "description", "url", "headers"},
}
"""Keys of agents that no spec of SK's describes, by their type."""
_ELSEWHERE = {
    "bedrock_agent": "BedrockAgent.create_and_prepare_agent",
    "copilot_studio_agent": "CopilotStudioAgent",
}
"""Kinds of agents that SK's loader in Python does not know, and what makes them there."""
_PAIRS = (("team", "team", "FILE"), ("target", "python", "package.module:name"), ("url", "a2a", "http://…"))
"""Keys and the only type of agents that has them."""
_USUAL = ("", "chat_completion_agent")
_CALLED = {"human": "person", "python": "Python object", "a2a": "remote agent"}


def check_references(
    document: Document,
    known_services: Collection[str],
    known_plugins: Mapping[str, Collection[str]],
    known_agents: KnownAgents = KnownAgents(),
) -> list[Problem]:
    """Reports every reference that leads nowhere to the document; returns the warnings."""
    data = document.data
    _check_agents(document, known_agents)
    _check_must_speak(document)
    check_answer(document)
    check_skills(document)
    _check_services(document, [*get(data, "services", kind=dict), *known_services])
    for template in templates(data):
        for message in template.problems():
            document.report((*template.route, message), f"{label(template.route, data)}: {message}")
    functions: dict[str, Collection[str] | None] = {}
    for name, plugin in get(data, "plugins", kind=dict).items():
        functions[name] = functions_of(plugin, document.base_dir)
    functions.update(known_plugins)
    _check_review(document, _check_tools(document, functions))
    return _ignored(document)


def choose_service(wanted: str | None, names: Collection[str]) -> str | None:
    """The service meant by `wanted`, where None means `default`, or else the only one there is."""
    if wanted is None:
        wanted = next(iter(names)) if len(names) == 1 else "default"
    if wanted in names:
        return wanted
    return None


def _agents(document: Document) -> Iterator[tuple[Route, Any]]:
    for n, agent in enumerate(get(document.data, "agents", kind=list)):
        yield ("agents", n), agent


def _tools(document: Document) -> Iterator[tuple[str, Route, Any]]:
    """The name of the agent, the route and the data of each tool."""
    for agent_route, agent in _agents(document):
        for n, tool in enumerate(get(agent, "tools", kind=list)):
            yield label(agent_route, document.data), (*agent_route, "tools", n), tool


def _is_function(tool: Any) -> bool:
    return (get(tool, "type") or "function") == "function"


def _expect(document: Document, route: Route, what: str, name: Any, choices: Collection[str]) -> None:
    if isinstance(name, str) and name not in choices:
        hint = nearest(name, choices)
        document.report(route, f"{label(route, document.data)}: there is no {what} {clip(name)}{hint}")


def _check_agents(document: Document, known: KnownAgents) -> None:
    taken: set[str] = set()
    for route, agent in _agents(document):
        name = get(agent, "name", kind=str)
        if name.casefold() == "manager":  # events.MANAGER, whose import takes longer than all these checks
            document.report((*route, "name"), f"no agent can be called {clip(name)}: that is the manager's name")
        elif name and wire_name(name).casefold() in taken:
            document.report((*route, "name"), f"there is an agent {clip(name)} already; names are unique, case aside")
        taken.add(wire_name(name).casefold())
        _check_kind(document, route, agent, known)


def _check_kind(document: Document, route: Route, agent: Any, known: KnownAgents) -> None:
    who, kind = label(route, document.data), get(agent, "type", kind=str)
    types = (*AGENT_TYPES, *known.types)
    if kind in _ELSEWHERE:
        message = f"{who}: Semantic Kernel's loader has no {kind} in Python"
        document.report(
            (*route, "type"), f"{message}; write 'type: python' and a 'target:' that calls {_ELSEWHERE[kind]}"
        )
    elif kind and kind not in types:
        document.report((*route, "type"), f"{who} type cannot be {clip(kind)}{nearest(kind, types)}")
    if kind in _ALLOWED:
        for key in agent:
            if key not in _ALLOWED[kind]:
                what = _CALLED.get(kind, kind)
                document.report((*route, key, KEY), f"{who} is a {what} and has no '{key}'")
    for key, owner, called in (("mode", "team", "team"), ("headers", "a2a", "remote agent")):
        if kind != owner and kind not in _ALLOWED and get(agent, key) is not None:
            document.report((*route, key, KEY), f"{who} is no {called} and has no '{key}'")
    for key, owner, value in _PAIRS:
        is_given = key == "target" and get(agent, "name", kind=str) in known.agents
        if (kind == owner) != (get(agent, key) is not None) and not is_given:
            document.report((*route, key), f"{who}: 'type: {owner}' and '{key}: {value}' go together")


def _check_must_speak(document: Document) -> None:
    names = [get(agent, "name", kind=str) for _, agent in _agents(document)]
    if all(names):
        for n, name in enumerate(get(document.data, "manager", "must_speak", kind=list)):
            _expect(document, ("manager", "must_speak", n), "agent", name, names)


def _check_services(document: Document, names: list[str]) -> None:
    if not names:
        document.report(("services",), "the team needs 'services': name -> how to reach a model")
        return
    routes: list[Route] = [("manager", "service")]
    for route, agent in _agents(document):
        service_route = (*route, "model", "connection", "service_id")
        kind = get(agent, "type", kind=str) or "chat_completion_agent"
        if kind == "chat_completion_agent" or get(document.data, *service_route) is not None:
            routes.append(service_route)
    for service, entry in get(document.data, "services", kind=dict).items():
        others = [name for name in names if name != service]
        for n, wanted in enumerate(get(entry, "fallback", kind=list)):
            _expect(document, ("services", service, "fallback", n), "other service", wanted, others)
    for route in routes:
        wanted = get(document.data, *route)
        _expect(document, route, "service", wanted, names)
        if wanted is None and not choose_service(None, names):
            what = label(route, document.data)
            hint = nearest("", names)
            document.report(route, f"{what} is needed, since no service is called 'default'{hint}")


def _check_tools(document: Document, functions: Mapping[str, Collection[str] | None]) -> set[str]:
    """Reports the tools that no plugin has; returns those that agents are offered."""
    offered: set[str] = set()
    if any(get(agent, "skills", kind=list) for _, agent in _agents(document)):
        offered.add(f"{PLUGIN}.read")
    for who, route, tool in _tools(document):
        name = get(tool, "id")
        match = _TOOL.fullmatch(name) if isinstance(name, str) else None
        if not _is_function(tool):
            continue
        if match is None:
            message = f"{who}: a tool's id should be plugin.function or plugin.*, not {clip(name)}"
            document.report((*route, "id"), message)
            continue
        plugin, function = match.groups()
        _expect(document, (*route, "id"), "plugin", plugin, functions)
        known = [f"{plugin}.{one}" for one in functions.get(plugin) or [function]]
        if function == "*":
            offered.update(known)
        else:
            _expect(document, (*route, "id"), "function", name, known)
            offered.add(name)
    return offered


def _ignored(document: Document) -> list[Problem]:
    """A warning for each tool of a kind that SK ignores, and for a connection that a service stands in for."""
    ignored: list[Problem] = []
    for who, route, tool in _tools(document):
        if not _is_function(tool) and get(document.data, *route[:2], "type", kind=str) in _USUAL:
            message = f"{who} has a tool of type {clip(get(tool, 'type'))}, which is ignored"
            ignored.append(document.problem(route, message))
    for route, agent in _agents(document):
        for key in ("endpoint", "api_key"):
            at = (*route, "model", "connection", key)
            if get(document.data, *at) and get(agent, "type", kind=str) in _USUAL:
                message = f"{label(at, document.data)} is ignored: a service of the team answers"
                ignored.append(document.problem(at, message))
    return ignored


def _check_review(document: Document, offered: set[str]) -> None:
    if not all(get(agent, "name") for _, agent in _agents(document)):
        return
    # `plugin.*` stands for functions nobody knows yet: any pattern for that plugin may match one.
    plugins = [tool.removesuffix(".*") for tool in offered if tool.endswith(".*")]
    for n, pattern in enumerate(get(document.data, "review", "tools", kind=list)):
        wanted = str(pattern)
        if not matching(offered, wanted) and not matching(plugins, wanted.partition(".")[0]):
            hint = nearest(wanted, sorted(offered))
            document.report(("review", "tools", n), f"no agent has a tool like {clip(pattern)}{hint}")
