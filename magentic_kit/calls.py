"""The seam under every model call: time limits, cancellation, retries, usage and events, for any connector."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from functools import lru_cache
from typing import Any, TypeVar, cast

import anyio
from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase
from semantic_kernel.connectors.ai.open_ai.services.open_ai_handler import OpenAIHandler
from semantic_kernel.connectors.ai.prompt_execution_settings import PromptExecutionSettings
from semantic_kernel.contents import ChatHistory, ChatMessageContent, FunctionCallContent

from magentic_kit import events as ev
from magentic_kit.context import RunContext
from magentic_kit.errors import KitError, RunStopped, ServiceError
from magentic_kit.faults import as_service_error
from magentic_kit.redaction import RedactedStream
from magentic_kit.services import usage_of
from magentic_kit.wire import conversation

_S = TypeVar("_S", bound=ChatCompletionClientBase)
_M = TypeVar("_M", bound=ChatMessageContent)

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0
"""Seconds between attempts: doubled each time from the first to the longest, half of it at random."""


class Lane:
    """One participant's model calls in one run; they follow one another, never side by side."""

    def __init__(self, who: str, service: str, context: RunContext, *, name: str | None = None) -> None:
        self.who = who
        self.service = service
        self.context = context
        self.name = name or who  # as Semantic Kernel names it in the history
        self.purpose = "turn"
        self.calls: Counter[str] = Counter()  # by purpose
        self.retries = context.limits.retries

    def connect(self, service: _S, *, model: str | None = None) -> _S:
        """A copy of the service that shares its HTTP client and sends every call through this lane."""
        copy = service.model_copy()
        if model:
            copy.ai_model_id = model
        copy.__class__ = _in_lane(type(service))
        object.__setattr__(copy, "_lane", self)
        return copy

    async def exchange(
        self,
        service: ChatCompletionClientBase,
        settings: PromptExecutionSettings,
        send: Callable[[], AsyncIterator[list[_M]]],
    ) -> AsyncGenerator[list[_M], None]:
        """One model call: what `send` streams, tried again where that is safe, and told in events."""
        call = f"{self.who}#{self.calls.total()}"
        self.calls[self.purpose] += 1
        model = getattr(settings, "ai_model_id", None) or service.ai_model_id
        head: dict[str, Any] = {"call": call, "who": self.who, "purpose": self.purpose}
        reply = _Reply()
        began = time.monotonic()
        self.context.emit(ev.ModelCallStarted(**head, service=self.service, model=model))
        try:
            attempt = 1
            while True:
                try:
                    async for contents in self._attempt(send, reply):
                        yield contents
                    reply.require_whole(service)
                    break
                except RunStopped:
                    raise
                except Exception as error:
                    fault = self._fault(error, service, model)
                    if reply.shown or not fault.retryable or attempt > self.retries:
                        raise fault from error
                    await self._wait(call, attempt, fault)
                    attempt += 1
        except BaseException as error:
            kind = error.kind if isinstance(error, KitError) else "cancelled"
            seconds = time.monotonic() - began
            self.context.emit(ev.ModelCallFailed(**head, seconds=seconds, kind=kind, error=str(error)))
            raise
        usage = reply.usage()
        self.context.count_tokens(reply.tokens(usage))
        self.context.emit(
            ev.ModelCallFinished(
                **head,
                seconds=time.monotonic() - began,
                usage=usage,
                text=reply.text,
                tool_calls=reply.tool_calls(),
                finish_reason=reply.finish_reason,
            )
        )

    async def _attempt(self, send: Callable[[], AsyncIterator[list[_M]]], reply: _Reply) -> AsyncIterator[list[_M]]:
        final = self.purpose == "answer"
        stream = send()
        shown = RedactedStream(self.context.redactor)
        try:
            while True:
                # A scope per piece: a cancel scope may not stay open over a `yield`.
                with self.context.interruptible(seconds=self.context.limits.model_timeout, final=final):
                    try:
                        contents = await stream.__anext__()
                    except StopAsyncIteration:
                        break
                reply.add(contents)
                self._show(shown.feed("".join(content.content for content in contents)))
                yield contents
        finally:
            self._show(shown.flush())
            if isinstance(stream, AsyncGenerator):
                with anyio.CancelScope(shield=True, deadline=anyio.current_time() + 1):
                    await stream.aclose()

    def _show(self, text: str) -> None:
        if text:
            self.context.emit(ev.TextDelta(who=self.who, purpose=self.purpose, text=text))

    def _fault(self, error: Exception, service: ChatCompletionClientBase, model: str) -> ServiceError:
        if isinstance(error, ServiceError):
            return error
        if isinstance(error, TimeoutError):
            seconds = self.context.limits.model_timeout
            return ServiceError(
                f"service '{self.service}' ({model}): silent for {seconds:g} s; raise limits.model_timeout "
                "if the model needs longer",
                service=self.service,
                retryable=True,
            )
        url = service.service_url()
        return as_service_error(error, service=self.service, describe=f"{model} at {url}" if url else model)

    async def _wait(self, call: str, attempt: int, fault: ServiceError) -> None:
        longest = min(_FIRST_WAIT * 2 ** (attempt - 1), _LONGEST_WAIT)
        wait = fault.retry_after if fault.retry_after is not None else longest * random.uniform(0.5, 1)
        self.context.emit(ev.ModelCallRetried(call=call, who=self.who, attempt=attempt, wait=wait, error=str(fault)))
        with self.context.interruptible(final=self.purpose == "answer"):
            await anyio.sleep(wait)


class _Reply:
    """What one call has brought so far."""

    def __init__(self) -> None:
        self.text = ""
        self.finish_reason = ""
        self.pieces = 0
        self._calls: list[FunctionCallContent] = []
        self._usage: tuple[int | None, int | None] = (None, None)

    @property
    def shown(self) -> bool:
        """Whether a part of the reply has been passed on, so that it cannot be taken back."""
        return bool(self.text or self._calls)

    def add(self, contents: list[_M]) -> None:
        for content in contents:
            self.pieces += 1
            self.text += content.content
            self._calls += [item for item in content.items if isinstance(item, FunctionCallContent)]
            if content.finish_reason:
                self.finish_reason = str(content.finish_reason.value)
            now = usage_of(content.metadata)
            # A connector may count the prompt in the first piece and the completion in the last.
            self._usage = cast(
                "tuple[int | None, int | None]",
                tuple(
                    new if old is None else old if new is None else max(old, new)
                    for old, new in zip(self._usage, now, strict=True)
                ),
            )

    def require_whole(self, service: ChatCompletionClientBase) -> None:
        """Raises when the stream ended before the reply did: the connectors take that for a whole reply."""
        if not self.pieces:
            raise ServiceError(
                f"{service.service_url() or service.ai_model_id} answered with something that is not a chat "
                "completion; check base_url",
                service=service.service_id,
                retryable=True,
            )
        if isinstance(service, OpenAIHandler) and not self.finish_reason:
            raise ServiceError(
                f"{service.service_url()}: the reply was cut off after {len(self.text)} characters",
                service=service.service_id,
                retryable=True,
            )

    def tool_calls(self) -> list[dict[str, Any]]:
        merged: list[FunctionCallContent] = []
        for piece in self._calls:
            if merged and (not piece.id or piece.id == merged[-1].id) and piece.index == merged[-1].index:
                merged[-1] = merged[-1] + piece
            else:
                merged.append(piece)
        return [{"id": c.id, "name": c.name, "arguments": c.arguments} for c in merged]

    def usage(self) -> ev.Usage:
        return ev.Usage(prompt_tokens=self._usage[0], completion_tokens=self._usage[1])

    def tokens(self, usage: ev.Usage) -> int:
        """What counts against `max_tokens`: an unknown completion is taken as four characters a token."""
        completion = usage.completion_tokens
        return (usage.prompt_tokens or 0) + (len(self.text) // 4 if completion is None else completion)


class _InLane:
    """Put before a connector's class: hands its two inner calls to the lane."""

    _lane: Lane

    async def _inner_get_chat_message_contents(
        self, chat_history: ChatHistory, settings: PromptExecutionSettings
    ) -> list[ChatMessageContent]:
        heard = conversation(chat_history, me=self._lane.name)

        async def send() -> AsyncIterator[list[ChatMessageContent]]:
            yield await super(_InLane, self)._inner_get_chat_message_contents(heard, settings)  # type: ignore[misc]

        exchange = self._lane.exchange(cast(ChatCompletionClientBase, self), settings, send)
        return [content async for contents in exchange for content in contents]

    async def _inner_get_streaming_chat_message_contents(
        self, chat_history: ChatHistory, settings: PromptExecutionSettings, function_invoke_attempt: int = 0
    ) -> AsyncIterator[list[ChatMessageContent]]:
        heard = conversation(chat_history, me=self._lane.name)

        def send() -> AsyncIterator[list[ChatMessageContent]]:
            inner = super(_InLane, self)._inner_get_streaming_chat_message_contents  # type: ignore[misc]
            return cast("AsyncIterator[list[ChatMessageContent]]", inner(heard, settings, function_invoke_attempt))

        async for contents in self._lane.exchange(cast(ChatCompletionClientBase, self), settings, send):
            yield contents


@lru_cache(maxsize=64)
def _in_lane(cls: type[_S]) -> type[_S]:
    # Keeps the connector's name, which Semantic Kernel's own messages and spans show.
    made: Any = type(cls)
    return cast("type[_S]", made(cls.__name__, (_InLane, cls), {"__module__": cls.__module__}))
