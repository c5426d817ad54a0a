"""Where the templates of reports are, and how they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

from magentic_kit.events import RunLimits
from magentic_kit.text import count, duration, one_line

TEMPLATES = Path(__file__).parent / "templates"


def environment_of(**options: Any) -> jinja2.Environment:
    """The environment of a report's template; `options` as for `jinja2.Environment`."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        **options,
    )
    environment.filters |= {"count": count, "duration": duration, "limits": shown_limits, "one_line": one_line}
    return environment


def shown_limits(limits: RunLimits) -> list[tuple[str, str]]:
    """Each limit that a run had, by its name in the team file, and its value in words."""
    shown = []
    for name, value in vars(limits).items():
        if isinstance(value, float):
            shown.append((name, duration(value)))
        elif value is not None:
            shown.append((name, f"{value:,}"))
    return shown
