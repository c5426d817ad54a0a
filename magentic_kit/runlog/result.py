"""How a run ended, as plain fields for whoever started it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from magentic_kit.events import ErrorDetails
from magentic_kit.runlog.attachments import Attachments
from magentic_kit.runlog.record import RunRecord
from magentic_kit.runlog.usage import sum_known
from magentic_kit.text import duration, one_line


@dataclass(frozen=True, kw_only=True, repr=False)
class RunResult:
    """How a run ended. `outcome` is `satisfied`, `limited`, `rejected`, `cancelled` or `failed`.

    `reason` names the limit, `error` is `{kind, message}` if it failed; `notes` say what a reader of the answer has
    to know besides; tokens are None where no provider counted them, `cost` (in US dollars) where no price is known;
    `rounds` counts agents' turns; `run_dir` is None if none was asked for.
    """

    outcome: str
    answer: str
    reason: str
    error: ErrorDetails | None
    notes: list[str]
    rounds: int
    stalls: int
    resets: int
    prompt_tokens: int | None
    completion_tokens: int | None
    cost: float | None
    seconds: float
    run_id: str
    run_dir: Path | None
    record: RunRecord
    attachments: Attachments
    """The contents of what went with the task, for a run that follows."""
    value: Any = None
    """The answer as data, or of the `output_type` asked for; None if there is no form of it, or it does not fit."""

    @property
    def tokens(self) -> int | None:
        """Prompt and completion tokens together; None if both are unknown."""
        return sum_known((self.prompt_tokens, self.completion_tokens))

    @property
    def failure(self) -> str:
        """What failed, in words; empty if nothing did."""
        if self.error is None:
            return ""
        return self.error["message"]

    def __repr__(self) -> str:
        words = one_line(self.answer or self.reason or self.failure, 60)
        return f"<RunResult {self.outcome}: {words!r}, {self._tokens()}, run_dir={str(self.run_dir or None)!r}>"

    def _repr_markdown_(self) -> str:
        """How a notebook shows it."""
        facts = [f"**{self.outcome}**", self.reason, f"{self.rounds} rounds", self._tokens(), duration(self.seconds)]
        if self.run_dir is not None:
            facts.append(f"`{self.run_dir}`")
        answer = self.answer or self.failure
        return f"{answer}\n\n---\n{' · '.join(fact for fact in facts if fact)}"

    def _tokens(self) -> str:
        if self.tokens is None:
            return "tokens unknown"
        return f"{self.tokens:,} tokens"

    @classmethod
    def of(
        cls, record: RunRecord, run_dir: Path | None, attachments: Attachments | None = None, value: Any = None
    ) -> RunResult:
        """The result that a record describes."""
        return cls(
            outcome=record.outcome,
            answer=record.answer,
            reason=record.reason,
            error=record.error,
            notes=record.notes,
            rounds=len(record.turns),
            stalls=record.stalls,
            resets=record.resets,
            prompt_tokens=record.totals["prompt_tokens"],
            completion_tokens=record.totals["completion_tokens"],
            cost=record.totals["cost"],
            seconds=record.seconds or 0.0,
            run_id=record.run_id,
            run_dir=run_dir,
            record=record,
            attachments=attachments or Attachments.beside(run_dir),
            value=record.value if value is None else value,
        )
