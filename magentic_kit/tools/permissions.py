"""The gate that every function call of a run passes: a person's yes, the log, a time limit."""

from __future__ import annotations

import asyncio
import fnmatch
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from semantic_kernel import Kernel
from semantic_kernel.contents import ChatHistory, FunctionCallContent, FunctionResultContent
from semantic_kernel.filters.auto_function_invocation.auto_function_invocation_context import (
    AutoFunctionInvocationContext,
)
from semantic_kernel.functions.function_result import FunctionResult

from magentic_kit import events as ev
from magentic_kit.errors import RunStopped
from magentic_kit.orchestration.model_calls import Lane
from magentic_kit.runlog.context import RunContext
from magentic_kit.team.people import People, ToolReview, ToolReviewRequest, ask
from magentic_kit.text import sendable

if TYPE_CHECKING:
    from magentic_kit.team.plugins import Plugin

Next = Callable[[AutoFunctionInvocationContext], Awaitable[None]]


class GateKernel(Kernel):
    """SK's kernel, which a model's arguments cannot break: one named `settings` ends a run in SK 1.45."""

    async def invoke_function_call(
        self, function_call: FunctionCallContent, chat_history: ChatHistory, **kwargs: Any
    ) -> AutoFunctionInvocationContext | None:
        """Makes the call; arguments that SK cannot take are told to the model."""
        try:
            return await super().invoke_function_call(function_call, chat_history, **kwargs)
        except (AttributeError, TypeError, ValueError) as error:
            told = FunctionResultContent.from_function_call_content_and_result(
                function_call_content=function_call, result=f"Error: these arguments cannot be taken: {error}"
            )
            chat_history.add_message(told.to_chat_message_content())
            return None


class ToolGate:
    """What the function calls of one run pass, whichever agent makes them.

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
            if len(text) > most:  # redacted first: the log has it so, and where to cut must not depend on that
                text = self._context.redactor.text(text)
                text = f"{text[:most]}\n[cut here: the result has {len(text)} characters]"
            invocation.function_result = FunctionResult(function=function.metadata, value=text)

        return call_tool

    async def _pass(self, head: dict[str, Any], invocation: AutoFunctionInvocationContext) -> str:
        steps = self._context.steps
        match steps.find("tool review", head["call"]):
            case ev.ToolReviewed(decision="approve_for_run", function=function):
                self._approved.add(function)
        match recorded := steps.find("tool", head["call"]):
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
        self._context.check()  # what does not begin must not look as if it had
        self._context.emit(ev.ToolCallStarted(**head, arguments=arguments))
        await self._context.logged()
        return await self._call(head, invocation)

    async def _call(self, head: dict[str, Any], invocation: AutoFunctionInvocationContext) -> str:
        plugin = self._plugins.get(invocation.function.plugin_name or "")
        seconds = (plugin and plugin.timeout) or self._context.limits.tool_timeout
        began = time.monotonic()
        self._context.enter(head["call"])
        try:
            with self._context.interruptible(seconds=seconds):
                result = await invocation.function.invoke(invocation.kernel, invocation.arguments)
            text = result_text(result.value if result else None)
        except RunStopped:
            raise  # whether the function has had its effect is not known: the call stays unfinished
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            cancelling = getattr(asyncio.current_task(), "cancelling", lambda: 1)  # Python 3.10 cannot tell
            if isinstance(error, asyncio.CancelledError) and cancelling():
                raise
            took = time.monotonic() - began
            late = isinstance(error, TimeoutError) and took >= seconds  # else the function has raised it itself
            told = f"no answer within {seconds:g} s" if late else _plain(error)
            failed = ev.ToolCallFailed(**head, seconds=took, error=told)
            self._context.emit(failed)
            await self._context.logged()
            return _told(failed)
        self._context.emit(ev.ToolCallFinished(**head, seconds=time.monotonic() - began, result=text))
        await self._context.logged()
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
        calls = (item for item in message.items if isinstance(item, FunctionCallContent))
        for index, call in enumerate(calls):
            if call is invocation.function_call_content:
                return index
    return 0


def result_text(value: Any) -> str:
    """A tool's result as the text that the model is given."""
    if isinstance(value, str):
        return sendable(value)
    if isinstance(value, BaseModel):
        return value.model_dump_json()
    if value is None or isinstance(value, dict | list | tuple | bool | int | float):
        with suppress(TypeError, ValueError):
            return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _plain(error: BaseException) -> str:
    # Semantic Kernel wraps; the innermost cause is what the tool's author wrote.
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"
