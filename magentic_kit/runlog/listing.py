"""The runs of a folder: where they are, what each came to, and what is added to a log while it is read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from magentic_kit import events as ev
from magentic_kit.errors import KitError
from magentic_kit.runlog.reader import LOG, read_log
from magentic_kit.runlog.record import RunRecord

_PLACES = ("*", "tasks/*/*", "*/tasks/*/*")  # of run directories: below runs, a batch, and batches


def runs_below(folder: Path) -> list[Path]:
    """The run directories of a folder of runs, of a batch or of batches, the newest first."""
    logs = [log for place in _PLACES for log in folder.glob(f"{place}/{LOG}")]
    return sorted((log.parent for log in logs), key=lambda run_dir: run_dir.name, reverse=True)


def effective_events(run_dir: Path) -> Iterable[ev.AnyEvent]:
    """The events of a run's log without those that a resumed run took back."""
    return ev.effective(read_log(run_dir)[0])


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """One row of a list of runs. `outcome` is also `unfinished`, or `damaged` with why the log cannot be read.

    `started` is in ISO 8601, `seconds` and `tokens` are None where they are unknown.
    """

    run: Path
    outcome: str
    tokens: int | None
    error: str
    team: str
    task: str
    started: str
    seconds: float | None


def summary_of(run_dir: Path) -> RunSummary:
    """Reads the log of a run and sums it up."""
    error = ""
    try:
        record = RunRecord.of(effective_events(run_dir))
    except KitError as problem:
        record, error = RunRecord(outcome="damaged"), str(problem)
    return RunSummary(
        run=run_dir,
        outcome=record.outcome or "unfinished",
        tokens=record.tokens,
        error=error,
        team=record.team,
        task=record.task,
        started=record.started,
        seconds=record.seconds,
    )
