"""How the tasks of a batch ended, and the page of them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from magentic_kit.batch.checks import Check
from magentic_kit.runlog.files import write_private
from magentic_kit.runlog.usage import sum_known
from magentic_kit.views.batch_page import BatchRow, batch_html

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """How a task ended, as for `RunResult`; `run_dir` is None if the run could not begin or go on.

    `outcome` is `waiting` if a queued run waits for a person: `error` says what for.
    """

    id: str
    outcome: str
    answer: str
    error: str
    prompt_tokens: int | None
    completion_tokens: int | None
    cost: float | None
    seconds: float
    run_dir: Path | None
    checks: tuple[Check, ...]

    @property
    def tokens(self) -> int | None:
        """Prompt and completion tokens together; None if both are unknown."""
        return sum_known((self.prompt_tokens, self.completion_tokens))

    @property
    def passed(self) -> bool:
        """Whether all its checks passed; without any, whether the run was satisfied."""
        if self.checks:
            return not any(check.problem for check in self.checks)
        return self.outcome == "satisfied"


def write_page(directory: Path, team: str, ids: Sequence[str], results: Sequence[TaskResult]) -> None:
    """Writes batch.html, tasks in the order of `ids`; that it could not be written is logged, and changes nothing."""
    order = {id: place for place, id in enumerate(ids)}
    rows = [_row(directory, result) for result in sorted(results, key=lambda result: order[result.id])]
    try:
        write_private(directory / "batch.html", batch_html(team, len(ids), rows).encode())
    except OSError as error:
        logger.error("batch.html could not be written: %s", error.strerror or error)


def _row(directory: Path, result: TaskResult) -> BatchRow:
    report = ""
    if result.run_dir is not None and (page := result.run_dir / "report.html").is_file():
        report = quote(page.relative_to(directory).as_posix())
    return BatchRow(
        id=result.id,
        outcome=result.outcome,
        answer=result.answer,
        error=result.error,
        seconds=result.seconds,
        tokens=result.tokens,
        cost=result.cost,
        report=report,
        checks=[(check.check, check.problem) for check in result.checks],
    )
