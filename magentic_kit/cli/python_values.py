"""Values of a team file as Python code, in which `${NAME}` is read from the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping

from magentic_kit.text import one_line

_REFERENCE = re.compile(r"\$\$\{|\$\{([A-Za-z_]\w*)(?::-([^}]*))?\}")


def code(value: object) -> str:
    """A value as Python; `${NAME}` in its texts is read from the environment."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {code(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(code, value)) + "]"
    if not isinstance(value, str) or "${" not in value:
        return repr(value)
    parts, at = [], 0
    for match in _REFERENCE.finditer(value):
        if value[at : match.start()]:
            parts.append(repr(value[at : match.start()]))
        at = match.end()
        parts.append(_looked_up(match))
    if value[at:]:
        parts.append(repr(value[at:]))
    return " + ".join(parts)


def comment(text: str) -> str:
    """A text in a comment or docstring, which it cannot end."""
    return one_line(text).replace("\\", "/").replace('"', "'")


def variable(kind: str, name: str) -> str:
    """The name of a variable for something that is called `name`."""
    return f"{kind}_{re.sub(r'[^0-9a-z]+', '_', name.lower())}"


def _looked_up(match: re.Match[str]) -> str:
    name, default = match.groups()
    if name is None:  # `$${`, which stands for the characters
        return repr("${")
    if default is None:
        return f"os.environ[{name!r}]"
    return f"os.environ.get({name!r}, {default!r})"
