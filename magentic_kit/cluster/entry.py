"""What a row of the DBOS database says of a queued run, and what both sides of the queue agree on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypedDict

from dbos import WorkflowStatus

from magentic_kit.errors import ConfigError
from magentic_kit.events import Attachment

APPLICATION = QUEUE = "magentic-kit"
"""Our name in a DBOS database, which several applications may share, and the queue of the runs to be carried out."""
PEOPLE = "magentic-kit people"
"""The queue of the runs that wait for a person. It has no limits: whoever waits takes nobody's place."""
WORKFLOW = "magentic_kit.run"
"""Name of the DBOS workflow that a run is."""
VERSION = "1"
"""Of what workers have to agree on. Pinned: a hash of the code, as DBOS takes, lets a new worker pass old runs by."""
OUTCOMES = ("satisfied", "limited", "rejected", "cancelled", "failed")
_STATES = {"ENQUEUED": "queued", "DELAYED": "queued", "PENDING": "running", "CANCELLED": "cancelled"}
ACTIVE = ["ENQUEUED", "PENDING"]
"""What DBOS calls a run that has not ended."""
NOBODY = ""
"""The attribute `answered` of a run whose questions, in the attribute `questions`, nobody has answered."""


class Spec(TypedDict):
    """What is to be run: a team file, resolved, and the folder that its paths are relative to."""

    team: str
    base_dir: str
    task: str
    inputs: dict[str, Any]
    attachments: list[Attachment]
    contents: dict[str, str]  # of these, by their SHA-256, in base64
    people: dict[str, Any]  # what needs nobody's yes: `approve`, `approve_plan`


class Answer(TypedDict):
    """A person's answer to the question of that id; `calls` as the option `unknown_tools` of a run."""

    question: str
    decision: str
    text: str
    calls: dict[str, str | None]


DECISIONS = {
    "plan": ("approve", "revise", "reject"),
    "tool": ("approve", "approve-for-run", "deny"),
    "turn": ("text",),
    "outcome": (),  # but by what became of the calls
    "problem": ("retry",),
}
"""Kind of a question -> how it can be answered."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a run asks a person: to judge a `plan` or a call of a `tool`, for a `turn`, or how to go on.

    The last is of kind `outcome` if nobody knows what became of a tool call, and otherwise `problem`.
    """

    id: str
    kind: str
    text: str

    def check(self, run: str, decision: str, text: str, calls: Mapping[str, str | None]) -> None:
        """Raises `ConfigError` if that does not answer the question of this run."""
        decisions = DECISIONS[self.kind]
        if not decisions and not calls:
            raise ConfigError.one("give --repeat-tool, --skip-tool RESULT, or --call", file=run)
        if decisions and (calls or decision not in decisions):
            raise ConfigError.one(f"the answer should be {' or '.join(decisions)}", file=run)
        if decision in ("revise", "text") and not text.strip():
            raise ConfigError.one(f"{decision} needs a text", file=run)


def pack_questions(questions: list[Question]) -> str:
    """Questions as text: a lone surrogate has no place in a database's JSON."""
    return json.dumps([asdict(question) for question in questions])


def unpack_questions(packed: str) -> tuple[Question, ...]:
    """The questions that `pack_questions` was given."""
    return tuple(Question(**question) for question in json.loads(packed))


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A run of the queue. `state` is `queued`, `running`, `waiting` (for a person: `questions`) or its outcome.

    `retried` is how often workers had taken it when a person wanted it to go on after its end.
    """

    id: str
    state: str
    note: str
    worker: str
    ended: float | None
    questions: tuple[Question, ...]
    retried: int

    @classmethod
    def of(cls, status: WorkflowStatus) -> Entry:
        """The entry of a workflow."""
        output: Mapping[str, str] = {"state": _STATES.get(status.status, "failed"), "note": str(status.error or "")}
        attributes, questions = status.attributes or {}, tuple[Question, ...]()
        if status.status == "SUCCESS":
            output = status.output or output
        elif status.status in ACTIVE and attributes.get("answered") == NOBODY:
            questions = unpack_questions(attributes["questions"])
            output = {"state": "waiting", "note": questions[0].text}
        elif status.status in ACTIVE and status.queue_name == PEOPLE:
            output = {"state": "queued", "note": ""}  # it has its answer, and goes on when a worker finds that
        return cls(
            id=status.workflow_id,
            worker=status.executor_id or "",
            ended=status.completed_at and status.completed_at / 1000,
            questions=questions,
            retried=attributes.get("retried", -1),
            **output,
        )
