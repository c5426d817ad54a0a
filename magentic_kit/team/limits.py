"""The limits of a single run, by the names that events and reports give them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from magentic_kit.team.models import Limits
from magentic_kit.team.problems import nearest

_OF_MANAGER = ("max_rounds", "max_stalls", "max_resets")
LIMIT_NAMES = (*_OF_MANAGER, *Limits.model_fields)
"""Every limit that a run can be given, as `RunLimits` names it."""


def limit_overrides(limits: Mapping[str, Any]) -> dict[str, Any]:
    """Limits as overrides of a team file, where those of the manager stand apart. Raises `TypeError`."""
    overrides: dict[str, Any] = {}
    for name, value in limits.items():
        if name not in LIMIT_NAMES:
            raise TypeError(f"a run has no limit '{name}'{nearest(name, LIMIT_NAMES)}")
        part = "manager" if name in _OF_MANAGER else "limits"
        overrides[f"{part}.{name}"] = value
    return overrides
