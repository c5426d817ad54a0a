"""Restores what a resumed run reads from its log with the secrets that the log does not have."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from magentic_kit.errors import ConfigError
from magentic_kit.runlog.redaction import MASK, Redactor


def restored_inputs(
    recorded: Mapping[str, Any], sources: Iterable[Mapping[str, Any]], redactor: Redactor
) -> dict[str, Any]:
    """The inputs of a run, where they were masked with the values that one of the sources has.

    Raises `ConfigError` if none has the value that was masked.
    """
    inputs = dict(recorded)
    for name, value in recorded.items():
        if not has_mask(value):
            continue
        found = [source[name] for source in sources if name in source and redactor.value(source[name]) == value]
        if not found:
            raise ConfigError.one(
                f"the input '{name}' has a secret, which is not stored with a run: give it again by --input {name}=…"
            )
        inputs[name] = found[0]
    return inputs


def restored_task(recorded: str, source: Callable[[], str], redactor: Redactor) -> str:
    """The task of a run, if it was masked from the source. Raises `ConfigError` if that is another task."""
    if not has_mask(recorded):
        return recorded
    task = source()
    if redactor.text(task) != recorded:
        raise ConfigError.one(
            "the task has a secret, which is not stored with a run: begin it again with `run --from RUN` and the task;"
            " steps that are unchanged are not paid again"
        )
    return task


def has_mask(value: Any) -> bool:
    """Whether a secret was masked somewhere in plain data."""
    return MASK in (value if isinstance(value, str) else json.dumps(value, default=str))
