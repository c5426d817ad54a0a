"""What may be queued: a database keeps no secret, and a team's own are references to variables that workers have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from magentic_kit.errors import ConfigError

if TYPE_CHECKING:
    from magentic_kit.orchestration.blueprint import TeamBlueprint


def require_queueable(blueprint: TeamBlueprint, task: str | None, inputs: Mapping[str, Any]) -> None:
    """Raises `ConfigError` if the task or the inputs are not what the team takes, or have a secret."""
    blueprint.fill_task(task, blueprint.fill_inputs(inputs))
    redactor = blueprint.redactor(inputs)
    for name, value in (("task", task), ("inputs", dict(inputs))):
        if redactor.value(value) != value:
            raise ConfigError.one(
                "it has a secret, which is not stored in the database: write ${NAME} in the team file, and set that "
                "variable for the workers",
                file=name,
            )
