"""One live model call: sent, timed, passed on in pieces, and sent again while that may help."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractContextManager
from typing import Any

import anyio
from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase

from magentic_kit import events as ev
from magentic_kit.errors import KitError, ServiceError
from magentic_kit.runlog.control import RunControl, StepTimeout
from magentic_kit.runlog.emitter import RunEmitter
from magentic_kit.runlog.redaction import RedactedStream
from magentic_kit.services.errors import as_service_error
from magentic_kit.services.rate_limits import Throttle
from magentic_kit.services.reply import CallInRun, Reply

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0
"""Seconds between attempts: doubled each time from the first to the longest, half of it at random."""

Send = Callable[[], AsyncIterator[list[Any]]]


class Attempts:
    """The attempts of one model call, up to the first that brings a whole reply."""

    def __init__(
        self,
        this: CallInRun,
        service: ChatCompletionClientBase,
        reply: Reply,
        *,
        emitter: RunEmitter,
        control: RunControl,
        throttle: Throttle,
        retries: int,
        silence: float | None,
        person: bool,
    ) -> None:
        self._this, self._service, self._reply = this, service, reply
        self._emitter, self._control, self._throttle = emitter, control, throttle
        self._retries = retries
        self._silence = silence
        self._person = person
        self._final = this.purpose == "answer"  # which may be written after a limit

    async def pieces(self, send: Send) -> AsyncIterator[list[Any]]:
        """What the attempts bring, as it comes. Raises `ServiceError` when no further one would help."""
        reply, attempt = self._reply, 1
        while True:
            try:
                async for contents in self._attempt(send):
                    yield contents
                reply.require_whole(self._service, self._this.service)
                await self._throttle.replied((reply.usage.prompt_tokens or 0) + (reply.usage.completion_tokens or 0))
                return
            except Exception as error:
                if isinstance(error, KitError) and not isinstance(error, ServiceError):
                    raise
                fault = self._fault(error)
                retries = self._retries
                if fault.status == 429:  # which says nothing of the request itself
                    await self._throttle.refused(fault.retry_after or _FIRST_WAIT)
                    retries = self._control.limits.retries or 0
                if reply.shown or not fault.retryable or attempt > retries:
                    raise fault from error
                await self._wait(attempt, fault)
                attempt += 1

    async def _attempt(self, send: Send) -> AsyncIterator[list[Any]]:
        with self._control.step(final=self._final):
            await self._throttle.enter()
        stream = send()
        shown = RedactedStream(self._emitter.redactor)
        try:
            while True:
                with self._waiting():  # for each piece: a cancel scope may not stay open over a `yield`
                    try:
                        contents = await stream.__anext__()
                    except StopAsyncIteration:
                        break
                pieces = [piece for content in contents for piece in self._reply.split(content)]
                for piece in pieces:
                    piece.inner_content = None  # what the client read; SK would copy it again in each round
                    self._reply.add(piece)
                    self._show(shown.feed(piece.content))
                yield pieces
        finally:
            self._throttle.leave()
            self._show(shown.flush())
            with anyio.CancelScope(shield=True, deadline=anyio.current_time() + 1):
                if isinstance(stream, AsyncGenerator):
                    await stream.aclose()

    def _waiting(self) -> AbstractContextManager[None]:
        if self._person:
            return self._control.asking()
        return self._control.step(seconds=self._silence, final=self._final)

    def _show(self, text: str) -> None:
        if text:
            self._emitter.emit(ev.TextDelta(who=self._this.who, purpose=self._this.purpose, text=text))

    def _fault(self, error: Exception) -> ServiceError:
        name, service = self._this.service, self._service
        if isinstance(error, ServiceError):
            return error
        if isinstance(error, StepTimeout):
            silent = f"silent for {self._silence:g} s; raise limits.model_timeout if the model needs longer"
            return ServiceError(f"service '{name}': {silent}", service=name, retryable=True)
        url = service.service_url() or ""
        where = f"{service.ai_model_id} at {url}" if "://" in url else service.ai_model_id
        return as_service_error(error, service=name, describe=where)

    async def _wait(self, attempt: int, fault: ServiceError) -> None:
        wait = fault.retry_after
        if wait is None:
            longest = min(_FIRST_WAIT * 2 ** (attempt - 1), _LONGEST_WAIT)
            wait = longest * random.uniform(0.5, 1)
        this = self._this
        self._emitter.emit(
            ev.ModelCallRetried(call=this.name, who=this.who, attempt=attempt, wait=wait, error=str(fault))
        )
        with self._control.step(final=self._final):
            await anyio.sleep(wait)
