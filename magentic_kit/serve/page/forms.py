"""What the fields of a form mean: inputs, limits, edits, and results of calls of unknown outcome."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from magentic_kit.serve.page.questions import Form
from magentic_kit.team.models import TeamConfig


def inputs_of(form: Form, config: TeamConfig) -> dict[str, Any]:
    """Returns the values of a team's inputs by name, each of the kind of its default; an empty one is left out."""
    values: dict[str, Any] = {}
    for name, spec in config.inputs.items():
        text = form.get(f"input.{name}", "")
        if text and isinstance(spec.default, bool | int | float):
            values[name] = _yaml_value(text)
        elif text:
            values[name] = text
    return values


def limits_of(form: Form) -> dict[str, Any]:
    """Returns the limits that are filled in, by name."""
    fields = {name.removeprefix("limit."): text.strip() for name, text in form.items() if name.startswith("limit.")}
    return {name: _yaml_value(text) for name, text in fields.items() if text}


def edits_of(form: Form, config: TeamConfig) -> dict[str, Any]:
    """Returns the instructions of agents that were edited, as overrides by dotted path."""
    edits = {}
    for agent in config.agents:
        text = form.get(f"edit.{agent.name}", "")
        if text.strip() and text.strip() != (agent.instructions or "").strip():
            edits[f"agents.{agent.name}.instructions"] = text
    return edits


def unknown_calls_of(form: Form) -> Mapping[str, str | None]:
    """Returns what a person says of calls of unknown outcome, as `unknown_tools=` takes it."""
    match form.get("unknown"):
        case "repeat":
            return {"*": None}
        case "skip":
            return {"*": form.get("result", "")}
    return {}


def _yaml_value(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError):
        return text
