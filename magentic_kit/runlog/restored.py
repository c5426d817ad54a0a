"""Restores what a resumed run reads from its log with the secrets that the log does not have."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from magentic_kit.errors import ConfigError
from magentic_kit.runlog.redaction import MASK, Redactor


def restored_inputs(
    recorded: Mapping[str, Any], *, given: Mapping[str, Any], defaults: Mapping[str, Any], redactor: Redactor
) -> dict[str, Any]:
    """The inputs of a run, where they were masked with the values that are given again, or are the team's defaults.

    Raises `ConfigError` if a value that was masked is neither.
    """
    inputs = dict(recorded)
    for name, value in recorded.items():
        if not has_mask(value):
            continue
        if name in given and given[name] != value and redactor.value(given[name]) == value:
            inputs[name] = given[name]
        elif name in defaults and redactor.value(defaults[name]) == value:
            inputs[name] = defaults[name]
        else:
            raise ConfigError.one(
                f"the input '{name}' has a secret, which is not stored with a run: give it again by --input {name}=…"
            )
    return inputs


def restored_task(recorded: str, task: str, redactor: Redactor) -> str:
    """The task of a run, where it was masked as it is given again. Raises `ConfigError` if that is another task."""
    if not has_mask(recorded):
        return recorded
    if redactor.text(task) != recorded:
        raise ConfigError.one(
            "the task has a secret, which is not stored with a run: begin it again with `run --from RUN` and the task;"
            " steps that are unchanged are not paid again"
        )
    return task


def has_mask(value: Any) -> bool:
    """Whether a secret was masked somewhere in plain data."""
    return MASK in (value if isinstance(value, str) else json.dumps(value, default=str))
