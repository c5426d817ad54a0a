"""What has to be settled before a run that stopped can go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from magentic_kit import events as ev
from magentic_kit.errors import ConfigError, UnknownToolError
from magentic_kit.runlog.replay import RecordedSteps, UnknownTools


def resumable(events: Sequence[ev.AnyEvent], limits: ev.RunLimits) -> tuple[Sequence[ev.AnyEvent], bool]:
    """What of a log counts when its run goes on, and whether the run has ended for good. Raises `ConfigError`."""
    log = ev.effective(events)
    if any(isinstance(event, ev.RunFinished) and event.outcome in ("satisfied", "rejected") for event in log):
        return log, True
    return until_limit([event for event in log if not isinstance(event, ev.RunFinished)], limits), False


def until_limit(log: Sequence[ev.AnyEvent], limits: ev.RunLimits) -> Sequence[ev.AnyEvent]:
    """The log up to the limit that ended the run. Raises `ConfigError` if `limits` do not raise that limit."""
    at = next((i for i, event in enumerate(log) if isinstance(event, ev.LimitReached)), None)
    if at is None:
        return log
    reached, started = log[at], log[0]
    assert isinstance(reached, ev.LimitReached) and isinstance(started, ev.RunStarted)
    name = reached.limit
    before, now = getattr(started.limits, name, None), getattr(limits, name, None)
    if name != "deadline" and now is not None and before is not None and now <= before:
        flag = f"--{name.replace('_', '-')}"
        raise ConfigError.one(f"the run was ended by {name} {before}: raise it with {flag} to go on")
    return log[:at]


def settle(steps: RecordedSteps, is_repeatable: Callable[[str], bool]) -> None:
    """Decides on tool calls that began and never ended. Raises `UnknownToolError` if nobody has said what to do."""
    answers = steps.unknown_tools
    unknown: dict[str, str] = {}
    for call, started in list(steps.unfinished.items()):
        if is_repeatable(started.function):
            continue
        name = call if call in answers else "*"
        if name not in answers:
            arguments = ", ".join(f"{name}={value!r}" for name, value in started.arguments.items())
            unknown[call] = f"{started.function}({arguments}), called by {started.who}"
        elif (result := answers[name]) is not None:
            steps.settle(call, result)
    if unknown:
        raise UnknownToolError(unknown)


def within(answers: UnknownTools, call: str) -> UnknownTools:
    """The answers for the run that this call has begun, whose calls are named `call/name`."""
    inner = {name.removeprefix(f"{call}/"): result for name, result in answers.items()}
    return {name: result for name, result in inner.items() if name == "*" or name not in answers}
