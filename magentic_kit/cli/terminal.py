"""The person at the terminal: Ctrl-C, and questions that do not garble the live display."""

from __future__ import annotations

import asyncio
import fnmatch
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from magentic_kit.orchestration.options import RunOptions
from magentic_kit.team.people import HumanTurn, PlanReview, PlanReviewRequest, ToolReview, ToolReviewRequest
from magentic_kit.text import one_line, printable
from magentic_kit.tools.threads import in_daemon_thread
from magentic_kit.views.console import Console, QuietConsole

_T = TypeVar("_T")


class Terminal:
    """Asks on standard error and reads standard input; what flags decided is not asked."""

    def __init__(self, console: Console, *, approve: Sequence[str], approve_plan: bool, there: bool) -> None:
        self._console = console
        self._approve = approve
        self._asking = asyncio.Lock()  # parallel calls are asked about one after another
        self._there = there
        self.people: RunOptions = {"approver": self._judge_call}
        if there:
            self.people |= {"reviewer": self._review, "humans": {"*": self._speak}}
        if approve_plan:
            self.people["reviewer"] = lambda request: PlanReview.approve()

    async def _judge_call(self, request: ToolReviewRequest) -> ToolReview:
        """Judges a tool call by `--approve` patterns, else asks; without a terminal the answer is no."""
        if any(fnmatch.fnmatchcase(request.function, pattern) for pattern in self._approve):
            return ToolReview.approve_for_run()
        if not self._there:
            return ToolReview.deny("nobody is at a terminal; --approve names what may be called")
        arguments = one_line(json.dumps(dict(request.arguments), ensure_ascii=False, default=str), 1000)
        question = f"{one_line(request.agent)} wants to call {one_line(request.function)}({arguments})"
        answers = {"y yes": ToolReview.approve, "a always": ToolReview.approve_for_run, "n no": ToolReview.deny}
        return await self._choose(f"{question}\n[y]es, [a]lways in this run, [n]o and why: ", answers)

    async def _review(self, request: PlanReviewRequest) -> PlanReview:
        why = "The run has stalled; this is the new plan. " if request.is_stalled else ""
        if isinstance(self._console, QuietConsole):  # then nobody has seen it
            why = f"{printable(request.plan).strip()}\n\n{why}"
        if request.progress:
            why += f"({one_line(request.progress.is_progress_being_made.reason)}) "
        answers: dict[str, Callable[..., PlanReview]] = {
            "a approve": PlanReview.approve,
            "r revise": PlanReview.revise,
            "j reject": PlanReview.reject,
        }
        return await self._choose(f"{why}[a]pprove, [r]evise and how, re[j]ect and why: ", answers)

    async def _speak(self, turn: HumanTurn) -> str:
        instructions = f"{printable(turn.instructions)}\n" if turn.instructions else ""
        return await self._ask(f"{instructions}{turn.name}, it is your turn: ")

    async def _choose(self, question: str, answers: dict[str, Callable[..., _T]]) -> _T:
        """The answer whose letter or name begins the line; the rest of the line are its words."""
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
            sys.stderr.write(question)
            sys.stderr.flush()
            return await in_daemon_thread(sys.stdin.readline)


def by_terminal(console: Console, *, approve: Sequence[str], approve_plan: bool) -> RunOptions:
    """Who answers here: what the flags decided, else the person at the terminal if there is one."""
    there = sys.stdin.isatty() and sys.stderr.isatty()
    return Terminal(console, approve=approve, approve_plan=approve_plan, there=there).people


def by_flags(*, approve: Sequence[str], approve_plan: bool) -> RunOptions:
    """Who answers where nobody can be asked: what the flags decided, else no."""
    return Terminal(QuietConsole(sys.stderr), approve=approve, approve_plan=approve_plan, there=False).people


def on_signals(cancel: Callable[[], None], give_back: Callable[[], None]) -> None:
    """The first Ctrl-C or SIGTERM ends the run in order; a second one leaves at once, the terminal given back."""
    loop = asyncio.get_running_loop()
    asked: list[int] = []

    def ask() -> None:
        if asked:
            with suppress(Exception):
                give_back()
            os._exit(130)
        asked.append(1)
        cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, ask)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(ask))
