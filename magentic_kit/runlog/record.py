"""What one run was, folded from its events; everything that is told about a run comes from here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

from magentic_kit import events as ev
from magentic_kit.errors import LimitReached, RunCancelled
from magentic_kit.runlog.timeline import Timeline


@dataclass
class Turn:
    """What an agent was asked and said; `note` is `unfinished` until the turn has ended."""

    agent: str
    round: int
    instruction: str = ""
    text: str = ""
    note: str = "unfinished"


@dataclass
class ToolCall:
    """One call of a function; `status` is `ok`, `failed`, `denied` or `unfinished`.

    `result` is what the model was told: the result, the error or the reason of the refusal.
    `arguments` is None where the log does not have them, `seconds` if the call did not run to an end.
    """

    call: str
    who: str
    function: str
    arguments: dict[str, Any] | None = None
    status: str = "unfinished"
    result: str = ""
    seconds: float | None = None


@dataclass
class ModelCall:
    """One call of a model; `saved` counts the characters that a window kept back from it."""

    who: str
    characters: int = 0
    saved: int = 0
    usage: ev.Usage = field(default_factory=ev.Usage)
    reused: bool = False


@dataclass(frozen=True)
class Fault:
    """Something that went wrong, whether or not the run got over it."""

    who: str
    kind: str
    message: str
    time: str


def stalled(ledger: ev.ProgressLedger) -> bool:
    """Whether the round that `ledger` judges counts as a stall."""
    moving = ledger.is_progress_being_made.answer is True and ledger.is_in_loop.answer is not True
    return ledger.is_request_satisfied.answer is not True and not moving


def tally(calls: Collection[ev.Usage]) -> dict[str, int | None]:
    """Calls and their tokens. A sum is of what is known, None if there were calls and all are unknown.

    `unknown_calls` counts calls whose tokens nobody told: no usage given, failed, or under way.
    """
    sums: dict[str, int | None] = {"calls": len(calls)}
    for name in ("prompt_tokens", "completion_tokens"):
        known = [tokens for usage in calls if (tokens := getattr(usage, name)) is not None]
        sums[name] = sum(known) if known or not calls else None
    unknown = sum(usage.prompt_tokens is None or usage.completion_tokens is None for usage in calls)
    return {**sums, "unknown_calls": unknown}


def _window(calls: Collection[ModelCall]) -> dict[str, int]:
    sent, saved = sum(call.characters for call in calls), sum(call.saved for call in calls)
    return {"characters": sent, "saved": saved, "percent": round(100 * saved / max(1, sent + saved))}


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
    outcome: str = ""
    reason: str = ""
    answer: str = ""
    error: dict[str, str] | None = None
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
        return sum(map(stalled, self.rounds))

    @property
    def resets(self) -> int:
        """How often the manager planned anew because of stalls."""
        return sum(isinstance(plan, ev.Replanned) and plan.is_stalled for plan in self.plans)

    @property
    def reused(self) -> dict[str, int | None]:
        """The `tally` of the calls whose replies came from an earlier run."""
        return tally([call.usage for call in self.model_calls.values() if call.reused])

    @property
    def usage(self) -> dict[str, dict[str, int | None]]:
        """The `tally` of each participant."""
        return {who: tally([call.usage for call in self._calls_of(who)]) for who in self.participants}

    @property
    def totals(self) -> dict[str, int | None]:
        """The `tally` of all participants together."""
        return tally([call.usage for call in self.model_calls.values()])

    @property
    def windows(self) -> dict[str, dict[str, int]]:
        """Of each participant with a window, and in `total`: characters sent and saved, and the percentage saved."""
        calls = {who: self._calls_of(who) for who, seat in self.participants.items() if seat.get("context")}
        calls |= {"total": [call for some in calls.values() for call in some]} if calls else {}
        return {who: _window(some) for who, some in calls.items()}

    @property
    def saving(self) -> str:
        """One sentence on what the windows saved; empty if there is none."""
        parts = [f"{who} {sums['percent']} %" for who, sums in self.windows.items() if who != "total"]
        total = self.windows.get("total", {})
        told = "Windows kept back {percent} % of the characters ({parts}): {characters} were sent, {saved} were not."
        return told.format(parts=", ".join(parts), **total) if parts else ""

    @property
    def ending(self) -> str:
        """One sentence on how the run ended."""
        limit, detail = self.limit or (self.reason, "")
        error = self.error or {}
        ending = {
            "satisfied": "The manager judged the request satisfied.",
            "limited": f"A limit ended the run: {limit}{f' ({detail})' if detail else ''}.",
            "rejected": f"A person rejected the plan{f': {self.reason}' if self.reason else ''}.",
            "cancelled": "The run was cancelled.",
            "failed": f"The run failed ({error.get('kind')}): {error.get('message')}",
        }.get(self.outcome, "The log breaks off: the process ended before the run did.")
        return " ".join([ending, *self.notes])

    def to_dict(self) -> dict[str, Any]:
        """The content of result.json: this class's fields in their order, and what follows from them.

        `limit` is `[name, detail]`, `error` `{kind, message}`, both null if there was none; `plans`, `plan_reviews`,
        `tool_reviews` and `rounds` are the events as in the log, a round with `stalled`.
        """
        data = {"v": ev.VERSION, **asdict(self)}
        for name in ("plans", "plan_reviews", "tool_reviews"):
            data[name] = [ev.to_dict(event) for event in getattr(self, name)]
        data["rounds"] = [{**ev.to_dict(ledger), "stalled": stalled(ledger)} for ledger in self.rounds]
        del data["model_calls"], data["timeline"]
        derived = ("usage", "totals", "windows", "reused", "stalls", "resets", "scripted")
        return {**data, **{name: getattr(self, name) for name in derived}}

    def apply(self, event: ev.AnyEvent) -> None:
        """Take in the next event."""
        self.timeline.apply(event)
        match event:
            case ev.RunStarted():
                self._copy(event, "run_id", "team", "task", "inputs", "config_hash", "versions", "limits")
                self.started, self.participants = event.time, {ev.MANAGER: event.manager, **event.agents}
            case ev.PlanCreated() | ev.Replanned():
                self.plans.append(event)
            case ev.PlanReviewed():
                self.plan_reviews.append(event)
            case ev.ProgressLedger():
                self.rounds.append(event)
            case ev.LedgerRejected():
                self._fault(event, ev.MANAGER, "ledger", event.error)
            case ev.AgentStarted():
                self.turns.append(Turn(event.agent, event.round, event.instruction))
            case ev.AgentMessage():
                if not self.turns or self.turns[-1].note != "unfinished":
                    self.turns.append(Turn(event.agent, event.round))
                self.turns[-1].text, self.turns[-1].note = event.text, event.note
            case ev.LimitReached():
                self.limit = (event.limit, event.detail)
            case ev.RunFinished():
                self._copy(event, "outcome", "reason", "answer", "error", "seconds", "notes")
                self.finished = event.time
                if event.error and all(event.error["message"] != fault.message for fault in self.errors):
                    self._fault(event, "run", event.error["kind"], event.error["message"])
            case ev.DialectFound():
                message = f"services.{event.service} takes another form of request: {event.name} ({event.refusal})"
                self._fault(event, event.service, "dialect", message)
            case ev.ServiceReplaced():
                message = f"from here on the service '{event.by}' answers in place of '{event.service}'"
                self._fault(event, event.who, "fallback", message)
            case ev.ContextShortened():
                message = f"{event.call} was too long: repeated without {event.left_out} messages; set `context:`"
                self._fault(event, event.who, "context", message)
            case ev.TextCallCorrected():
                message = f"{event.call} wrote calls as text: {', '.join(event.functions)}"
                self._fault(event, event.who, "text call", message)
            case _:
                self._apply_call(event)

    def _apply_call(self, event: ev.AnyEvent) -> None:
        match event:
            case ev.ModelCallStarted():
                self.model_calls[event.call] = ModelCall(event.who, event.characters, event.saved)
            case ev.ModelCallRetried():
                self.retries += 1
            case ev.ModelCallFinished():
                call = self.model_calls.setdefault(event.call, ModelCall(event.who))
                call.usage, call.reused = event.usage, event.reused
                if event.purpose == "summary" and not event.text.strip():
                    self._fault(
                        event, event.who, "summary", "the summary was empty: messages were left out without one"
                    )
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

    def _calls_of(self, who: str) -> list[ModelCall]:
        return [call for call in self.model_calls.values() if call.who == who]

    def _end_tool_call(self, event: Any, status: str, result: str, seconds: float | None = None) -> None:
        call = next((c for c in self.tool_calls if c.call == event.call and c.status == "unfinished"), None)
        if call is None:  # a call may be denied before it starts
            self.tool_calls.append(call := ToolCall(event.call, event.who, event.function))
        call.status, call.result, call.seconds = status, result, seconds

    def _fault(self, event: ev.AnyEvent, who: str, kind: str, message: str) -> None:
        self.errors.append(Fault(who, kind, message, event.time))

    def _copy(self, event: ev.AnyEvent, *names: str) -> None:
        for name in names:
            setattr(self, name, getattr(event, name))


View: TypeAlias = Callable[[ev.AnyEvent, RunRecord], None]
"""Shows an event; the record already includes it."""
