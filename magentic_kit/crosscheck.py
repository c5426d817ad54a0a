"""What one part of a team says about another: services, tools, template variables, names.

It reads the plain data, since it has to say what it can of a team whose parts are not all valid.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from magentic_kit.config import PROMPT_VARIABLES
from magentic_kit.errors import Problem
from magentic_kit.events import MANAGER
from magentic_kit.explain import clip, label, nearest
from magentic_kit.source import Route, Source

_TOOL = re.compile(r"(\w+)\.(\w+|\*)", re.ASCII)
_BLOCK = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")


def cross_check(
    source: Source,
    base_dir: Path,
    known_services: Collection[str],
    known_plugins: Mapping[str, Collection[str]],
) -> list[Problem]:
    """Note every reference that leads nowhere; returns the warnings."""
    agents = list(_agents(source))
    _check_names(source, agents)
    _check_services(source, agents, known_services)
    _check_templates(source, agents)
    return list(_check_tools(source, agents, base_dir, known_plugins))


def choose_service(wanted: str | None, names: Collection[str]) -> str | None:
    """The service meant by `wanted`, where None means `default`, or else the only one there is."""
    if wanted is None:
        wanted = next(iter(names)) if len(names) == 1 else "default"
    return wanted if wanted in names else None


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _items(value: Any) -> Iterator[tuple[int, Any]]:
    return enumerate(value if isinstance(value, list) else ())


def _agents(source: Source) -> Iterator[tuple[Route, dict[str, Any]]]:
    for n, agent in _items(source.data.get("agents")):
        if isinstance(agent, dict) and ("agents", n) not in source.broken:
            yield ("agents", n), agent


def _check_names(source: Source, agents: list[tuple[Route, dict[str, Any]]]) -> None:
    seen: dict[str, str] = {}
    for route, agent in agents:
        if not isinstance(name := agent.get("name"), str):
            continue
        if name.casefold() == MANAGER:
            source.report((*route, "name"), f"no agent can be called {clip(name)}: that is the manager's name")
        elif name.casefold() in seen:
            other = seen[name.casefold()]
            same = "" if name == other else f" (as {clip(other)}; case does not tell them apart)"
            source.report((*route, "name"), f"there is an agent {clip(name)} already{same}; names are unique")
        seen.setdefault(name.casefold(), name)
    if not any(route[0] == "agents" for route in source.broken):
        for n, name in _items(_mapping(source.data.get("manager")).get("must_speak")):
            if isinstance(name, str) and name not in seen.values():
                hint = nearest(name, list(seen.values()))
                source.report(("manager", "must_speak", n), f"there is no agent {clip(name)}{hint}")


def _check_services(source: Source, agents: list[tuple[Route, dict[str, Any]]], known: Collection[str]) -> None:
    names = [*_mapping(source.data.get("services")), *known]
    if not names:
        if not source.data.get("services"):
            source.report(("services",), "the team needs 'services': name -> how to reach a model")
        return
    manager = _mapping(source.data.get("manager")).get("service")
    wishes: list[tuple[str, Route, Any]] = [("the manager", ("manager", "service"), manager)]
    for route, agent in agents:
        connection = _mapping(_mapping(agent.get("model")).get("connection"))
        way: Route = (*route, "model", "connection", "service_id")
        wishes.append((label(route, source.data), way, connection.get("service_id")))
    for who, way, wanted in wishes:
        if isinstance(wanted, str) and wanted not in names:
            source.report(way, f"{who} wants service {clip(wanted)}, which is not defined{nearest(wanted, names)}")
        elif wanted is None and not choose_service(None, names):
            source.report(way, f"{who} names no service and none is called 'default'{nearest('', names)}")


def _check_templates(source: Source, agents: list[tuple[Route, dict[str, Any]]]) -> None:
    inputs = list(_mapping(source.data.get("inputs")))
    _check_template(source, ("task",), source.data.get("task"), inputs)
    for prompt, text in _mapping(_mapping(source.data.get("manager")).get("prompts")).items():
        known = [*PROMPT_VARIABLES.get(prompt, ()), *inputs]
        _check_template(source, ("manager", "prompts", prompt), text, known)
    for route, agent in agents:
        key = "prompt_template" if agent.get("prompt_template") else "template"
        template = _mapping(agent.get(key))
        if template.get("template_format", template.get("format", "semantic-kernel")) != "semantic-kernel":
            continue
        own = [_mapping(spec).get("name") for _, spec in _items(template.get("input_variables"))]
        known = [*inputs, *_mapping(agent.get("inputs")), *(name for name in own if isinstance(name, str))]
        _check_template(source, (*route, "instructions"), agent.get("instructions"), known)
        _check_template(source, (*route, key, "template"), template.get("template"), known)


def _check_template(source: Source, route: Route, text: Any, known: list[str]) -> None:
    blocks = _BLOCK.findall(text) if isinstance(text, str) else []
    names = (name for block in blocks for name in re.findall(r"\$(\w+)", _QUOTED.sub("", block)))
    for name in dict.fromkeys(names):
        if name not in known:
            hint = nearest(name, known) or "; declare it under 'inputs'"
            source.report(route, f"{label(route, source.data)}: {{{{${name}}}}} is not defined{hint}")


def _check_tools(
    source: Source,
    agents: list[tuple[Route, dict[str, Any]]],
    base_dir: Path,
    known: Mapping[str, Collection[str]],
) -> Iterator[Problem]:
    """Note the tools that no plugin has; yields a warning for each that SK ignores."""
    plugins = _mapping(source.data.get("plugins"))
    functions: dict[str, Collection[str] | None] = {
        name: _functions(_mapping(plugin).get("target"), base_dir) for name, plugin in plugins.items()
    }
    functions.update(known)
    for agent_route, agent in agents:
        who = label(agent_route, source.data)
        for n, tool in _items(agent.get("tools")):
            route: Route = (*agent_route, "tools", n, "id")
            name = _mapping(tool).get("id")
            if not isinstance(tool, dict) or not isinstance(name, str | None):
                continue
            if (kind := tool.get("type", "function")) != "function":
                yield source.problem(route[:-1], f"{who} has a tool of type {clip(kind)}, which is ignored")
            elif not (match := _TOOL.fullmatch(name or "")):
                source.report(route, f"{who}: a tool's id should be plugin.function or plugin.*, not {clip(name)}")
            elif match[1] not in functions:
                hint = nearest(match[1], functions)
                source.report(route, f"{who} wants {clip(name)}, but there is no plugin {clip(match[1])}{hint}")
            elif match[2] != "*" and (has := functions[match[1]]) is not None and match[2] not in has:
                hint = nearest(match[2], sorted(has))
                source.report(route, f"{who} wants {clip(name)}, but {clip(match[1])} has no such function{hint}")


def _functions(target: Any, base_dir: Path) -> Collection[str] | None:
    """The kernel functions of a Python class, read off its text; None where only running it would tell."""
    module, _, name = target.partition(":") if isinstance(target, str) else ("", "", "")
    parts = Path(*module.split("."))
    files = (root / f for root in (base_dir, *map(Path, sys.path)) for f in (f"{parts}.py", parts / "__init__.py"))
    try:
        tree = ast.parse(next(file for file in files if file.is_file()).read_bytes())
    except (StopIteration, OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    owner = next((n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name), None)
    if owner is None or owner.bases or owner.keywords or owner.decorator_list:
        return None
    found: list[Any] = []
    method: Any
    for method in owner.body:
        for decorator in getattr(method, "decorator_list", ()):
            call = decorator.func if isinstance(decorator, ast.Call) else decorator
            if _is_kernel_function(call):
                given = {k.arg: k.value for k in getattr(decorator, "keywords", ())}.get("name")
                found.append(given.value if isinstance(given, ast.Constant) else given or method.name)
    uses = Counter(_is_kernel_function(node) for node in ast.walk(owner))[True]
    return found if uses == len(found) and all(isinstance(name, str) for name in found) else None


def _is_kernel_function(node: ast.AST) -> bool:
    return "kernel_function" in (getattr(node, "id", None), getattr(node, "attr", None))
