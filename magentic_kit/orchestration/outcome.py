"""How a run ended, and with which versions it was made."""

from __future__ import annotations

import asyncio
import logging
import platform
import traceback
from importlib.metadata import version

import semantic_kernel

from magentic_kit.errors import KitError, PlanRejected
from magentic_kit.runlog.control import RunControl
from magentic_kit.runlog.redaction import Redactor

logger = logging.getLogger(__name__)


def judge(
    error: BaseException | None, control: RunControl, redactor: Redactor
) -> tuple[str, str, dict[str, str] | None]:
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


def versions() -> dict[str, str]:
    """What a run is made with."""
    return {
        "magentic_kit": version("magentic-kit"),
        "semantic_kernel": semantic_kernel.__version__,
        "python": platform.python_version(),
    }
