"""What people are asked in a run, and what they may answer: plans, tool calls, turns of their own."""

from __future__ import annotations

import fnmatch
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

from typing_extensions import Self

if TYPE_CHECKING:
    from magentic_kit.events import ProgressLedger


@dataclass(frozen=True, kw_only=True)
class PlanReviewRequest:
    """A plan to judge. `revision` counts from 1; after a stall, `progress` is the ledger that told of it.

    `id` names the question: a run that is resumed asks under the same name.
    """

    task: str
    facts: str
    plan: str
    revision: int
    is_stalled: bool = False
    progress: ProgressLedger | None = None
    id: str = field(default="", compare=False)


@dataclass(frozen=True, kw_only=True)
class ToolReviewRequest:
    """A function call to judge before it is made.

    `changes` has, by the name of an argument, a unified diff of the file that the function would write, where it can
    tell. `id` names the question, as for `PlanReviewRequest`.
    """

    agent: str
    function: str
    arguments: Mapping[str, Any]
    changes: Mapping[str, str] = field(default_factory=dict)
    id: str = field(default="", compare=False)


@dataclass(frozen=True)
class _Review:
    """A decision, and what the person says about it for the model to read."""

    decision: str
    feedback: str = ""

    @classmethod
    def approve(cls) -> Self:
        """The plan is carried out; the call is made."""
        return cls("approve")


class PlanReview(_Review):
    """The answer to a `PlanReviewRequest`."""

    @classmethod
    def revise(cls, text: str) -> Self:
        """The manager plans again with this feedback, and the new plan is reviewed."""
        return cls("revise", text)

    @classmethod
    def reject(cls, text: str = "") -> Self:
        """The run ends as `rejected`."""
        return cls("reject", text)


class ToolReview(_Review):
    """The answer to a `ToolReviewRequest`."""

    @classmethod
    def approve_for_run(cls) -> Self:
        """This call is made, and every later one of the same function in this run."""
        return cls("approve_for_run")

    @classmethod
    def deny(cls, reason: str = "") -> Self:
        """The call is not made; the model reads the reason."""
        return cls("deny", reason)

    @property
    def reason(self) -> str:
        """Why the call is denied."""
        return self.feedback


@dataclass(frozen=True, kw_only=True)
class HumanTurn:
    """A turn of a person who is a member of the team; `heard` has (speaker, text) since its last turn.

    `id` names the question, as for `PlanReviewRequest`.
    """

    name: str
    instructions: str
    heard: tuple[tuple[str, str], ...]
    id: str = field(default="", compare=False)


Reviewer = Callable[[PlanReviewRequest], PlanReview | Awaitable[PlanReview]]
Approver = Callable[[ToolReviewRequest], ToolReview | Awaitable[ToolReview]]
Speaker = Callable[[HumanTurn], str | Awaitable[str]]


@dataclass(frozen=True, kw_only=True)
class People:
    """Who answers in a run: `humans` by agent name, or one for all under `*`."""

    reviewer: Reviewer | None = None
    approver: Approver | None = None
    humans: Mapping[str, Speaker] = field(default_factory=dict)


_T = TypeVar("_T")


async def ask(person: Callable[[Any], _T | Awaitable[_T]], request: Any) -> _T:
    """The person's answer, from a function or a coroutine function."""
    answer = person(request)
    if inspect.isawaitable(answer):
        return await answer
    return answer


class PeopleOptions(TypedDict, total=False):
    """The run options that say who answers."""

    reviewer: Reviewer
    approver: Approver
    humans: Mapping[str, Speaker]


def by_flags(*, approve: Sequence[str], approve_plan: bool) -> PeopleOptions:
    """Returns who answers where nobody can be asked.

    Calls of functions that match a pattern of `approve` are made, others denied; `approve_plan` approves every plan.
    """

    def judge(request: ToolReviewRequest) -> ToolReview:
        if matches(request.function, approve):
            return ToolReview.approve_for_run()
        return ToolReview.deny("nobody is at a terminal; --approve names what may be called")

    options: PeopleOptions = {"approver": judge}
    if approve_plan:
        options["reviewer"] = lambda request: PlanReview.approve()
    return options


def matches(function: str, patterns: Sequence[str]) -> bool:
    """Says whether a function's name matches one of the patterns, such as `notes.*`."""
    return any(fnmatch.fnmatchcase(function, pattern) for pattern in patterns)
