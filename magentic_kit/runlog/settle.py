"""What has to be settled before a run that stopped can go on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from magentic_kit import events as ev
from magentic_kit.errors import ConfigError, UnknownToolError
from magentic_kit.runlog.replay import Steps
from magentic_kit.team.models import TeamConfig

if TYPE_CHECKING:
    from magentic_kit.factory import TeamFactory


UnknownTools = Mapping[str, str | None]
"""What became of tool calls that began and were never heard of again, by the call's name (`*`: all others).

It is the result to go on with, or None if the call is to be made again.
"""


def until_limit(held: list[ev.AnyEvent], config: TeamConfig) -> list[ev.AnyEvent]:
    """The log up to the limit that ended the run. Raises `ConfigError` if that limit has not been raised."""
    at = next((i for i, event in enumerate(held) if isinstance(event, ev.LimitReached)), None)
    if at is None:
        return held
    limit, started = held[at], held[0]
    assert isinstance(limit, ev.LimitReached) and isinstance(started, ev.RunStarted)
    before = vars(started.limits).get(limit.limit)
    now = {**vars(config.manager), **vars(config.limits)}.get(limit.limit)
    if limit.limit != "deadline" and now is not None and before is not None and now <= before:
        flag = f"--{limit.limit.replace('_', '-')}"
        raise ConfigError.one(f"the run was ended by {limit.limit} {before}: raise it with {flag} to go on")
    return held[:at]


def settle(steps: Steps, factory: TeamFactory, said: UnknownTools) -> None:
    """Decides on tool calls that began and were never heard of again. Raises `UnknownToolError` if nobody has."""
    unknown: dict[str, str] = {}
    for call, started in list(steps.unfinished.items()):
        if factory.tools.repeatable(started.function):
            continue
        name = call if call in said else "*"
        if name not in said:
            given = ", ".join(f"{name}={value!r}" for name, value in started.arguments.items())
            unknown[call] = f"{started.function}({given}), called by {started.who}"
        elif (result := said[name]) is not None:
            steps.settle(call, result)
    if unknown:
        raise UnknownToolError(unknown)


def within(said: UnknownTools, call: str) -> UnknownTools:
    """What of it is for the run that this call has begun, whose calls are named `call/name`."""
    inner = {name.removeprefix(f"{call}/"): result for name, result in said.items()}
    return {name: result for name, result in inner.items() if name == "*" or name not in said}
