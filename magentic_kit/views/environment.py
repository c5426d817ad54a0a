"""Where the templates of reports are, and how they are read."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from magentic_kit.events import RunLimits
from magentic_kit.runlog.usage import cost_text
from magentic_kit.text import count, duration, money, one_line

TEMPLATES = Path(__file__).parent / "templates"


@cache
def read_template(name: str) -> str:
    """The text of a style sheet or a script that stands beside the templates."""
    return (TEMPLATES / name).read_text("utf-8")


def environment_of(*folders: Path, **options: Any) -> jinja2.Environment:
    """The environment of templates of reports, and of `folders` besides; `options` as for `jinja2.Environment`."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([TEMPLATES, *folders]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        **options,
    )
    environment.filters |= {
        "cost": cost_text,
        "count": count,
        "duration": duration,
        "limits": shown_limits,
        "money": money,
        "one_line": one_line,
    }
    return environment


def shown_limits(limits: RunLimits) -> list[tuple[str, str]]:
    """Each limit that a run had, by its name in the team file, and its value in words."""
    shown = []
    for name, value in vars(limits).items():
        if name == "max_cost" and value is not None:
            shown.append((name, money(value)))
        elif isinstance(value, float):
            shown.append((name, duration(value)))
        elif value is not None:
            shown.append((name, f"{value:,}"))
    return shown
