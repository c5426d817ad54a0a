"""What a run asks of people, as a form that any client can show, and how their answers are read."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from uuid import uuid4

from magentic_kit.team.people import HumanTurn, PlanReview, PlanReviewRequest, ToolReview, ToolReviewRequest
from magentic_kit.text import printable

Request: TypeAlias = PlanReviewRequest | ToolReviewRequest | HumanTurn
Answer: TypeAlias = PlanReview | ToolReview | str

_PLAN_DECISIONS = ("approve", "revise", "reject")
_TOOL_DECISIONS = ("approve", "approve_for_run", "deny")
_WITH_WORDS = ("revise", "reject", "deny")
_SYNONYMS = {"yes": "approve", "no": "deny"}
_DECISION = re.compile(r"\s*(\w+)[\s:,.;-]*(.*?)\s*", re.DOTALL)


@dataclass(frozen=True, eq=False)
class Question:
    """One question of a run, whose `answer` is awaited; `text` has all that a person needs to decide, in full."""

    request: Request
    text: str
    answer: asyncio.Future[Answer]
    id: str = field(default_factory=lambda: uuid4().hex)

    @classmethod
    def of(cls, request: Request, redact: Callable[[str], str]) -> Question:
        """A question on the running event loop, without secrets."""
        text = printable(redact(_text(request)))
        return cls(request, text, asyncio.get_running_loop().create_future())

    @property
    def kind(self) -> str:
        """`plan_review`, `tool_review` or `human_turn`."""
        if isinstance(self.request, PlanReviewRequest):
            return "plan_review"
        if isinstance(self.request, ToolReviewRequest):
            return "tool_review"
        return "human_turn"

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema of an answer: an object whose values are texts."""
        if isinstance(self.request, HumanTurn):
            text = {"type": "string", "description": f"What {self.request.name} says."}
            return {"type": "object", "properties": {"text": text}, "required": ["text"]}
        properties = {
            "decision": {"type": "string", "enum": list(self._decisions)},
            "feedback": {"type": "string", "description": "What the models read of a decision that is no approval."},
        }
        return {"type": "object", "properties": properties, "required": ["decision"]}

    @property
    def _decisions(self) -> tuple[str, ...]:
        if isinstance(self.request, PlanReviewRequest):
            return _PLAN_DECISIONS
        return _TOOL_DECISIONS

    def read(self, answer: object) -> Answer:
        """Reads an answer: an object as in `schema`, or a person's words, such as "revise: in two steps".

        Raises `ValueError`, whose text says what an answer looks like.
        """
        if isinstance(self.request, HumanTurn):
            if isinstance(answer, Mapping):
                answer = answer.get("text")
            if not isinstance(answer, str):
                raise ValueError("the answer should be a text")
            return answer
        if isinstance(answer, Mapping):
            decision, feedback = answer.get("decision"), answer.get("feedback") or ""
        else:
            decision, feedback = self._parse(str(answer))
        if decision not in self._decisions or not isinstance(feedback, str):
            raise ValueError(self._help())
        if isinstance(self.request, PlanReviewRequest):
            return PlanReview(decision, feedback)
        return ToolReview(decision, feedback)

    def _parse(self, text: str) -> tuple[str, str]:
        """Splits words into a decision and what follows it; an approval that has more to say is none."""
        match = _DECISION.fullmatch(text)
        if match is None:
            return "", ""
        decision = match[1].lower()
        decision = _SYNONYMS.get(decision, decision)
        if decision == "deny" and isinstance(self.request, PlanReviewRequest):
            decision = "reject"
        if match[2] and decision not in _WITH_WORDS:
            return "", ""
        return decision, match[2]

    def _help(self) -> str:
        shown = [f"'{decision}: why'" if decision in _WITH_WORDS else f"'{decision}'" for decision in self._decisions]
        return f"the answer should be {', '.join(shown[:-1])} or {shown[-1]}"

    def unanswered(self, why: str) -> Answer:
        """The answer of somebody who gives none: no approval, and no words of a person's."""
        if isinstance(self.request, PlanReviewRequest):
            return PlanReview.reject(why)
        if isinstance(self.request, ToolReviewRequest):
            return ToolReview.deny(why)
        return ""


def _text(request: Request) -> str:
    match request:
        case PlanReviewRequest():
            head = "The plan is to be approved."
            if request.is_stalled:
                head = "The run has stalled; the new plan is to be approved."
            return f"{head}\n\nTask: {request.task}\n\nFacts:\n{request.facts}\n\nPlan:\n{request.plan}"
        case ToolReviewRequest():
            arguments = json.dumps(dict(request.arguments), ensure_ascii=False, indent=2, default=str)
            parts = [f"{request.agent} wants to call {request.function} with these arguments:\n{arguments}"]
            parts += [f"What '{name}' would change:\n{change}" for name, change in request.changes.items()]
            return "\n\n".join(parts)
        case HumanTurn():
            heard = [f"{speaker}: {text}" for speaker, text in request.heard]
            return "\n\n".join([request.instructions, *heard, f"{request.name}, it is your turn."]).strip()
