"""What the models of the team file share: the strict base, durations and names."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

AGENT_NAME = r"^[0-9A-Za-z_-]+$"
"""What SK accepts as an agent's name."""

IDENTIFIER = r"^[0-9A-Za-z_]+$"
"""What SK accepts as a plugin's, function's or template variable's name."""

TARGET = r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$"
"""A Python object: `package.module:Name`."""

URL = r"^https?://[^/]"

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?")


def parse_duration(text: str | float) -> float:
    """Seconds of `90`, `"90s"`, `"15m"`, `"1h30m"` or `"500ms"`. Raises `ValueError` unless > 0, finite."""
    if isinstance(text, str) and (match := _DURATION.fullmatch(text.strip())) and any(match.groups()):
        units = zip(match.groups(), (3600, 60, 1, 0.001), strict=True)
        seconds = sum(float(number) * unit for number, unit in units if number)
    else:
        try:
            seconds = math.nan if isinstance(text, bool) else float(text)
        except (TypeError, ValueError, OverflowError):
            seconds = math.nan
    if not 0 < seconds < math.inf:
        raise ValueError("should be a time above zero such as 90, 90s, 15m or 1h30m")
    return seconds


def _duration_or_zero(value: Any) -> float:
    return 0.0 if value == 0 and not isinstance(value, bool) else parse_duration(value)


Duration = Annotated[float, BeforeValidator(parse_duration, json_schema_input_type=str | float)]
Pause = Annotated[float, BeforeValidator(_duration_or_zero, json_schema_input_type=str | float)]
Names = Annotated[tuple[str, ...], Field(strict=False)]
Identifier = Annotated[str, Field(pattern=IDENTIFIER)]
Target = Annotated[str, Field(pattern=TARGET)]
Folder = Annotated[Path, Field(strict=False)]
Options: TypeAlias = dict[str, Any]
Unused = Annotated[Any, Field(description="Part of SK's declarative spec; not used here.")]


def opt(default: Any, description: str, **rules: Any) -> Any:
    """A field that may be left out."""
    return Field(default, description=description, **rules)


class Model(BaseModel):
    """Unknown keys are errors, values are never coerced, nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)
