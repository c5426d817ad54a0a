"""What model calls took: sums of their tokens, and of the characters that context windows kept back."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypedDict

from magentic_kit.events import Usage


@dataclass
class ModelCall:
    """One call of a model; `saved` counts the characters that a window kept back from it."""

    who: str
    characters: int = 0
    saved: int = 0
    usage: Usage = field(default_factory=Usage)
    reused: bool = False


class Tally(TypedDict):
    """Calls and their tokens. A sum is of what is known, None if there were calls and none of them is known.

    `unknown_calls` counts calls whose tokens are unknown: the provider gave none, or they failed, or are under way.
    """

    calls: int
    prompt_tokens: int | None
    completion_tokens: int | None
    unknown_calls: int


class WindowSums(TypedDict):
    """Characters sent and kept back, and the share kept back in percent."""

    characters: int
    saved: int
    percent: int


def sum_known(counts: Iterable[int | None]) -> int | None:
    """The sum of the counts that are known; None if none is."""
    known = [number for number in counts if number is not None]
    return sum(known) if known else None


def tally(usages: Collection[Usage]) -> Tally:
    """The sums over calls."""
    if not usages:
        return Tally(calls=0, prompt_tokens=0, completion_tokens=0, unknown_calls=0)
    return Tally(
        calls=len(usages),
        prompt_tokens=sum_known(usage.prompt_tokens for usage in usages),
        completion_tokens=sum_known(usage.completion_tokens for usage in usages),
        unknown_calls=sum(None in (usage.prompt_tokens, usage.completion_tokens) for usage in usages),
    )


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
