"""What is wrong with a value, in words for the person who wrote it."""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, TypeAlias

from pydantic import ValidationError

from magentic_kit.config import TeamConfig
from magentic_kit.providers import AGENT_NAME, IDENTIFIER, TARGET, URL

Route: TypeAlias = tuple[str | int, ...]
"""The way to a value: `("agents", 0, "name")`; to a key itself with `KEY` behind it."""

KEY = "[key]"
"""As pydantic calls it."""

_EXPECTED = {
    AGENT_NAME: "a name of letters, digits, '-' and '_'",
    IDENTIFIER: "a name of letters, digits and '_'",
    TARGET: "package.module:Name, a Python object",
    URL: "an http(s) URL",
    "greater_than_equal": "{ge} or more",
    "too_short": "a list of one or more",
    **dict.fromkeys(("string_type", "path_type", "string_too_short"), "text"),
    **dict.fromkeys(("int_type", "int_from_float"), "a whole number"),
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "a mapping"),
    **dict.fromkeys(("tuple_type", "list_type"), "a list"),
    "bool_type": "true or false",
}


def nearest(name: str, choices: Iterable[Any], *, list_all: bool = True) -> str:
    """The end of a sentence about an unknown name: the nearest one there is, else all there are."""
    folded = {choice.casefold(): choice for choice in choices if isinstance(choice, str)}
    if match := difflib.get_close_matches(name[:80].casefold(), folded, n=1):
        return f"; did you mean '{folded[match[0]]}'?"
    return f"; there is {', '.join(folded.values())}" if folded and list_all else ""


def clip(value: Any) -> str:
    """A value in a few words."""
    if isinstance(value, str):
        value = " ".join(value[:80].split())
        return f"'{value[:40]}…'" if len(value) > 40 else f"'{value}'"
    kinds = {
        dict: "a mapping",
        list: "a list" if value else "an empty one",
        type(None): "nothing",
        bool: str(value).lower(),
    }
    return kinds.get(type(value)) or str(value)[:40]


def get(data: Any, *route: str | int, kind: type | None = None) -> Any:
    """What stands at `route` in any data, however wrong: None, or an empty `kind`, if that is not there."""
    for step in route:
        try:
            data = data[step]
        except (LookupError, TypeError):
            data = None
    return data if kind is None or isinstance(data, kind) else kind()


def label(route: Route, data: Any = None) -> str:
    """What to call the thing at `route`: `the team`, `manager.prompts`, `agent 'Writer' model.options`."""
    words = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in route).lstrip(".")
    if route[:1] == ("agents",) and (name := get(data, *route[:2], "name", kind=str)):
        words = f"agent '{name[:40]}' {words.partition(']')[2].lstrip('.')}".rstrip()
    return words or "the team"


def validate(data: Any, shown: Mapping[Route, str]) -> tuple[TeamConfig | None, list[tuple[Route, str]]]:
    """The team that the data holds, or else what is wrong and where; secrets are told as `shown`."""
    try:
        return TeamConfig.model_validate(data), []
    except ValidationError as error:
        errors = error.errors(include_url=False)
        # pydantic counts valid entries only
        return None, [_explain(e, data, shown) for e in errors if e["type"] != "too_short" or not e["input"]]


def _explain(error: Any, data: Any, shown: Mapping[Route, str]) -> tuple[Route, str]:
    kind, loc, value, context = error["type"], error["loc"], error["input"], error.get("ctx", {})
    if tag := context.get("discriminator"):
        kind, loc, value = "missing" if "tag" not in context else kind, (*loc, tag.strip("'")), context.get("tag")
    route, models = _walk(loc[:-1])
    key, around, route = str(loc[-1]), label(route, data), (*route, loc[-1])
    what = label(route, data)
    if kind == "extra_forbidden":
        return (*route, KEY), f"unknown key {clip(key)} in {around}{nearest(key, models[0].model_fields)}"
    if kind == "missing":
        field = models[0].model_fields[key]
        tags = [tag for model in models for tag in typing.get_args(model.model_fields[key].annotation)]
        return route, f"{around} needs '{key}': {field.description.rstrip('.')}{nearest('', tags)}"
    if choices := re.findall(r"'([^']+)'", context.get("expected") or context.get("expected_tags", "")):
        return route, f"{what} cannot be {clip(shown.get(route, value))}{nearest(str(value), choices)}"
    if key == KEY:
        what = f"key {clip(route[-2])}"
    expected = _EXPECTED.get(context.get("pattern", kind), "").format(**context)
    said = f"should be {expected}" if expected else error["msg"].removeprefix("Value error, ")
    return route, f"{what} {said}, not {clip(shown.get(route, value))}"


def _walk(loc: Route) -> tuple[Route, list[Any]]:
    """Where in the file pydantic's `loc` is, and the models that may stand there.

    pydantic names the members of unions that it chose on the way; the file does not.
    """
    route: Route = ()
    kinds: list[Any] = [TeamConfig]
    for step in loc:
        if len(kinds) > 1:
            kinds = [kind for kind in kinds if step in _tags(kind)]
            continue
        route = (*route, step)
        fields = getattr(kinds[0], "model_fields", None)
        kinds = list(_members(fields[step].annotation if fields else typing.get_args(kinds[0])[isinstance(step, str)]))
    return route, kinds


def _members(kind: Any) -> Iterator[Any]:
    """The types that an annotation allows."""
    if typing.get_origin(kind) in (Annotated, typing.Union, types.UnionType):
        for one in typing.get_args(kind)[: 1 if typing.get_origin(kind) is Annotated else None]:
            yield from _members(one)
    elif kind is not type(None):
        yield kind


def _tags(model: Any) -> list[str]:
    return [tag for field in model.model_fields.values() for tag in typing.get_args(field.annotation)]
