"""What every function call of a run passes: its name is made sure of, a person's yes, the log, a time limit."""

from __future__ import annotations

import asyncio
import fnmatch
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, PrivateAttr
from semantic_kernel import Kernel
from semantic_kernel.contents import ChatHistory, FunctionCallContent, FunctionResultContent
from semantic_kernel.filters.auto_function_invocation.auto_function_invocation_context import (
    AutoFunctionInvocationContext,
)
from semantic_kernel.exceptions import FunctionCallInvalidArgumentsException
from semantic_kernel.filters.filter_types import FilterTypes
from semantic_kernel.functions.function_result import FunctionResult

from magentic_kit import events as ev
from magentic_kit.errors import RunStopped
from magentic_kit.runlog.control import RunControl, StepTimeout
from magentic_kit.runlog.emitter import PARENT_CALL, ParentCall, RunEmitter
from magentic_kit.runlog.replay import RecordedSteps
from magentic_kit.team.people import People, ToolReview, ToolReviewRequest, ask
from magentic_kit.team.providers import Plugin
from magentic_kit.text import one_line, sendable
from magentic_kit.tools.function_names import UnknownFunction, find_function

_Next = Callable[[AutoFunctionInvocationContext], Awaitable[None]]


@dataclass(frozen=True)
class _Call:
    """A call as events have it; `function` as `plugin.function`."""

    name: str
    who: str
    function: str


class _LoggedCall(FunctionCallContent):
    """A function call that knows its name in the log."""

    _log_name: str = PrivateAttr(default="")


class ToolPermissions:
    """Judges, logs and makes the function calls of one run, whichever agent makes them.

    It is the innermost filter and calls the function itself, since Semantic Kernel's own handler turns an exception
    into text before anybody can see it. The model is given what fails as text; only what stops the run is raised.
    """

    def __init__(
        self,
        emitter: RunEmitter,
        control: RunControl,
        steps: RecordedSteps,
        *,
        plugins: Mapping[str, Plugin],
        patterns: Sequence[str],
        people: People,
    ) -> None:
        self._emitter, self._control, self._steps = emitter, control, steps
        self._plugins = plugins
        self._patterns = patterns
        self._people = people
        self._approved: set[str] = set()

    def refuse(self, call: str, who: str, name: str, reason: str) -> str | None:
        """Logs that a call of a name that no function has is refused; returns the text for the model.

        None if the log has another end of this call, from an earlier release: then it was Semantic Kernel's to judge.
        """
        recorded = self._steps.find("tool", call)
        if recorded is not None and getattr(recorded, "reason", None) != reason:
            return None
        return self._deny(_Call(call, who, name), reason)

    async def invoke(self, who: str, invocation: AutoFunctionInvocationContext) -> None:
        """Makes the call of an agent, or takes its recorded result, and sets the result."""
        function, content = invocation.function, invocation.function_call_content
        name = content._log_name if isinstance(content, _LoggedCall) else ""
        text = await self._result(_Call(name, who, f"{function.plugin_name}.{function.name}"), invocation)
        most = self._control.limits.result_chars
        if most is not None and len(text) > most:
            # Redacted first: the log has it so, and where to cut must not depend on that.
            text = self._emitter.redactor.text(text)
            text = f"{text[:most]}\n[cut here: the result has {len(text)} characters]"
        invocation.function_result = FunctionResult(function=function.metadata, value=text)

    async def _result(self, call: _Call, invocation: AutoFunctionInvocationContext) -> str:
        match self._steps.find("tool review", call.name):
            case ev.ToolReviewed(decision="approve_for_run", function=function):
                self._approved.add(function)
        match recorded := self._steps.find("tool", call.name):
            case ev.ToolCallFinished():
                self._emitter.emit(replace(recorded, reused=True))
                return recorded.result
            case ev.ToolCallFailed():
                self._emitter.emit(recorded)
                return _failure(recorded.error)
            case ev.ToolCallDenied():
                self._emitter.emit(recorded)
                return _denial(recorded.reason)
        content = invocation.function_call_content
        arguments = dict((content.to_kernel_arguments() if content else None) or {})
        review = await self._review(call, arguments)
        if review.decision == "deny":
            return self._deny(call, review.reason or "a person denied this call")
        self._control.check()  # what does not begin must not look as if it had
        self._emitter.emit(
            ev.ToolCallStarted(call=call.name, who=call.who, function=call.function, arguments=arguments)
        )
        await self._emitter.synced()
        return await self._invoke(call, invocation)

    async def _invoke(self, call: _Call, invocation: AutoFunctionInvocationContext) -> str:
        plugin = self._plugins.get(invocation.function.plugin_name or "")
        seconds = (plugin and plugin.timeout) or self._control.limits.tool_timeout
        began = time.monotonic()
        PARENT_CALL.set(ParentCall(self._emitter, self._steps, call.name))
        try:
            with self._control.step(seconds=seconds):
                result = await invocation.function.invoke(invocation.kernel, invocation.arguments)
            text = result_text(result.value if result else None)
        except RunStopped:
            raise  # whether the function has had its effect is not known: the call stays unfinished
        except StepTimeout:
            return await self._fail(call, began, f"no answer within {seconds:g} s")
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            cancelling = getattr(asyncio.current_task(), "cancelling", lambda: 1)  # Python 3.10 cannot tell
            if isinstance(error, asyncio.CancelledError) and cancelling():
                raise
            return await self._fail(call, began, _innermost(error))
        took = time.monotonic() - began
        self._emitter.emit(
            ev.ToolCallFinished(call=call.name, who=call.who, function=call.function, seconds=took, result=text)
        )
        await self._emitter.synced()
        return text

    async def _fail(self, call: _Call, began: float, error: str) -> str:
        took = time.monotonic() - began
        self._emitter.emit(
            ev.ToolCallFailed(call=call.name, who=call.who, function=call.function, seconds=took, error=error)
        )
        await self._emitter.synced()
        return _failure(error)

    def _deny(self, call: _Call, reason: str) -> str:
        self._emitter.emit(ev.ToolCallDenied(call=call.name, who=call.who, function=call.function, reason=reason))
        return _denial(reason)

    async def _review(self, call: _Call, arguments: dict[str, Any]) -> ToolReview:
        if not any(fnmatch.fnmatchcase(call.function, pattern) for pattern in self._patterns):
            return ToolReview.approve()
        recorded = self._steps.find("tool review", call.name)
        if isinstance(recorded, ev.ToolReviewed):
            review = ToolReview(recorded.decision, recorded.reason)
        elif call.function in self._approved:
            return ToolReview.approve()
        elif self._people.approver is None:
            review = ToolReview.deny("nobody is there to approve this call")
        else:
            request = ToolReviewRequest(agent=call.who, function=call.function, arguments=arguments)
            with self._control.asking():
                review = await ask(self._people.approver, request)
        self._emitter.emit(
            ev.ToolReviewed(
                call=call.name, who=call.who, function=call.function, decision=review.decision, reason=review.reason
            )
        )
        if review.decision == "approve_for_run":
            self._approved.add(call.function)
        return review


class AgentKernel(Kernel):
    """SK's kernel of one agent in one run: its function calls pass `ToolPermissions`, and none can break the run."""

    _permissions: ToolPermissions = PrivateAttr()
    _who: str = PrivateAttr()
    _model_call: Callable[[], str] = PrivateAttr()
    _ending: Callable[[], str] = PrivateAttr()

    def guard(
        self, permissions: ToolPermissions, who: str, model_call: Callable[[], str], ending: Callable[[], str]
    ) -> None:
        """Lets every call pass `permissions`.

        `model_call` names the call of the model that asked for functions, `ending` says how its reply ended.
        """
        self._permissions, self._who, self._model_call, self._ending = permissions, who, model_call, ending

        async def invoke(invocation: AutoFunctionInvocationContext, next: _Next) -> None:
            await permissions.invoke(who, invocation)

        self.add_filter(FilterTypes.AUTO_FUNCTION_INVOCATION, invoke)

    async def invoke_function_call(
        self, function_call: FunctionCallContent, chat_history: ChatHistory, **kwargs: Any
    ) -> AutoFunctionInvocationContext | None:
        """Makes the call of the function that its name stands for; the model is told of what cannot be called.

        SK finds `weather.look` by `look` alone, and is ended by an argument named `settings` (DESIGN.md, 21 and 22).
        """
        log_name = f"{self._model_call()}.{_position(function_call, chat_history)}"
        name = function_call.name or ""
        try:
            name = find_function(name, [f.fully_qualified_name for f in self.get_full_list_of_function_metadata()])
        except UnknownFunction as error:
            text = self._permissions.refuse(log_name, self._who, name, str(error))
            if text is not None:
                _answer(function_call, text, chat_history)
                return None
        call = _LoggedCall(  # type: ignore[call-arg]  # the function's name is a part of it
            id=function_call.id, index=function_call.index, name=name or None, arguments=function_call.arguments
        )
        call._log_name = log_name
        problem = self._argument_problem(call)
        if problem:
            text = self._permissions.refuse(log_name, self._who, name.replace("-", ".", 1), problem)
            if text is not None:
                _answer(function_call, text, chat_history)
                return None
        try:
            return await super().invoke_function_call(call, chat_history, **kwargs)
        except (AttributeError, TypeError, ValueError) as error:
            _answer(function_call, f"Error: these arguments cannot be taken: {error}", chat_history)
            return None


    def _argument_problem(self, call: FunctionCallContent) -> str:
        """Why Semantic Kernel would refuse the arguments, which it tells the model alone; "" if it would not."""
        arguments: object = None
        with suppress(FunctionCallInvalidArgumentsException):
            arguments = call.parse_arguments() or {}
        if not isinstance(arguments, Mapping):
            cut = " (the reply was cut off at the model's length limit)" if self._ending() == "length" else ""
            return f"its arguments are no JSON object{cut}: {one_line(str(call.arguments), 100)}"
        functions = self.get_full_list_of_function_metadata()
        function = next((one for one in functions if one.fully_qualified_name == call.name), None)
        parameters = function.parameters if function else []
        missing = [str(one.name) for one in parameters if one.is_required and one.name not in arguments]
        return f"it lacks the required arguments {', '.join(missing)}" if missing else ""


def _answer(call: FunctionCallContent, text: str, history: ChatHistory) -> None:
    result = FunctionResultContent.from_function_call_content_and_result(function_call_content=call, result=text)
    history.add_message(result.to_chat_message_content())


def _position(call: FunctionCallContent, history: ChatHistory) -> int:
    """Which of the calls that the model asked for at once this is; providers' ids may repeat."""
    for message in reversed(history.messages):
        calls = [item for item in message.items if isinstance(item, FunctionCallContent)]
        for index, other in enumerate(calls):
            if other is call:
                return index
    return 0


def _failure(error: str) -> str:
    return f"Error: {error}"


def _denial(reason: str) -> str:
    return f"Denied: {reason}"


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


def _innermost(error: BaseException) -> str:
    # Semantic Kernel wraps; the innermost cause is what the tool's author wrote.
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"
