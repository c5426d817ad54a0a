"""Strict models of plain data: each key is annotated and described, and all that does not fit is told at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Union, get_args, get_origin

from magentic_kit.errors import ConfigError
from magentic_kit.team.problems import KEY, Route, clip, label, nearest

if TYPE_CHECKING:
    from typing_extensions import Self, dataclass_transform
else:

    def dataclass_transform(**_):
        """Says nothing while the program runs."""
        return lambda cls: cls


_NEEDED: Any = object()
_WORDS: dict[Any, str] = {str: "text", Path: "text", int: "a whole number", float: "a number", bool: "true or false"}
_ALSO: dict[Any, Any] = {Path: str, float: int, list: tuple, tuple: list, dict: Mapping}
"""What is taken for a type besides its own values."""


class Field:
    """What is asked of a value besides its type, by a key of a model or in an annotation.

    Text matches all of `pattern`, which `expected` names; a number is `ge` or more; what is `filled` is not empty.
    `parse` makes the value, or raises `ValueError`, of what is written, a `takes`. `tags` are the keys that tell the
    models of a union apart, each where the one before it does not. `alias` is another word for a key.
    """

    kind: Any = None
    default: Any = _NEEDED
    description = alias = pattern = expected = ""
    ge: int | None = None
    filled = False
    parse: Callable[[Any], Any] | None = None
    takes: Any = None
    tags: tuple[str, ...] = ()

    def __init__(self, **given: Any) -> None:
        vars(self).update(given)

    @property
    def needed(self) -> bool:
        """Whether the key may not be left out."""
        return self.default is _NEEDED


def opt(default: Any, description: str, **rules: Any) -> Any:
    """A key that may be left out; `rules` are those of `Field`."""
    return Field(default=default, description=description, **rules)


def need(description: str, **rules: Any) -> Any:
    """A key that has to be there."""
    return Field(description=description, **rules)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(need,))
class Model:
    """Unknown keys are errors, values are never coerced, nothing changes afterwards.

    Its module has to do without `from __future__ import annotations`: the annotations are read.
    """

    fields: ClassVar[dict[str, Field]] = {}

    def __init_subclass__(cls) -> None:
        cls.fields = dict(cls.fields)
        for name, kind in cls.__annotations__.items():
            cls.fields[name] = vars(cls)[name]
            cls.fields[name].kind = kind

    def __init__(self, **values: Any) -> None:
        """Raises `ConfigError` with all that is wrong."""
        made, problems = read(type(self), values, root=type(self).__name__)
        if problems:
            raise ConfigError.one("; ".join(message for _, message in problems), file=type(self).__name__)
        vars(self).update(vars(made))

    @classmethod
    def _prepare(cls, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """The data as it is to be read. Raises `ValueError`."""
        return data

    def replace(self, **changes: Any) -> Self:
        """The same with some values changed, which are not checked."""
        new = object.__new__(type(self))
        vars(new).update(vars(self), **changes)
        return new

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} cannot be changed")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


def plain(value: Any) -> Any:
    """The data that a value is read from again, defaults left out."""
    if isinstance(value, Model):
        return {name: plain(it) for name, it in vars(value).items() if it != value.fields[name].default}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value.pattern if isinstance(value, re.Pattern) else value


def read(
    kind: Any, data: Any, shown: Mapping[Route, str] = {}, *, root: str = "the team"
) -> tuple[Any, list[tuple[Route, str]]]:
    """The value that the data holds, or None and what is wrong and where.

    `kind` is any type that the annotations here use, `root` what to call the whole; secrets are told as `shown`.
    """
    reader = _Reader(data, shown, root)
    value = reader.value(kind, data, ())
    return (None if reader.problems else value), reader.problems


class _Reader:
    """Each method but the first gives a value, or None after it has noted a problem."""

    def __init__(self, data: Any, shown: Mapping[Route, str], root: str) -> None:
        self.data, self.shown, self.root = data, shown, root
        self.problems: list[tuple[Route, str]] = []

    def value(self, kind: Any, value: Any, route: Route, tags: Sequence[str] = ()) -> Any:
        origin, args = get_origin(kind) or kind, get_args(kind)
        if origin is Annotated:
            return self.checked(args[0], args[1], value, route)
        if origin in (Union, UnionType):
            members = [one for one in args if one is not NoneType]
            return None if value is None and NoneType in args else self.member(members, value, route, tags)
        if origin is Literal:
            return value if value in args else self.no_choice(value, route, args)
        if origin is Any:
            return value
        if issubclass(origin, Model):
            return self.model(origin, value, route)
        taken = (origin, _ALSO.get(origin, origin))
        if not isinstance(value, taken) or (isinstance(value, bool) and origin is not bool):
            word = "a mapping" if origin is dict else _WORDS.get(origin, "a list")
            return self.refuse(value, route, f"should be {word}")
        if origin in (list, tuple):
            return origin([self.value(args[0], item, (*route, n)) for n, item in enumerate(value)])
        if origin is dict:
            keys = {key: self.value(args[0], key, (*route, key, KEY)) for key in value}
            return {keys[key]: self.value(args[1], item, (*route, key)) for key, item in value.items()}
        return Path(value) if origin is Path else value

    def checked(self, kind: Any, field: Field, written: Any, route: Route) -> Any:
        try:
            value = field.parse(written) if field.parse else written
        except ValueError as error:
            return self.refuse(written, route, str(error))
        value = self.value(kind, value, route, field.tags)
        if value is not None and field.pattern and not re.fullmatch(field.pattern, value):
            return self.refuse(written, route, f"should be {field.expected}")
        if value is not None and field.ge is not None and value < field.ge:
            return self.refuse(written, route, f"should be {field.ge} or more")
        if value is not None and field.filled and not value:
            return self.refuse(written, route, f"should be {_WORDS.get(type(value), 'a list of one or more')}")
        return value

    def member(self, members: list[Any], value: Any, route: Route, tags: Sequence[str]) -> Any:
        fitting = [one for one in members if isinstance(value, get_origin(one) or one)] if len(members) > 1 else members
        if fitting:
            return self.value(fitting[0], value, route)
        if not isinstance(value, Mapping):
            return self.refuse(value, route, "should be a mapping")
        choices = [choice for model in members for choice in get_args(model.fields[tags[0]].kind)]
        if tags[0] not in value:
            return self.missing(tags[0], members[0].fields[tags[0]], route, choices)
        if value[tags[0]] not in choices:
            return self.no_choice(value[tags[0]], (*route, tags[0]), choices)
        members = [model for model in members if value[tags[0]] in get_args(model.fields[tags[0]].kind)]
        return self.member(members, value, route, tags[1:])

    def model(self, model: type[Model], data: Any, route: Route) -> Any:
        if isinstance(data, model):
            return data
        if not isinstance(data, Mapping):
            return self.refuse(data, route, "should be a mapping")
        try:
            left = dict(model._prepare(data))
        except ValueError as error:
            return self.refuse(data, route, str(error))
        made = object.__new__(model)
        for name, field in model.fields.items():
            key = field.alias if name not in left and field.alias in left and field.alias else name
            if key in left:
                vars(made)[name] = self.checked(field.kind, field, left.pop(key), (*route, key))
            elif field.needed:
                self.missing(key, field, route)
            else:
                vars(made)[name] = field.default.copy() if isinstance(field.default, dict | list) else field.default
        around = label(route, self.data) or self.root
        for key in left:
            hint = nearest(str(key), model.fields)
            self.problems.append(((*route, key, KEY), f"unknown key {clip(key)} in {around}{hint}"))
        return made

    def missing(self, key: str, field: Field, route: Route, choices: Sequence[str] = ()) -> None:
        said = f"needs '{key}': {field.description.rstrip('.')}{nearest('', choices)}"
        self.problems.append(((*route, key), f"{label(route, self.data) or self.root} {said}"))

    def no_choice(self, value: Any, route: Route, choices: Sequence[str]) -> None:
        told = clip(self.shown.get(route, value))
        self.refuse(value, route, f"cannot be {told}{nearest(str(value), choices)}")

    def refuse(self, value: Any, route: Route, said: str) -> None:
        what = f"key {clip(route[-2])}" if route[-1:] == (KEY,) else label(route, self.data) or self.root
        but = f", not {clip(self.shown.get(route, value))}" if said.startswith("should be") else ""
        self.problems.append((route, f"{what} {said}{but}"))
