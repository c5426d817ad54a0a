"""From plugin configs to kernel plugins, and the filter that every tool call passes."""

from __future__ import annotations

import asyncio
import contextvars
import difflib
import fnmatch
import functools
import importlib
import inspect
import json
import re
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from semantic_kernel.contents import FunctionCallContent
from semantic_kernel.filters.auto_function_invocation.auto_function_invocation_context import (
    AutoFunctionInvocationContext,
)
from semantic_kernel.functions.function_result import FunctionResult
from semantic_kernel.functions.kernel_function import KernelFunction
from semantic_kernel.functions.kernel_function_from_method import KernelFunctionFromMethod
from semantic_kernel.functions.kernel_plugin import KernelPlugin

from magentic_kit import events as ev
from magentic_kit.calls import Lane
from magentic_kit.context import RunContext
from magentic_kit.errors import ConfigError, RunStopped
from magentic_kit.people import People, ToolReview, ToolReviewRequest, ask
from magentic_kit.targets import module_object

if TYPE_CHECKING:
    from magentic_kit.check import Team
    from magentic_kit.config import AgentConfig
    from magentic_kit.providers import Plugin
    from magentic_kit.servers import PluginServers

Next = Callable[[AutoFunctionInvocationContext], Awaitable[None]]


BUILT_IN = {"files": "FilesPlugin", "sql": "SqlPlugin", "fetch": "FetchPlugin", "math": "MathPlugin"}
"""Kinds of plugins that come with this package, each in a module of its own name."""


def build_plugin(name: str, config: Plugin, *, search_path: Path | None) -> KernelPlugin:
    """The kernel plugin that a `plugins:` entry of a kind without connection describes. Raises `ConfigError`."""
    if config.type == "python":
        target, args, called = module_object(config.target, search_path), config.args, config.target
    else:
        called = BUILT_IN[config.type]
        target = getattr(importlib.import_module(f"magentic_kit.plugins.{config.type}"), called)
        args = config.model_dump(exclude={"type", "description", "timeout", "repeatable"})
        if config.type == "sql":  # a file in a URL is relative to the team file, as every path
            args["url"] = re.sub(r"^sqlite:///(?=[^/:])", f"sqlite:///{search_path or Path.cwd()}/", config.url)
    try:
        instance = target(**args) if inspect.isclass(target) else target
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

    def local(self, index: int, config: AgentConfig) -> list[KernelPlugin]:
        """What an agent lists, as far as no connection is needed. Raises `ConfigError`."""
        patterns = [tool.id for tool in config.tools if tool.id and tool.type == "function"]
        problems = []
        for pattern in patterns:
            name = pattern.partition(".")[0]
            if name in self.remote:
                continue
            if name not in self._plugins and name in self._team.config.plugins:
                self._plugins[name] = build_plugin(
                    name, self._team.config.plugins[name], search_path=self._team.base_dir
                )
            if not _chosen(self._plugins, [pattern]):
                known = [f"{name}.{f}" for name, plugin in self._plugins.items() for f in plugin.functions]
                near = difflib.get_close_matches(pattern, known, n=1)
                hint = f"did you mean '{near[0]}'?" if near else f"there is: {', '.join(known) or 'no function'}"
                place = ("agents", index, "tools", [tool.id for tool in config.tools].index(pattern), "id")
                problems.append(self._team.problem(place, f"no plugin has the function '{pattern}'; {hint}"))
        if problems:
            raise ConfigError(problems)
        return _chosen(self._plugins, patterns)

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
        plugin = self._team.config.plugins.get(name)
        return plugin is not None and any(fnmatch.fnmatchcase(function, pattern) for pattern in plugin.repeatable)


def _chosen(plugins: Mapping[str, KernelPlugin], patterns: Sequence[str]) -> list[KernelPlugin]:
    """The plugins cut down to the functions that `plugin.function` patterns name."""
    chosen: dict[str, dict[str, KernelFunction]] = {}
    for pattern in patterns:
        name, _, wanted = pattern.partition(".")
        if name in plugins:
            for function in fnmatch.filter(plugins[name].functions, wanted):
                chosen.setdefault(name, {})[function] = plugins[name].functions[function]
    return [
        KernelPlugin(name=name, description=plugins[name].description, functions=list(functions.values()))
        for name, functions in chosen.items()
    ]


class ToolGate:
    """What every function call of a run passes: a person's yes, the log, a time limit.

    It stands innermost and calls the function itself, since Semantic Kernel's own handler turns an exception
    into text before anybody can see it. What fails is told to the model; only what stops the run goes on up.
    """

    def __init__(self, context: RunContext, plugins: Mapping[str, Plugin], patterns: Sequence[str], people: People):
        self._context = context
        self._plugins = plugins
        self._patterns = patterns
        self._people = people
        self._approved: set[str] = set()

    def filter(self, lane: Lane) -> Callable[[AutoFunctionInvocationContext, Next], Awaitable[None]]:
        """The filter for one agent's kernel."""

        async def call_tool(invocation: AutoFunctionInvocationContext, next: Next) -> None:
            function = invocation.function
            head: dict[str, Any] = {
                "call": f"{lane.call}.{_position(invocation)}",
                "who": lane.who,
                "function": f"{function.plugin_name}.{function.name}",
            }
            text = await self._pass(head, invocation)
            most = self._context.limits.result_chars
            if len(text) > most:
                text = f"{text[:most]}\n[cut here: the result has {len(text)} characters]"
            invocation.function_result = FunctionResult(function=function.metadata, value=text)

        return call_tool

    async def _pass(self, head: dict[str, Any], invocation: AutoFunctionInvocationContext) -> str:
        recorded = self._context.steps.find("tool", head["call"])
        match recorded:
            case ev.ToolCallFinished():
                self._context.emit(replace(recorded, reused=True))
                return recorded.result
            case ev.ToolCallFailed() | ev.ToolCallDenied():
                self._context.emit(recorded)
                return _told(recorded)
        content = invocation.function_call_content
        arguments = dict((content.to_kernel_arguments() if content else None) or {})
        review = await self._review(head, arguments)
        if review.decision == "deny":
            denied = ev.ToolCallDenied(**head, reason=review.reason or "a person denied this call")
            self._context.emit(denied)
            return _told(denied)
        self._context.emit(ev.ToolCallStarted(**head, arguments=arguments))
        return await self._call(head, invocation)

    async def _call(self, head: dict[str, Any], invocation: AutoFunctionInvocationContext) -> str:
        plugin = self._plugins.get(invocation.function.plugin_name or "")
        seconds = (plugin and plugin.timeout) or self._context.limits.tool_timeout
        began = time.monotonic()
        try:
            with self._context.interruptible(seconds=seconds):
                result = await invocation.function.invoke(invocation.kernel, invocation.arguments)
            text = result_text(result.value if result else None)
        except RunStopped:
            raise  # whether the function has had its effect is not known: the call stays unfinished
        except Exception as error:
            told = f"no answer within {seconds:g} s" if isinstance(error, TimeoutError) else _plain(error)
            failed = ev.ToolCallFailed(**head, seconds=time.monotonic() - began, error=told)
            self._context.emit(failed)
            return _told(failed)
        self._context.emit(ev.ToolCallFinished(**head, seconds=time.monotonic() - began, result=text))
        return text

    async def _review(self, head: dict[str, Any], arguments: dict[str, Any]) -> ToolReview:
        function = head["function"]
        if not any(fnmatch.fnmatchcase(function, pattern) for pattern in self._patterns):
            return ToolReview.approve()
        recorded = self._context.steps.find("tool review", head["call"])
        if isinstance(recorded, ev.ToolReviewed):
            review = ToolReview(recorded.decision, recorded.reason)
        elif function in self._approved:
            return ToolReview.approve()
        elif self._people.approver is None:
            review = ToolReview.deny("nobody is there to approve this call")
        else:
            request = ToolReviewRequest(agent=head["who"], function=function, arguments=arguments)
            with self._context.interruptible(person=True):
                review = await ask(self._people.approver, request)
        self._context.emit(ev.ToolReviewed(**head, decision=review.decision, reason=review.reason))
        if review.decision == "approve_for_run":
            self._approved.add(function)
        return review


def _told(event: ev.ToolCallFailed | ev.ToolCallDenied) -> str:
    """What the model hears of a call that brought no result."""
    return f"Error: {event.error}" if isinstance(event, ev.ToolCallFailed) else f"Denied: {event.reason}"


def _position(invocation: AutoFunctionInvocationContext) -> int:
    """Which of the calls that the model asked for at once this is; providers' ids may repeat."""
    for message in reversed(invocation.chat_history.messages if invocation.chat_history else []):
        calls = [item for item in message.items if isinstance(item, FunctionCallContent)]
        for index, call in enumerate(calls):
            if call is invocation.function_call_content:
                return index
    return 0


def result_text(value: Any) -> str:
    """A tool's result as the text that the model is given."""
    if isinstance(value, str):
        return value
    if isinstance(value, BaseModel):
        return value.model_dump_json()
    if value is None or isinstance(value, dict | list | tuple | bool | int | float):
        try:
            return json.dumps(value, ensure_ascii=False, default=str)
        except (TypeError, ValueError):
            return str(value)
    return str(value)


def _plain(error: BaseException) -> str:
    # Semantic Kernel wraps; the innermost cause is what the tool's author wrote.
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"


def _off_the_loop(method: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method):
        return method

    @functools.wraps(method)
    async def in_thread(*args: Any, **kwargs: Any) -> Any:
        return await _in_daemon_thread(functools.partial(method, *args, **kwargs))

    return in_thread


async def _in_daemon_thread(call: Callable[[], Any]) -> Any:
    """Like `asyncio.to_thread`, but a call that never returns cannot keep the process from ending."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()
    state = contextvars.copy_context()

    def settle(result: Any, error: BaseException | None) -> None:
        if not future.done():
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

    def work() -> None:
        result, error = None, None
        try:
            result = state.run(call)
        except BaseException as raised:
            error = raised
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=work, name="magentic-kit tool", daemon=True).start()
    return await future
