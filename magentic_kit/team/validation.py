"""The one place where pydantic's errors become problems: where they are, what was expected, the nearest valid name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import AliasChoices, ValidationError

from magentic_kit.team.problems import KEY, Route, clip, get, label, nearest
from magentic_kit.team.values import PATTERNS, Model

_M = TypeVar("_M", bound=Model)

_NO_SPACE = re.compile(r"[a-z_]{1,30}:(?=\S)")

_TAGS = ("provider", "type", "transport")
"""The keys that tell the models of a union apart."""

_EXAMPLES = {
    "AgentConfig": "{name: Writer, description: Writes the answer.}",
    "ToolSpec": "{id: plugin.function}",
    "ModelSpec": "{connection: {service_id: default}}",
    "ModelConnection": "{service_id: default}",
    "ContextConfig": "{messages: 40}",
    "ManagerConfig": "{max_rounds: 20}",
    "ManagerPrompts": "{facts: …}",
    "Limits": "{deadline: 15m}",
    "AnswerConfig": "{schema: answer.schema.json}",
    "ReviewConfig": "{plan: true}",
    "ReportConfig": "{formats: [md]}",
    "OpenAIService": "{provider: openai, model: gpt-4.1-mini}",
    "PythonPlugin": "{type: python, target: 'package.module:Class'}",
    "InputSpec": "{default: …}",
}
"""What may stand where a mapping is expected; of several models, for the first."""

_EXPECTED = {
    "string_type": "text",
    "string_too_short": "text",
    "string_unicode": "text that UTF-8 can hold",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "is_instance_of": "text",
    "tuple_type": "a list",
    "list_type": "a list",
    "too_short": "a list of one or more",
}
"""What should stand where pydantic raises an error of each type."""


def validate(
    model: type[_M], data: Any, shown: Mapping[Route, str] = {}, *, root: str = "the team"
) -> tuple[_M | None, list[tuple[Route, str]]]:
    """The model that the data holds, or None and every problem with its route.

    `root` is what to call the whole. A value that has a secret in it is quoted as `shown` has it.
    """
    try:
        return model.model_validate(data), []
    except ValidationError as error:
        problems = [_Problem(model, one, data, shown, root) for one in error.errors(include_url=False)]
        # pydantic counts valid items only: a list with a broken one in it is too short besides
        return None, [(one.route, one.message()) for one in problems if not (one.type == "too_short" and one.input)]


class _Problem:
    """One of pydantic's errors: its route, and the message that says what is wrong."""

    def __init__(self, model: type[Model], error: Any, data: Any, shown: Mapping[Route, str], root: str) -> None:
        self.type: str = error["type"]
        self.input: Any = error["input"]
        self.text: str = error["msg"]
        self.context: dict[str, Any] = error.get("ctx", {})
        self.data, self.shown, self.root = data, shown, root
        self.route, self.kind, self.model = _locate(model, error["loc"])
        self.tag = self.context.get("discriminator", "").strip("'")
        if self.tag:  # pydantic names only the mapping in which it should stand
            self.route = (*self.route, self.tag)
            self.model = _models(self.kind)[0]
        elif self.type in ("extra_forbidden", "invalid_key"):
            self.route = (*self.route, KEY)

    def message(self) -> str:
        match self.type:
            case "missing":
                return self._missing()
            case "union_tag_not_found":
                return self._missing() + nearest("", self._tags())
            case "union_tag_invalid":
                return self._no_choice(get(self.input, self.tag), self._tags())
            case "literal_error":
                return self._no_choice(self.input, get_args(self.kind))
            case "extra_forbidden" | "invalid_key":
                return self._unknown_key()
            case "value_error":
                return self._refused(str(self.context["error"]))
            case "string_pattern_mismatch":
                return self._refused(f"should be {PATTERNS[self.context['pattern']]}")
            case "greater_than_equal":
                return self._refused(f"should be {self.context['ge']} or more")
            case "dict_type" | "model_type" | "model_attributes_type":
                return self._no_mapping()
            case kind if kind in _EXPECTED:
                return self._refused(f"should be {_EXPECTED[kind]}")
        return self._refused(self.text)

    def _name(self, route: Route) -> str:
        return label(route, self.data) or self.root

    def _quoted(self, value: Any) -> str:
        return clip(self.shown.get(self.route, value))

    def _tags(self) -> list[str]:
        """What the key that tells the models of a union apart may be."""
        tags = [tag for model in _models(self.kind) for tag in get_args(model.model_fields[self.tag].annotation)]
        return list(dict.fromkeys(tags))

    def _missing(self) -> str:
        *around, key = self.route
        description = self.model.model_fields[str(key)].description or ""
        return f"{self._name(tuple(around))} needs '{key}': {description.rstrip('.')}"

    def _unknown_key(self) -> str:
        *around, key, _ = self.route
        return f"unknown key {clip(key)} in {self._name(tuple(around))}{nearest(str(key), self.model.model_fields)}"

    def _no_choice(self, value: Any, choices: Iterable[str]) -> str:
        return f"{self._name(self.route)} cannot be {self._quoted(value)}{nearest(str(value), choices)}"

    def _no_mapping(self) -> str:
        example = _example(self.kind)
        message = self._refused(f"should be a mapping such as {example}" if example else "should be a mapping")
        # `name:Writer` is one text.
        if isinstance(self.input, str) and (match := _NO_SPACE.match(self.input)):
            message += f"; a space is missing behind the colon of '{match[0]}'"
        return message

    def _refused(self, reason: str) -> str:
        name = self._name(self.route)
        if self.route[-1:] == (KEY,):
            name = f"key {clip(self.route[-2])}"
        if reason.startswith("should be"):
            reason += f", not {self._quoted(self.input)}"
        return f"{name} {reason}"


def _locate(model: type[Model], location: tuple[int | str, ...]) -> tuple[Route, Any, type[Model]]:
    """The route that pydantic's `loc` means, the type of what stands there, and the last model on the way to it.

    pydantic puts the tag of each union into its `loc`, which is no part of the route.
    """
    route: Route = ()
    kind: Any = model
    for step in location:
        if len(models := _models(kind)) > 1 and step != KEY:
            kind = Union[tuple(model for model in models if step in _tags(model))]  # noqa: UP007 (made of a list)
            continue
        route = (*route, step)
        if step == KEY:
            continue
        if models:
            model = models[0]
            kind = _type_of_key(model, step)
        else:
            kind = _type_of_items(kind)
    return route, _bare(kind), model


def _models(kind: Any) -> list[type[Model]]:
    """The models that a value may be, however deep the union is."""
    kind = _bare(kind)
    if get_origin(kind) in (Union, UnionType):
        return [model for member in get_args(kind) for model in _models(member)]
    if isinstance(kind, type) and not get_origin(kind) and issubclass(kind, Model):
        return [kind]
    return []


def _example(kind: Any) -> str:
    """What a mapping of that type may look like; nothing if it may hold anything."""
    kind = _bare(kind)
    if get_origin(kind) is dict:
        inside = _example(get_args(kind)[1])
        if inside:
            return f"{{default: {inside}}}"
        return ""
    models = _models(kind)
    if models:
        return _EXAMPLES.get(models[0].__name__, "")
    return ""


def _tags(model: type[Model]) -> set[Any]:
    """What a tag of pydantic's that leads to the model may be."""
    fields = [model.model_fields[key] for key in _TAGS if key in model.model_fields]
    return {tag for field in fields for tag in get_args(field.annotation)}


def _bare(kind: Any) -> Any:
    """A type without its rules, and without None beside it."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in (Union, UnionType):
        members = [member for member in get_args(kind) if member is not NoneType]
        if len(members) == 1:
            return _bare(members[0])
    return kind


def _type_of_key(model: type[Model], key: int | str) -> Any:
    for name, field in model.model_fields.items():
        alias = field.validation_alias
        if key == name or (isinstance(alias, AliasChoices) and key in alias.choices):
            return field.annotation
    return Any


def _type_of_items(kind: Any) -> Any:
    kind = _bare(kind)
    arguments = get_args(kind) or (Any,)
    if get_origin(kind) is dict:
        return arguments[-1]
    return arguments[0]
