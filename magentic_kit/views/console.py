"""Live progress of a run for a person, in plain lines; `magentic_kit.views.live` draws it on a terminal.

What models, tools and users wrote is data: never markup, never a control sequence. Text of several lines
is always indented, so that a line at the margin is ours and no model can fake one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO, TypeAlias

from magentic_kit import events as ev
from magentic_kit.errors import LimitReached, RunCancelled
from magentic_kit.runlog.entries import ToolCall
from magentic_kit.runlog.record import RunRecord
from magentic_kit.text import count, duration, one_line
from magentic_kit.views.differences import changed_lines
from magentic_kit.views.lines import Lines
from magentic_kit.views.wording import number_of, tokens_text

Clock: TypeAlias = Callable[[], float]


class Console(Lines):
    """Lines without control codes, and agents' text as it comes."""

    def __init__(
        self,
        stream: TextIO,
        *,
        verbosity: str = "normal",
        show_reasons: bool = True,
        announced: str = "",
        clock: Clock = time.time,
    ) -> None:
        super().__init__(stream)
        self._verbosity, self._reasons, self._clock = verbosity, show_reasons, clock
        self._record = RunRecord()
        self._streamed = False  # whether this turn's text was shown as it came
        self._announced = announced  # the line that stands there already
        self._later: list[tuple[ev.AnyEvent, RunRecord]] | None = None  # what happens while a person is asked

    def __call__(self, event: ev.AnyEvent, record: RunRecord) -> None:
        """Shows what happened; while a person is asked, afterwards, so that nothing stands beside the question."""
        if self._later is None:
            self._show(event, record)
        else:
            self._later.append((event, record))

    def _show(self, event: ev.AnyEvent, record: RunRecord) -> None:
        self._record = record
        match event:
            case ev.RunStarted():
                if self._announced != (head := f"{event.team}: {event.task}"):
                    self._line(head, "bold")
                if names := ", ".join(self._record.scripted):
                    self._line(f"scripted replies: no model is called for {names}", "yellow")
            case ev.PlanCreated() | ev.Replanned():
                self._plan(event)
            case ev.ProgressLedger():
                self._ledger(event)
            case ev.LimitReached():
                self._line(f"limit {event.limit}: {event.detail}", "yellow")
            case ev.RunFinished():
                self._finish(event)
            case ev.TeamProgress() if self._verbosity != "quiet":
                self._line(f"│ {event.team}: {event.text}", "dim", fold=True)
            case ev.AgentStarted() | ev.TextDelta() | ev.AgentMessage() if self._verbosity != "quiet":
                self._turn(event)
            case _:
                self._show_call(event)

    @contextmanager
    def waiting(self, reason: str) -> Iterator[None]:
        """Shows on a terminal what is waited for, before the run's first event."""
        yield

    def close(self) -> None:
        """Ends the output; may be called again."""
        self._end_text()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leaves the terminal to somebody who asks a person."""
        self._end_text()
        later = self._later = []
        try:
            yield
        finally:
            self._later = None
            for event, record in later:
                self._show(event, record)

    def shows_all_of(self, plan: str) -> bool:
        """Whether a plan, as it was shown, has every character of its source, where no line can pass for ours."""
        return False

    def _plan(self, event: ev.PlanCreated | ev.Replanned) -> None:
        if self._verbosity == "full":
            self._section(f"facts {event.version}", event.facts)
        if isinstance(event, ev.PlanCreated):
            return self._section(f"plan {event.version}", event.plan)
        old, new = (self._record.plans[-2:] * 2)[:2]
        title = f"plan {event.version}, because {event.reason or 'of stalls'}"
        self._section(title, changed_lines(old.plan, new.plan), changed=True)

    def _turn(self, event: ev.AgentStarted | ev.TextDelta | ev.AgentMessage) -> None:
        match event:
            case ev.AgentStarted():
                self._streamed = False
                self._line(f"── {event.agent} ──", "bold magenta")
            case ev.TextDelta(purpose="turn"):
                self._streamed = True
                self._text(event.text)
            case ev.AgentMessage():
                if not self._streamed:
                    self._text(event.text)
                if event.note:
                    self._line(f"{event.agent}: {event.note}", "yellow")
                self._end_text()

    def _show_call(self, event: ev.AnyEvent) -> None:
        match event:
            case ev.PlanReviewed():
                self._line(f"plan {event.version}: {event.decision} {event.feedback}", "cyan")
            case ev.ToolReviewed():
                self._line(f"{event.who} may call {event.function}: {event.decision} {event.reason}", "cyan")
            case ev.RunResumed():
                self._line("── what was done before ends here; now live ──", "bold")
            case ev.DialectFound():
                form = f"{event.service} refuses a form of request: {event.name} from now on"
                self._line(f"{form} (advice: services.{event.service}.dialect)", "yellow")
            case ev.ServiceReplaced():
                self._line(f"{event.by} answers in place of {event.service}: {event.error}", "yellow")
            case ev.ContextShortened():
                self._line(f"{event.who}: too long for the model, {event.left_out} messages are left out", "yellow")
            case ev.FunctionsLeftOut():
                self._line(f"{event.plugin}: {len(event.reasons)} left out, such as {event.reasons[0]}", "yellow")
            case ev.FunctionsChanged():
                changed = " ".join([*(f"+{name}" for name in event.added), *(f"-{name}" for name in event.removed)])
                self._line(f"{event.plugin}: its functions have changed: {one_line(changed, 200)}", "dim")
            case ev.ServerMessage() if self._verbosity == "full":
                self._line(f"{event.plugin}: {event.level}: {event.text}", "dim")
            case ev.TextCallCorrected():
                names = ", ".join(one_line(name, 60) for name in event.functions)
                self._line(f"{event.who}: wrote calls as text ({names}) and is asked to call by the API", "yellow")
            case ev.ModelCallFinished() if event.reasoning and self._verbosity != "quiet":
                self._reasoning(event)
            case ev.LedgerRejected():
                self._line(f"manager: reply {event.attempt} is no progress ledger: {event.error}", "yellow")
            case ev.ModelCallRetried():
                failed = f"{event.who}: attempt {event.attempt} failed: {event.error}"
                self._line(f"{failed}; trying again in {duration(event.wait)}", "yellow")
            case ev.ModelCallFailed(kind=kind) if kind not in (RunCancelled.kind, LimitReached.kind):
                self._line(f"{event.who}: the model call failed: {event.error}", "red")
            case ev.ToolCallFinished() | ev.ToolCallFailed() | ev.ToolCallDenied():
                self._tool(next(c for c in reversed(self._record.tool_calls) if c.call == event.call))

    def _reasoning(self, event: ev.ModelCallFinished) -> None:
        if self._verbosity == "full":
            self._line(f"{event.who} thought:", "dim")
            self._verbatim(event.reasoning)
        else:
            self._line(f"{event.who} thought: {one_line(event.reasoning, 200)}", "dim", fold=True)

    def _finish(self, event: ev.RunFinished) -> None:
        record = self._record
        for call in record.tool_calls:
            if call.status == "unfinished":
                self._tool(call)
        if record.errors and record.errors[-1].who == "run":  # else it was shown when it happened
            self._line(f"error: {record.errors[-1].message}", "red")
        parts = [count(len(record.turns), "round"), count(record.stalls, "stall"), count(record.resets, "reset")]
        parts += [tokens_text(record), *filter(None, [record.cost_text]), duration(event.seconds)]
        outcome = f"{event.outcome} ({event.reason})" if event.reason else event.outcome
        self._line(f"run {outcome}: {', '.join(parts)}", f"bold {'green' if outcome == 'satisfied' else 'yellow'}")
        for note in event.notes:
            self._line(note, "yellow")

    def _ledger(self, event: ev.ProgressLedger) -> None:
        satisfied, moving = event.is_request_satisfied, event.is_progress_being_made
        most = self._record.limits.max_rounds
        over = most is not None and event.round > most
        where = f"round {number_of(event.round, most)}"
        judged = [self._because("progress" if moving.answer is True else "no progress", moving)]
        if event.is_in_loop.answer is True:
            judged.append(self._because("in a loop", event.is_in_loop))
        if ev.stalled(event):
            judged.append(f"stall {number_of(event.stalls, self._record.limits.max_stalls)}")
        if satisfied.answer is True:
            judged, where = [self._because("satisfied", satisfied)], f"after {count(len(self._record.turns), 'round')}"
        judged += [f"{event.attempts} replies"] * (event.attempts > 1) + ["repaired"] * event.repaired
        then = ("", "")
        if not over and satisfied.answer is not True:
            then = one_line(str(event.next_speaker.answer)), one_line(str(event.instruction_or_question.answer), 400)
        self._row("after the last round" if over else where, *then, ", ".join(judged), alarm=ev.stalled(event))
        if self._verbosity == "full" and self._reasons:
            reasons: dict[str, list[str]] = {}
            for name, answer in vars(event).items():
                if isinstance(answer, ev.Judgement) and answer.reason:
                    about = name.removeprefix("is_").replace("_", " ")
                    reasons.setdefault(one_line(answer.reason), []).append(about)
            for reason, abouts in reasons.items():
                self._verbatim(f"{', '.join(abouts)}: {reason}")

    def _because(self, state: str, judgement: ev.Judgement) -> str:
        shown = judgement.reason and self._reasons and self._verbosity != "full"
        if shown:
            return f"{state} ({one_line(judgement.reason, 200)})"
        return state

    def _tool(self, call: ToolCall) -> None:
        style = "dim" if call.status == "ok" else "yellow"
        ended = {"ok": "", "unfinished": " did not finish"}.get(call.status, f" {call.status}")
        took = "" if call.seconds is None else f" ({duration(call.seconds)})"
        if self._verbosity == "full":
            self._line(f"tool: {call.function}{ended}{took}", style)
            given = json.dumps(call.arguments or {}, ensure_ascii=False, default=str, indent=2)
            return self._verbatim(f"{given}\n→ {call.result}" if call.result else given)
        if self._verbosity == "quiet" and call.status == "ok":
            return None
        pairs = (f"{k}={json.dumps(v, ensure_ascii=False, default=str)}" for k, v in (call.arguments or {}).items())
        given = one_line(", ".join(pairs).replace("\\n", " "), max(self._width() // 2 - 10, 20))
        head = f"tool: {one_line(call.function, 60)}({given}){ended}{took}"
        head += {"ok": " → ", "unfinished": ""}.get(call.status, ": ")
        return self._line(head + one_line(call.result, max(self._width() - len(head), 10)), style, fold=True)


class QuietConsole(Console):
    """Shows nothing."""

    def __call__(self, event: ev.AnyEvent, record: RunRecord) -> None:
        """Shows nothing."""
