"""What one run was, folded from its events; every view of a run reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from magentic_kit import events as ev
from magentic_kit.errors import LimitReached, RunCancelled
from magentic_kit.runlog.entries import Fault, ToolCall, Turn, ending_in_words, open_turn, remark_of
from magentic_kit.runlog.timeline import Timeline
from magentic_kit.runlog.usage import ModelCall, Tally, WindowSums, cost_text, tally, tokens_of, window_sums


@dataclass
class RunRecord:
    """One run. A log that breaks off is fine: `outcome` and `finished` stay empty, `seconds` None.

    `participants` has the manager and each agent by name: service, provider, model, an agent's tools;
    `model_calls` has all of them by the call's name.
    """

    run_id: str = ""
    team: str = ""
    task: str = ""
    inputs: dict[str, Any] = field(default_factory=dict)
    attachments: list[ev.Attachment] = field(default_factory=list)
    follows: str = ""
    outcome: str = ""
    reason: str = ""
    answer: str = ""
    value: Any = None
    error: ev.ErrorDetails | None = None
    notes: list[str] = field(default_factory=list)
    limit: tuple[str, str] | None = None
    started: str = ""
    finished: str = ""
    seconds: float | None = None
    config_hash: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    participants: dict[str, dict[str, Any]] = field(default_factory=dict)
    limits: ev.RunLimits = field(default_factory=ev.RunLimits)
    plans: list[ev.PlanCreated | ev.Replanned] = field(default_factory=list)
    plan_reviews: list[ev.PlanReviewed] = field(default_factory=list)
    tool_reviews: list[ev.ToolReviewed] = field(default_factory=list)
    rounds: list[ev.ProgressLedger] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    tool_calls: list[ToolCall] = field(default_factory=list)
    errors: list[Fault] = field(default_factory=list)
    retries: int = 0
    model_calls: dict[str, ModelCall] = field(default_factory=dict)
    timeline: Timeline = field(default_factory=Timeline)

    @classmethod
    def of(cls, events: Iterable[ev.AnyEvent]) -> RunRecord:
        """The record of `events`, given in the order of the log."""
        record = cls()
        for event in events:
            record.apply(event)
        return record

    @property
    def scripted(self) -> list[str]:
        """The participants whose replies come from a script and not from a model."""
        return [name for name, who in self.participants.items() if who.get("provider") == "scripted"]

    @property
    def stalls(self) -> int:
        """Rounds that stalled, over the whole run."""
        return sum(map(ev.stalled, self.rounds))

    @property
    def resets(self) -> int:
        """How often the manager planned anew because of stalls."""
        return sum(isinstance(plan, ev.Replanned) and plan.is_stalled for plan in self.plans)

    @property
    def usage(self) -> dict[str, Tally]:
        """The `Tally` of each participant."""
        return {who: self.tally_of(who) for who in self.participants}

    @property
    def totals(self) -> Tally:
        """The `Tally` of all participants together."""
        return tally(self.model_calls.values())

    @property
    def reused(self) -> Tally:
        """The `Tally` of the calls whose replies came from an earlier run."""
        return tally([call for call in self.model_calls.values() if call.reused])

    @property
    def tokens(self) -> int | None:
        """All tokens that are known; None if none are."""
        return tokens_of(self.totals)

    @property
    def cost_text(self) -> str:
        """What the run cost so far, as a footer shows it: empty if no price is known or nothing was paid."""
        sums = self.totals
        return cost_text(sums) if sums["cost"] else ""

    @property
    def windows(self) -> dict[str, WindowSums]:
        """The sums of each participant with a window, and of all of them in `total`."""
        calls = {who: self._calls_of(who) for who, info in self.participants.items() if info.get("context")}
        if calls:
            calls["total"] = [call for some in calls.values() for call in some]
        return {who: window_sums(some) for who, some in calls.items()}

    @property
    def ending(self) -> str:
        """One sentence on how the run ended."""
        words = ending_in_words(self.outcome, self.reason, self.limit, self.error)
        return " ".join([words, *self.notes])

    def to_dict(self) -> dict[str, Any]:
        """The content of result.json: what the events say, and what follows from it. Shares data with the record.

        `limit` is `[name, detail]`, `error` `{kind, message}`, both null if there was none; `plans`, `plan_reviews`,
        `tool_reviews` and `rounds` are the events as in the log, a round with `stalled`. `seconds` leaves out what
        `seconds_exclude` names: the time that people took to answer.
        """
        data = {"v": ev.VERSION} | ev.as_data(self)
        for name in ("plans", "plan_reviews", "tool_reviews", "rounds"):
            data[name] = [ev.to_dict(event) for event in data[name]]
        for judged, ledger in zip(data["rounds"], self.rounds, strict=True):
            judged["stalled"] = ev.stalled(ledger)
        for name in ("turns", "tool_calls", "errors"):
            data[name] = [ev.as_data(entry) for entry in data[name]]
        del data["model_calls"], data["timeline"]
        for name in ("usage", "totals", "windows", "reused", "stalls", "resets", "scripted"):
            data[name] = getattr(self, name)
        data["seconds_exclude"] = ["waiting for a person"]
        return data

    def apply(self, event: ev.AnyEvent) -> None:
        """Take in the next event. A piece of streamed text changes nothing."""
        if not event.logged:
            return
        self.timeline.apply(event)
        match event:
            case ev.RunStarted():
                self._start(event)
            case ev.PlanCreated() | ev.Replanned():
                self.plans.append(event)
            case ev.PlanReviewed():
                self.plan_reviews.append(event)
            case ev.ProgressLedger():
                self.rounds.append(event)
            case ev.LedgerRejected():
                self._fault(event, ev.MANAGER, "ledger", event.error)
            case ev.AnswerRejected():
                self._fault(event, ev.MANAGER, "answer", event.error)
            case ev.AgentStarted():
                self.turns.append(Turn(event.agent, event.round, event.instruction))
            case ev.AgentMessage():
                turn = open_turn(self.turns, event.agent, event.round)
                turn.text, turn.note = event.text, event.note
            case ev.LimitReached():
                self.limit = (event.limit, event.detail)
            case ev.RunFinished():
                self._finish(event)
            case ev.DialectFound() | ev.ServiceReplaced() | ev.ContextShortened() | ev.TextCallCorrected():
                self._fault(event, *remark_of(event))
            case _:
                self._apply_call(event)

    def _start(self, event: ev.RunStarted) -> None:
        self.run_id, self.team, self.task, self.inputs = event.run_id, event.team, event.task, event.inputs
        self.attachments, self.follows = event.attachments, event.follows
        self.config_hash, self.versions, self.limits = event.config_hash, event.versions, event.limits
        self.started, self.participants = event.time, {ev.MANAGER: event.manager, **event.agents}

    def _finish(self, event: ev.RunFinished) -> None:
        self.value = event.value
        self.outcome, self.reason, self.answer, self.error = event.outcome, event.reason, event.answer, event.error
        self.seconds, self.finished, self.notes = event.seconds, event.time, event.notes
        if event.error and all(event.error["message"] != fault.message for fault in self.errors):
            self._fault(event, "run", event.error["kind"], event.error["message"])

    def tally_of(self, who: str) -> Tally:
        """The `Tally` of one participant."""
        return tally(self._calls_of(who))

    def _calls_of(self, who: str) -> list[ModelCall]:
        return [call for call in self.model_calls.values() if call.who == who]

    def _apply_call(self, event: ev.AnyEvent) -> None:
        match event:
            case ev.ModelCallStarted():
                self.model_calls[event.call] = ModelCall(event.who, event.characters, event.saved)
            case ev.ModelCallRetried():
                self.retries += 1
            case ev.ModelCallFinished():
                call = self.model_calls.setdefault(event.call, ModelCall(event.who))
                call.usage, call.reused, call.cost = event.usage, event.reused, event.cost
                if event.reasoning and event.purpose == "turn" and self.turns:
                    turn = self.turns[-1]
                    turn.reasoning = "\n\n".join(filter(None, (turn.reasoning, event.reasoning)))
                if event.purpose == "summary" and not event.text.strip():
                    empty = "the summary was empty: messages were left out without one"
                    self._fault(event, event.who, "summary", empty)
            case ev.ModelCallFailed(kind=kind) if kind not in (RunCancelled.kind, LimitReached.kind):
                self._fault(event, event.who, kind, event.error)
            case ev.ToolReviewed():
                self.tool_reviews.append(event)
            case ev.ToolCallStarted():
                self.tool_calls.append(ToolCall(event.call, event.who, event.function, event.arguments))
            case ev.ToolCallFinished():
                self._end_tool_call(event, "ok", event.result, event.seconds)
            case ev.ToolCallFailed():
                self._end_tool_call(event, "failed", event.error, event.seconds)
                self._fault(event, event.who, "tool", f"{event.function}: {event.error}")
            case ev.ToolCallDenied():
                self._end_tool_call(event, "denied", event.reason)

    def _end_tool_call(
        self,
        event: ev.ToolCallFinished | ev.ToolCallFailed | ev.ToolCallDenied,
        status: str,
        result: str,
        seconds: float | None = None,
    ) -> None:
        call = next((c for c in self.tool_calls if c.call == event.call and c.status == "unfinished"), None)
        if call is None:  # a call may be denied before it starts
            call = ToolCall(event.call, event.who, event.function, getattr(event, "arguments", None))
            self.tool_calls.append(call)
        call.status, call.result, call.seconds = status, result, seconds

    def _fault(self, event: ev.AnyEvent, who: str, kind: str, message: str) -> None:
        self.errors.append(Fault(who, kind, message, event.time))


View: TypeAlias = Callable[[ev.AnyEvent, RunRecord], None]
"""Shows an event; the record already includes it. One that raises is logged and never harms the run."""
