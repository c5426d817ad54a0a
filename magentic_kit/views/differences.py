"""What differs between two plans, line by line."""

from __future__ import annotations

from magentic_kit.text import printable

_MOST_COMPARED = 2_000  # lines of two plans; the time that a comparison takes may grow with their square


def changed_lines(old: str, new: str) -> str:
    """The lines of both plans, each after its mark: `+`, `-` or a blank; those of the new one if they are too many."""
    import difflib

    before, after = (printable(plan).strip("\n").split("\n") for plan in (old, new))
    changes: list[str] = []
    if len(before) + len(after) <= _MOST_COMPARED:
        changes = list(difflib.unified_diff(before, after, n=len(before), lineterm=""))[3:]
    if not changes:
        changes = [f" {line}" for line in after]
    return "\n".join(f"{line[0]} {line[1:]}" for line in changes)
