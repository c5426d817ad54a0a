"""What one part of a team says about another: services, tools, template variables, names.

It reads the plain data, since it has to say what it can of a team whose parts are not all valid.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from magentic_kit.errors import Problem
from magentic_kit.team.document import Source
from magentic_kit.team.models import ManagerPrompts
from magentic_kit.team.problems import KEY, Route, clip, get, label, nearest

_TOOL = re.compile(r"(\w+)\.(\w+|\*)", re.ASCII)
_BLOCK = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_VARIABLE = re.compile(r"\$(\w+)")
_BUILT_IN = {"files": ["read", "list", "search"], "sql": ["query", "schema"], "fetch": ["get"], "math": ["calculate"]}
_ALLOWED = {"human": {"type", "name", "description", "instructions"}, "team": {"type", "name", "description", "team"}}
"""Keys of agents that are no agents of SK's, by their type."""


def cross_check(
    source: Source, known_services: Collection[str], known_plugins: Mapping[str, Collection[str]]
) -> list[Problem]:
    """Note every reference that leads nowhere; returns the warnings."""
    data = source.data
    _check_agents(source)
    _check_services(source, [*get(data, "services", kind=dict), *known_services])
    for route, known, language in _templates(data):
        for message in _template_problems(get(data, *route, kind=str), known, language):
            source.report((*route, message), f"{label(route, data)}: {message}")
    plugins = get(data, "plugins", kind=dict)
    return _check_tools(source, {**{n: _functions(p, source.base_dir) for n, p in plugins.items()}, **known_plugins})


def choose_service(wanted: str | None, names: Collection[str]) -> str | None:
    """The service meant by `wanted`, where None means `default`, or else the only one there is."""
    if wanted is None:
        wanted = next(iter(names)) if len(names) == 1 else "default"
    return wanted if wanted in names else None


def _agents(data: Any) -> Iterator[tuple[Route, Any]]:
    for n, agent in enumerate(get(data, "agents", kind=list)):
        yield ("agents", n), agent


def _expect(source: Source, route: Route, what: str, name: Any, choices: Collection[str]) -> None:
    if isinstance(name, str) and name not in choices:
        hint = nearest(name, choices)
        source.report(route, f"{label(route, source.data)}: there is no {what} {clip(name)}{hint}")


def _check_agents(source: Source) -> None:
    names: list[str] = []
    for route, agent in _agents(source.data):
        name = get(agent, "name", kind=str)
        if name.casefold() == "manager":  # as events.MANAGER has it, whose import takes milliseconds
            source.report((*route, "name"), f"no agent can be called {clip(name)}: that is the manager's name")
        elif name and name.casefold() in map(str.casefold, names):
            source.report((*route, "name"), f"there is an agent {clip(name)} already; names are unique, case aside")
        names.append(name)
        who, kind = label(route, source.data), get(agent, "type", kind=str)
        for key in get(agent, kind=dict) if kind in _ALLOWED else ():
            if key not in _ALLOWED[kind]:
                source.report((*route, key, KEY), f"{who} is a {kind.replace('human', 'person')} and has no '{key}'")
        if (kind == "team") != (get(agent, "team") is not None):
            source.report((*route, "team"), f"{who}: 'type: team' and 'team: FILE' go together")
    for n, name in enumerate(get(source.data, "manager", "must_speak", kind=list) if all(names) else ()):
        _expect(source, ("manager", "must_speak", n), "agent", name, names)


def _check_services(source: Source, names: list[str]) -> None:
    if not names:
        return source.report(("services",), "the team needs 'services': name -> how to reach a model")
    agents = [route for route, agent in _agents(source.data) if get(agent, "type", kind=str) not in _ALLOWED]
    for route in [("manager", "service"), *((*route, "model", "connection", "service_id") for route in agents)]:
        _expect(source, route, "service", wanted := get(source.data, *route), names)
        if wanted is None and not choose_service(None, names):
            what = label(route, source.data)
            source.report(route, f"{what} is needed, since no service is called 'default'{nearest('', names)}")


def _templates(data: Any) -> Iterator[tuple[Route, list[str], str]]:
    """The way to each template, the variables it may use, and its language."""
    inputs, usual = list(get(data, "inputs", kind=dict)), "semantic-kernel"
    yield ("task",), inputs, usual
    for prompt, field in ManagerPrompts.model_fields.items():
        yield ("manager", "prompts", prompt), [*_VARIABLE.findall(field.description or ""), *inputs], usual
    for route, agent in _agents(data):
        key = "prompt_template" if get(agent, "prompt_template") else "template"
        template = get(agent, key, kind=dict)
        own = [get(spec, "name", kind=str) for spec in get(template, "input_variables", kind=list)]
        language = template.get("template_format", template.get("format", usual))
        for way in (("instructions",), (key, "template")):
            yield (*route, *way), [*inputs, *get(agent, "inputs", kind=dict), *own], language


def _template_problems(text: str, known: list[str], language: str) -> Iterator[str]:
    used: Collection[str] = ()
    if language == "jinja2" and "{" in text:
        from jinja2 import Environment, TemplateSyntaxError, meta, nodes

        try:
            tree = Environment(autoescape=True).parse(text)
        except TemplateSyntaxError as error:
            return (yield f"this is not valid jinja2: {error.message} (its line {error.lineno})")
        called = {getattr(call.node, "name", "") for call in tree.find_all(nodes.Call)}  # SK offers functions too
        used = sorted(meta.find_undeclared_variables(tree) - called)
    elif "{{" in _BLOCK.sub("", text):
        yield "a {{ is not closed"
    elif language == "semantic-kernel":
        used = dict.fromkeys(_VARIABLE.findall(" ".join(_QUOTED.sub("", block) for block in _BLOCK.findall(text))))
    for name in used:
        if name not in known:
            sign = "" if language == "jinja2" else "$"
            hint = nearest(name, known) or "; declare it under 'inputs'"
            yield f"{{{{{sign}{name}}}}} is not defined{hint}"


def _check_tools(source: Source, functions: Mapping[str, Collection[str] | None]) -> list[Problem]:
    """Note the tools that no plugin has; returns a warning for each that SK ignores."""
    from fnmatch import filter as matching

    warnings: list[Problem] = []
    offered: set[str] = set()
    for agent_route, agent in _agents(source.data):
        who = label(agent_route, source.data)
        for n, tool in enumerate(get(agent, "tools", kind=list)):
            route: Route = (*agent_route, "tools", n, "id")
            name = get(tool, "id")
            if (kind := get(tool, "type") or "function") != "function":
                warnings.append(source.problem(route[:-1], f"{who} has a tool of type {clip(kind)}, which is ignored"))
            elif not isinstance(name, str) or not (match := _TOOL.fullmatch(name)):
                source.report(route, f"{who}: a tool's id should be plugin.function or plugin.*, not {clip(name)}")
            else:
                _expect(source, route, "plugin", match[1], functions)
                known = [f"{match[1]}.{one}" for one in functions.get(match[1]) or [match[2]]]
                _expect(source, route, "function", known[0] if match[2] == "*" else name, known)
                offered.update(known if match[2] == "*" else [name])
    all_known = all(get(agent, "name") for _, agent in _agents(source.data))
    for n, pattern in enumerate(get(source.data, "review", "tools", kind=list) if all_known else ()):
        # `plugin.*` stands for functions nobody knows yet: any pattern for that plugin may match one
        plugins = [tool[:-2] for tool in offered if tool.endswith(".*")]
        wanted = str(pattern)
        if not matching(offered, wanted) and not matching(plugins, wanted.partition(".")[0]):
            hint = nearest(wanted, sorted(offered))
            source.report(("review", "tools", n), f"no agent has a tool like {clip(pattern)}{hint}")
    return warnings


def _functions(plugin: Any, base_dir: Path) -> Collection[str] | None:
    """The functions of a plugin, a Python class's read off its text; None where only running it would tell."""
    if get(plugin, "type") != "python":
        writes = ["write"] if get(plugin, "type") == "files" and get(plugin, "write") is True else []
        built_in = _BUILT_IN.get(get(plugin, "type", kind=str))
        return built_in and [*built_in, *writes]
    import ast

    module, _, name = get(plugin, "target", kind=str).partition(":")
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
    for method in owner.body:
        for decorator in getattr(method, "decorator_list", ()):
            if "kernel_function" in ast.unparse(getattr(decorator, "func", decorator)):
                given = {k.arg: k.value for k in getattr(decorator, "keywords", ())}.get("name")
                found.append(getattr(given, "value", None) if given else getattr(method, "name", None))
    uses = ast.unparse(owner).count("kernel_function")
    return found if uses == len(found) and all(isinstance(name, str) for name in found) else None
