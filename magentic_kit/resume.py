"""What has to be settled before a run that stopped can go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from magentic_kit import events as ev
from magentic_kit.config import TeamConfig
from magentic_kit.errors import ConfigError, UnknownToolError
from magentic_kit.steps import Steps

if TYPE_CHECKING:
    from magentic_kit.factory import TeamFactory


@dataclass(frozen=True)
class SkipTool:
    """Lets `result` stand for what a tool call of unknown outcome brought."""

    result: str


Word = Literal["repeat"] | SkipTool
"""What to do on resume with a tool call that began and was never heard of again."""

UnknownTools = Word | Mapping[str, Word]
"""The same for all such calls, or for each by its name, `*` for those without one."""


def words(said: Mapping[str, str | None]) -> dict[str, Word]:
    """The words on calls by name, given as plain data: a result, or None for one that is to be repeated."""
    return {call: "repeat" if result is None else SkipTool(result) for call, result in said.items()}


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
    """Decides on tool calls that began and were never heard of again. Raises `UnknownToolError` if nobody has."""
    said = how if isinstance(how, Mapping) else {} if how is None else {"*": how}
    unknown: dict[str, str] = {}
    for call, started in list(steps.unfinished.items()):
        word = "repeat" if factory.tools.repeatable(started.function) else said.get(call, said.get("*"))
        if isinstance(word, SkipTool):
            steps.settle(call, word.result)
        elif word is None:
            given = ", ".join(f"{name}={value!r}" for name, value in started.arguments.items())
            unknown[call] = f"{started.function}({given}), called by {started.who}"
    if unknown:
        raise UnknownToolError(unknown)


def within(how: UnknownTools | None, call: str) -> UnknownTools | None:
    """What of it is for the run that this call has begun, whose calls are named `call/name`."""
    if not isinstance(how, Mapping):
        return how
    inner = {name.removeprefix(f"{call}/"): word for name, word in how.items()}
    return {name: word for name, word in inner.items() if name == "*" or name not in how}
