"""From plugin configs to kernel plugins, and the filter that every tool call passes."""

from __future__ import annotations

import asyncio
import contextvars
import fnmatch
import functools
import inspect
import json
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from semantic_kernel.filters.auto_function_invocation.auto_function_invocation_context import (
    AutoFunctionInvocationContext,
)
from semantic_kernel.functions.function_result import FunctionResult
from semantic_kernel.functions.kernel_function import KernelFunction
from semantic_kernel.functions.kernel_function_from_method import KernelFunctionFromMethod
from semantic_kernel.functions.kernel_plugin import KernelPlugin

from magentic_kit import events as ev
from magentic_kit.context import RunContext
from magentic_kit.errors import ConfigError, RunStopped
from magentic_kit.targets import module_object

if TYPE_CHECKING:
    from magentic_kit.providers import PythonPlugin

Next = Callable[[AutoFunctionInvocationContext], Awaitable[None]]


def build_plugin(name: str, config: PythonPlugin, *, search_path: Path | None) -> KernelPlugin:
    """The kernel plugin that a `plugins:` entry describes. Raises `ConfigError`."""
    target = module_object(config.target, search_path)
    try:
        instance = target(**config.args) if inspect.isclass(target) else target
    except Exception as error:
        raise ConfigError.one(
            f"plugin {name!r}: {config.target}({_arguments(config.args)}) raised {type(error).__name__}: {error}"
        ) from error
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


def select_functions(
    plugins: Mapping[str, KernelPlugin], patterns: Sequence[str]
) -> tuple[list[KernelPlugin], list[str]]:
    """The plugins cut down to the functions that `plugin.function` patterns name, and the patterns that name none."""
    chosen: dict[str, dict[str, KernelFunction]] = {}
    unknown: list[str] = []
    for pattern in patterns:
        plugin_name, _, function_pattern = pattern.partition(".")
        plugin = plugins.get(plugin_name)
        names = fnmatch.filter(plugin.functions, function_pattern) if plugin else []
        if plugin is None or not names:
            unknown.append(pattern)
            continue
        chosen.setdefault(plugin_name, {}).update({name: plugin.functions[name] for name in names})
    selected = [
        KernelPlugin(name=name, description=plugins[name].description, functions=list(functions.values()))
        for name, functions in chosen.items()
    ]
    return selected, unknown


def tool_filter(who: str, context: RunContext) -> Callable[[AutoFunctionInvocationContext, Next], Awaitable[None]]:
    """The filter of one agent's kernel: calls the function within its time limit and tells of it in events.

    It is the innermost one: it calls the function itself, since Semantic Kernel's own handler turns an
    exception into text before anybody can see it. What fails is told to the model; only a cancel or a
    limit of the run goes on up.
    """

    async def call_tool(invocation: AutoFunctionInvocationContext, next: Next) -> None:
        function = invocation.function
        content = invocation.function_call_content
        head: dict[str, Any] = {
            "call": (content.id if content else None) or f"{who}-{id(invocation):x}",
            "who": who,
            "function": f"{function.plugin_name}.{function.name}",
        }
        arguments: Mapping[str, Any] = (content.to_kernel_arguments() if content else None) or {}
        context.emit(ev.ToolCallStarted(**head, arguments=dict(arguments)))
        began = time.monotonic()
        try:
            with context.interruptible(seconds=context.limits.tool_timeout):
                result = await function.invoke(invocation.kernel, invocation.arguments)
            text = result_text(result.value if result else None)
        except Exception as error:
            timed_out = isinstance(error, TimeoutError)
            told = f"no answer within {context.limits.tool_timeout:g} s" if timed_out else _plain(error)
            seconds = time.monotonic() - began
            context.emit(ev.ToolCallFailed(**head, seconds=seconds, error=told))
            if isinstance(error, RunStopped):
                raise
            text = f"Error: {told}"
        else:
            seconds = time.monotonic() - began
            context.emit(ev.ToolCallFinished(**head, seconds=seconds, result=text))
        invocation.function_result = FunctionResult(function=function.metadata, value=text)

    return call_tool


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


def _arguments(args: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in args.items())


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
