"""The model calls of one participant in one run: recorded or live, each with its events, for any connector."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase
from semantic_kernel.contents import ChatHistory

from magentic_kit import events as ev
from magentic_kit.errors import KitError, ServiceError
from magentic_kit.orchestration.attempts import Attempts
from magentic_kit.orchestration.connected import ModelCall, connect
from magentic_kit.orchestration.context_window import Selection, Window
from magentic_kit.runlog.control import RunControl
from magentic_kit.runlog.emitter import RunEmitter
from magentic_kit.runlog.replay import RecordedSteps, Request
from magentic_kit.services.messages import as_conversation, characters, plain
from magentic_kit.services.rate_limits import Throttle
from magentic_kit.services.reply import CallInRun, Reply, contents_of, tokens
from magentic_kit.tools.function_names import normalise

_S = TypeVar("_S", bound=ChatCompletionClientBase)


class ParticipantCalls:
    """The model calls of one participant in one run; they follow one another, never side by side."""

    def __init__(
        self,
        who: str,
        service: str,
        *,
        emitter: RunEmitter,
        control: RunControl,
        steps: RecordedSteps,
        throttle: Throttle | None = None,
        window: Window | None = None,
        history_name: str = "",
    ) -> None:
        self.who = who
        self.service = service
        """The service's name in the team file."""
        self.emitter = emitter
        self.control = control
        self._steps = steps
        self._throttle = throttle or Throttle()
        self._window = window
        self._history_name = history_name or who  # as Semantic Kernel names it
        self._made: Counter[str] = Counter()  # by purpose

    @property
    def last_call(self) -> str:
        """The name in the log of the last call."""
        return f"{self.who}#{self._made.total() - 1}"

    def describe(self, purpose: str, options: Mapping[str, Any], tools: Sequence[dict[str, Any]] = ()) -> ModelCall:
        """A call under the limits of the run."""
        limits = self.control.limits
        return ModelCall(
            purpose=purpose,
            options=options,
            tools=tools,
            retries=limits.retries or 0,
            silence=limits.model_timeout,
        )

    def connect(self, service: _S, call: ModelCall) -> _S:
        """A copy of the service whose calls are all `call`, in this run."""
        return connect(service, call, self)

    async def ask(self, service: ChatCompletionClientBase, call: ModelCall, history: ChatHistory) -> str:
        """The text of the reply to the history."""
        settings = service.instantiate_prompt_execution_settings(**call.options)
        pieces = self.connect(service, call).get_streaming_chat_message_contents(history, settings)
        return "".join([content.content async for contents in pieces for content in contents[:1]])

    async def select(self, service: ChatCompletionClientBase, call: ModelCall, history: ChatHistory) -> Selection:
        """The part of the history that is sent."""
        conversation = as_conversation(history, me=self._history_name)
        if self._window is None:
            return Selection(conversation)
        redactor = self.emitter.redactor
        if call.purpose == "summary":
            return Selection(conversation, saved=-characters(conversation.messages, redactor))
        # The answer is asked for over what the last ledger was; after a limit nothing else may be asked.
        may_cut = call.purpose != "answer"
        summarize = partial(self._summarize, service)
        return await self._window.select(conversation, redactor, summarize, may_cut=may_cut)

    async def _summarize(
        self, service: ChatCompletionClientBase, prompt: ChatHistory, options: Mapping[str, Any]
    ) -> str:
        try:
            return await self.ask(service, self.describe("summary", options), prompt)
        except ServiceError:  # its event says so
            return ""

    async def exchange(
        self,
        service: ChatCompletionClientBase,
        call: ModelCall,
        selection: Selection,
        send: Callable[[CallInRun], AsyncIterator[list[Any]]],
        *,
        attempt: int | None,
    ) -> AsyncGenerator[list[Any], None]:
        """One model call: the recorded reply if there is one, else what `send` brings.

        `attempt` is SK's number of the call in a streamed tool loop, None if the reply is not streamed.
        """
        model = service.ai_model_id
        this = self._begin(call, selection, model)
        recorded = self._steps.reply(this.name, this.request)
        self._emit_start(this, selection, model)
        if isinstance(recorded, ev.ModelCallFailed):
            if not self._steps.is_resumed:
                self.emitter.emit(recorded)
            raise ServiceError(recorded.error, service=self.service, status=recorded.status)
        if recorded is not None:
            for content in contents_of(recorded, model, attempt=attempt):
                yield [content]
            finished = replace(recorded, reused=True)
        else:
            await self.emitter.synced()
            began = time.monotonic()
            offered = [tool["function"]["name"] for tool in call.tools]
            reply = Reply(this.name, partial(normalise, offered=offered))
            try:
                async for contents in self._attempts(this, service, call, reply).pieces(partial(send, this)):
                    yield contents
            except BaseException as error:
                self._emit_failure(this, error, time.monotonic() - began)
                raise
            finished = _finished(this, reply, time.monotonic() - began)
        self.control.tokens += tokens(finished)
        self.emitter.emit(finished)
        await self.emitter.synced()

    def _attempts(self, this: CallInRun, service: ChatCompletionClientBase, call: ModelCall, reply: Reply) -> Attempts:
        return Attempts(
            this,
            service,
            reply,
            emitter=self.emitter,
            control=self.control,
            throttle=self._throttle,
            retries=call.retries,
            silence=call.silence,
            person=call.person,
        )

    def _begin(self, call: ModelCall, selection: Selection, model: str) -> CallInRun:
        """Numbers the call. Its request is redacted, as the log is."""
        fixed = {"model": model, "options": call.options, "tools": list(call.tools)}
        request: Request = json.loads(json.dumps(fixed, default=str))
        request["messages"] = plain(selection.history.messages)
        number, number_of_purpose = self._made.total(), self._made[call.purpose]
        self._made[call.purpose] += 1
        return CallInRun(
            name=self.last_call,
            who=self.who,
            purpose=call.purpose,
            service=self.service,
            number=number,
            number_of_purpose=number_of_purpose,
            request=self.emitter.redactor.value(request),
        )

    def _emit_start(self, this: CallInRun, selection: Selection, model: str) -> None:
        started = ev.ModelCallStarted(
            call=this.name,
            who=self.who,
            purpose=this.purpose,
            service=self.service,
            model=model,
            characters=characters(selection.history.messages, self.emitter.redactor),
            saved=selection.saved,
        )
        self.emitter.begin_call(started, this.request)

    def _emit_failure(self, this: CallInRun, error: BaseException, seconds: float) -> None:
        self.emitter.emit(
            ev.ModelCallFailed(
                call=this.name,
                who=self.who,
                purpose=this.purpose,
                seconds=seconds,
                kind=error.kind if isinstance(error, KitError) else "cancelled",
                error=str(error),
                status=getattr(error, "status", None),
            )
        )


def _finished(this: CallInRun, reply: Reply, seconds: float) -> ev.ModelCallFinished:
    return ev.ModelCallFinished(
        call=this.name,
        who=this.who,
        purpose=this.purpose,
        seconds=seconds,
        usage=reply.usage,
        text=reply.text,
        tool_calls=reply.tool_calls(),
        finish_reason=reply.finish_reason,
    )
