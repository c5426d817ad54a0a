"""Names of functions: as services accept them, and the one on offer that a model's call stands for."""

from __future__ import annotations

import re
from collections.abc import Collection

from magentic_kit.team.problems import nearest


class UnknownFunction(Exception):
    """A name stands for no function on offer, or for more than one; says so for the model."""


def function_name(name: str) -> str:
    """`name` as Semantic Kernel and the model services accept it."""
    return re.sub(r"[^0-9A-Za-z_-]+", "-", name).strip("-")


def find_function(name: str, offered: Collection[str]) -> str:
    """The function among those `offered` (`plugin-function`) that a model means by `name`.

    `weather.look`, `weather_look`, `functions.weather-look` and `look` alone stand for `weather-look`, in any case.
    Raises `UnknownFunction` if no function, or more than one, is meant.
    """
    if name in offered:
        return name
    wanted = _folded(name).removeprefix("functions_")
    found = [function for function in offered if _folded(function) == wanted]
    if not found and wanted:
        found = [function for function in offered if _folded(function.partition("-")[2]) == wanted]
    if len(found) == 1:
        return found[0]
    if found:
        raise UnknownFunction(f"'{name}' may be {' or '.join(sorted(found))}: give the whole name")
    raise UnknownFunction(f"'{name}' is not part of the provided tools{nearest(name, sorted(offered))}")


def normalise(name: str, offered: Collection[str]) -> str:
    """The same, but a name that stands for no function stays as it is."""
    try:
        return find_function(name, offered)
    except UnknownFunction:
        return name


def _folded(name: str) -> str:
    return re.sub(r"[^0-9a-z]+", "_", name.casefold()).strip("_")
