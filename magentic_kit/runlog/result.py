"""How a run ended, as plain fields for whoever started it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from magentic_kit.runlog.record import RunRecord


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """How a run ended. `outcome` is `satisfied`, `limited`, `rejected`, `cancelled` or `failed`.

    `reason` names the limit, `error` is `{kind, message}` if it failed; `notes` say what a reader of the answer has
    to know besides; tokens are None where no provider counted them; `rounds` counts agents' turns; `run_dir` is None
    if none was asked for.
    """

    outcome: str
    answer: str
    reason: str
    error: dict[str, str] | None
    notes: list[str]
    rounds: int
    stalls: int
    resets: int
    prompt_tokens: int | None
    completion_tokens: int | None
    seconds: float
    run_id: str
    run_dir: Path | None
    record: RunRecord

    @classmethod
    def of(cls, record: RunRecord, run_dir: Path | None) -> RunResult:
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
            seconds=record.seconds or 0.0,
            run_id=record.run_id,
            run_dir=run_dir,
            record=record,
        )
