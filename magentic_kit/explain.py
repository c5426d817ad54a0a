"""What is wrong with a value, in words for the person who wrote it."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any

from pydantic import ValidationError

from magentic_kit.config import TeamConfig
from magentic_kit.fields import AGENT_NAME, IDENTIFIER, TARGET, URL
from magentic_kit.source import Route, Source

_PATTERNS = {
    AGENT_NAME: "should be a name of letters, digits, '-' and '_'",
    IDENTIFIER: "should be a name of letters, digits and '_'",
    TARGET: "should name a Python object as package.module:Name",
    URL: "should be an http(s) URL",
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
    route, kinds = _walk(loc if kind.startswith("union_tag") else loc[:-1])
    route = route if kind.startswith("union_tag") else (*route, *loc[-1:])
    value = source.shown.get(route, value)
    around = label(route[:-1], source.data)
    if kind == "extra_forbidden":
        hint = nearest(str(route[-1]), list(kinds[0].model_fields))
        source.report(route, f"unknown key '{str(route[-1])[:40]}' in {around}{hint}", key=True)
    elif kind == "missing":
        about = kinds[0].model_fields[str(route[-1])].description or ""
        source.report(route, f"{around} needs '{route[-1]}': {about.rstrip('.')}")
    elif kind == "union_tag_not_found":
        key = context["discriminator"].strip("'")
        source.report(route, f"{label(route)} needs '{key}': one of {', '.join(tag for kind in kinds for tag in _tags(kind, key))}")
    elif kind == "union_tag_invalid":
        key, tags = context["discriminator"].strip("'"), context["expected_tags"].replace("'", "").split(", ")
        hint = nearest(context["tag"], tags)
        source.report((*route, key), f"{label(route)}: there is no {key} {clip(context['tag'])}{hint}")
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
        inside = fields[str(step)].annotation if fields else typing.get_args(kinds[0])[isinstance(step, str)]
        kinds = list(_alternatives(inside))
    return route, kinds


def _alternatives(kind: Any) -> Iterator[Any]:
    """What an annotation allows, `None` aside."""
    if typing.get_origin(kind) in (Annotated, typing.Union, types.UnionType):
        for one in typing.get_args(kind)[: 1 if typing.get_origin(kind) is Annotated else None]:
            yield from _alternatives(one)
    elif kind is not type(None):
        yield kind


def _tags(model: Any, key: str | None = None) -> list[str]:
    """The words that tell a member of a union from the others."""
    fields = model.model_fields
    return [tag for name in ([key] if key else fields) for tag in typing.get_args(fields[name].annotation)]
