"""One live model call: sent, timed, shown as it comes, and sent again while that may help."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractContextManager
from typing import Any

import anyio

from magentic_kit import events as ev
from magentic_kit.errors import KitError, ServiceError
from magentic_kit.orchestration.connected import ModelRequest
from magentic_kit.runlog.control import RunControl, StepTimeout
from magentic_kit.runlog.emitter import RunEmitter
from magentic_kit.runlog.redaction import RedactedStream
from magentic_kit.services.errors import as_service_error
from magentic_kit.services.providers import address_key
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
        request: ModelRequest,
        new_reply: Callable[[], Reply],
        *,
        emitter: RunEmitter,
        control: RunControl,
        throttle: Throttle,
    ) -> None:
        self._this, self._service, self._call = this, request.service, request.call
        self._new_reply = new_reply
        self.reply = new_reply()
        """What the last attempt has brought so far."""
        self._emitter, self._control, self._throttle = emitter, control, throttle
        self._final = this.purpose == "answer"  # which may be written after a limit

    async def make(self, send: Send) -> Reply:
        """The whole reply. Raises `ServiceError` when no further attempt would help."""
        attempt = 1
        while True:
            self.reply = reply = self._new_reply()
            try:
                await self._attempt(send, reply)
                reply.require_whole(self._service, self._this.service)
                await self._throttle.replied((reply.usage.prompt_tokens or 0) + (reply.usage.completion_tokens or 0))
                return reply
            except Exception as error:
                if isinstance(error, KitError) and not isinstance(error, ServiceError):
                    raise
                fault = self._fault(error)
                retries = self._call.retries
                if fault.status == 429:  # which says nothing of the request itself
                    await self._throttle.refused(fault.retry_after or _FIRST_WAIT)
                    retries = self._control.limits.retries or 0
                if reply.shown or not fault.retryable or attempt > retries:
                    raise fault from error
                await self._wait(attempt, fault)
                attempt += 1

    async def _attempt(self, send: Send, reply: Reply) -> None:
        self._control.require_seconds(self._throttle.closed_for, "the service has asked for time", final=self._final)
        with self._control.step(final=self._final):
            await self._throttle.enter()
        self._began = time.monotonic()
        stream = send()
        text, reasoning = RedactedStream(self._emitter.redactor), RedactedStream(self._emitter.redactor)
        try:
            while True:
                with self._waiting():  # for each piece, so that what has come is shown between two of them
                    try:
                        contents = await stream.__anext__()
                    except StopAsyncIteration:
                        break
                for piece in contents:
                    words, thought = reply.add(piece)
                    self._show(ev.ReasoningDelta, reasoning.feed(thought))
                    self._show(ev.TextDelta, text.feed(words))
        finally:
            self._throttle.leave()
            words, thought = reply.finish()
            self._show(ev.ReasoningDelta, reasoning.feed(thought) + reasoning.flush())
            self._show(ev.TextDelta, text.feed(words) + text.flush())
            with anyio.CancelScope(shield=True, deadline=anyio.current_time() + 1):
                if isinstance(stream, AsyncGenerator):
                    await stream.aclose()

    def _waiting(self) -> AbstractContextManager[None]:
        if self._call.person:
            return self._control.asking()
        bounds = [self._call.silence]
        if self._call.timeout is not None:
            bounds.append(max(0.0, self._call.timeout - (time.monotonic() - self._began)))
        known = [bound for bound in bounds if bound is not None]
        return self._control.step(seconds=min(known, default=None), final=self._final)

    def _show(self, delta: type[ev.TextDelta] | type[ev.ReasoningDelta], text: str) -> None:
        if text:
            self._emitter.emit(delta(who=self._this.who, purpose=self._this.purpose, text=text))

    def _fault(self, error: Exception) -> ServiceError:
        name, service = self._this.service, self._service
        if isinstance(error, ServiceError):
            return error
        if isinstance(error, StepTimeout):
            return ServiceError(f"service '{name}': {self._late()}", service=name, retryable=True, fault="down")
        url = service.service_url() or ""
        where = f"{service.ai_model_id} at {url}" if "://" in url else service.ai_model_id
        return as_service_error(error, service=name, describe=where, address=address_key(service))

    def _late(self) -> str:
        took = time.monotonic() - self._began
        if self._call.timeout is not None and (self._call.silence is None or took >= self._call.timeout):
            if not self.reply.shown:
                return f"silent for {self._call.timeout:g} s; raise limits.model_timeout if the model needs longer"
            return (
                f"no whole reply within {self._call.timeout:g} s; raise limits.model_timeout if the model needs longer"
            )
        return f"silent for {self._call.silence:g} s; raise limits.stream_idle_timeout if the model needs longer"

    async def _wait(self, attempt: int, fault: ServiceError) -> None:
        wait = fault.retry_after
        if wait is None:
            longest = min(_FIRST_WAIT * 2 ** (attempt - 1), _LONGEST_WAIT)
            wait = longest * random.uniform(0.5, 1)
        this = self._this
        self._control.require_seconds(wait, f"the service asks to wait {wait:g} s ({fault})", final=self._final)
        self._emitter.emit(
            ev.ModelCallRetried(call=this.name, who=this.who, attempt=attempt, wait=wait, error=str(fault))
        )
        with self._control.step(final=self._final):
            await anyio.sleep(wait)
