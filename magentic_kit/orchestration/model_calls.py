"""The seam under every model call: time limits, cancellation, retries, usage and events, for any connector."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

import anyio
from openai import AsyncStream
from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase
from semantic_kernel.connectors.ai.prompt_execution_settings import PromptExecutionSettings
from semantic_kernel.contents import ChatHistory, ChatMessageContent

from magentic_kit import events as ev
from magentic_kit.errors import KitError, ServiceError
from magentic_kit.runlog.context import RunContext
from magentic_kit.runlog.redaction import RedactedStream
from magentic_kit.runlog.replay import Request
from magentic_kit.services.connectors import put_before
from magentic_kit.services.errors import as_service_error
from magentic_kit.services.messages import characters, conversation, plain
from magentic_kit.services.rate_limits import Throttle
from magentic_kit.services.reply import Reply, contents_of, tokens

if TYPE_CHECKING:
    from magentic_kit.orchestration.context_window import Window

_S = TypeVar("_S", bound=ChatCompletionClientBase)

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0
"""Seconds between attempts: doubled each time from the first to the longest, half of it at random."""


class Lane:
    """One participant's model calls in one run; they follow one another, never side by side.

    Whoever asks sets `purpose` and `options` before it does; `tools` are the schemas on offer.
    """

    def __init__(
        self,
        who: str,
        service: str,
        context: RunContext,
        *,
        options: Mapping[str, Any] | None = None,
        as_name: str = "",
        throttle: Throttle | None = None,
        window: Window | None = None,
    ) -> None:
        self.who = who
        self.service = service
        self.context = context
        self.name = as_name or who  # as Semantic Kernel names it in the history
        self.window = window
        self.purpose = "turn"
        self.options = options or {}
        self.tools: list[Any] = []
        self.calls: Counter[str] = Counter()  # by purpose
        self.retries = context.limits.retries
        self.silence: float | None = context.limits.model_timeout  # seconds to wait for a piece of the reply
        self.person = False  # the clock of the run stands still
        self.throttle = throttle or Throttle()
        self.response: AsyncStream[Any] | None = None

    @property
    def call(self) -> str:
        """The name of the last call in this run."""
        return f"{self.who}#{self.calls.total() - 1}"

    def connect(self, service: _S) -> _S:
        """A copy of the service that shares its HTTP client and sends every call through this lane."""
        copy = service.model_copy()
        copy.__class__ = put_before(type(service), _InLane)
        object.__setattr__(copy, "_lane", self)
        return copy

    async def hear(self, service: ChatCompletionClientBase, history: ChatHistory) -> ChatHistory:
        """What is sent of the history."""
        whole = conversation(history, me=self.name)
        return await self.window.hear(whole, self, service) if self.window else whole

    async def exchange(
        self,
        service: ChatCompletionClientBase,
        heard: ChatHistory,
        send: Callable[[], AsyncIterator[list[Any]]],
        *,
        attempt: int | None,
    ) -> AsyncGenerator[list[Any], None]:
        """One model call: the recorded reply if there is one, else what `send` brings, told in events.

        `attempt` is SK's number of the call in a streamed tool loop, None if the reply is not streamed.
        """
        self.calls[self.purpose] += 1
        context, model = self.context, service.ai_model_id
        head: dict[str, Any] = {"call": self.call, "who": self.who, "purpose": self.purpose}
        request = self.request(heard, model)
        recorded = context.steps.reply(self.call, request)
        sent, saved = characters(heard.messages, context.redactor), self.window.saved if self.window else 0
        started = ev.ModelCallStarted(**head, service=self.service, model=model, characters=sent, saved=saved)
        context.begin_call(started, request)
        if isinstance(recorded, ev.ModelCallFailed):
            if not context.steps.known:
                context.emit(recorded)
            raise ServiceError(recorded.error, service=self.service, status=recorded.status)
        if recorded:
            for content in contents_of(recorded, model, attempt=attempt):
                yield [content]
            finished = replace(recorded, reused=True)
        else:
            await context.logged()
            reply, began = Reply(), time.monotonic()
            try:
                async for contents in self._attempts(service, send, reply):
                    yield contents
            except BaseException as error:
                kind = error.kind if isinstance(error, KitError) else "cancelled"
                seconds = time.monotonic() - began
                status = getattr(error, "status", None)
                context.emit(ev.ModelCallFailed(**head, seconds=seconds, kind=kind, error=str(error), status=status))
                raise
            finished = ev.ModelCallFinished(
                **head,
                seconds=time.monotonic() - began,
                usage=reply.usage,
                text=reply.text,
                tool_calls=reply.tool_calls(),
                finish_reason=reply.finish_reason,
            )
        context.tokens += tokens(finished)
        context.emit(finished)
        await context.logged()
        self._deny_unknown(finished)

    def _deny_unknown(self, reply: ev.ModelCallFinished) -> None:
        """Tells of calls to functions that are not on offer; SK refuses them without a word to anybody else."""
        offered = {tool["function"]["name"] for tool in self.tools}
        for index, call in enumerate(reply.tool_calls):
            if call["name"] not in offered:
                name, told = f"{self.call}.{index}", "this function is not offered to this agent"
                self.context.emit(ev.ToolCallDenied(call=name, who=self.who, function=str(call["name"]), reason=told))

    def request(self, heard: ChatHistory, model: str) -> Request:
        """What decides the reply, as the log has it: redacted, as the log is."""
        fixed = {"model": model, "options": self.options, "tools": self.tools}
        request: Request = {**json.loads(json.dumps(fixed, default=str)), "messages": plain(heard.messages)}
        return cast(Request, self.context.redactor.value(request))

    async def _attempts(
        self, service: ChatCompletionClientBase, send: Callable[[], AsyncIterator[list[Any]]], reply: Reply
    ) -> AsyncIterator[list[Any]]:
        attempt = 1
        while True:
            try:
                async for contents in self._attempt(send, reply):
                    yield contents
                reply.require_whole(service, self.service)
                await self.throttle.replied((reply.usage.prompt_tokens or 0) + (reply.usage.completion_tokens or 0))
                return
            except Exception as error:
                if isinstance(error, KitError) and not isinstance(error, ServiceError):
                    raise
                fault = self._fault(error, service)
                retries = self.retries
                if fault.status == 429:  # which says nothing of the request itself
                    await self.throttle.refused(fault.retry_after or _FIRST_WAIT)
                    retries = self.context.limits.retries
                if reply.shown or not fault.retryable or attempt > retries:
                    raise fault from error
                await self._wait(attempt, fault)
                attempt += 1

    async def _attempt(self, send: Callable[[], AsyncIterator[list[Any]]], reply: Reply) -> AsyncIterator[list[Any]]:
        final = self.purpose == "answer"
        with self.context.interruptible(final=final):
            await self.throttle.enter()
        stream = send()
        shown = RedactedStream(self.context.redactor)
        try:
            while True:
                # A scope per piece: a cancel scope may not stay open over a `yield`.
                with self.context.interruptible(seconds=self.silence, final=final, person=self.person):
                    try:
                        contents = await stream.__anext__()
                    except StopAsyncIteration:
                        break
                contents = [piece for content in contents for piece in reply.apart(content, self.call)]
                for content in contents:
                    content.inner_content = None  # what the client read; SK would copy it again in each round
                    reply.add(content)
                    self._show(shown.feed(content.content))
                yield contents
        finally:
            self.throttle.leave()
            self._show(shown.flush())
            with anyio.CancelScope(shield=True, deadline=anyio.current_time() + 1):
                if isinstance(stream, AsyncGenerator):
                    await stream.aclose()
                if self.response is not None:
                    await self.response.close()

    def _show(self, text: str) -> None:
        if text:
            self.context.emit(ev.TextDelta(who=self.who, purpose=self.purpose, text=text))

    def _fault(self, error: Exception, service: ChatCompletionClientBase) -> ServiceError:
        if isinstance(error, ServiceError):
            return error
        if isinstance(error, TimeoutError):
            silence = self.context.limits.model_timeout
            silent = f"silent for {silence:g} s; raise limits.model_timeout if the model needs longer"
            return ServiceError(f"service '{self.service}': {silent}", service=self.service, retryable=True)
        url = service.service_url() or ""
        where = f"{service.ai_model_id} at {url}" if "://" in url else service.ai_model_id
        return as_service_error(error, service=self.service, describe=where)

    async def _wait(self, attempt: int, fault: ServiceError) -> None:
        longest = min(_FIRST_WAIT * 2 ** (attempt - 1), _LONGEST_WAIT)
        wait = fault.retry_after if fault.retry_after is not None else longest * random.uniform(0.5, 1)
        self.context.emit(
            ev.ModelCallRetried(call=self.call, who=self.who, attempt=attempt, wait=wait, error=str(fault))
        )
        with self.context.interruptible(final=self.purpose == "answer"):
            await anyio.sleep(wait)


class _InLane:
    """Put before a connector's class: hands its two inner calls to the lane."""

    _lane: Lane

    async def _send_request(self, *args: Any) -> Any:
        """Keeps hold of OpenAI's stream: left half-read by SK, only the garbage collector would close it."""
        response = await super()._send_request(*args)  # type: ignore[misc]
        self._lane.response = response if isinstance(response, AsyncStream) else None
        return response

    async def _inner_get_chat_message_contents(
        self, chat_history: ChatHistory, settings: PromptExecutionSettings
    ) -> list[ChatMessageContent]:
        service = cast(ChatCompletionClientBase, self)
        heard = await self._lane.hear(service, chat_history)

        async def send() -> AsyncIterator[list[ChatMessageContent]]:
            yield await super(_InLane, self)._inner_get_chat_message_contents(heard, settings)  # type: ignore[misc]

        exchange = self._lane.exchange(service, heard, send, attempt=None)
        return [content async for contents in exchange for content in contents]

    async def _inner_get_streaming_chat_message_contents(
        self, chat_history: ChatHistory, settings: PromptExecutionSettings, function_invoke_attempt: int = 0
    ) -> AsyncIterator[list[ChatMessageContent]]:
        service = cast(ChatCompletionClientBase, self)
        heard = await self._lane.hear(service, chat_history)

        def send() -> AsyncIterator[list[ChatMessageContent]]:
            inner = super(_InLane, self)._inner_get_streaming_chat_message_contents  # type: ignore[misc]
            return cast("AsyncIterator[list[ChatMessageContent]]", inner(heard, settings, function_invoke_attempt))

        async for contents in self._lane.exchange(service, heard, send, attempt=function_invoke_attempt):
            yield contents
