"""The one place where pydantic's errors become problems: where they are, what was expected, the nearest valid name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import AliasChoices, ValidationError
from pydantic.fields import FieldInfo

from magentic_kit.team.problems import KEY, Route, clip, get, label, nearest
from magentic_kit.team.values import PATTERNS, Model

_M = TypeVar("_M", bound=Model)

_TAGS = ("provider", "type", "transport")
"""The keys that tell the models of a union apart."""

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
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
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
    """One of pydantic's errors."""

    def __init__(self, kind: Any, error: Any, data: Any, shown: Mapping[Route, str], root: str) -> None:
        self.type: str = error["type"]
        self.input: Any = error["input"]
        self.context: dict[str, Any] = error.get("ctx", {})
        self.text: str = error["msg"]
        self.data, self.shown, self.root = data, shown, root
        self.route, self.kind, self.model = _locate(kind, error["loc"])
        self.tag = self.context.get("discriminator", "").strip("'")
        if self.tag:  # pydantic names only what is around it
            self.route = (*self.route, self.tag)
        if self.type == "extra_forbidden":
            self.route = (*self.route, KEY)

    def message(self) -> str:
        """What is wrong, in words."""
        special: dict[str, Callable[[], str]] = {
            "missing": self._missing,
            "extra_forbidden": self._unknown_key,
            "literal_error": lambda: self._no_choice(self.input, get_args(self.kind)),
            "union_tag_not_found": lambda: f"{self._missing()}{nearest('', self._tags())}",
            "union_tag_invalid": lambda: self._no_choice(get(self.input, self.tag), self._tags()),
            "value_error": lambda: self._refused(str(self.context["error"])),
            "string_pattern_mismatch": lambda: self._refused(f"should be {PATTERNS[self.context['pattern']]}"),
            "greater_than_equal": lambda: self._refused(f"should be {self.context['ge']} or more"),
        }
        if self.type in special:
            return special[self.type]()
        return self._refused(f"should be {_EXPECTED[self.type]}" if self.type in _EXPECTED else self.text)

    def _name(self, route: Route) -> str:
        return label(route, self.data) or self.root

    def _missing(self) -> str:
        model = _models(self.kind)[0] if self.tag else self.model
        field = _field(model, self.route[-1])
        about = (field.description or "").rstrip(".") if field else ""
        return f"{self._name(self.route[:-1])} needs '{self.route[-1]}': {about}"

    def _unknown_key(self) -> str:
        *around, key, _ = self.route
        fields = self.model.model_fields if self.model else {}
        return f"unknown key {clip(key)} in {self._name(tuple(around))}{nearest(str(key), fields)}"

    def _tags(self) -> list[str]:
        """What the key that tells the models apart may be."""
        kinds = [model.model_fields[self.tag].annotation for model in _models(self.kind)]
        return list(dict.fromkeys(choice for kind in kinds for choice in get_args(kind)))

    def _no_choice(self, value: Any, choices: Any) -> str:
        quoted = clip(self.shown.get(self.route, value))
        return f"{self._name(self.route)} cannot be {quoted}{nearest(str(value), choices)}"

    def _refused(self, reason: str) -> str:
        name = f"key {clip(self.route[-2])}" if self.route[-1:] == (KEY,) else self._name(self.route)
        if not reason.startswith("should be"):
            return f"{name} {reason}"
        return f"{name} {reason}, not {clip(self.shown.get(self.route, self.input))}"


def _locate(kind: Any, location: tuple[int | str, ...]) -> tuple[Route, Any, type[Model] | None]:
    """The route that pydantic's `loc` means, the type that stands there, and the last model on the way to it.

    pydantic puts the tag of each union into its `loc`, which stands nowhere in the file.
    """
    route: Route = ()
    parent: type[Model] | None = None
    for step in location:
        models = [] if step == KEY else _models(kind)
        if len(models) > 1:
            kind = Union[tuple(model for model in models if step in _tags(model))]  # noqa: UP007 (made of a list)
            continue
        route = (*route, step)
        if models:
            parent = models[0]
            field = _field(parent, step)
            kind = field.annotation if field else Any
        elif step != KEY:
            kind = _item(kind)
    return route, _bare(kind), parent


def _field(model: type[Model] | None, key: int | str) -> FieldInfo | None:
    """The field of that name or with that alias."""
    for name, field in model.model_fields.items() if model else ():
        alias = field.validation_alias
        if key == name or (isinstance(alias, AliasChoices) and key in alias.choices):
            return field
    return None


def _bare(kind: Any) -> Any:
    """A type without its rules, and without None beside it."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in (Union, UnionType):
        members = [member for member in get_args(kind) if member is not NoneType]
        return _bare(members[0]) if len(members) == 1 else kind
    return kind


def _item(kind: Any) -> Any:
    """The type of what a list or a mapping holds."""
    kind = _bare(kind)
    arguments = get_args(kind) or (Any,)
    return arguments[-1] if get_origin(kind) is dict else arguments[0]


def _models(kind: Any) -> list[type[Model]]:
    """The models that a value may be, however deep the union is."""
    kind = _bare(kind)
    if get_origin(kind) in (Union, UnionType):
        return [model for member in get_args(kind) for model in _models(member)]
    return [kind] if isinstance(kind, type) and not get_origin(kind) and issubclass(kind, Model) else []


def _tags(model: type[Model]) -> set[Any]:
    """What a tag of pydantic's that leads to the model may be."""
    return {
        choice for key in _TAGS if key in model.model_fields for choice in get_args(model.model_fields[key].annotation)
    }
