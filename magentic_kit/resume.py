"""What has to be settled before a run that stopped can go on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from magentic_kit import events as ev
from magentic_kit.config import TeamConfig
from magentic_kit.errors import ConfigError
from magentic_kit.steps import Steps

if TYPE_CHECKING:
    from magentic_kit.factory import TeamFactory


@dataclass(frozen=True)
class SkipTool:
    """Lets `result` stand for what a tool call of unknown outcome brought."""

    result: str


UnknownTools = Literal["repeat"] | SkipTool
"""What to do on resume with tool calls that began and were never heard of again."""


def until_limit(held: list[ev.AnyEvent], config: TeamConfig) -> list[ev.AnyEvent]:
    """The log up to the limit that ended the run. Raises `ConfigError` if that limit has not been raised."""
    at = next((i for i, event in enumerate(held) if isinstance(event, ev.LimitReached)), None)
    if at is None:
        return held
    limit, started = held[at], held[0]
    assert isinstance(limit, ev.LimitReached) and isinstance(started, ev.RunStarted)
    before = started.limits.get(limit.limit)
    now = {**vars(config.manager), **vars(config.limits)}.get(limit.limit)
    if limit.limit != "deadline" and now is not None and now <= before:
        flag = f"--{limit.limit.replace('_', '-')}"
        raise ConfigError.one(f"the run was ended by {limit.limit} {before}: raise it with {flag} to go on")
    return held[:at]


def settle(steps: Steps, factory: TeamFactory, how: UnknownTools | None) -> None:
    """Decides on tool calls that began and were never heard of again. Raises `ConfigError` if nobody has."""
    for call, started in list(steps.unfinished.items()):
        if factory.tools.repeatable(started.function) or how == "repeat":
            continue
        if how is None:
            given = ", ".join(f"{name}={value!r}" for name, value in started.arguments.items())
            raise ConfigError.one(
                f"nobody knows whether {started.function}({given}), called by {started.who}, had its effect: "
                "look, then give --repeat-tool or --skip-tool RESULT"
            )
        steps.settle(call, how.result)
