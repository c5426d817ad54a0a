"""The Magentic manager of a team: SK's own steps and prompts, made to survive real models and to end honestly."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from pydantic import PrivateAttr
from semantic_kernel import Kernel
from semantic_kernel.agents.orchestration import magentic as sk
from semantic_kernel.agents.orchestration.prompts import _magentic_prompts as prompts
from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase
from semantic_kernel.contents import ChatHistory, ChatMessageContent
from semantic_kernel.contents.utils.author_role import AuthorRole
from semantic_kernel.functions.kernel_arguments import KernelArguments
from semantic_kernel.prompt_template.kernel_prompt_template import KernelPromptTemplate
from semantic_kernel.prompt_template.prompt_template_config import PromptTemplateConfig

from magentic_kit import events as ev
from magentic_kit.calls import Lane
from magentic_kit.config import ManagerConfig
from magentic_kit.context import RunContext
from magentic_kit.errors import LedgerError, LimitReached, PlanRejected, ServiceError
from magentic_kit.ledger import QUESTIONS, parse_ledger, tier_settings
from magentic_kit.people import PlanReview, PlanReviewRequest, Reviewer, ask
from magentic_kit.plan import TaskLedger

NAME = sk.MagenticManagerActor.__name__
"""How SK names the manager in the messages it sends."""

_PROMPTS = {
    "facts": prompts.ORCHESTRATOR_TASK_LEDGER_FACTS_PROMPT,
    "plan": prompts.ORCHESTRATOR_TASK_LEDGER_PLAN_PROMPT,
    "task_ledger": prompts.ORCHESTRATOR_TASK_LEDGER_FULL_PROMPT,
    "facts_update": prompts.ORCHESTRATOR_TASK_LEDGER_FACTS_UPDATE_PROMPT,
    "plan_update": prompts.ORCHESTRATOR_TASK_LEDGER_PLAN_UPDATE_PROMPT,
    "progress_ledger": prompts.ORCHESTRATOR_PROGRESS_LEDGER_PROMPT,
    "final_answer": prompts.ORCHESTRATOR_FINAL_ANSWER_PROMPT,
}

_LIMITED_PROMPT = """
We are working on the following task:
{{$task}}

The work had to stop before the task was completed: {{$limit}}.

The above messages contain the conversation so far. Based on the information gathered, provide the best answer
to the original request that is possible now, and say plainly what is missing or uncertain.
The answer should be phrased as if you were speaking to the user.
"""

_REVISE_PROMPT = """The plan was reviewed, and is to be changed before the work begins. The reviewer says:

{{$feedback}}

Write the whole plan anew, so that it follows this. As before, be concise and use bullet points.
"""

_CORRECTION = """That reply could not be used: {error}.
Answer the same questions again, with nothing but the JSON object."""


class TeamManager(sk.MagenticManagerBase):
    """SK's manager for one run of one team; DESIGN.md section 3 lists what it absorbs.

    Limits end the run through `create_progress_ledger`: it reports the request as satisfied, and
    `prepare_final_answer`, which knows of the limit, writes the best answer there is.
    """

    _config: ManagerConfig = PrivateAttr()
    _context: RunContext = PrivateAttr()
    _lane: Lane = PrivateAttr()
    _service: ChatCompletionClientBase = PrivateAttr()
    _options: Mapping[str, Any] = PrivateAttr()
    _inputs: Mapping[str, Any] = PrivateAttr()
    _reviewer: Reviewer | None = PrivateAttr()
    _equip: Callable[[], Awaitable[None]] = PrivateAttr()
    _tiers: list[str] = PrivateAttr()
    _tier_works: bool = PrivateAttr(default=False)
    _facts: str = PrivateAttr(default="")
    _plan: str = PrivateAttr(default="")
    _version: int = PrivateAttr(default=0)
    _spoken: set[str] = PrivateAttr(default_factory=set)
    _ledger: ev.ProgressLedger | None = PrivateAttr(default=None)

    def __init__(
        self,
        *,
        config: ManagerConfig,
        lane: Lane,
        service: ChatCompletionClientBase,
        options: Mapping[str, Any],
        inputs: Mapping[str, Any],
        structured_output: str,
        plan: TaskLedger | None,
        reviewer: Reviewer | None,
        equip: Callable[[], Awaitable[None]],
    ) -> None:
        # SK's own round and reset limits end a run with whatever was said last (DESIGN.md, defect 6).
        super().__init__(max_stall_count=config.max_stalls, max_round_count=None, max_reset_count=None)
        self._config = config
        self._context = lane.context
        self._lane = lane
        self._service = lane.connect(service)
        self._options = options
        self._inputs = inputs
        self._reviewer = reviewer
        self._equip = equip
        if plan is not None:
            self._facts, self._plan = plan.facts, plan.plan
        known = tier_settings(service.get_prompt_execution_settings_class(), ())
        self._tiers = [*known] if structured_output == "auto" else [structured_output]

    def turn(self) -> tuple[int, str]:
        """Round and instruction of the turn that the manager gave last."""
        ledger = self._ledger
        return (ledger.round, str(ledger.instruction_or_question.answer)) if ledger else (0, "")

    async def task_ledger(self, task: str, members: dict[str, str]) -> TaskLedger:
        """Facts and plan for a task, and nothing else. Raises what ended the calls."""
        context = sk.MagenticContext(task=_asked(task), participant_descriptions=members)
        await self._write_task_ledger(context, facts="facts", plan="plan")
        return TaskLedger(task=task, facts=self._facts, plan=self._plan)

    # -- the four steps that SK calls

    async def plan(self, magentic_context: sk.MagenticContext) -> ChatMessageContent:
        """Writes the first task ledger, facts then plan, unless one was given; has it reviewed."""
        await self._equip()
        with suppress(LimitReached):
            if not self._plan:
                await self._write_task_ledger(magentic_context, facts="facts", plan="plan")
            self._version = 1
            self._context.emit(ev.PlanCreated(facts=self._facts, plan=self._plan, version=1))
            await self._review(magentic_context, is_stalled=False)
        return await self._task_ledger(magentic_context)

    async def replan(self, magentic_context: sk.MagenticContext) -> ChatMessageContent:
        """Writes a new task ledger after too many stalls; has it reviewed."""
        with suppress(LimitReached):
            await self._write_task_ledger(magentic_context, facts="facts_update", plan="plan_update")
            self._replanned(f"stalled in round {self.turn()[0]}", is_stalled=True)
            await self._review(magentic_context, is_stalled=True)
        return await self._task_ledger(magentic_context)

    async def create_progress_ledger(self, magentic_context: sk.MagenticContext) -> sk.ProgressLedger:
        """Judges where the run stands; says "satisfied" when a limit ends the run."""
        try:
            return await self._judge(magentic_context)
        except LimitReached as limit:
            return _ledger(satisfied=True, reason=str(limit))

    async def prepare_final_answer(self, magentic_context: sk.MagenticContext) -> ChatMessageContent:
        """Writes the answer; after a limit the best one there is, from what was said if no model will."""
        limit = self._context.limit
        answer = ""
        try:
            if limit is None:
                prompt = await self._render("final_answer", magentic_context)
            else:
                prompt = await self._fill(_LIMITED_PROMPT, task=_task(magentic_context), limit=str(limit))
            answer = await self._ask("answer", magentic_context.chat_history, prompt)
        except (LimitReached, ServiceError):
            if self._context.limit is None:
                raise
        if not answer.strip():
            if self._context.limit is None:
                raise ServiceError("the model gave an empty final answer", service=self._lane.service)
            said = reversed(magentic_context.chat_history.messages)
            answer = last_word((message.name, message.content) for message in said)
        return ChatMessageContent(role=AuthorRole.ASSISTANT, content=answer, name=NAME)

    # -- task ledger

    async def _write_task_ledger(self, context: sk.MagenticContext, *, facts: str, plan: str) -> None:
        new_facts = await self._ask_and_keep("facts", context, await self._render(facts, context))
        new_plan = await self._ask_and_keep("plan", context, await self._render(plan, context))
        self._facts, self._plan = new_facts, new_plan

    def _replanned(self, reason: str, *, is_stalled: bool) -> None:
        self._version += 1
        self._context.emit(
            ev.Replanned(
                facts=self._facts, plan=self._plan, version=self._version, reason=reason, is_stalled=is_stalled
            )
        )

    async def _review(self, context: sk.MagenticContext, *, is_stalled: bool) -> None:
        """Shows the plan to the person until it is approved. Raises `PlanRejected`."""
        while self._reviewer is not None:
            recorded = self._context.steps.find("plan review", self._version)
            if isinstance(recorded, ev.PlanReviewed):
                review = PlanReview(recorded.decision, recorded.feedback)
            else:
                request = PlanReviewRequest(
                    task=_task(context),
                    facts=self._facts,
                    plan=self._plan,
                    revision=self._version,
                    is_stalled=is_stalled,
                    progress=self._ledger if is_stalled else None,
                )
                with self._context.interruptible(person=True):
                    review = await ask(self._reviewer, request)
            self._context.emit(
                ev.PlanReviewed(version=self._version, decision=review.decision, feedback=review.feedback)
            )
            if review.decision == "approve":
                return
            if review.decision == "reject":
                raise PlanRejected(review.feedback)
            if not context.chat_history.messages:  # a plan that was given has no conversation behind it
                context.chat_history.add_message(_asked((await self._task_ledger(context)).content))
            revise = await self._fill(_REVISE_PROMPT, feedback=review.feedback)
            self._plan = await self._ask_and_keep("plan", context, revise)
            self._replanned(f"revised after review: {review.feedback}", is_stalled=False)

    async def _task_ledger(self, context: sk.MagenticContext) -> ChatMessageContent:
        return _said(await self._render("task_ledger", context))

    # -- progress ledger

    async def _judge(self, context: sk.MagenticContext) -> sk.ProgressLedger:
        number, rounds = context.round_count, self._config.max_rounds
        ledger, attempts, repaired = await self._ask_ledger(context, number)
        self._hold_to_must_speak(ledger, context)
        satisfied = ledger.is_request_satisfied.answer is True
        moving = ledger.is_progress_being_made.answer is True and ledger.is_in_loop.answer is not True
        stalls = max(0, context.stall_count - 1) if moving or satisfied else context.stall_count + 1
        answers: dict[str, Any] = {
            key: ev.Judgement(answer=item.answer, reason=item.reason)
            for key in (*QUESTIONS, "next_speaker", "instruction_or_question")
            if (item := getattr(ledger, key))
        }
        self._ledger = ev.ProgressLedger(
            round=number, stalls=stalls, attempts=attempts, repaired=repaired, tier=self._tiers[0], **answers
        )
        self._context.emit(self._ledger)
        if satisfied:
            return ledger
        # The round after the last is judged too: work that its last agent finished counts as finished.
        if number > rounds:
            raise self._context.reach("max_rounds", f"all {rounds} rounds were used")
        if stalls > self._config.max_stalls and context.reset_count >= self._config.max_resets:
            raise self._context.reach("max_resets", f"stalled again after {context.reset_count} new plans")
        return ledger

    async def _ask_ledger(self, context: sk.MagenticContext, number: int) -> tuple[sk.ProgressLedger, int, bool]:
        history, names = context.chat_history, list(context.participant_descriptions)
        prompt = await self._render("progress_ledger", context, names=", ".join(names))
        for attempt in range(1, self._config.ledger_attempts + 1):
            text = await self._ask_in_tier(history, prompt, names)
            try:
                ledger, repaired = parse_ledger(text, names)
                return ledger, attempt, repaired or attempt > 1
            except ValueError as error:
                self._context.emit(ev.LedgerRejected(round=number, attempt=attempt, error=str(error), text=text))
                history.add_message(_asked(prompt))
                history.add_message(_said(text))
                prompt = _CORRECTION.format(error=error)
                last = error
        raise LedgerError(
            f"the manager's model gave no usable progress ledger in {attempt} attempts: {last}",
            attempts=attempt,
            text=text,
        )

    async def _ask_in_tier(self, history: ChatHistory, prompt: str, names: list[str]) -> str:
        """Asks in the strictest way that the server takes; a refusal moves on to the next for good."""
        known = tier_settings(self._service.get_prompt_execution_settings_class(), names)
        while True:
            untried = len(self._tiers) > 1 and not self._tier_works
            try:
                # A server that cannot do a tier may say so with a 500: no use in asking long.
                self._lane.retries = min(1, self._context.limits.retries) if untried else self._context.limits.retries
                text = await self._ask("ledger", history, prompt, **known.get(self._tiers[0], {}))
            except ServiceError as error:
                if not untried or error.status in (None, 401, 402, 403, 404, 408, 429):
                    raise
                del self._tiers[0]
            else:
                self._tier_works = True
                return text
            finally:
                self._lane.retries = self._context.limits.retries

    def _hold_to_must_speak(self, ledger: sk.ProgressLedger, context: sk.MagenticContext) -> None:
        self._spoken |= {message.name for message in context.chat_history.messages if message.name}
        missing = [name for name in self._config.must_speak if name not in self._spoken]
        if missing and ledger.is_request_satisfied.answer is True:
            told = "The request seems to be satisfied, but you have not spoken yet: check it and add what is missing."
            held = _ledger(satisfied=False, reason="must_speak", speaker=missing[0], instruction=told)
            for key, item in held:
                setattr(ledger, key, item)

    # -- asking

    async def _ask(self, purpose: str, history: ChatHistory, prompt: str, **options: Any) -> str:
        """The model's reply to the history and one more prompt, which is not kept in the history."""
        self._lane.purpose = purpose
        self._lane.options = {**self._options, **options}
        settings = self._service.instantiate_prompt_execution_settings(**self._lane.options)
        pieces = self._service.get_streaming_chat_message_contents(
            ChatHistory(messages=[*history.messages, _asked(prompt)]), settings
        )
        return "".join([content.content async for contents in pieces for content in contents[:1]])

    async def _ask_and_keep(self, purpose: str, context: sk.MagenticContext, prompt: str) -> str:
        reply = await self._ask(purpose, context.chat_history, prompt)
        context.chat_history.add_message(_asked(prompt))
        context.chat_history.add_message(_said(reply))
        return reply

    async def _render(self, prompt: str, context: sk.MagenticContext, **more: str) -> str:
        team = "\n".join(f"- {name}: {text}" for name, text in context.participant_descriptions.items())
        return await self._fill(
            getattr(self._config.prompts, prompt) or _PROMPTS[prompt],
            task=_task(context),
            team=team,
            facts=self._facts,
            old_facts=self._facts,
            plan=self._plan,
            **more,
        )

    async def _fill(self, template: str, **variables: str) -> str:
        # Values go in as written: SK's own manager escapes them for HTML (DESIGN.md, defect 11).
        config = PromptTemplateConfig(template=template, allow_dangerously_set_content=True)
        prompt = KernelPromptTemplate(prompt_template_config=config, allow_dangerously_set_content=True)
        return await prompt.render(Kernel(), KernelArguments(**{**self._inputs, **variables}))


def _task(context: sk.MagenticContext) -> str:
    return context.task.content


def _asked(prompt: str) -> ChatMessageContent:
    return ChatMessageContent(role=AuthorRole.USER, content=prompt)


def _said(text: str) -> ChatMessageContent:
    return ChatMessageContent(role=AuthorRole.ASSISTANT, content=text, name=NAME)


def _ledger(*, satisfied: bool, reason: str, speaker: str = "", instruction: str = "") -> sk.ProgressLedger:
    def item(answer: str | bool) -> sk.ProgressLedgerItem:
        return sk.ProgressLedgerItem(reason=reason, answer=answer)

    return sk.ProgressLedger(
        is_request_satisfied=item(satisfied),
        is_in_loop=item(False),
        is_progress_being_made=item(True),
        next_speaker=item(speaker),
        instruction_or_question=item(instruction),
    )


def last_word(spoken: Iterable[tuple[str | None, str]]) -> str:
    """In place of an answer that nobody wrote: what was said last; `spoken` gives name and text, latest first."""
    for name, text in spoken:
        if name and name != NAME and text.strip():
            return f"No final answer could be written. The last to speak was {name}:\n\n{text}"
    return "No final answer could be written, and no agent had spoken yet."
