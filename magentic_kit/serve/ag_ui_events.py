"""The events of a run as those of AG-UI: steps, texts as they are written, function calls, state, and an ending."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal
from uuid import uuid4

from ag_ui.core import (
    BaseEvent,
    CustomEvent,
    Interrupt,
    ReasoningEndEvent,
    ReasoningMessageContentEvent,
    ReasoningMessageEndEvent,
    ReasoningMessageStartEvent,
    ReasoningStartEvent,
    RunErrorEvent,
    RunFinishedCancelledOutcome,
    RunFinishedEvent,
    RunFinishedInterruptOutcome,
    RunStartedEvent,
    StateSnapshotEvent,
    StepFinishedEvent,
    StepStartedEvent,
    TextMessageContentEvent,
    TextMessageEndEvent,
    TextMessageStartEvent,
    TokenUsage,
    ToolCallArgsEvent,
    ToolCallEndEvent,
    ToolCallResultEvent,
    ToolCallStartEvent,
)

from magentic_kit import events as ev
from magentic_kit.events import AnyEvent
from magentic_kit.runlog.result import RunResult
from magentic_kit.serve.questions import Question
from magentic_kit.serve.teams import Step
from magentic_kit.views.reply import ReplyStream, ending_data, reply_of

_AS_THEY_ARE = (
    ev.ProgressLedger,
    ev.LedgerRejected,
    ev.PlanReviewed,
    ev.ToolReviewed,
    ev.ModelCallRetried,
    ev.ServiceReplaced,
    ev.TeamProgress,
    ev.LimitReached,
)
"""Have no counterpart in AG-UI, and are sent as CUSTOM events by their type."""


class Translator:
    """Translates the steps of one run; an open text or step is ended before anything that may not stand inside."""

    def __init__(self, thread_id: str) -> None:
        self._thread_id = thread_id
        self._run_id = ""
        self._state: dict[str, Any] = {}
        self._open: tuple[Literal["text", "reasoning"], str, str] | None = None
        self._step = ""
        self._has_written = False  # whether the agent's turn has been streamed
        self._reply = ReplyStream()

    def begin(self, run_id: str) -> Iterator[BaseEvent]:
        """The start of a request's run; what a question has interrupted goes on where it was."""
        self._run_id = run_id
        yield RunStartedEvent(thread_id=self._thread_id, run_id=run_id)
        if self._state:
            yield StateSnapshotEvent(snapshot=dict(self._state))
        if self._step:
            yield StepStartedEvent(step_name=self._step)

    def translate(self, step: Step) -> Iterator[BaseEvent]:
        """The events of one step."""
        match step:
            case Question():
                yield from self._interrupt(step)
            case RunResult():
                yield from self._end(step)
            case ev.TextDelta(purpose="turn") | ev.ReasoningDelta(purpose="turn"):
                yield from self._delta(step)
            case ev.TextDelta(purpose="answer"):
                yield from self._write("text", ev.MANAGER, self._reply.piece(step))
            case ev.TextDelta() | ev.ReasoningDelta():
                pass  # the manager's steps are told by their events
            case _:
                yield from self._event(step)

    def _event(self, event: AnyEvent) -> Iterator[BaseEvent]:
        match event:
            case ev.PlanCreated() | ev.Replanned():
                yield self._snapshot(facts=event.facts, plan=event.plan, plan_version=event.version)
            case ev.ProgressLedger():
                yield self._snapshot(round=event.round, next_speaker=event.next_speaker.answer, stalls=event.stalls)
            case ev.AgentStarted():
                self._step, self._has_written = f"round {event.round}: {event.agent}", False
                yield StepStartedEvent(step_name=self._step)
            case ev.AgentMessage():
                if not self._has_written:
                    yield from self._write("text", event.agent, event.text)
                yield from self._end_text()
                yield StepFinishedEvent(step_name=self._step)
                self._step = ""
            case ev.ToolCallStarted():
                yield from self._call(event.call, event.function, event.arguments)
            case ev.ToolCallFinished():
                yield self._result(event.call, event.result)
            case ev.ToolCallFailed():
                yield self._result(event.call, f"Error: {event.error}")
            case ev.ToolCallDenied():
                yield from self._call(event.call, event.function, event.arguments or {})
                yield self._result(event.call, f"Denied: {event.reason}")
            case ev.LimitReached():
                self._reply.piece(event)
        if isinstance(event, _AS_THEY_ARE):
            yield CustomEvent(name=event.type, value=ev.as_data(event))

    def _snapshot(self, **changes: object) -> StateSnapshotEvent:
        self._state.update(changes)
        return StateSnapshotEvent(snapshot=dict(self._state))

    # -- texts

    def _delta(self, delta: ev.TextDelta | ev.ReasoningDelta) -> Iterator[BaseEvent]:
        kind: Literal["text", "reasoning"] = "reasoning"
        if isinstance(delta, ev.TextDelta):
            kind = "text"
            self._has_written = True
        yield from self._write(kind, delta.who, delta.text)

    def _write(self, kind: Literal["text", "reasoning"], who: str, text: str) -> Iterator[BaseEvent]:
        """A piece of a text, behind its start if it is the first."""
        if not text:
            return
        if self._open is None or self._open[:2] != (kind, who):
            yield from self._end_text()
            self._open = (kind, who, uuid4().hex)
            yield from self._start_text()
        message_id = self._open[2]
        if kind == "text":
            yield TextMessageContentEvent(message_id=message_id, delta=text)
        else:
            yield ReasoningMessageContentEvent(message_id=message_id, delta=text)

    def _start_text(self) -> Iterator[BaseEvent]:
        assert self._open is not None
        kind, who, message_id = self._open
        if kind == "text":
            yield TextMessageStartEvent(message_id=message_id, role="assistant", name=who)
        else:
            yield ReasoningStartEvent(message_id=message_id)
            yield ReasoningMessageStartEvent(message_id=message_id)

    def _end_text(self) -> Iterator[BaseEvent]:
        if self._open is None:
            return
        kind, _, message_id = self._open
        self._open = None
        if kind == "text":
            yield TextMessageEndEvent(message_id=message_id)
        else:
            yield ReasoningMessageEndEvent(message_id=message_id)
            yield ReasoningEndEvent(message_id=message_id)

    # -- function calls

    def _call(self, call: str, function: str, arguments: Mapping[str, Any]) -> Iterator[BaseEvent]:
        yield from self._end_text()
        written = json.dumps(dict(arguments), ensure_ascii=False, default=str)
        yield ToolCallStartEvent(tool_call_id=call, tool_call_name=function)
        yield ToolCallArgsEvent(tool_call_id=call, delta=written)
        yield ToolCallEndEvent(tool_call_id=call)

    def _result(self, call: str, text: str) -> ToolCallResultEvent:
        return ToolCallResultEvent(message_id=uuid4().hex, tool_call_id=call, content=text, role="tool")

    # -- endings

    def _close(self) -> Iterator[BaseEvent]:
        yield from self._end_text()
        if self._step:
            yield StepFinishedEvent(step_name=self._step)

    def _interrupt(self, question: Question) -> Iterator[BaseEvent]:
        yield from self._close()
        interrupt = Interrupt(
            id=question.id, reason=question.kind, message=question.text, response_schema=question.schema
        )
        outcome = RunFinishedInterruptOutcome(interrupts=[interrupt])
        yield RunFinishedEvent(thread_id=self._thread_id, run_id=self._run_id, outcome=outcome)

    def _end(self, result: RunResult) -> Iterator[BaseEvent]:
        if result.outcome in ("satisfied", "limited"):
            yield from self._write("text", ev.MANAGER, self._reply.piece(result))
        yield from self._close()
        usage, ending = _usage(result), ending_data(result)
        if result.outcome in ("limited", "rejected", "failed"):
            message = reply_of(result).partition("\n")[0]
            yield RunErrorEvent(message=message, code=result.outcome, usage=usage, metadata=ending)
            return
        outcome = None
        if result.outcome == "cancelled":
            outcome = RunFinishedCancelledOutcome()
        yield RunFinishedEvent(
            thread_id=self._thread_id,
            run_id=self._run_id,
            outcome=outcome,
            result={"answer": result.answer},
            usage=usage,
            metadata=ending,
        )


def _usage(result: RunResult) -> list[TokenUsage] | None:
    if result.tokens is None:
        return None
    return [
        TokenUsage(
            input_tokens=result.prompt_tokens,
            output_tokens=result.completion_tokens,
            total_tokens=result.tokens,
            cached_input_tokens=result.record.totals["cached_tokens"],
        )
    ]
