"""A run in a line, for whoever waits for a team."""

from __future__ import annotations

from magentic_kit import events as ev
from magentic_kit.events import AnyEvent
from magentic_kit.text import one_line


def progress_of(event: AnyEvent) -> str:
    """A short line for whoever waits for a team, or none."""
    match event:
        case ev.PlanCreated():
            return "the plan is made"
        case ev.Replanned():
            return "a new plan is made"
        case ev.AgentStarted():
            return f"round {event.round}: {event.agent}: {one_line(event.instruction, 100)}"
        case ev.TeamProgress():
            return f"{event.team}: {event.text}"
    return ""
