"""What model calls took: sums of their tokens and costs, and of the characters that context windows kept back."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypedDict, TypeVar

from magentic_kit.events import Usage
from magentic_kit.text import count, money

_N = TypeVar("_N", int, float)


@dataclass
class ModelCall:
    """One call of a model; `saved` counts the characters that a window kept back from it, `cost` is in US dollars."""

    who: str
    characters: int = 0
    saved: int = 0
    usage: Usage = field(default_factory=Usage)
    reused: bool = False
    cost: float | None = None


class Tally(TypedDict):
    """Calls, their tokens and their cost. A sum is of what is known, None if none of the calls there were is known.

    `unknown_calls` counts calls whose tokens are unknown: the provider gave none, or they failed, or are under way.
    `cached_tokens` are a part of `prompt_tokens`; `cost` is in US dollars, and `unknown_costs` counts calls that it
    leaves out, also since their model's price is unknown.
    """

    calls: int
    prompt_tokens: int | None
    completion_tokens: int | None
    unknown_calls: int
    cached_tokens: int | None
    cost: float | None
    unknown_costs: int


class WindowSums(TypedDict):
    """Characters sent and kept back, and the share kept back in percent."""

    characters: int
    saved: int
    percent: int


def sum_known(counts: Iterable[_N | None]) -> _N | None:
    """The sum of the counts that are known; None if none is."""
    known = [number for number in counts if number is not None]
    if known:
        return sum(known)
    return None


def tally(calls: Collection[ModelCall]) -> Tally:
    """The sums over calls."""
    usages = [call.usage for call in calls] or [Usage(prompt_tokens=0, completion_tokens=0, cached_tokens=0)]
    return Tally(
        calls=len(calls),
        prompt_tokens=sum_known(usage.prompt_tokens for usage in usages),
        completion_tokens=sum_known(usage.completion_tokens for usage in usages),
        unknown_calls=sum(None in (usage.prompt_tokens, usage.completion_tokens) for usage in usages),
        cached_tokens=sum_known(usage.cached_tokens for usage in usages),
        cost=sum_known(call.cost for call in calls) if calls else 0.0,
        unknown_costs=sum(call.cost is None for call in calls),
    )


def cost_text(sums: Tally) -> str:
    """The cost in words: `$0.0042`, `at least $0.0042 (2 calls of unknown cost)`, or `unknown`."""
    if sums["cost"] is None:
        return "unknown"
    if not sums["unknown_costs"]:
        return money(sums["cost"])
    return f"at least {money(sums['cost'])} ({count(sums['unknown_costs'], 'call')} of unknown cost)"


def tokens_of(sums: Tally) -> int | None:
    """Prompt and completion tokens together; None if both are unknown."""
    return sum_known((sums["prompt_tokens"], sums["completion_tokens"]))


def window_sums(calls: Collection[ModelCall]) -> WindowSums:
    """The sums over calls of what a window sent and kept back."""
    sent = sum(call.characters for call in calls)
    saved = sum(call.saved for call in calls)
    return WindowSums(characters=sent, saved=saved, percent=round(100 * saved / max(1, sent + saved)))


def savings(windows: Mapping[str, WindowSums]) -> str:
    """One sentence on what windows saved, from the sums of each participant and their `total`; empty without any."""
    if not windows:
        return ""
    total = windows["total"]
    parts = ", ".join(f"{who} {sums['percent']} %" for who, sums in windows.items() if who != "total")
    shares = f"Windows kept back {total['percent']} % of the characters ({parts})"
    return f"{shares}: {total['characters']} were sent, {total['saved']} were not."
