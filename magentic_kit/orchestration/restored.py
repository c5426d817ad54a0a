"""Restores what a resumed run reads from its log with the secrets that the log does not have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from magentic_kit.errors import ConfigError
from magentic_kit.events import RunStarted
from magentic_kit.orchestration.blueprint import TeamBlueprint
from magentic_kit.runlog.redaction import Redactor, has_mask


def restored(started: RunStarted, blueprint: TeamBlueprint, task: str | None, inputs: Mapping[str, Any]) -> RunStarted:
    """The start of a run with its real task and inputs, as they are given again or as the team has them.

    Raises `ConfigError` if what was masked is neither.
    """
    redactor = blueprint.redactor(inputs)
    defaults = {name: spec.default for name, spec in blueprint.config.inputs.items()}
    real = restored_inputs(started.inputs, given=inputs, defaults=defaults, redactor=redactor)
    if has_mask(started.task) and (task or blueprint.config.task):
        task = blueprint.fill_task(task, blueprint.fill_inputs(real))
    return replace(started, task=restored_task(started.task, task or "", redactor), inputs=real)


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
