"""Numbers of a run in words, alike wherever they are shown."""

from __future__ import annotations

from magentic_kit.runlog.record import RunRecord
from magentic_kit.text import count


def number_of(number: int, most: int | None) -> str:
    """A number and the limit on it, if there is one: `3` or `3/20`."""
    if most is None:
        return str(number)
    return f"{number}/{most}"


def tokens_text(record: RunRecord) -> str:
    """The tokens of a run: `1,200 tokens`, `at least 1,200 tokens` or `tokens unknown`."""
    if record.tokens is None:
        return "tokens unknown"
    if record.totals["unknown_calls"]:
        return f"at least {count(record.tokens, 'token')}"
    return count(record.tokens, "token")
