"""JSON Schema (draft 2020-12) of the team file, made from the models that check it."""

from __future__ import annotations

from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from magentic_kit.team.models import TeamConfig
from magentic_kit.team.strict import Field, Model, plain

REFERENCE = {"type": "string", "pattern": r"\$\{"}
"""Whatever is not plain text may also be written as `${NAME}`."""

_TYPES = {str: "string", Path: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}


def team_schema() -> dict[str, Any]:
    """The schema of a team file, for editors."""
    schema = schema_of(TeamConfig)
    agent = schema["$defs"]["AgentConfig"]
    agent["properties"]["file"] = {"type": "string", "description": "Agent spec file; other keys override it."}
    agent["anyOf"] = [{"required": agent.pop("required")}, {"required": ["file"]}]
    schema["$defs"]["ContextConfig"]["oneOf"] = [{"required": ["messages"]}, {"required": ["tokens"]}]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Team file", **schema}


def schema_of(model: type[Model]) -> dict[str, Any]:
    """The schema of a model, with those that it is made of as `$defs`."""
    models: dict[str, Any] = {}
    _schema(model, models)
    return {**models.pop(model.__name__), "$defs": models}


def _schema(kind: Any, models: dict[str, Any]) -> dict[str, Any]:
    """The schema of a type; models in it are added to `models`."""
    origin, args = get_origin(kind) or kind, get_args(kind)
    if origin is Annotated:
        return _ruled(args[0], args[1], models)
    if origin in (Union, UnionType):
        return _any_of(*(_schema(one, models) for one in args))
    if origin is Literal:
        return _any_of({"enum": [*args]}, REFERENCE) if len(args) > 1 else {"const": args[0]}
    if origin in (list, tuple):
        return {"type": "array", "items": _schema(args[0], models)}
    if origin is dict:
        (_, *rules), value = get_args(args[0]) or ("",), _schema(args[1], models) or True
        if rules:
            return {"type": "object", "patternProperties": {rules[0].pattern: value}, "additionalProperties": False}
        return {"type": "object", "additionalProperties": value}
    if origin is Any or origin not in _TYPES:
        return {} if origin is Any else _reference(origin, models)
    node = {"type": _TYPES[origin]}
    return _any_of(node, REFERENCE) if origin in (int, float, bool) else node


def _reference(model: type[Model], models: dict[str, Any]) -> dict[str, Any]:
    if model.__name__ not in models:
        properties: dict[str, Any] = {}
        for name, field in model.fields.items():
            default = {} if field.needed else {"default": plain(field.default)}
            node = {**_ruled(field.kind, field, models), "description": field.description, **default}
            properties |= {key: node for key in (name, field.alias) if key}
        needed = [name for name, field in model.fields.items() if field.needed]
        schema = {"description": model.__doc__, "type": "object", "properties": properties, "required": needed}
        models[model.__name__] = {**schema, "additionalProperties": False}
    return {"$ref": f"#/$defs/{model.__name__}"}


def _ruled(kind: Any, rule: Field, models: dict[str, Any]) -> dict[str, Any]:
    if rule.tags:
        return {"oneOf": [_schema(model, models) for model in get_args(kind)]}
    if rule.pattern:
        return _any_of({"type": "string", "pattern": rule.pattern}, REFERENCE)
    filled = {"minLength" if kind is str else "minItems": 1} if rule.filled else {}
    least = {} if rule.ge is None else {"minimum": rule.ge}
    return {**_schema(rule.takes or kind, models), **filled, **least}


def _any_of(*nodes: dict[str, Any]) -> dict[str, Any]:
    every = [one for node in nodes for one in (node["anyOf"] if node.keys() == {"anyOf"} else (node,))]
    text = {"type": "string"} in every
    return {"anyOf": [one for n, one in enumerate(every) if one not in every[:n] and not (text and one == REFERENCE)]}
