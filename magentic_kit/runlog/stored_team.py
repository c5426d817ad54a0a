"""The team of a run, as its directory has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from magentic_kit.errors import ConfigError
from magentic_kit.runlog.files import read_regular
from magentic_kit.runlog.reader import read_start

_LARGEST_TEAM = 2**24
"""Bytes of a team file that a run directory may have."""


def stored_team(run_dir: Path) -> tuple[dict[str, Any], Path]:
    """The team's data, and where its paths begin. Raises `ConfigError` if there is none, or it cannot be read."""
    started = read_start(run_dir)
    try:
        data = dict(yaml.safe_load(read_regular(run_dir / "team.yaml", _LARGEST_TEAM)))
    except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
        raise ConfigError.one(f"the run's team cannot be read: {error}", file=str(run_dir)) from error
    if started is None:
        return data, Path()
    return data, Path(started.base_dir or ".")
