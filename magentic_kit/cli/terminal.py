"""The person at the terminal: asked about plans and calls, or to speak, while the live display rests."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from magentic_kit.cli.keyboard import read_answer
from magentic_kit.cli.output import say
from magentic_kit.cli.questions import Page, Question, call_question, plan_question, turn_question
from magentic_kit.orchestration.options import ResumeOptions
from magentic_kit.runlog.redaction import redactor_of_all
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
from magentic_kit.views.console import Console

_T = TypeVar("_T")


def by_terminal(console: Console, *, approve: Sequence[str], approve_plan: bool) -> ResumeOptions:
    """Returns who answers in a run: the flags, and for what they leave open the person at the terminal, if any."""
    flags = by_flags(approve=approve, approve_plan=approve_plan)
    options: ResumeOptions = {"approver": flags["approver"]}
    if "reviewer" in flags:
        options["reviewer"] = flags["reviewer"]
    if sys.stdin.isatty() and sys.stderr.isatty():
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(errors="replace")  # a slip of the keyboard must not end the run
        terminal = Terminal(console, approve=approve)
        options["approver"] = terminal.review_call
        options.setdefault("reviewer", terminal.review_plan)
        options["humans"] = {"*": terminal.speak}
    return options


@dataclass(frozen=True)
class Choices(Generic[_T]):
    """The answers to a question: what stands below it, what each makes of its words, and which of them is "no".

    `answers` has each by its letter and name, such as `r revise`; those in `asking` need words and ask for them.
    """

    shown: str
    answers: Mapping[str, Callable[[str], _T]]
    refuse: Callable[[str], _T]
    asking: str = ""

    def find(self, word: str) -> str:
        """Returns the letter of the answer that a word means, in any case, or an empty text."""
        return next((key[0] for key in self.answers if word.casefold() in key.split()), "")

    def make(self, letter: str, words: str) -> _T:
        """Returns the answer that has the letter."""
        return next(make for key, make in self.answers.items() if key[0] == letter)(words)

    @property
    def names(self) -> str:
        """The answers there are."""
        return ", ".join(f"{letter} ({name})" for letter, name in (key.split() for key in [*self.answers, "v view"]))


_CALL: Choices[ToolReview] = Choices(
    "[y]es, [a]lways in this run, [n]o and why",
    {
        "y yes": lambda _: ToolReview.approve(),
        "a always": lambda _: ToolReview.approve_for_run(),
        "n no": ToolReview.deny,
    },
    ToolReview.deny,
)
_PLAN: Choices[PlanReview] = Choices(
    "[a]pprove, [r]evise and how, re[j]ect and why",
    {
        "a approve": lambda _: PlanReview.approve(),
        "r revise": PlanReview.revise,
        "j reject": PlanReview.reject,
    },
    PlanReview.reject,
    asking="r",
)
_ENDED = "the input ended at the question"


class Terminal:
    """Asks on standard error and reads the keyboard; calls that match a pattern of `approve` are not asked about."""

    def __init__(self, console: Console, *, approve: Sequence[str]) -> None:
        self._console = console
        self._approve = approve
        self._asking = asyncio.Lock()  # what is asked in parallel is asked one after another

    async def review_call(self, request: ToolReviewRequest) -> ToolReview:
        """Judges a tool call."""
        if matches(request.function, self._approve):
            return ToolReview.approve_for_run()
        redactor = redactor_of_all()
        shown = replace(request, arguments=redactor.value(request.arguments), changes=redactor.value(request.changes))
        return await self._choose(lambda page: call_question(shown, page), _CALL)

    async def review_plan(self, request: PlanReviewRequest) -> PlanReview:
        """Judges a plan."""
        shown = redactor_of_all().event(request)
        is_shown = self._console.shows_all_of(shown.plan)
        return await self._choose(lambda page: plan_question(shown, page, is_shown=is_shown), _PLAN)

    async def speak(self, turn: HumanTurn) -> str:
        """Returns what the person says in a turn as a member of the team; nothing at end of input."""
        async with self._asking:
            with self._console.paused():
                shown = redactor_of_all().event(turn)
                said = await read_answer(turn_question(shown, Page.of_stderr()).whole)
                if said is None:
                    say("end of input: nothing is said", err=True)
                return said or ""

    async def _choose(self, ask: Callable[[Page], Question], choices: Choices[_T]) -> _T:
        """Returns the answer whose letter or name begins the line; the rest of the line are its words."""
        async with self._asking:
            with self._console.paused():
                question = ask(Page.of_stderr())
                view = ", [v]iew all" if question.short != question.whole else ""
                shown = question.short
                while True:
                    line = await read_answer(f"{shown}\n{choices.shown}{view}: ")
                    if line is None:
                        return self._refuse(choices)
                    word, _, words = line.strip().partition(" ")
                    letter = choices.find(word)
                    if word.casefold() in ("v", "view"):
                        shown = question.whole
                    elif not letter:
                        shown = f"{one_line(word, 20)!r} is no answer; there are {choices.names}"
                    elif words.strip() or letter not in choices.asking:
                        return choices.make(letter, words.strip())
                    else:
                        more = await read_answer("how? ")
                        if more is None:
                            return self._refuse(choices)
                        return choices.make(letter, more.strip())

    @staticmethod
    def _refuse(choices: Choices[_T]) -> _T:
        say('end of input: taken as "no"', err=True)
        return choices.refuse(_ENDED)
