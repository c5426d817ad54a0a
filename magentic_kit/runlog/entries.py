"""What a record lists: turns of agents, calls of tools, and what went wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from magentic_kit import events as ev


@dataclass
class Turn:
    """What an agent was asked and said; `note` is `unfinished` until the turn has ended.

    `reasoning` is what the model thought before its replies of the turn.
    """

    agent: str
    round: int
    instruction: str = ""
    text: str = ""
    note: str = "unfinished"
    reasoning: str = ""


@dataclass
class ToolCall:
    """One call of a function; `status` is `ok`, `failed`, `denied` or `unfinished`.

    `result` is what the model was told: the result, the error or the reason of the refusal.
    `arguments` is None where the log does not have them, `seconds` if the call did not run to an end.
    """

    call: str
    who: str
    function: str
    arguments: dict[str, Any] | None = None
    status: str = "unfinished"
    result: str = ""
    seconds: float | None = None


@dataclass(frozen=True)
class Fault:
    """Something that went wrong, whether or not the run got over it."""

    who: str
    kind: str
    message: str
    time: str


def ending_in_words(outcome: str, reason: str, limit: tuple[str, str] | None, error: ev.ErrorDetails | None) -> str:
    """One sentence on how a run ended; an empty outcome is that of a log that breaks off."""
    name, detail = limit or (reason, "")
    what: Mapping[str, object] = error or {}
    return {
        "satisfied": "The manager judged the request satisfied.",
        "limited": f"A limit ended the run: {name}{f' ({detail})' if detail else ''}.",
        "rejected": f"A person rejected the plan{f': {reason}' if reason else ''}.",
        "cancelled": "The run was cancelled.",
        "failed": f"The run failed ({what.get('kind')}): {what.get('message')}",
    }.get(outcome, "The log breaks off: the process ended before the run did.")


def open_turn(turns: list[Turn], agent: str, round: int) -> Turn:
    """The agent's turn that has not ended, made if there is none; of agents that speak at once, each has its own."""
    for turn in reversed(turns):
        if turn.agent == agent and turn.note == "unfinished":
            return turn
    turns.append(Turn(agent, round))
    return turns[-1]


Remarkable = ev.DialectFound | ev.ServiceReplaced | ev.ContextShortened | ev.TextCallCorrected
"""What a run got over by doing otherwise than it was asked to."""


def remark_of(event: Remarkable) -> tuple[str, str, str]:
    """Returns whom an event is about, of which kind of fault it is, and what happened in words."""
    match event:
        case ev.DialectFound():
            text = f"services.{event.service} takes another form of request: {event.name} ({event.refusal})"
            return event.service, "dialect", text
        case ev.ServiceReplaced():
            text = f"from here on the service '{event.by}' answers in place of '{event.service}'"
            return event.who, "fallback", text
        case ev.ContextShortened():
            text = f"{event.call} was too long: repeated without {event.left_out} messages; set `context:`"
            return event.who, "context", text
        case ev.TextCallCorrected():
            return event.who, "text call", f"{event.call} wrote calls as text: {', '.join(event.functions)}"
