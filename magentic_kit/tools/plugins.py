"""From plugin configs to kernel plugins, and from an agent's list to the functions it gets."""

from __future__ import annotations

import fnmatch
import functools
import importlib
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semantic_kernel.functions.kernel_function import KernelFunction
from semantic_kernel.functions.kernel_function_from_method import KernelFunctionFromMethod
from semantic_kernel.functions.kernel_plugin import KernelPlugin

from magentic_kit.errors import ConfigError
from magentic_kit.team.agents import AgentConfig
from magentic_kit.team.loading import Team
from magentic_kit.team.plugins import Plugin
from magentic_kit.team.problems import nearest
from magentic_kit.team.skills import PLUGIN, load_skills
from magentic_kit.team.targets import module_object
from magentic_kit.tools.builtin.skills import SkillsPlugin
from magentic_kit.tools.remote_functions import ONLY_BY_NAME
from magentic_kit.tools.threads import in_daemon_thread, within

if TYPE_CHECKING:
    from magentic_kit.tools.mcp import PluginServers  # a third of a second, for MCP's own package

BUILT_IN = {"files": "FilesPlugin", "sql": "SqlPlugin", "fetch": "FetchPlugin", "math": "MathPlugin"}
"""Kinds of plugins that come with this package, each in a module of its own name."""


def build_plugin(name: str, config: Plugin, *, search_path: Path | None) -> KernelPlugin:
    """The kernel plugin that a `plugins:` entry of a kind without connection describes. Raises `ConfigError`."""
    if config.type == "python":
        target, args, called = module_object(config.target, search_path), config.args, config.target
    else:
        called = BUILT_IN[config.type]
        target = getattr(importlib.import_module(f"magentic_kit.tools.builtin.{config.type}"), called)
        usual = ("type", "description", "timeout", "repeatable")
        args = {key: value for key, value in vars(config).items() if key not in usual}
        if config.type == "sql":  # a file in a URL is relative to the team file, as every path
            args["url"] = re.sub(r"^sqlite:///(?=[^/:])", f"sqlite:///{search_path or Path.cwd()}/", config.url)
    try:
        instance = target
        if inspect.isclass(target):
            seconds = config.start_timeout if config.type == "python" else None
            instance = within(seconds, functools.partial(target, **args))
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError.one(f"plugin {name!r}: {called} raised {type(error).__name__}: {error}") from error
    return as_plugin(name, instance, description=config.description)


def as_plugin(name: str, source: object, *, description: str = "") -> KernelPlugin:
    """A plugin from a `KernelPlugin` or any object with `@kernel_function` methods.

    Functions that are not coroutines run in a thread of their own, so that one that blocks cannot stop
    the run: Semantic Kernel calls them on the event loop. Raises `ConfigError` if there is no function.
    """
    if isinstance(source, KernelPlugin):
        return source
    members = source.items() if isinstance(source, Mapping) else inspect.getmembers(source)
    methods = [method for _, method in members if callable(method) and hasattr(method, "__kernel_function__")]
    if not methods:
        raise ConfigError.one(f"plugin {name!r}: {type(source).__name__} has no @kernel_function method")
    functions: list[KernelFunction] = [
        KernelFunctionFromMethod(method=_off_the_loop(method), plugin_name=name) for method in methods
    ]
    return KernelPlugin(name=name, functions=functions, description=description or inspect.getdoc(source))


class Tools:
    """The functions of a team: made when first listed, but for `remote` plugins, which each run connects to."""

    def __init__(self, team: Team, given: Mapping[str, KernelPlugin]) -> None:
        self._team = team
        self._plugins = dict(given)
        configs = team.config.plugins
        self.remote = {n: c for n, c in configs.items() if c.type in ("mcp", "openapi") and n not in given}

    def build(self, name: str) -> KernelPlugin:
        """The plugin of that name in the team file, which needs no connection. Raises `ConfigError` with its place."""
        if name not in self._plugins:
            config = self._team.config.plugins[name]
            try:
                self._plugins[name] = build_plugin(name, config, search_path=self._team.base_dir)
            except ConfigError as error:
                place = ("plugins", name, "target")
                problems = [self._team.problem(place, problem.message) for problem in error.problems]
                raise ConfigError(problems) from error
        return self._plugins[name]

    def local(self, index: int, config: AgentConfig) -> list[KernelPlugin]:
        """What an agent lists, as far as no connection is needed. Raises `ConfigError`."""
        problems = []
        for pattern in config.functions:
            name = pattern.partition(".")[0]
            if name in self.remote:
                continue
            if name in self._team.config.plugins:
                self.build(name)
            if not _chosen(self._plugins, [pattern]):
                known = [f"{name}.{f}" for name, plugin in self._plugins.items() for f in plugin.functions]
                place = ("agents", index, "tools", [tool.id for tool in config.tools].index(pattern), "id")
                message = f"no plugin has the function '{pattern}'{nearest(pattern, known)}"
                problems.append(self._team.problem(place, message))
        if problems:
            raise ConfigError(problems)
        chosen = _chosen(self._plugins, config.functions)
        if config.skills:
            about = "Instructions for certain work."
            chosen.append(as_plugin(PLUGIN, SkillsPlugin(load_skills(config.skills)), description=about))
        return chosen

    def connected(self, patterns: Sequence[str], servers: PluginServers) -> tuple[list[KernelPlugin], list[str]]:
        """What an agent lists of connected plugins, and in words what of it is missing."""
        missing = []
        for pattern in patterns:
            name = pattern.partition(".")[0]
            if name in servers.failures:
                missing.append(f"The functions {pattern} are not there: {servers.failures[name]}.")
            elif name in self.remote and not _chosen(servers.plugins, [pattern]):
                missing.append(f"The plugin {name} has no function {pattern}.")
        return _chosen(servers.plugins, patterns), list(dict.fromkeys(missing))

    def repeatable(self, function: str) -> bool:
        """Whether `plugin.function` may be called again when nobody knows whether a call had its effect."""
        name, _, function = function.partition(".")
        if name == PLUGIN and name not in self._plugins:
            return True
        plugin = self._team.config.plugins.get(name)
        return plugin is not None and any(fnmatch.fnmatchcase(function, pattern) for pattern in plugin.repeatable)


def _chosen(plugins: Mapping[str, KernelPlugin], patterns: Sequence[str]) -> list[KernelPlugin]:
    """The plugins cut down to the functions that `plugin.function` patterns name."""
    chosen: dict[str, dict[str, KernelFunction]] = {}
    for pattern in patterns:
        name, _, wanted = pattern.partition(".")
        if name in plugins:
            for function in fnmatch.filter(plugins[name].functions, wanted):
                marks = plugins[name].functions[function].metadata.additional_properties or {}
                if function != wanted and marks.get(ONLY_BY_NAME):
                    continue
                chosen.setdefault(name, {})[function] = plugins[name].functions[function]
    return [
        KernelPlugin(name=name, description=plugins[name].description, functions=list(functions.values()))
        for name, functions in chosen.items()
    ]


def _off_the_loop(method: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method):
        return method

    @functools.wraps(method)
    async def in_thread(*args: Any, **kwargs: Any) -> Any:
        return await in_daemon_thread(functools.partial(method, *args, **kwargs))

    return in_thread
