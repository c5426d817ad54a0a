"""The base of the team file's models, and the kinds of values that they share."""

import math
import re
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

AGENT_NAME = r"^[0-9A-Za-z_-]+(?: [0-9A-Za-z_-]+)*$"
"""An agent's name; see `wire_name` for what SK accepts."""

IDENTIFIER = r"^[0-9A-Za-z_]+$"
"""What SK accepts as a plugin's, function's or template variable's name."""

WRITTEN_SCHEMA = "written_schema"
"""Where the metadata of a function has its parameters' schema with its `$defs`, as whoever offers it wrote them."""

TARGET = r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$"
"""A Python object: `package.module:Name`."""

URL = r"^https?://[^/][\s\S]*$"

PATTERNS = {
    AGENT_NAME: "a name of letters, digits, '-', '_' and single spaces",
    IDENTIFIER: "a name of letters, digits and '_'",
    TARGET: "package.module:Name, a Python object",
    URL: "an http(s) URL",
}
"""What a text that matches each pattern is called."""

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)(?:s|$))?(?:(\d+)ms)?")
_T = TypeVar("_T")


class Model(BaseModel):
    """Unknown keys are errors, values are never coerced, and nothing changes afterwards."""

    # Only the team and the models used by themselves get a validator of their own, when they are first used.
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", defer_build=True)


def part(description: str) -> Any:
    """A key that holds a model, which may be left out if the model has a default for each of its own keys."""
    return Field(default={}, validate_default=True, description=description)


def parse_duration(text: str | float) -> float:
    """Seconds of `90`, `"90s"`, `"15m"`, `"1h30m"` or `"500ms"`. Raises `ValueError` unless > 0, finite."""
    match = _DURATION.fullmatch(str(text).strip())
    units = zip(match.groups() if match else (), (3600, 60, 1, 0.001), strict=False)
    seconds = sum(float(number) * unit for number, unit in units if number)
    if not 0 < seconds < math.inf:
        raise ValueError("should be a time above zero such as 90, 90s, 15m or 1h30m")
    return seconds


def wire_name(name: str) -> str:
    """An agent's name as Semantic Kernel and model services accept it: without spaces."""
    return name.replace(" ", "_")


def _number_as_text(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return value


def _path(value: Any) -> Any:
    # Not left to pydantic, which takes no text with lone surrogates, as a file's name may have.
    if isinstance(value, str):
        return Path(value)
    return value


ListOf: TypeAlias = Annotated[tuple[_T, ...], Field(strict=False)]
"""A list in the file, which is a tuple here, so that nothing changes it."""

Names: TypeAlias = ListOf[str]
Options: TypeAlias = dict[str, Any]
Duration = Annotated[float, BeforeValidator(parse_duration, json_schema_input_type=float | str)]
Text = Annotated[str, BeforeValidator(_number_as_text, json_schema_input_type=str | int | float | bool)]
"""In a team file it is what is written there, whatever it looks like."""

HEADERS = 'Sent with every request, such as {Authorization: "Bearer ${TOKEN}"}.'
"""What a key for HTTP headers is for."""

FilePath = Annotated[Path, BeforeValidator(_path, json_schema_input_type=str)]
AgentName = Annotated[str, Field(pattern=AGENT_NAME)]
Identifier = Annotated[str, Field(pattern=IDENTIFIER)]
Target = Annotated[str, Field(pattern=TARGET)]
Url = Annotated[str, Field(pattern=URL)]
