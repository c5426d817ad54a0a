"""The Magentic manager of a team: SK's own steps and prompts, made to survive real models and to end honestly."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from pydantic import Field, PrivateAttr
from semantic_kernel.agents.orchestration import magentic as sk
from semantic_kernel.contents import ChatHistory, ChatMessageContent

from magentic_kit import events as ev
from magentic_kit.errors import AnswerError, LimitReached, ServiceError
from magentic_kit.orchestration import prompts
from magentic_kit.orchestration.answer_format import AnswerFormat
from magentic_kit.orchestration.endings import answer_text, end_of_run, last_word, ledger_of
from magentic_kit.orchestration.ledger import QUESTIONS
from magentic_kit.orchestration.manager_model import ManagerModel, asked, said
from magentic_kit.orchestration.reviews import PlanReviews
from magentic_kit.runlog.control import RunControl
from magentic_kit.runlog.emitter import RunEmitter
from magentic_kit.team.models import ManagerConfig
from magentic_kit.team.people import PlanReviewRequest
from magentic_kit.team.plan import TaskLedger
from magentic_kit.team.values import wire_name


class TeamManager(sk.MagenticManagerBase):
    """SK's manager for one run of one team; DESIGN.md section 3 lists what it absorbs.

    Limits end the run through `create_progress_ledger`: it reports the request as satisfied, and
    `prepare_final_answer`, which knows of the limit, writes the best answer there is.
    """

    config: ManagerConfig
    emitter: RunEmitter
    control: RunControl
    model: ManagerModel
    inputs: Mapping[str, Any]
    first_plan: TaskLedger | None
    """Carried out in place of a plan of its own."""
    reviews: PlanReviews | None
    start_plugins: Callable[[], Awaitable[None]]
    names: Mapping[str | bool, str] = Field(default_factory=dict)
    """Agents' names as SK knows them -> as the team file has them, where they differ."""
    answer_format: AnswerFormat | None
    value: Any = None
    """The final answer as plain data, where it has a form."""
    notes: list[str] = Field(default_factory=list)
    """What a reader of the answer has to know besides."""
    _facts: str = PrivateAttr(default="")
    _plan: str = PrivateAttr(default="")
    _version: int = PrivateAttr(default=0)
    _spoken: set[str] = PrivateAttr(default_factory=set)
    _ledger: ev.ProgressLedger | None = PrivateAttr(default=None)
    _conversation: ChatHistory | None = PrivateAttr(default=None)

    def turn(self) -> tuple[int, str]:
        """Round and instruction of the turn that the manager gave last."""
        ledger = self._ledger
        if ledger:
            return (ledger.round, str(ledger.instruction_or_question.answer))
        return (0, "")

    async def task_ledger(self, task: str, members: dict[str, str]) -> TaskLedger:
        """Facts and plan for a task, and nothing else. Raises what ended the calls."""
        context = sk.MagenticContext(task=asked(task), participant_descriptions=members)
        await self._write_task_ledger(context, facts="facts", plan="plan")
        return TaskLedger(task=task, facts=self._facts, plan=self._plan)

    # -- the four steps that SK calls

    async def plan(self, magentic_context: sk.MagenticContext) -> ChatMessageContent:
        """Writes the first task ledger, facts then plan, unless one was given; has it reviewed."""
        await self.start_plugins()
        with suppress(LimitReached):
            if self.first_plan and self.first_plan.plan:
                self._facts, self._plan = self.first_plan.facts, self.first_plan.plan
            else:
                await self._write_task_ledger(magentic_context, facts="facts", plan="plan")
            self._version = 1
            self.emitter.emit(ev.PlanCreated(facts=self._facts, plan=self._plan, version=1))
            await self._review(magentic_context, is_stalled=False)
        return await self._task_ledger(magentic_context)

    async def replan(self, magentic_context: sk.MagenticContext) -> ChatMessageContent:
        """Writes a new task ledger after too many stalls; has it reviewed."""
        try:
            await self._write_task_ledger(magentic_context, facts="facts_update", plan="plan_update")
            self._replanned(f"stalled in round {self.turn()[0]}", is_stalled=True)
            await self._review(magentic_context, is_stalled=True)
        except LimitReached:
            self._conversation = magentic_context.chat_history  # SK clears it now; the answer needs what was said
        return await self._task_ledger(magentic_context)

    async def create_progress_ledger(self, magentic_context: sk.MagenticContext) -> sk.ProgressLedger:
        """Judges where the run stands; says "satisfied" when a limit ends the run."""
        try:
            return await self._judge(magentic_context)
        except LimitReached as limit:
            return end_of_run(str(limit))

    async def prepare_final_answer(self, magentic_context: sk.MagenticContext) -> ChatMessageContent:
        """Writes the answer; after a limit the best one there is, from what was said if no model will."""
        limit = self.control.reached
        history = self._conversation or magentic_context.chat_history
        answer, problem = "", ""
        try:
            if limit is None:
                prompt = await self._render("final_answer", magentic_context)
            else:
                prompt = await prompts.fill(prompts.LIMITED, {"task": _task(magentic_context), "limit": str(limit)})
            if self.answer_format is not None:
                return said(await self._formed_answer(self.answer_format, history, prompt))
            answer, problem = await self.model.ask_whole("answer", history, prompt)
        except (LimitReached, ServiceError):
            if self.control.reached is None:
                raise
        if not answer.strip():
            if self.control.reached is None:
                message = f"the model gave no final answer: {problem}"
                raise ServiceError(message, service=self.model.service)
            answer = last_word((message.name, message.content) for message in reversed(history.messages))
        elif problem:
            self.notes.append(f"The final answer is not whole: {problem}.")
        return said(answer)

    async def _formed_answer(self, form: AnswerFormat, history: ChatHistory, prompt: str) -> str:
        """The answer in the form that the team asks for. After a limit one that does not fit is better than none."""
        try:
            self.value = await self.model.ask_answer(history, prompt, form, attempts=self.config.ledger_attempts)
        except AnswerError as error:
            if self.control.reached is None:
                raise
            self.notes.append(f"{str(error).capitalize()}.")
            return error.text
        return answer_text(self.value)

    # -- task ledger

    async def _write_task_ledger(self, context: sk.MagenticContext, *, facts: str, plan: str) -> None:
        new_facts = await self.model.ask_and_keep("facts", context.chat_history, await self._render(facts, context))
        new_plan = await self.model.ask_and_keep("plan", context.chat_history, await self._render(plan, context))
        self._facts, self._plan = new_facts, new_plan

    def _replanned(self, reason: str, *, is_stalled: bool) -> None:
        self._version += 1
        self.emitter.emit(
            ev.Replanned(
                facts=self._facts, plan=self._plan, version=self._version, reason=reason, is_stalled=is_stalled
            )
        )

    async def _review(self, context: sk.MagenticContext, *, is_stalled: bool) -> None:
        """Shows the plan to the person until it is approved. Raises `PlanRejected`."""
        while self.reviews is not None:
            request = PlanReviewRequest(
                task=_task(context),
                facts=self._facts,
                plan=self._plan,
                revision=self._version,
                is_stalled=is_stalled,
                progress=self._ledger if is_stalled else None,
            )
            review = await self.reviews.review(request)
            if review.decision == "approve":
                return
            if not context.chat_history.messages:  # a plan that was given has no conversation behind it
                context.chat_history.add_message(asked((await self._task_ledger(context)).content))
            revise = await prompts.fill(prompts.REVISE, {"feedback": review.feedback})
            self._plan = await self.model.ask_and_keep("plan", context.chat_history, revise)
            self._replanned(f"revised after review: {review.feedback}", is_stalled=False)

    async def _task_ledger(self, context: sk.MagenticContext) -> ChatMessageContent:
        return said(await self._render("task_ledger", context))

    # -- progress ledger

    async def _judge(self, context: sk.MagenticContext) -> sk.ProgressLedger:
        number = context.round_count
        names = list(context.participant_descriptions)
        prompt = await self._render("progress_ledger", context, names=", ".join(names))
        ledger, attempts, repaired = await self.model.ask_ledger(
            context.chat_history, prompt, names, round=number, attempts=self.config.ledger_attempts
        )
        self._hold_to_must_speak(ledger, context)
        satisfied = ledger.is_request_satisfied.answer is True
        moving = ledger.is_progress_being_made.answer is True and ledger.is_in_loop.answer is not True
        stalls = context.stall_count + 1
        if moving or satisfied:
            stalls = max(0, context.stall_count - 1)
        answers: dict[str, Any] = {
            key: ev.Judgement(answer=self.names.get(item.answer, item.answer), reason=item.reason)
            for key in (*QUESTIONS, "next_speaker", "instruction_or_question")
            if (item := getattr(ledger, key))
        }
        self._ledger = ev.ProgressLedger(
            round=number, stalls=stalls, attempts=attempts, repaired=repaired, tier=self.model.tier, **answers
        )
        self.emitter.emit(self._ledger)
        if satisfied:
            return ledger
        self.control.check_progress(round=number, stalls=stalls, resets=context.reset_count)
        return ledger

    def _hold_to_must_speak(self, ledger: sk.ProgressLedger, context: sk.MagenticContext) -> None:
        self._spoken |= {message.name for message in context.chat_history.messages if message.name}
        missing = [name for name in map(wire_name, self.config.must_speak) if name not in self._spoken]
        if missing and ledger.is_request_satisfied.answer is True:
            instruction = (
                "The request seems to be satisfied, but you have not spoken yet: check it and add what is missing."
            )
            corrected = ledger_of(satisfied=False, reason="must_speak", speaker=missing[0], instruction=instruction)
            for key, item in corrected:
                setattr(ledger, key, item)

    async def _render(self, prompt: str, context: sk.MagenticContext, **more: str) -> str:
        team = "\n".join(f"- {name}: {text}" for name, text in context.participant_descriptions.items())
        variables = dict(self.inputs)
        variables.update(task=_task(context), team=team, plan=self._plan)
        variables.update(facts=self._facts, old_facts=self._facts)
        variables.update(more)
        template = getattr(self.config.prompts, prompt, None) or prompts.PROMPTS[prompt]
        return await prompts.fill(template, variables)


def _task(context: sk.MagenticContext) -> str:
    return context.task.content
