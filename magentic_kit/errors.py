"""Every error this package raises, as one tree under `KitError`; each carries fields, not only text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class KitError(Exception):
    """Base of all errors of this package. `str(error)` is one clear sentence for a person."""

    kind = "internal"


class Problem(NamedTuple):
    """One thing wrong with a team file. `line` and `column` count from 1; 0 means "the file as a whole"."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.message}"


class ConfigError(KitError):
    """The team file or a command-line value is wrong; nothing was sent to any model.

    `problems` holds every problem found, in file order.
    """

    kind = "config"

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in problems))

    @classmethod
    def one(cls, message: str, *, file: str = "team") -> ConfigError:
        """An error about one thing that has no place in a file."""
        return cls([Problem(file, 0, 0, message)])


class UnknownToolError(ConfigError):
    """Tool calls began and were never heard of again: a person has to say what became of them.

    `calls` has each by the name that `--call` takes, and says what was called.
    """

    kind = "unknown_tool"

    def __init__(self, calls: Mapping[str, str]) -> None:
        self.calls = dict(calls)
        then = "look, then give --repeat-tool or --skip-tool RESULT, or for this call alone --call"
        told = {call: f"nobody knows whether {what}, had its effect: {then} {call}" for call, what in calls.items()}
        super().__init__([Problem(call, 0, 0, f"{words} or {call}=RESULT") for call, words in told.items()])


class ServiceError(KitError):
    """A model call failed and retries did not cure it.

    `status` is the HTTP status or None; `retryable` tells whether trying again could help;
    `retry_after` is the server's own wish in seconds or None. `fault` says what is wrong, as far as the server
    tells: `context` (the request is too long), `content` (a filter refused it), `quota` (no credit), `key`,
    `model` (not there), `request` (refused in another way), `limit` (too many requests), `down`, or "".
    """

    kind = "service"

    def __init__(
        self,
        message: str,
        *,
        service: str = "",
        status: int | None = None,
        retryable: bool = False,
        retry_after: float | None = None,
        fault: str = "",
    ) -> None:
        self.service = service
        self.status = status
        self.retryable = retryable
        self.retry_after = retry_after
        self.fault = fault
        super().__init__(message)


class LedgerError(KitError):
    """The manager's model never gave a progress ledger that can be used.

    `attempts` counts the replies that were refused; `text` is the last of them.
    """

    kind = "ledger"

    def __init__(self, message: str, *, attempts: int, text: str) -> None:
        self.attempts = attempts
        self.text = text
        super().__init__(message)


class AnswerError(KitError):
    """The manager's model never gave an answer in the form that the team asks for; `text` is the last one."""

    kind = "answer"

    def __init__(self, message: str, *, text: str) -> None:
        self.text = text
        super().__init__(message)


class JournalError(KitError):
    """The run's log could not be written; the run stops, as nothing may happen that is not logged."""

    kind = "log"


class ReplayError(KitError):
    """A run is asked something else than its log has; `step` is the call's name, `diff` what differs."""

    kind = "replay"

    def __init__(self, step: str, diff: str) -> None:
        self.step = step
        self.diff = diff
        super().__init__(f"the log does not fit: step {step} is asked something else than was recorded\n{diff}")


class RunStopped(KitError):
    """Something outside the current call ended it: a limit, or a person."""


class LimitReached(RunStopped):
    """A limit of the run was reached. `limit` is its name in the team file, such as `max_tokens`."""

    kind = "limit"

    def __init__(self, limit: str, detail: str) -> None:
        self.limit = limit
        super().__init__(detail)


class PlanRejected(RunStopped):
    """A person rejected the plan, with these words."""

    kind = "rejected"


class RunCancelled(RunStopped):
    """Somebody cancelled the run (Ctrl-C or `Run.cancel()`)."""

    kind = "cancelled"
