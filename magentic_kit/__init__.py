"""magentic_kit: teams of agents from YAML on Semantic Kernel's Magentic orchestration."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from magentic_kit.batch.results import TaskResult
    from magentic_kit.batch.runner import run_batch
    from magentic_kit.batch.tasks import Task
    from magentic_kit.errors import ConfigError, JournalError, KitError, LedgerError, Problem, ReplayError, ServiceError
    from magentic_kit.events import AnyEvent, Event, RunLimits
    from magentic_kit.factory import TeamFactory
    from magentic_kit.run import Run
    from magentic_kit.runlog.emitter import Sink
    from magentic_kit.runlog.record import RunRecord, View
    from magentic_kit.runlog.result import RunResult
    from magentic_kit.team.people import HumanTurn, PlanReview, PlanReviewRequest, ToolReview, ToolReviewRequest
    from magentic_kit.team.plan import TaskLedger

_HOME = {
    "batch.results": ["TaskResult"],
    "batch.runner": ["run_batch"],
    "batch.tasks": ["Task"],
    "errors": ["ConfigError", "JournalError", "KitError", "LedgerError", "Problem", "ReplayError", "ServiceError"],
    "events": ["AnyEvent", "Event", "RunLimits"],
    "factory": ["TeamFactory"],
    "run": ["Run"],
    "runlog.emitter": ["Sink"],
    "runlog.record": ["RunRecord", "View"],
    "runlog.result": ["RunResult"],
    "team.people": ["HumanTurn", "PlanReview", "PlanReviewRequest", "ToolReview", "ToolReviewRequest"],
    "team.plan": ["TaskLedger"],
}

__all__ = [
    "AnyEvent",
    "ConfigError",
    "Event",
    "HumanTurn",
    "JournalError",
    "KitError",
    "LedgerError",
    "PlanReview",
    "PlanReviewRequest",
    "Problem",
    "ReplayError",
    "Run",
    "RunLimits",
    "RunRecord",
    "RunResult",
    "ServiceError",
    "Sink",
    "Task",
    "TaskLedger",
    "TaskResult",
    "TeamFactory",
    "ToolReview",
    "ToolReviewRequest",
    "View",
    "__version__",
    "run_batch",
]


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used: Semantic Kernel takes seconds to import."""
    for home, names in _HOME.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
