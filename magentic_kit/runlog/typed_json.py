"""Reads dataclasses back from plain data that a stranger may have written, and checks the type of each field.

Not by pydantic: it takes a quarter of a second until it can read the events, and `list` and `show` wait for that.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from functools import cache, partial
from typing import Annotated, Any, TypeAlias, TypeVar

_T = TypeVar("_T")

_DEEPEST = 200  # levels of nesting in plain data that is read: what walks it does so by recursion
_LARGEST = 2**53  # of numbers that are read: the range in which JSON's are exact everywhere

_Read: TypeAlias = Callable[[Any], Any]
"""Returns a value as an event holds it, or raises `ValueError`."""

# Types are checked where a log is read, and nowhere else: whoever made it, those who use it may trust it.


@cache
def _fields(cls: type[Any]) -> dict[str, tuple[_Read, bool]]:
    """Of each field what reads it, and whether it has to be there."""
    hints = typing.get_type_hints(cls, include_extras=True)
    needed = {spec.name: spec.default is MISSING and spec.default_factory is MISSING for spec in fields(cls)}
    return {name: (_reader(hints[name]), is_needed) for name, is_needed in needed.items()}


def read_dataclass(cls: type[_T], data: object) -> _T:
    """A dataclass from the plain data of its fields. Raises `ValueError` on one that is unknown, missing or wrong.

    Types may be those of JSON, dataclasses, `X | Y`, and `Annotated[dict[…], T]` for an object that is empty or has
    the keys of the `TypedDict` T.
    """
    if type(data) is not dict:
        raise ValueError("should be an object")
    expected = _fields(cls)  # type: ignore[arg-type]  # for mypy a class is not hashable
    if unknown := data.keys() - expected.keys():
        raise ValueError(f"unknown field {min(unknown)!r}")
    values = {}
    for name, (read, is_needed) in expected.items():
        if name in data:
            try:
                values[name] = read(data[name])
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        elif is_needed:
            raise ValueError(f"{name} is missing")
    return cls(**values)


def _reader(hint: Any) -> _Read:
    """What returns a value of this type as an event holds it, or raises `ValueError`."""
    if hint in _SCALARS:
        return _SCALARS[hint]
    if isinstance(hint, type) and is_dataclass(hint):
        return partial(read_dataclass, hint)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        keys = typing.get_type_hints(args[1])
        return partial(_keyed, {key: _reader(kind) for key, kind in keys.items()})
    if origin is dict:
        return partial(_dict, _reader(args[1]))
    if origin is list:
        return partial(_list, _reader(args[0]))
    assert origin in (types.UnionType, typing.Union), hint
    return partial(_one_of, [_reader(arg) for arg in args])


def _one_of(readers: list[_Read], value: object) -> object:
    problems = []
    for read in readers:
        try:
            return read(value)
        except ValueError as error:
            problems.append(str(error))
    raise ValueError(" or ".join(problems))


def _dict(read: _Read, value: object) -> dict[str, Any]:
    if type(value) is not dict:
        raise ValueError("should be an object")
    return {key: read(item) for key, item in value.items()}


def _list(read: _Read, value: object) -> list[Any]:
    if type(value) is not list:
        raise ValueError("should be a list")
    return [read(item) for item in value]


def _keyed(readers: dict[str, _Read], value: object) -> dict[str, Any]:
    if type(value) is not dict or (value and value.keys() != readers.keys()):
        raise ValueError(f"should be an object with {', '.join(readers)}")
    return {key: readers[key](item) for key, item in value.items()}


def _scalar(kind: type, name: str, value: object) -> object:
    if type(value) is not kind:
        raise ValueError(f"should be {name}")
    return value


def _int(value: object) -> int:
    if type(value) is not int or abs(value) > _LARGEST:
        raise ValueError("should be a whole number")
    return value


def _float(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("should be a number")
    if not abs(value) <= _LARGEST:  # nor NaN, which is not less than anything
        raise ValueError("should be a number")
    return float(value)


def _plain(value: object, depth: int = 0) -> object:
    """Any data of JSON."""
    if depth > _DEEPEST:
        raise ValueError(f"is nested more than {_DEEPEST} levels deep")
    if type(value) is dict:
        for item in value.values():
            _plain(item, depth + 1)
    elif type(value) is list:
        for item in value:
            _plain(item, depth + 1)
    return value


_SCALARS: dict[Any, _Read] = {
    str: partial(_scalar, str, "text"),
    bool: partial(_scalar, bool, "true or false"),
    types.NoneType: partial(_scalar, types.NoneType, "null"),
    int: _int,
    float: _float,
    Any: _plain,
}
