"""What may be queued: a database keeps no secret, and a team's own are references to variables that workers have."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magentic_kit.cluster.entry import Spec
from magentic_kit.errors import ConfigError
from magentic_kit.services.attached_files import attached
from magentic_kit.services.contents import Content, described, rebuilt

if TYPE_CHECKING:
    from magentic_kit.orchestration.blueprint import TeamBlueprint


def spec_of(
    blueprint: TeamBlueprint,
    task: str | None,
    inputs: Mapping[str, Any],
    attach: Sequence[str | Path],
    people: dict[str, Any],
) -> Spec:
    """What is to be run, files and all, for a worker on any host.

    Raises `ConfigError` if task or inputs are not what the team takes, a file is of no kind that can go with a task,
    or there is a secret in one of them.
    """
    blueprint.fill_task(task, blueprint.fill_inputs(inputs))
    contents = [described(content) for content in attached(attach)]
    redactor = blueprint.redactor(inputs)
    texts = [content.decode(errors="replace") for _, content in contents]
    for name, value in (("task", task), ("inputs", dict(inputs)), ("attach", texts)):
        if redactor.value(value) != value:
            raise ConfigError.one(
                "it has a secret, which is not stored in the database: write ${NAME} in the team file, and set that "
                "variable for the workers",
                file=name,
            )
    return {
        "team": blueprint.team.stored(blueprint.redactor().spans),
        "base_dir": str(blueprint.team.base_dir.resolve()),
        "task": task or "",  # the worker fills in the team's own
        "inputs": json.loads(json.dumps(dict(inputs), default=str)),
        "attachments": [attachment for attachment, _ in contents],
        "contents": {attachment["sha256"]: b64encode(content).decode() for attachment, content in contents},
        "people": people,
    }


def contents_of(spec: Spec) -> dict[str, bytes]:
    """The contents of what goes with the task, by their SHA-256."""
    return {sha256: b64decode(content) for sha256, content in spec["contents"].items()}


def attached_to(spec: Spec) -> tuple[Content, ...]:
    """What goes with the task, as a run takes it."""
    contents = contents_of(spec)
    return tuple(rebuilt(attachment, contents[attachment["sha256"]]) for attachment in spec["attachments"])
