"""What a run asks a person, until somebody answers on the page."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Protocol, TypeAlias

from magentic_kit.errors import ConfigError
from magentic_kit.team.people import (
    HumanTurn,
    PeopleOptions,
    PlanReview,
    PlanReviewRequest,
    ToolReview,
    ToolReviewRequest,
)

Form: TypeAlias = Mapping[str, str]

_AS_WRITTEN = "Take this plan exactly as it is written here:\n\n"


class Asked(Protocol):
    """A question as the page shows it: numbered within its run, of a kind that the template knows."""

    @property
    def number(self) -> int:
        """Its place in addresses."""

    @property
    def kind(self) -> str:
        """`plan`, `tool`, `turn` or `queued`."""

    @property
    def words(self) -> str:
        """What is asked, for a title."""


@dataclass(frozen=True)
class Question:
    """A question of the kind `plan`, `tool` or `turn`, numbered within its run."""

    number: int
    kind: str
    request: PlanReviewRequest | ToolReviewRequest | HumanTurn
    answer: asyncio.Future[Any] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def words(self) -> str:
        """What is asked, for a title."""
        match self.request:
            case PlanReviewRequest():
                return "A plan waits for your review"
            case ToolReviewRequest(agent=agent, function=function):
                return f"{agent} wants to call {function}"
            case HumanTurn(name=name):
                return f"{name}, it is your turn"


class Questions:
    """The questions of one run; `changed` is called whenever one comes or goes."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self.pending: dict[int, Question] = {}
        self._changed = changed
        self._numbers = count(1)

    def people(self) -> PeopleOptions:
        """The options of a run that asks here."""
        return {
            "reviewer": lambda request: self._ask("plan", request),
            "approver": lambda request: self._ask("tool", request),
            "humans": {"*": lambda turn: self._ask("turn", turn)},
        }

    async def _ask(self, kind: str, request: Any) -> Any:
        question = Question(next(self._numbers), kind, request)
        self.pending[question.number] = question
        self._changed()
        try:
            return await question.answer
        finally:
            del self.pending[question.number]
            self._changed()

    def answer(self, number: int, form: Form) -> None:
        """Gives a person's answer. Raises `ConfigError` if it is none, or somebody else was faster."""
        question = self.pending.get(number)
        if question is None or question.answer.done():
            raise no_longer_asked()
        match question.request:
            case PlanReviewRequest():
                question.answer.set_result(_plan_review(form, question.request))
            case ToolReviewRequest():
                question.answer.set_result(_tool_review(form))
            case _:
                question.answer.set_result(_turn(form))


def _plan_review(form: Form, request: PlanReviewRequest) -> PlanReview:
    words, plan = form.get("words", "").strip(), form.get("plan", "").strip()
    match form.get("decision"):
        case "approve":
            return PlanReview.approve()
        case "reject":
            return PlanReview.reject(words)
        case "revise":
            parts = [words] if words else []
            if plan and plan.split() != request.plan.split():
                parts.append(f"{_AS_WRITTEN}{plan}")
            if parts:
                return PlanReview.revise("\n\n".join(parts))
            raise ConfigError.one("say what should be different, or edit the plan", file="answer")
    raise _no_answer("approve, revise or reject")


def _tool_review(form: Form) -> ToolReview:
    match form.get("decision"):
        case "approve":
            return ToolReview.approve()
        case "approve_for_run":
            return ToolReview.approve_for_run()
        case "deny":
            return ToolReview.deny(form.get("words", "").strip())
    raise _no_answer("approve, approve_for_run or deny")


def _turn(form: Form) -> str:
    words = form.get("words", "")
    if not words.strip():
        raise ConfigError.one("write something first", file="answer")
    return words


def _no_answer(expected: str) -> ConfigError:
    return ConfigError.one(f"the decision should be {expected}", file="answer")


def no_longer_asked() -> ConfigError:
    """The error of an answer that comes too late."""
    return ConfigError.one("this question was answered already, or its run has ended", file="answer")
