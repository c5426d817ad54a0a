"""The seam under every model call: a copy of any connector's service, whose calls are those of one participant."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

import anyio
from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase
from semantic_kernel.connectors.ai.prompt_execution_settings import PromptExecutionSettings
from semantic_kernel.contents import ChatHistory, ChatMessageContent

from magentic_kit.orchestration.context_window import Selection
from magentic_kit.services.connectors import with_mixin
from magentic_kit.services.reply import CallInRun, InProcessChatCompletion

_S = TypeVar("_S", bound=ChatCompletionClientBase)

Send = Callable[[CallInRun], AsyncIterator[list[Any]]]
"""Sends the request of a call and brings the reply in pieces."""


@dataclass(frozen=True, kw_only=True)
class ModelCall:
    """What is asked of a model, besides the messages.

    `options` and `tools` are the execution settings and the schemas of the functions on offer. A call that fails in a
    way that may pass is made up to `retries` times more; `silence` is how many seconds it may bring nothing, None for
    any time. A `person` answers while the clock of the run stands still.
    """

    purpose: str
    options: Mapping[str, Any]
    retries: int
    silence: float | None
    tools: Sequence[dict[str, Any]] = ()
    person: bool = False


class CallsModels(Protocol):
    """Selects what is sent, and makes the call."""

    async def select(self, service: ChatCompletionClientBase, call: ModelCall, history: ChatHistory) -> Selection:
        """The part of the history that is sent."""

    def exchange(
        self,
        service: ChatCompletionClientBase,
        call: ModelCall,
        selection: Selection,
        send: Send,
        *,
        attempt: int | None,
    ) -> AsyncGenerator[list[Any], None]:
        """One model call; `attempt` is SK's number of it in a streamed tool loop, None if it is not streamed."""


def connect(service: _S, call: ModelCall, calls: CallsModels) -> _S:
    """A copy of the service that shares its HTTP client and makes each of its calls as `call`, through `calls`."""
    copy = service.model_copy()
    if not isinstance(service, _InRun):
        copy.__class__ = with_mixin(type(service), _InRun)
    for name, value in (("_calls", calls), ("_model_call", call), ("_response", None)):
        object.__setattr__(copy, name, value)
    return copy


class _InRun:
    """Put before a connector's class: its two inner calls become calls of a participant."""

    _calls: CallsModels
    _model_call: ModelCall
    _response: Any

    async def _send_request(self, *args: Any) -> Any:
        """Remembers OpenAI's stream: left half-read by SK, only the garbage collector would close it."""
        self._response = await super()._send_request(*args)  # type: ignore[misc]
        return self._response

    async def _close(self, stream: AsyncIterator[Any]) -> None:
        """Closes what is left of a stream, for a second at most."""
        response, self._response = self._response, None
        with anyio.CancelScope(shield=True, deadline=anyio.current_time() + 1):
            if isinstance(stream, AsyncGenerator):
                await stream.aclose()
            if hasattr(response, "__aiter__"):
                await response.close()

    async def _inner_get_chat_message_contents(
        self, chat_history: ChatHistory, settings: PromptExecutionSettings
    ) -> list[ChatMessageContent]:
        service, call = cast(ChatCompletionClientBase, self), self._model_call
        selection = await self._calls.select(service, call, chat_history)

        async def send(this: CallInRun) -> AsyncIterator[list[ChatMessageContent]]:
            connector: Any = super(_InRun, _answering(service, this))
            yield await connector._inner_get_chat_message_contents(selection.history, settings)

        exchange = self._calls.exchange(service, call, selection, send, attempt=None)
        return [content async for contents in exchange for content in contents]

    async def _inner_get_streaming_chat_message_contents(
        self, chat_history: ChatHistory, settings: PromptExecutionSettings, function_invoke_attempt: int = 0
    ) -> AsyncIterator[list[ChatMessageContent]]:
        service, call, attempt = cast(ChatCompletionClientBase, self), self._model_call, function_invoke_attempt
        selection = await self._calls.select(service, call, chat_history)

        async def send(this: CallInRun) -> AsyncIterator[list[ChatMessageContent]]:
            connector: Any = super(_InRun, _answering(service, this))
            stream = connector._inner_get_streaming_chat_message_contents(selection.history, settings, attempt)
            try:
                async for contents in stream:
                    yield contents
            finally:
                await self._close(stream)

        async for contents in self._calls.exchange(service, call, selection, send, attempt=attempt):
            yield contents


def _answering(service: ChatCompletionClientBase, this: CallInRun) -> Any:
    """The service itself, or a copy of one of this package that knows the call it answers."""
    return service.for_call(this) if isinstance(service, InProcessChatCompletion) else service
