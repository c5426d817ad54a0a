"""The person at the terminal: questions that do not garble the live display."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from magentic_kit.cli.output import say
from magentic_kit.orchestration.options import RunOptions
from magentic_kit.team.people import (
    HumanTurn,
    PlanReview,
    PlanReviewRequest,
    ToolReview,
    ToolReviewRequest,
    by_flags,
    matches,
)
from magentic_kit.text import one_line
from magentic_kit.tools.threads import in_daemon_thread
from magentic_kit.views.console import Console, QuietConsole

_T = TypeVar("_T")


def by_terminal(console: Console, *, approve: Sequence[str], approve_plan: bool) -> RunOptions:
    """Returns who answers in a run: the flags, and for what they leave open the person at the terminal, if any."""
    flags = by_flags(approve=approve, approve_plan=approve_plan)
    options: RunOptions = {"approver": flags["approver"]}
    if "reviewer" in flags:
        options["reviewer"] = flags["reviewer"]
    if sys.stdin.isatty() and sys.stderr.isatty():
        terminal = Terminal(console, approve=approve)
        options["approver"] = terminal.review_call
        options.setdefault("reviewer", terminal.review_plan)
        options["humans"] = {"*": terminal.speak}
    return options


class Terminal:
    """Asks on standard error and reads standard input; calls that match a pattern of `approve` are not asked about."""

    def __init__(self, console: Console, *, approve: Sequence[str]) -> None:
        self._console = console
        self._approve = approve
        self._asking = asyncio.Lock()  # parallel calls are asked about one after another

    async def review_call(self, request: ToolReviewRequest) -> ToolReview:
        """Judges a tool call."""
        if matches(request.function, self._approve):
            return ToolReview.approve_for_run()
        arguments = one_line(json.dumps(dict(request.arguments), ensure_ascii=False, default=str), 1000)
        question = f"{one_line(request.agent)} wants to call {one_line(request.function)}({arguments})"
        answers = {"y yes": ToolReview.approve, "a always": ToolReview.approve_for_run, "n no": ToolReview.deny}
        return await self._choose(f"{question}\n[y]es, [a]lways in this run, [n]o and why: ", answers)

    async def review_plan(self, request: PlanReviewRequest) -> PlanReview:
        """Judges a plan."""
        why = ""
        if request.is_stalled:
            why = "The run has stalled; this is the new plan. "
        if isinstance(self._console, QuietConsole):  # then nobody has seen it
            why = f"{request.plan.strip()}\n\n{why}"
        if request.progress:
            why += f"({one_line(request.progress.is_progress_being_made.reason)}) "
        answers: dict[str, Callable[..., PlanReview]] = {
            "a approve": PlanReview.approve,
            "r revise": PlanReview.revise,
            "j reject": PlanReview.reject,
        }
        return await self._choose(f"{why}[a]pprove, [r]evise and how, re[j]ect and why: ", answers)

    async def speak(self, turn: HumanTurn) -> str:
        """Returns what the person says in a turn as a member of the team."""
        instructions = f"{turn.instructions}\n" if turn.instructions else ""
        return await self._ask(f"{instructions}{one_line(turn.name)}, it is your turn: ")

    async def _choose(self, question: str, answers: Mapping[str, Callable[..., _T]]) -> _T:
        """Returns the answer whose letter or name begins the line; the rest of the line are its words."""
        async with self._asking:
            while True:
                first, _, words = (await self._ask(question)).strip().partition(" ")
                key = next((key for key in answers if first.lower() in key.split()), "")
                if key.startswith("r") and not words:
                    words = (await self._ask("how? ")).strip()
                if key:
                    return answers[key](words.strip()) if key[0] in "nrj" else answers[key]()

    async def _ask(self, question: str) -> str:
        with self._console.paused():
            say(question, err=True, end="")
            return await in_daemon_thread(sys.stdin.readline)
