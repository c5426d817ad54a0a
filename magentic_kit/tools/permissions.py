"""What every function call of a run passes: a person's yes, the log, a time limit."""

from __future__ import annotations

import asyncio
import fnmatch
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from pydantic import PrivateAttr
from semantic_kernel.contents import FunctionCallContent
from semantic_kernel.filters.auto_function_invocation.auto_function_invocation_context import (
    AutoFunctionInvocationContext,
)
from semantic_kernel.functions.function_result import FunctionResult
from semantic_kernel.functions.kernel_function import KernelFunction

from magentic_kit import events as ev
from magentic_kit.errors import RunStopped
from magentic_kit.runlog.attachments import RETURNED
from magentic_kit.runlog.control import RunControl, StepTimeout
from magentic_kit.runlog.emitter import PARENT_CALL, ParentCall, RunEmitter
from magentic_kit.runlog.redaction import has_mask
from magentic_kit.runlog.replay import RecordedSteps
from magentic_kit.team.people import People, ToolReview, ToolReviewRequest, ask
from magentic_kit.team.plugins import Plugin
from magentic_kit.text import MASK
from magentic_kit.tools.arguments import check_arguments
from magentic_kit.tools.previews import changes_of
from magentic_kit.tools.results import ContentStore, ToolResult, result_of

_MASKED = (
    f"its arguments have {MASK} where a secret was, which is not stored with a run; "
    "call it again with the real value if you know it"
)


@dataclass(frozen=True)
class _Call:
    """A call as events have it; `function` as `plugin.function`."""

    name: str
    who: str
    function: str


class LoggedCall(FunctionCallContent):
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
        store: ContentStore,
    ) -> None:
        self._emitter, self._control, self._steps = emitter, control, steps
        self._plugins = plugins
        self._patterns = patterns
        self._people = people
        self._store = store
        self._approved: set[str] = set()

    def refuse(self, call: str, who: str, name: str, content: FunctionCallContent, reason: str) -> str:
        """Logs that a call is refused before it reaches a function; returns the text for the model."""
        arguments: object = None
        with suppress(Exception):  # what the model wrote may be no JSON, or nested too deep for a log
            check_arguments(content.arguments)
            arguments = content.parse_arguments()
        if recorded := self._recorded(call):  # of a function that an MCP server has had for a while
            return self._cut(recorded.text)
        return self._deny(_Call(call, who, name), reason, dict(arguments) if isinstance(arguments, Mapping) else None)

    def is_unresolved(self, call: str) -> bool:
        """Whether the log leaves it to Semantic Kernel to resolve the name of this call."""
        return self._steps.is_unresolved(call)

    async def invoke(self, who: str, invocation: AutoFunctionInvocationContext) -> None:
        """Makes the call of an agent, or takes its recorded result, and sets the result."""
        function, content = invocation.function, invocation.function_call_content
        name = content._log_name if isinstance(content, LoggedCall) else ""
        text, contents = await self._result(_Call(name, who, f"{function.plugin_name}.{function.name}"), invocation)
        metadata = {RETURNED: contents} if contents else {}
        invocation.function_result = FunctionResult(
            function=function.metadata, value=self._cut(text), metadata=metadata
        )

    def _cut(self, text: str) -> str:
        """The result as the model gets it."""
        most = self._control.limits.result_chars
        if most is not None:
            # As the log has it: a resumed run must cut the same results, and in the same place.
            logged = self._emitter.redactor.text(text)
            if len(logged) > most:
                return f"{logged[:most]}\n[cut here: the result has {len(logged)} characters]"
        return text

    async def _result(self, call: _Call, invocation: AutoFunctionInvocationContext) -> ToolResult:
        match self._steps.find("tool review", call.name):
            case ev.ToolReviewed(decision="approve_for_run", function=function):
                self._approved.add(function)
        if recorded := self._recorded(call.name):
            return recorded
        content = invocation.function_call_content
        arguments = dict((content.to_kernel_arguments() if content else None) or {})
        if self._steps.has_log and has_mask(arguments):  # the function would take the mask for the secret
            return ToolResult(self._deny(call, _MASKED, arguments))
        review = await self._review(call, arguments, invocation.function)
        if review.decision == "deny":
            return ToolResult(self._deny(call, review.reason or "a person denied this call", arguments))
        self._control.check()  # what does not begin must not look as if it had
        self._emitter.emit(
            ev.ToolCallStarted(call=call.name, who=call.who, function=call.function, arguments=arguments)
        )
        await self._emitter.synced()
        return await self._invoke(call, invocation)

    def _recorded(self, call: str) -> ToolResult | None:
        """What the log has of the call's end."""
        match recorded := self._steps.find("tool", call):
            case ev.ToolCallFinished():
                self._emitter.emit(replace(recorded, reused=True))
                return ToolResult(recorded.result, tuple(map(self._store.restore, recorded.attachments)))
            case ev.ToolCallFailed():
                self._emitter.emit(recorded)
                return ToolResult(_failure(recorded.error))
            case ev.ToolCallDenied():
                self._emitter.emit(recorded)
                return ToolResult(_denial(recorded.reason))
        return None

    async def _invoke(self, call: _Call, invocation: AutoFunctionInvocationContext) -> ToolResult:
        plugin = self._plugins.get(invocation.function.plugin_name or "")
        seconds = (plugin and plugin.timeout) or self._control.limits.tool_timeout
        began = time.monotonic()
        PARENT_CALL.set(ParentCall(self._emitter, self._steps, call.name))
        try:
            with self._control.step(seconds=seconds):
                result = await invocation.function.invoke(invocation.kernel, invocation.arguments)
            returned = result_of(result.value if result else None)
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
        attachments = [self._store.keep(content) for content in returned.contents]
        self._emitter.emit(
            ev.ToolCallFinished(
                call=call.name,
                who=call.who,
                function=call.function,
                seconds=took,
                result=returned.text,
                attachments=attachments,
            )
        )
        await self._emitter.synced()
        return returned

    async def _fail(self, call: _Call, began: float, error: str) -> ToolResult:
        took = time.monotonic() - began
        self._emitter.emit(
            ev.ToolCallFailed(call=call.name, who=call.who, function=call.function, seconds=took, error=error)
        )
        await self._emitter.synced()
        return ToolResult(_failure(error))

    def _deny(self, call: _Call, reason: str, arguments: dict[str, Any] | None) -> str:
        self._emitter.emit(
            ev.ToolCallDenied(call=call.name, who=call.who, function=call.function, reason=reason, arguments=arguments)
        )
        return _denial(reason)

    async def _review(self, call: _Call, arguments: dict[str, Any], function: KernelFunction) -> ToolReview:
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
            changes = await changes_of(function, arguments)
            request = ToolReviewRequest(
                agent=call.who,
                function=call.function,
                arguments=arguments,
                changes=changes,
                id=f"{self._emitter.run_id}/{call.name}",
            )
            with self._control.asking():
                review = await ask(self._people.approver, request)
        self._emitter.emit(
            ev.ToolReviewed(
                call=call.name,
                who=call.who,
                function=call.function,
                decision=review.decision,
                reason=review.reason,
                arguments=arguments,
            )
        )
        if review.decision == "approve_for_run":
            self._approved.add(call.function)
        return review


def _failure(error: str) -> str:
    return f"Error: {error}"


def _denial(reason: str) -> str:
    return f"Denied: {reason}"


def _innermost(error: BaseException) -> str:
    # Semantic Kernel wraps; the innermost cause is what the tool's author wrote.
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"
