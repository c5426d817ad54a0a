"""What is wrong with a value, in words for the person who wrote it."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Collection, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from magentic_kit.config import Service, TeamConfig
from magentic_kit.fields import AGENT_NAME, IDENTIFIER, TARGET
from magentic_kit.source import Route, Source

_PATTERNS = {
    AGENT_NAME: "should be a name of letters, digits, '-' and '_'",
    IDENTIFIER: "should be a name of letters, digits and '_'",
    TARGET: "should name a Python object as package.module:Name",
}
_EXPECTED = {
    "string_type": "should be text",
    "int_type": "should be a whole number",
    "int_from_float": "should be a whole number",
    "bool_type": "should be true or false",
    "dict_type": "should hold keys with values",
    "model_type": "should hold keys with values",
    "model_attributes_type": "should hold keys with values",
    "tuple_type": "should be a list",
    "list_type": "should be a list",
    "greater_than_equal": "should be {ge} or more",
    "too_short": "should have at least one entry",
    "string_too_short": "should not be empty",
}
_PROVIDERS = {
    tag: service
    for service in typing.get_args(typing.get_args(Service)[0])
    for tag in typing.get_args(service.model_fields["provider"].annotation)
}
_CLOSED = {"too_short", "string_too_short"}
"""Kinds of error whose sentence gains nothing from the value."""


def nearest(name: str, choices: Collection[str], *, list_all: bool = True) -> str:
    """The end of a sentence about an unknown name: the nearest one there is, else all there are."""
    folded = {choice.casefold(): choice for choice in choices}
    if match := difflib.get_close_matches(name[:80].casefold(), folded, n=1):
        return f"; did you mean '{folded[match[0]]}'?"
    return f"; there is {', '.join(choices)}" if choices and list_all else ""


def clip(value: Any) -> str:
    """A value in a few words."""
    if isinstance(value, str):
        value = " ".join(value[:80].split())
        return f"'{value[:40]}…'" if len(value) > 40 else f"'{value}'"
    kinds = {dict: "a mapping", list: "a list", type(None): "nothing", bool: str(value).lower()}
    return kinds.get(type(value)) or str(value)[:40]


def label(route: Route, data: Any = None) -> str:
    """What to call the thing at `route`: `the team`, `manager.prompts`, `agent 'Writer' model.options`."""
    words = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in route).lstrip(".")
    if route[:1] == ("agents",) and len(route) > 1:
        agents = data.get("agents") if isinstance(data, dict) else None
        agent = agents[int(route[1])] if isinstance(agents, list) else None
        if isinstance(agent, dict) and isinstance(name := agent.get("name"), str):
            return f"agent '{name[:40]}' {words.partition(']')[2].lstrip('.')}".rstrip()
    return words or "the team"


def validate(source: Source) -> TeamConfig | None:
    """The team that the source holds; None if there were problems, which the source then has."""
    try:
        return TeamConfig.model_validate(source.data)
    except ValidationError as error:
        for one in error.errors(include_url=False):
            _explain(source, one["type"], one["loc"], one["input"], one.get("ctx", {}), one["msg"])
        return None


def _explain(source: Source, kind: str, loc: Route, value: Any, context: Mapping[str, Any], message: str) -> None:
    # pydantic names the member of a union that it chose in the way to an error; the file does not.
    route = loc[:2] + loc[3:] if loc[:1] == ("services",) else loc
    value = source.shown.get(route, value)
    around = label(route[:-1], source.data)
    if kind == "extra_forbidden":
        hint = nearest(str(route[-1]), list(_fields_at(loc[:-1])))
        source.report(route, f"unknown key '{str(route[-1])[:40]}' in {around}{hint}", key=True)
    elif kind == "missing":
        about = _fields_at(loc[:-1])[str(route[-1])].description or ""
        source.report(route, f"{around} needs '{route[-1]}': {about.rstrip('.')}")
    elif kind == "union_tag_not_found":
        source.report(route, f"{label(route)} needs 'provider': one of {', '.join(_PROVIDERS)}")
    elif kind == "union_tag_invalid":
        hint = nearest(context["tag"], list(_PROVIDERS))
        source.report((*route, "provider"), f"{label(route)}: there is no provider {clip(context['tag'])}{hint}")
    elif kind == "string_pattern_mismatch" and route[-1] == "[key]":
        source.report(route[:-1], f"{clip(route[-2])} {_PATTERNS[context['pattern']]}", key=True)
    elif kind == "literal_error":
        choices = context["expected"].replace(" or ", ", ").replace("'", "").split(", ")
        source.report(route, f"{label(route, source.data)} cannot be {clip(value)}{nearest(str(value), choices)}")
    elif kind != "too_short" or not value:  # pydantic counts valid entries only
        expected = _PATTERNS.get(context.get("pattern", "")) or message.removeprefix("Value error, ")
        expected = _EXPECTED.get(kind, "{said}").format(said=expected, **context)
        but = "" if kind in _CLOSED else f", not {clip(value)}"
        source.report(route, f"{label(route, source.data)} {expected}{but}")


def _fields_at(loc: Route) -> dict[str, FieldInfo]:
    """The fields of the model that an error's location goes through last."""
    kind: Any = TeamConfig
    for step in loc:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            kind = kind.model_fields[str(step)].annotation
        elif typing.get_origin(kind) in (dict, tuple):
            kind = typing.get_args(kind)[0 if isinstance(step, int) else 1]
        else:
            kind = _PROVIDERS[str(step)]
        if typing.get_origin(kind) is Annotated or type(None) in typing.get_args(kind):
            kind = typing.get_args(kind)[0]
    fields: dict[str, FieldInfo] = kind.model_fields
    return fields
