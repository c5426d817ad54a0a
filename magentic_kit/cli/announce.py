"""The first line of a run, shown before anything is imported that a console or a run needs."""

from __future__ import annotations

import os
import re
import sys
import textwrap
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from magentic_kit.cli.output import shows_colours
from magentic_kit.errors import KitError
from magentic_kit.runlog.redaction import redactor_of
from magentic_kit.text import one_line
from magentic_kit.views.lines import INDENT

if TYPE_CHECKING:
    from magentic_kit.team.loading import Team

_COLUMNS = 80
"""Of a terminal that does not say how wide it is."""

_VARIABLE = re.compile(r"\{\{\s*\$(\w+)\s*\}\}")


def announce(name: str, task: str, *, plain: bool = False) -> str:
    """Shows on standard error whose run begins; returns it, so that the console does not show it again."""
    head = f"{name}: {task}"
    line = one_line(head)
    if not plain and shows_colours():
        line = "\n".join(click.style(part, bold=True) for part in _wrapped(line))
    print(line, file=sys.stderr, flush=True)
    return head


def _wrapped(line: str) -> list[str]:
    """The line as a terminal shows it whole, without rich: what others wrote never wraps to the margin."""
    width = os.get_terminal_size(sys.stderr.fileno()).columns or _COLUMNS
    width -= len(INDENT)
    if any(unicodedata.east_asian_width(character) in "WF" for character in line):
        width //= 2  # such a character takes two columns
    first, *rest = textwrap.wrap(line, max(width, 1), break_on_hyphens=False) or [""]
    return [first, *(INDENT + part for part in rest)]


def announce_team(team: Team, task: str | None, inputs: Mapping[str, Any], *, plain: bool = False) -> str:
    """Shows the team and its task, with the inputs filled in and secrets masked; "" if there is no task."""
    text = task
    if not text or not text.strip():
        values = {name: spec.default for name, spec in team.config.inputs.items()} | dict(inputs)
        text = _VARIABLE.sub(lambda found: str(values.get(found[1], found[0])), team.config.task or "")
    if not text:
        return ""
    redactor = redactor_of(frozenset(team.secrets(inputs)))
    return announce(team.config.name, redactor.text(text), plain=plain)


def announce_again(run_dir: Path, *, plain: bool = False) -> str:
    """Shows the team and the task of a run that continues, as its log has them."""
    from magentic_kit.events import RunStarted
    from magentic_kit.runlog.reader import read_log

    try:
        events = read_log(run_dir)[0]
    except KitError:
        return ""  # whoever continues the run reports it
    if events and isinstance(events[0], RunStarted):
        return announce(events[0].team, events[0].task, plain=plain)
    return ""
