"""The answer of a run, drawn for a person below a rule."""

from __future__ import annotations

from typing import TextIO

from rich.console import Console as Screen
from rich.rule import Rule
from rich.segment import Segment, SegmentLines

from magentic_kit.text import printable
from magentic_kit.views.markdown import markdown


def draw_answer(answer: str, stream: TextIO) -> None:
    """Draws the answer's Markdown; nothing in it but text and our own styles."""
    screen = Screen(file=stream, force_terminal=True, markup=False, emoji=False, highlight=False)
    lines = screen.render_lines(markdown(printable(answer)), pad=False)
    clean = [[Segment(printable(part.text), part.style) for part in line] for line in lines]
    screen.print()
    screen.print(Rule(style="dim"))
    screen.print(SegmentLines(clean, new_lines=True), end="")
