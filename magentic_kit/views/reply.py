"""What a run says to whoever called the team: its answer, or in words how it ended."""

from __future__ import annotations

from typing import Any

from magentic_kit import events as ev
from magentic_kit.events import AnyEvent
from magentic_kit.runlog.result import RunResult

_REPLIES = {
    "satisfied": "{answer}",
    "limited": "The team had to stop early ({reason}). The best answer it has:\n\n{answer}",
    "rejected": "A person rejected the team's plan; there is no answer. {reason}",
    "cancelled": "The team was cancelled; there is no answer.",
    "failed": "The team failed; there is no answer: {error}",
}


def reply_of(result: RunResult) -> str:
    """Returns the answer, or says how a run ended that was not satisfied."""
    words = _REPLIES[result.outcome].format(answer=result.answer, reason=result.reason, error=result.failure)
    return words.rstrip()


def ending_data(ending: ev.RunFinished | RunResult) -> dict[str, Any]:
    """How a run ended, as `{"magentic-kit": {outcome, reason, notes}}` for the metadata of others' protocols."""
    data: dict[str, Any] = {"outcome": ending.outcome}
    if ending.reason:
        data["reason"] = ending.reason
    if ending.notes:
        data["notes"] = list(ending.notes)
    return {"magentic-kit": data}


class ReplyStream:
    """The reply in pieces: the answer as the manager writes it, then what of the reply is left.

    After a limit the reply begins with words on that, which only the end of the run brings.
    """

    def __init__(self) -> None:
        self._written = ""
        self._is_limited = False

    def piece(self, step: AnyEvent | RunResult) -> str:
        """Returns what the step adds to the reply."""
        if isinstance(step, RunResult):
            return self._rest(reply_of(step))
        if isinstance(step, ev.LimitReached):
            self._is_limited = True
        if isinstance(step, ev.TextDelta) and step.purpose == "answer" and not self._is_limited:
            self._written += step.text
            return step.text
        return ""

    def _rest(self, reply: str) -> str:
        """What of the reply is not written yet; all of it, apart, if it turned out to be another one."""
        if reply.startswith(self._written.rstrip()):
            return reply[len(self._written) :]
        return f"\n\n{reply}"
