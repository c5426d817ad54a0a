"""magentic_kit: teams of agents from YAML on Semantic Kernel's Magentic orchestration."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from magentic_kit.batch.runner import run_batch
    from magentic_kit.batch.tasks import Task
    from magentic_kit.errors import ConfigError, JournalError, KitError, LedgerError, Problem, ReplayError, ServiceError
    from magentic_kit.events import AnyEvent, Event
    from magentic_kit.factory import TeamFactory
    from magentic_kit.run import Run
    from magentic_kit.runlog.emitter import Sink
    from magentic_kit.runlog.result import RunResult

_HOME = {
    "batch.runner": ["run_batch"],
    "runlog.emitter": ["Sink"],
    "runlog.result": ["RunResult"],
    "errors": ["ConfigError", "JournalError", "KitError", "LedgerError", "Problem", "ReplayError", "ServiceError"],
    "events": ["AnyEvent", "Event"],
    "factory": ["TeamFactory"],
    "run": ["Run"],
    "batch.tasks": ["Task"],
}

__all__ = [
    "AnyEvent",
    "ConfigError",
    "Event",
    "JournalError",
    "KitError",
    "LedgerError",
    "Problem",
    "ReplayError",
    "Run",
    "RunResult",
    "ServiceError",
    "Sink",
    "Task",
    "TeamFactory",
    "__version__",
    "run_batch",
]


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used: Semantic Kernel takes seconds to import."""
    for home, names in _HOME.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
