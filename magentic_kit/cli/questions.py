"""What a person is asked: a plan or a call in a frame of ours, shortened to the screen, and the whole of it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from magentic_kit.team.people import HumanTurn, PlanReviewRequest, ToolReviewRequest
from magentic_kit.text import count, one_line
from magentic_kit.views.framed import ASCII, UNICODE, Marks, framed, shortened, visible

_BESIDE = 8  # rows of the screen that the question itself needs


@dataclass(frozen=True)
class Question:
    """A question as it fits the screen, and the `whole` of it, the same if nothing is left out."""

    short: str
    whole: str


@dataclass(frozen=True)
class Page:
    """The terminal on which questions stand."""

    columns: int
    rows: int
    marks: Marks

    @classmethod
    def of_stderr(cls) -> Page:
        """The terminal of standard error as it is now; 80 columns and 24 rows if it does not say."""
        columns, rows = 0, 0
        if sys.stderr.isatty():
            columns, rows = os.get_terminal_size(sys.stderr.fileno())
        marks = UNICODE
        if "utf" not in (sys.stderr.encoding or "").lower():
            marks = ASCII
        return cls(columns or 80, rows or 24, marks)

    def framed(self, text: str, indent: str = "") -> list[str]:
        """Others' text in rows that no text can leave."""
        return framed(text, self.columns, indent=indent, marks=self.marks)

    def line(self, text: str) -> str:
        """Others' text within a line of ours."""
        return visible(one_line(text, 60), self.marks)

    def question(self, head: str, whole: list[list[str]], short: list[list[str]] | None = None) -> Question:
        """A question over blocks of rows, each block cut to its share of the screen."""
        blocks = short or whole
        room = max(self.rows - _BESIDE, 4)
        if sum(map(len, blocks)) > room:
            share = room // len(blocks)
            blocks = [shortened(block, share) for block in blocks]
        return Question(_text(head, blocks), _text(head, whole))


def call_question(request: ToolReviewRequest, page: Page) -> Question:
    """Asks about a call: one argument a line, what would change in a file as a difference."""
    head = f"{page.line(request.agent)} wants to call {page.line(request.function)}"
    if not request.arguments:
        return page.question(f"{head} without arguments", [])
    whole = [_argument(name, value, page) for name, value in request.arguments.items()]
    short = [
        _argument(name, value, page, change=request.changes.get(name, "")) for name, value in request.arguments.items()
    ]
    return page.question(f"{head}:", whole, short)


def plan_question(request: PlanReviewRequest, page: Page, *, is_shown: bool) -> Question:
    """Asks about a plan; its source is part of the question unless the console shows all of it."""
    head, blocks = "The plan is to be approved", []
    if request.is_stalled:
        head = "The run has stalled; the new plan is to be approved"
    if request.progress and (reason := request.progress.is_progress_being_made.reason):
        blocks.append(page.framed(f"why: {one_line(reason)}"))
    if not is_shown:
        blocks.append(page.framed(request.plan.strip("\n")))
        head += "; this is its source"
    return page.question(f"{head}{':' * bool(blocks)}", blocks)


def turn_question(turn: HumanTurn, page: Page) -> Question:
    """Asks a member of the team to speak."""
    blocks = []
    if turn.instructions:
        blocks.append(page.framed(turn.instructions.strip("\n")))
    whole = page.question("", blocks).whole
    text = f"{whole.lstrip()}\n{page.line(turn.name)}, it is your turn:".lstrip()
    return Question(text, text)


def _argument(name: str, value: Any, page: Page, change: str = "") -> list[str]:
    """The rows of one argument: on one line, or its lines below its name, so that none passes for another argument."""
    shown = json.dumps(name, ensure_ascii=False)[1:-1]
    if change:
        head = f"{shown} ({_size(value)}), the change that it makes (v shows it whole):"
        return [*page.framed(head), *page.framed(change, indent="  ")]
    if isinstance(value, str) and "\n" in value:
        return [*page.framed(f"{shown} ({_size(value)}):"), *page.framed(value, indent="  ")]
    written = json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, Mapping | list) and len(written) > page.columns // 2:
        written = json.dumps(value, ensure_ascii=False, default=str, indent=2)
        return [*page.framed(f"{shown}:"), *page.framed(written, indent="  ")]
    return page.framed(f"{shown}: {written}")


def _size(value: Any) -> str:
    text = str(value)
    return f"{count(text.count(chr(10)) + 1, 'line')}, {count(len(text), 'character')}"


def _text(head: str, blocks: list[list[str]]) -> str:
    return "\n".join([head, *(row for block in blocks for row in block)])
