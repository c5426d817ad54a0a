"""Who answers in a queued run: flags, people who have answered before, or somebody who is yet to be asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from magentic_kit.cluster.entry import Answer, Question
from magentic_kit.team.people import (
    HumanTurn,
    PeopleOptions,
    PlanReview,
    PlanReviewRequest,
    ToolReview,
    ToolReviewRequest,
    matches,
)


class QueuedPeople:
    """Answers what a run asks; what nobody has answered yet is in `open`, and its run waits there for its end.

    `people` says what needs nobody's yes, `redact` removes secrets from what others read.
    """

    def __init__(self, people: Mapping[str, Any], answers: Sequence[Answer], redact: Callable[[str], str]) -> None:
        self._people, self._redact = people, redact
        self._answers = {answer["question"]: answer for answer in answers}
        self.open: dict[str, Question] = {}

    def options(self) -> PeopleOptions:
        """The options of a run that asks these people."""
        return {"reviewer": self._review, "approver": self._approve, "humans": {"*": self._speak}}

    async def _review(self, request: PlanReviewRequest) -> PlanReview:
        if self._people["approve_plan"]:
            return PlanReview.approve()
        parts = [f"Task: {request.task}", request.facts and f"Facts:\n{request.facts}", f"Plan:\n{request.plan}"]
        answer = await self._ask(request.id, "plan", "\n\n".join(filter(None, parts)))
        return PlanReview(answer["decision"], answer["text"])

    async def _approve(self, request: ToolReviewRequest) -> ToolReview:
        if matches(request.function, self._people["approve"]):
            return ToolReview.approve_for_run()
        arguments = json.dumps(dict(request.arguments), indent=2, ensure_ascii=False, default=str)
        call = f"{request.agent} calls {request.function} with {arguments}"
        answer = await self._ask(request.id, "tool", "\n\n".join([call, *request.changes.values()]))
        return ToolReview(answer["decision"].replace("-", "_"), answer["text"])

    async def _speak(self, turn: HumanTurn) -> str:
        heard = [f"{speaker or 'Manager'}: {text}" for speaker, text in turn.heard]
        answer = await self._ask(turn.id, "turn", "\n\n".join([f"The turn of {turn.name}.", *heard]))
        return answer["text"]

    async def _ask(self, id: str, kind: str, text: str) -> Answer:
        if id not in self._answers:
            self.open[id] = Question(id=id, kind=kind, text=self._redact(text))
            await asyncio.get_running_loop().create_future()  # until the run is left
        return self._answers[id]
