"""A Magentic manager of the caller's, in one run of a team: followed, limited and logged like the team's own."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import PrivateAttr
from semantic_kernel.agents.orchestration import magentic as sk
from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase
from semantic_kernel.contents import ChatMessageContent

from magentic_kit import events as ev
from magentic_kit.errors import LimitReached
from magentic_kit.orchestration.connected import ModelRequest, connect
from magentic_kit.orchestration.endings import answer_text, end_of_run, last_word
from magentic_kit.orchestration.ledger import QUESTIONS
from magentic_kit.orchestration.manager_model import asked, said
from magentic_kit.orchestration.model_calls import ParticipantCalls
from magentic_kit.orchestration.reviews import PlanReviews
from magentic_kit.runlog.control import RunControl
from magentic_kit.runlog.emitter import RunEmitter
from magentic_kit.team.people import PlanReviewRequest

if TYPE_CHECKING:
    from magentic_kit.orchestration.options import Manager


FormAnswer = Callable[[str], Awaitable[object]]
"""Gives an answer as data in the form that the team asks for. Raises `AnswerError`."""


class StepCalls:
    """The model calls of a manager whose steps have no names of their own: each is logged under the step's."""

    def __init__(self, calls: ParticipantCalls) -> None:
        self._calls = calls
        self.emitter = calls.emitter
        self.step = "plan"

    @property
    def service(self) -> str:
        """Name of the service that answers now."""
        return self._calls.service

    @service.setter
    def service(self, name: str) -> None:
        self._calls.service = name

    def replies(self, request: ModelRequest) -> AsyncGenerator[ChatMessageContent, None]:
        """The reply in pieces, logged under the step's name."""
        return self._calls.replies(replace(request, call=replace(request.call, purpose=self.step)))


class OwnManager(sk.MagenticManagerBase):
    """Lets a manager of the caller's make the four steps, and keeps what a run promises around them.

    Limits, cancelling, plan reviews and events hold. The team file's `manager.prompts`, `must_speak`,
    `ledger_attempts` and `context` do not apply, and calls to a service that the manager brings itself are not
    logged: they are neither counted nor saved on resume.
    """

    inner: sk.MagenticManagerBase
    emitter: RunEmitter
    control: RunControl
    calls: StepCalls
    reviews: PlanReviews | None
    start_plugins: Callable[[], Awaitable[None]]
    form_answer: FormAnswer | None
    value: Any = None
    """The final answer as plain data, where it has a form."""
    notes: list[str] = []
    """Nothing to note: how the manager's replies ended is its own affair."""
    _plan: ChatMessageContent = PrivateAttr(default_factory=lambda: said(""))
    _version: int = PrivateAttr(default=0)
    _ledger: ev.ProgressLedger | None = PrivateAttr(default=None)

    def turn(self) -> tuple[int, str]:
        """Round and instruction of the turn that the manager gave last."""
        if self._ledger is None:
            return 0, ""
        return self._ledger.round, str(self._ledger.instruction_or_question.answer)

    async def plan(self, magentic_context: sk.MagenticContext) -> ChatMessageContent:
        """The manager's plan, reviewed if a person is to see it."""
        await self.start_plugins()
        with suppress(LimitReached):
            self.calls.step = "plan"
            with self.control.step():
                self._plan = await self.inner.plan(magentic_context)
            self._version = 1
            self.emitter.emit(ev.PlanCreated(facts="", plan=self._plan.content, version=1))
            await self._review(magentic_context, is_stalled=False)
        return self._plan

    async def replan(self, magentic_context: sk.MagenticContext) -> ChatMessageContent:
        """The manager's new plan after too many stalls, reviewed likewise."""
        with suppress(LimitReached):
            await self._replan(magentic_context, f"stalled in round {self.turn()[0]}", is_stalled=True)
            await self._review(magentic_context, is_stalled=True)
        return self._plan

    async def create_progress_ledger(self, magentic_context: sk.MagenticContext) -> sk.ProgressLedger:
        """The manager's ledger; one that says "satisfied" when a limit ends the run."""
        try:
            self.calls.step = "ledger"
            with self.control.step():
                ledger = await self.inner.create_progress_ledger(magentic_context)
            self._note(ledger, magentic_context)
            return ledger
        except LimitReached as limit:
            return end_of_run(str(limit))

    async def prepare_final_answer(self, magentic_context: sk.MagenticContext) -> ChatMessageContent:
        """The manager's answer; after a limit that leaves no time for one, what was said last."""
        self.calls.step = "answer"
        with suppress(LimitReached), self.control.step(final=True):
            answer = await self.inner.prepare_final_answer(magentic_context)
            if self.form_answer is None:
                return answer
            self.value = await self.form_answer(answer.content)
            return said(answer_text(self.value))
        history = reversed(magentic_context.chat_history.messages)
        return said(last_word((message.name, message.content) for message in history))

    async def _replan(self, context: sk.MagenticContext, reason: str, *, is_stalled: bool) -> None:
        self.calls.step = "plan"
        with self.control.step():
            self._plan = await self.inner.replan(context)
        self._version += 1
        self.emitter.emit(
            ev.Replanned(facts="", plan=self._plan.content, version=self._version, reason=reason, is_stalled=is_stalled)
        )

    async def _review(self, context: sk.MagenticContext, *, is_stalled: bool) -> None:
        """Shows the plan to the person until it is approved. Raises `PlanRejected`."""
        while self.reviews is not None:
            request = PlanReviewRequest(
                task=context.task.content,
                facts="",
                plan=self._plan.content,
                revision=self._version,
                is_stalled=is_stalled,
            )
            review = await self.reviews.review(request)
            if review.decision == "approve":
                return
            # SK's managers know no feedback, but they plan again over the conversation.
            context.chat_history.add_message(asked(review.feedback))
            await self._replan(context, f"revised after review: {review.feedback}", is_stalled=False)

    def _note(self, ledger: sk.ProgressLedger, context: sk.MagenticContext) -> None:
        satisfied = bool(ledger.is_request_satisfied.answer)  # as SK judges it
        stalls = max(0, context.stall_count - 1)
        if not satisfied and (not ledger.is_progress_being_made.answer or ledger.is_in_loop.answer):
            stalls = context.stall_count + 1
        answers: dict[str, Any] = {
            key: ev.Judgement(answer=item.answer, reason=item.reason)
            for key in (*QUESTIONS, "next_speaker", "instruction_or_question")
            if (item := getattr(ledger, key))
        }
        self._ledger = ev.ProgressLedger(
            round=context.round_count, stalls=stalls, attempts=1, repaired=False, tier="", **answers
        )
        self.emitter.emit(self._ledger)
        if not satisfied:
            self.control.check_progress(round=context.round_count, stalls=stalls, resets=context.reset_count)


def own_manager(
    manager: Manager,
    service: ChatCompletionClientBase,
    calls: ParticipantCalls,
    control: RunControl,
    reviews: PlanReviews | None,
    start_plugins: Callable[[], Awaitable[None]],
    form_answer: FormAnswer | None,
) -> OwnManager:
    """The manager for one run, under the limits of both. Raises `TypeError` if it is none."""
    steps = StepCalls(calls)
    inner = _made_for_run(manager, connect(service, calls.describe("plan", {}), steps))
    control.limits = _within_both(control.limits, inner)
    return OwnManager(
        max_stall_count=inner.max_stall_count,
        inner=inner,
        emitter=calls.emitter,
        control=control,
        calls=steps,
        reviews=reviews,
        start_plugins=start_plugins,
        form_answer=form_answer,
    )


def _made_for_run(manager: Manager, service: ChatCompletionClientBase) -> sk.MagenticManagerBase:
    """A manager for one run: a copy of the one given, whose facts would mix, or one made of the service.

    Raises `TypeError` for anything else.
    """
    if isinstance(manager, sk.MagenticManagerBase):
        return manager.model_copy()
    made: Any = manager
    if callable(manager):
        made = manager(service)
    if not isinstance(made, sk.MagenticManagerBase):
        kind = type(made).__name__
        raise TypeError(f"manager= takes a MagenticManagerBase, or a function of a service that makes one, not {kind}")
    return made


def _within_both(limits: ev.RunLimits, manager: sk.MagenticManagerBase) -> ev.RunLimits:
    """The limits of the run and of the manager: the lower ones hold; stalls are the manager's own."""
    rounds = [most for most in (limits.max_rounds, manager.max_round_count) if most is not None]
    resets = [most for most in (limits.max_resets, manager.max_reset_count) if most is not None]
    return replace(
        limits,
        max_rounds=min(rounds, default=None),
        max_resets=min(resets, default=None),
        max_stalls=manager.max_stall_count,
    )
