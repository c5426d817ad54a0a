"""Single model calls of a participant: the recorded reply or a live one, each with its events and its cost."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import partial
from typing import Any

from magentic_kit import events as ev
from magentic_kit.errors import KitError, ServiceError
from magentic_kit.orchestration.attempts import Attempts
from magentic_kit.orchestration.connected import ModelCall, ModelRequest
from magentic_kit.runlog.control import RunControl
from magentic_kit.runlog.emitter import RunEmitter
from magentic_kit.runlog.replay import RecordedSteps
from magentic_kit.runlog.requests import Request
from magentic_kit.services import prices
from magentic_kit.services.messages import characters, plain
from magentic_kit.services.rate_limits import Throttle
from magentic_kit.services.reply import CallInRun, Reply
from magentic_kit.services.usage import tokens
from magentic_kit.tools.function_names import normalise


@dataclass(eq=False)
class LoggedCalls:
    """Makes the model calls of one participant; they follow one another, never side by side.

    `service` is the name in the team file of the service that answers now, to which `throttle` and `pricing` belong.
    """

    who: str
    service: str
    _: KW_ONLY
    emitter: RunEmitter
    control: RunControl
    steps: RecordedSteps
    throttle: Throttle = field(default_factory=Throttle)
    pricing: prices.Pricing | None = None
    changing: Collection[str] = ()
    """Plugins whose functions may be other ones later, and after a resume."""
    partial: str = field(default="", init=False)
    """What a call had brought that was stopped."""
    _made: Counter[str] = field(default_factory=Counter, init=False)  # by purpose

    @property
    def last_call(self) -> str:
        """The name in the log of the last call."""
        return f"{self.who}#{self._made.total() - 1}"

    async def exchange(self, request: ModelRequest, saved: int) -> ev.ModelCallFinished:
        """One model call: the recorded reply if there is one, else a live one.

        `saved` is how many characters less are sent than without a window.
        """
        self.partial = ""
        this = self._begin(request)
        recorded = self.steps.reply(this.name, this.request)
        self._emit_start(this, request, saved)
        if isinstance(recorded, ev.ModelCallFailed):
            if not self.steps.is_resumed:
                self.emitter.emit(recorded)
            raise ServiceError(
                recorded.error,
                service=this.service,
                status=recorded.status,
                fault=recorded.fault,
                retryable=recorded.retryable,
            )
        if recorded is not None:
            finished = replace(recorded, reused=True)
            if not self.steps.is_resumed:  # it was another run that paid
                finished = replace(finished, cost=0.0)
        else:
            finished = await self._live(this, request)
        self.control.tokens += tokens(finished)
        self.control.cost += self._spent(finished, request)
        self.emitter.emit(finished)
        await self.emitter.synced()
        return finished

    async def _live(self, this: CallInRun, request: ModelRequest) -> ev.ModelCallFinished:
        await self.emitter.synced()
        began = time.monotonic()
        connected: Any = request.service
        attempts = self._attempts(this, request)
        try:
            reply = await attempts.make(partial(connected.send, this, request))
        except BaseException as error:
            self.partial = attempts.reply.text
            self._emit_failure(this, error, time.monotonic() - began)
            raise
        return _finished(this, reply, time.monotonic() - began, self._cost(reply))

    def _cost(self, reply: Reply) -> float | None:
        if reply.cost is not None or self.pricing is None:
            return reply.cost
        return self.pricing(reply.usage)

    def _spent(self, finished: ev.ModelCallFinished, request: ModelRequest) -> float:
        if finished.cost is not None or self.pricing is None:
            return finished.cost or 0.0
        sent = characters(request.history.messages, self.emitter.redactor)
        return prices.estimate(self.pricing, finished.usage, sent=sent, text=finished.text)

    def _attempts(self, this: CallInRun, request: ModelRequest) -> Attempts:
        return Attempts(
            this,
            request,
            partial(Reply, this.name, partial(normalise, offered=function_names(request.call))),
            emitter=self.emitter,
            control=self.control,
            throttle=self.throttle,
        )

    def _begin(self, request: ModelRequest) -> CallInRun:
        """Numbers the call. Its request is redacted, as the log is."""
        call = request.call
        fixed = {"model": request.service.ai_model_id, "options": call.options, "tools": call.tools}
        asked: Request = json.loads(json.dumps(fixed, default=str))
        asked["messages"] = plain(request.history.messages)
        number, number_of_purpose = self._made.total(), self._made[call.purpose]
        self._made[call.purpose] += 1
        recorded = self.steps.tools(self.last_call)
        if recorded is not None and self._lasting(recorded) == self._lasting(asked["tools"]):
            asked["tools"] = recorded
        return CallInRun(
            name=self.last_call,
            who=self.who,
            purpose=call.purpose,
            service=self.service,
            number=number,
            number_of_purpose=number_of_purpose,
            request=self.emitter.redactor.value(asked),
        )

    def _lasting(self, tools: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """The tools without those of plugins that change."""
        return [tool for tool in tools if tool["function"]["name"].partition("-")[0] not in self.changing]

    def _emit_start(self, this: CallInRun, request: ModelRequest, saved: int) -> None:
        started = ev.ModelCallStarted(
            call=this.name,
            who=self.who,
            purpose=this.purpose,
            service=self.service,
            model=request.service.ai_model_id,
            characters=characters(request.history.messages, self.emitter.redactor),
            saved=saved,
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
                fault=getattr(error, "fault", ""),
                retryable=getattr(error, "retryable", False),
            )
        )


def function_names(call: ModelCall) -> list[str]:
    """The names of the functions on offer."""
    return [function.fully_qualified_name for function in call.functions]


def _finished(this: CallInRun, reply: Reply, seconds: float, cost: float | None) -> ev.ModelCallFinished:
    return ev.ModelCallFinished(
        call=this.name,
        who=this.who,
        purpose=this.purpose,
        seconds=seconds,
        usage=reply.usage,
        text=reply.text,
        tool_calls=reply.tool_calls(),
        finish_reason=reply.finish_reason,
        reasoning=reply.reasoning,
        cost=cost,
    )
