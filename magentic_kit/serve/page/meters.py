"""How near a run is to its limits, and what it does just now, in words."""

from __future__ import annotations

from dataclasses import dataclass

from magentic_kit import events as ev
from magentic_kit.runlog.record import RunRecord
from magentic_kit.text import duration, money

_DOING = {
    "facts": "gathers the facts",
    "plan": "makes the plan",
    "ledger": "judges the progress",
    "answer": "writes the answer",
    "turn": "is at work",
    "summary": "sums up the conversation",
}


@dataclass(frozen=True)
class Meter:
    """A limit, and how much of it is used: in words, and as a number of 0 to 100."""

    name: str
    used: str
    percent: int

    @property
    def is_near(self) -> bool:
        """Whether the limit is about to end the run."""
        return self.percent >= 80


def meters_of(record: RunRecord, seconds: float | None) -> list[Meter]:
    """Returns the limits that a run of this many seconds uses up."""
    limits, totals = record.limits, record.totals
    meters = []
    if limits.max_rounds:
        rounds = record.rounds[-1].round if record.rounds else 0
        meters.append(_meter("Rounds", rounds, limits.max_rounds, f"{rounds} of {limits.max_rounds}"))
    if limits.max_resets:
        meters.append(_meter("Resets", record.resets, limits.max_resets, f"{record.resets} of {limits.max_resets}"))
    if limits.max_tokens:
        tokens = record.tokens or 0
        meters.append(_meter("Tokens", tokens, limits.max_tokens, f"{tokens:,} of {limits.max_tokens:,}"))
    if limits.max_cost:
        cost = totals["cost"] or 0.0
        meters.append(_meter("Cost", cost, limits.max_cost, f"{money(cost)} of {money(limits.max_cost)}"))
    if limits.deadline and seconds is not None:
        used = f"{duration(float(int(seconds)))} of {duration(limits.deadline)}"
        meters.append(_meter("Time", seconds, limits.deadline, used))
    return meters


def phase_of(event: ev.AnyEvent) -> str:
    """Says what the run does after this event; nothing if that has not changed."""
    match event:
        case ev.ModelCallStarted(who=who, purpose=purpose):
            return f"{who} {_DOING.get(purpose, 'thinks')}."
        case ev.ModelCallRetried(who=who, wait=wait, error=error):
            return f"{who} waits {duration(wait)} and asks again: {error}"
        case ev.ToolCallStarted(who=who, function=function):
            return f"{who} calls {function}."
        case ev.ToolCallFinished(who=who) | ev.ToolCallFailed(who=who) | ev.ToolCallDenied(who=who):
            return f"{who} is at work."
        case ev.LimitReached(limit=limit):
            return f"The limit {limit} ends the run; the best answer there is gets written."
    return ""


def _meter(name: str, used: float, most: float, words: str) -> Meter:
    return Meter(name, words, min(round(100 * used / most), 100))
