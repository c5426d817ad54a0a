"""How a run began and how it ended, as its log has it."""

from __future__ import annotations

import asyncio
import logging
import platform
import traceback
from importlib.metadata import version

import semantic_kernel

from magentic_kit import events as ev
from magentic_kit.errors import AnswerError, KitError, LedgerError, PlanRejected, ServiceError
from magentic_kit.orchestration.build import RunParts
from magentic_kit.orchestration.endings import last_word
from magentic_kit.orchestration.task import RunTask
from magentic_kit.runlog.attachments import Attachments
from magentic_kit.runlog.control import RunControl
from magentic_kit.runlog.record import RunRecord
from magentic_kit.runlog.redaction import Redactor
from magentic_kit.services.contents import KeptContents
from magentic_kit.team.loading import Team

logger = logging.getLogger(__name__)


def run_started(
    team: Team, task: RunTask, parts: RunParts, limits: ev.RunLimits, attachments: Attachments
) -> ev.RunStarted:
    """The start of a run, with what goes with its task kept."""
    participants = dict(parts.participants)
    return ev.RunStarted(
        team=team.config.name,
        task=task.text,
        manager=participants.pop(ev.MANAGER),
        agents=participants,
        limits=limits,
        inputs=task.inputs,
        plan={} if task.plan is None else {"facts": task.plan.facts, "plan": task.plan.plan},
        base_dir=str(team.base_dir),
        config_hash=team.config_hash,
        versions={
            "magentic_kit": version("magentic-kit"),
            "semantic_kernel": semantic_kernel.__version__,
            "python": platform.python_version(),
        },
        attachments=[KeptContents(attachments).keep(content) for content in task.contents],
        follows=task.follows,
    )


def judge(
    error: BaseException | None, control: RunControl, redactor: Redactor
) -> tuple[str, str, ev.ErrorDetails | None]:
    """Outcome, reason and error details of a run that has ended with this error, or without one."""
    if error is not None and (control.cancelled.is_set() or isinstance(error, asyncio.CancelledError)):
        return "cancelled", "", None
    if isinstance(error, PlanRejected):
        return "rejected", str(error), None
    if control.reached is not None:
        return "limited", control.reached.limit, None
    if error is None:
        return "satisfied", "", None
    kind, message = "internal", f"{type(error).__name__}: {error}"
    if isinstance(error, KitError):
        kind, message = error.kind, str(error)
    else:
        trace = "".join(traceback.format_exception(error))
        logger.error("the run failed\n%s", redactor.text(trace).rstrip())
    return "failed", kind, {"kind": kind, "message": message}


def run_finished(
    error: BaseException | None,
    answer: str,
    parts: RunParts,
    record: RunRecord,
    control: RunControl,
    redactor: Redactor,
) -> ev.RunFinished:
    """The last event of a run that ended by `error`, or without one; its answer is never lost."""
    outcome, reason, details = judge(error, control, redactor)
    # What was paid for is not lost with a manager that can go no further.
    is_manager = details is not None and details["kind"] in (ServiceError.kind, LedgerError.kind)
    if not answer and (outcome == "limited" or (is_manager and record.turns)):
        answer = last_word((turn.agent, turn.text) for turn in reversed(record.turns))
    if isinstance(error, AnswerError):
        answer = error.text
    notes = [*parts.notes, *parts.manager.notes]
    if outcome == "satisfied" and not record.turns:
        notes.append("The manager was satisfied before any agent had spoken.")
    return ev.RunFinished(
        outcome=outcome,
        answer=answer,
        reason=reason,
        error=details,
        seconds=control.clock.elapsed,
        notes=notes,
        value=parts.manager.value,
    )
