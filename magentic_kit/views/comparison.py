"""Two runs side by side: their figures, and what differs in plans, rounds and answers, as lines of text."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from magentic_kit.runlog.record import RunRecord
from magentic_kit.runlog.usage import cost_text
from magentic_kit.text import duration, one_line, printable

_MOST_COMPARED = 2_000  # lines of two texts; the time that a comparison takes may grow with their square


def comparison(before: RunRecord, after: RunRecord) -> Iterator[str]:
    """Yields the lines: figures of both runs, then for plan, rounds and answer a unified diff, or that they agree.

    A line of a text begins with `-`, `+` or a space, so that none passes for one of ours.
    """
    yield from _table(figures(before), figures(after))
    texts = (
        ("plan", _plan(before), _plan(after)),
        ("rounds", _rounds(before), _rounds(after)),
        ("answer", _lines(before.answer), _lines(after.answer)),
    )
    for name, old, new in texts:
        yield ""
        yield from _difference(name, old, new)


def figures(record: RunRecord) -> dict[str, str]:
    """The figures of a run in words, by what they count."""
    outcome = record.outcome or "unfinished"
    tokens, cached = record.tokens, record.totals["cached_tokens"]
    return {
        "run": one_line(record.run_id),
        "team": one_line(record.team, 40),
        "task": one_line(record.task, 40),
        "outcome": one_line(f"{outcome} ({record.reason})" if record.reason else outcome, 40),
        "rounds": str(len(record.turns)),
        "stalls": str(record.stalls),
        "resets": str(record.resets),
        "model calls": f"{record.totals['calls']:,}",
        "tool calls": f"{len(record.tool_calls):,}",
        "tokens": _number(tokens),
        "of these cached": _number(cached),
        "cost": cost_text(record.totals),
        "time": "unknown" if record.seconds is None else duration(record.seconds),
    }


def _table(before: dict[str, str], after: dict[str, str]) -> Iterator[str]:
    """Lines with a mark where the values differ."""
    names, values = max(map(len, before)), max(map(len, before.values()))
    for name, old in before.items():
        mark = " " if old == after[name] else "!"
        yield f"{mark} {name:{names}}  {old:{values}}  {after[name]}".rstrip()


def _difference(name: str, old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    if old == new:
        yield f"{name}: the same"
    elif len(old) + len(new) > _MOST_COMPARED:
        yield f"{name}: {len(old):,} lines became {len(new):,}, too many to compare"
    else:
        yield f"{name}:"
        yield from [*difflib.unified_diff(old, new, n=2, lineterm="")][2:]


def _plan(record: RunRecord) -> list[str]:
    """The lines of the last plan."""
    if record.plans:
        return _lines(record.plans[-1].plan)
    return []


def _rounds(record: RunRecord) -> list[str]:
    """A line a turn: who was asked what."""
    return [one_line(f"{turn.round}. {turn.agent}: {turn.instruction}") for turn in record.turns]


def _lines(text: str) -> list[str]:
    return printable(text).strip("\n").split("\n")


def _number(count: int | None) -> str:
    if count is None:
        return "unknown"
    return f"{count:,}"
