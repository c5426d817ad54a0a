"""The seam under every model call: a copy of any connector's service, whose calls are those of one participant."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

import anyio
from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase
from semantic_kernel.connectors.ai.function_calling_utils import kernel_function_metadata_to_function_call_format
from semantic_kernel.connectors.ai.prompt_execution_settings import PromptExecutionSettings
from semantic_kernel.contents import ChatHistory, ChatMessageContent
from semantic_kernel.functions.kernel_function_metadata import KernelFunctionMetadata

from magentic_kit import events as ev
from magentic_kit.runlog.emitter import RunEmitter
from magentic_kit.services.contents import as_sent
from magentic_kit.services.mixins import with_mixin
from magentic_kit.services.reply import CallInRun, InProcessChatCompletion
from magentic_kit.text import one_line

_S = TypeVar("_S", bound=ChatCompletionClientBase)


@dataclass(frozen=True, kw_only=True)
class ModelCall:
    """What is asked of a model, besides the messages.

    `options` and `functions` are the execution settings and the functions on offer. A call that fails in a way that
    may pass is made up to `retries` times more; `silence` is how many seconds it may bring nothing, `timeout` how many
    one attempt may take, None for any time. A `person` answers while the clock of the run stands still.
    """

    purpose: str
    options: Mapping[str, Any]
    retries: int
    silence: float | None
    timeout: float | None
    functions: Sequence[KernelFunctionMetadata] = ()
    person: bool = False

    @property
    def tools(self) -> list[dict[str, Any]]:
        """The schemas of the functions on offer."""
        return [kernel_function_metadata_to_function_call_format(function) for function in self.functions]


@dataclass(frozen=True, kw_only=True)
class ModelRequest:
    """A call as Semantic Kernel makes it of a connected service.

    `attempt` is SK's number of a streamed call in a tool loop, None if the reply is not streamed.
    """

    service: ChatCompletionClientBase
    call: ModelCall
    history: ChatHistory
    settings: PromptExecutionSettings
    attempt: int | None


class CallsModels(Protocol):
    """Makes the model calls of a participant."""

    emitter: RunEmitter
    service: str

    def replies(self, request: ModelRequest) -> AsyncGenerator[ChatMessageContent, None]:
        """The reply in pieces."""


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

    def _learned(self, name: str, refusal: str) -> None:
        self._calls.emitter.emit(
            ev.DialectFound(service=self._calls.service, name=name, refusal=one_line(refusal, 300))
        )

    async def send(self, this: CallInRun, request: ModelRequest) -> AsyncIterator[list[ChatMessageContent]]:
        """What the connector itself brings for this call."""
        history, settings, attempt = request.history, request.settings, request.attempt
        connector: Any = super(_InRun, _answering(cast(ChatCompletionClientBase, self), this))
        if not isinstance(self, InProcessChatCompletion):
            history = as_sent(history)
        if attempt is None:
            yield await connector._inner_get_chat_message_contents(history, settings)
            return
        stream = connector._inner_get_streaming_chat_message_contents(history, settings, attempt)
        try:
            async for contents in stream:
                yield contents
        finally:
            await self._close(stream)

    async def _inner_get_chat_message_contents(
        self, chat_history: ChatHistory, settings: PromptExecutionSettings
    ) -> list[ChatMessageContent]:
        replies = self._calls.replies(self._request(chat_history, settings, None))
        return [content async for content in replies]

    async def _inner_get_streaming_chat_message_contents(
        self, chat_history: ChatHistory, settings: PromptExecutionSettings, function_invoke_attempt: int = 0
    ) -> AsyncIterator[list[ChatMessageContent]]:
        async for content in self._calls.replies(self._request(chat_history, settings, function_invoke_attempt)):
            yield [content]

    def _request(self, history: ChatHistory, settings: PromptExecutionSettings, attempt: int | None) -> ModelRequest:
        service = cast(ChatCompletionClientBase, self)
        return ModelRequest(service=service, call=self._model_call, history=history, settings=settings, attempt=attempt)


def _answering(service: ChatCompletionClientBase, this: CallInRun) -> Any:
    """The service itself, or a copy of one of this package that knows the call it answers."""
    if isinstance(service, InProcessChatCompletion):
        return service.for_call(this)
    return service
