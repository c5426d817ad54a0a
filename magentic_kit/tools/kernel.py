"""SK's kernel of one agent in one run: every function call is resolved, named for the log, and judged."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from pydantic import PrivateAttr
from semantic_kernel import Kernel
from semantic_kernel.contents import ChatHistory, FunctionCallContent, FunctionResultContent
from semantic_kernel.exceptions import FunctionCallInvalidArgumentsException
from semantic_kernel.filters.auto_function_invocation.auto_function_invocation_context import (
    AutoFunctionInvocationContext,
)
from semantic_kernel.filters.filter_types import FilterTypes

from magentic_kit.runlog.call_names import call_name
from magentic_kit.text import one_line
from magentic_kit.tools.arguments import check_arguments
from magentic_kit.tools.function_names import UnknownFunction, find_function
from magentic_kit.tools.permissions import LoggedCall, ToolPermissions

_Next = Callable[[AutoFunctionInvocationContext], Awaitable[None]]


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
        """Makes the call of the function that its name stands for; the model gets the reason if there is none.

        SK finds `weather.look` by `look` alone, and is ended by an argument named `settings` (DESIGN.md, 21 and 22).
        """
        log_name = self._log_name(function_call, chat_history)
        name = function_call.name or ""
        if not self._permissions.is_unresolved(log_name):
            try:
                name = find_function(name, [f.fully_qualified_name for f in self.get_full_list_of_function_metadata()])
            except UnknownFunction as error:
                text = self._permissions.refuse(log_name, self._who, name, function_call, str(error))
                _answer(function_call, text, chat_history)
                return None
        call = LoggedCall(  # type: ignore[call-arg]  # the function's name is a part of it
            id=function_call.id,
            call_id=function_call.call_id,
            index=function_call.index,
            name=name,
            arguments=function_call.arguments,
        )
        call._log_name = log_name
        problem = self._argument_problem(call)
        if problem and not self._permissions.is_unresolved(log_name):
            text = self._permissions.refuse(log_name, self._who, name.replace("-", ".", 1), call, problem)
            _answer(function_call, text, chat_history)
            return None
        try:
            return await super().invoke_function_call(call, chat_history, **kwargs)
        except (AttributeError, TypeError, ValueError) as error:
            _answer(function_call, f"Error: these arguments cannot be taken: {error}", chat_history)
            return None

    def _log_name(self, call: FunctionCallContent, history: ChatHistory) -> str:
        return f"{self._model_call()}.{_position(call, history)}"

    def _argument_problem(self, call: FunctionCallContent) -> str:
        """Why Semantic Kernel would refuse the arguments, which it tells the model alone; "" if it would not."""
        arguments: object = None
        try:
            check_arguments(call.arguments)
        except ValueError as error:
            return f"its arguments cannot be taken: {error}"
        with suppress(FunctionCallInvalidArgumentsException):
            arguments = call.parse_arguments() or {}
        if not isinstance(arguments, Mapping):
            cut = " (the reply was cut off at the model's length limit)" if self._ending() == "length" else ""
            return f"its arguments are no JSON object{cut}: {one_line(str(call.arguments), 100)}"
        functions = self.get_full_list_of_function_metadata()
        function = next((one for one in functions if one.fully_qualified_name == call.name), None)
        parameters = function.parameters if function else []
        missing = [str(one.name) for one in parameters if one.is_required and one.name not in arguments]
        if missing:
            return f"it lacks the required arguments {', '.join(missing)}"
        return ""


class TurnKernel(AgentKernel):
    """SK's kernel for an agent whose turn is one step, and is made again if a crash has left it unfinished.

    Its calls are named by what they are, so that one that is the same as before the crash is taken from the log.
    """

    _made: dict[str, dict[str, int]] = PrivateAttr(default_factory=dict)

    def has_called(self, turn: str) -> bool:
        """Whether a function was called in the turn."""
        return bool(self._made.get(turn))

    def _log_name(self, call: FunctionCallContent, history: ChatHistory) -> str:
        turn = self._model_call()
        return call_name(turn, call.name or "", call.arguments, self._made.setdefault(turn, {}))


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
