"""The first line of a run, shown before Semantic Kernel is imported, which takes seconds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magentic_kit.errors import KitError
from magentic_kit.runlog.redaction import redactor_of

if TYPE_CHECKING:
    from magentic_kit.team.loading import Team
    from magentic_kit.views.console import Console

LOADING = "loading Semantic Kernel"
_VARIABLE = re.compile(r"\{\{\s*\$(\w+)\s*\}\}")


def announce(console: Console, team: Team, task: str | None, inputs: Mapping[str, Any]) -> None:
    """Shows the team and its task, with the inputs filled in and secrets masked; nothing if there is no task."""
    text = task
    if not text or not text.strip():
        values = {name: spec.default for name, spec in team.config.inputs.items()} | dict(inputs)
        text = _VARIABLE.sub(lambda found: str(values.get(found[1], found[0])), team.config.task or "")
    if text:
        redactor = redactor_of(frozenset(team.secrets(inputs)))
        console.announce(team.config.name, redactor.text(text))


def announce_again(console: Console, run_dir: Path) -> None:
    """Shows the team and the task of a run that continues, as its log has them."""
    from magentic_kit.events import RunStarted
    from magentic_kit.runlog.reader import read_log

    try:
        events = read_log(run_dir)[0]
    except KitError:
        return  # whoever continues the run reports it
    if events and isinstance(events[0], RunStarted):
        console.announce(events[0].team, events[0].task)
