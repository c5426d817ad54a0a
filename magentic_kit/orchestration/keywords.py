"""Keyword arguments of the public entries: each set is written once, as a frozen dataclass, and refuses others."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Any, Concatenate, ParamSpec, TypeVar

from magentic_kit.team.limits import LIMIT_NAMES
from magentic_kit.team.problems import nearest

_P = ParamSpec("_P")
_O = TypeVar("_O")
_S = TypeVar("_S")
_R = TypeVar("_R")


def takes(arguments: Callable[_P, _O]) -> Callable[[Callable[[_S, _O], _R]], Callable[Concatenate[_S, _P], _R]]:
    """Gives a method the parameters of a frozen dataclass, an object of which the method itself is handed.

    Eight entries share fifteen options: written out in each signature and passed on by each body, they would be some
    four hundred lines in which one could be forgotten. So type checkers read the parameters from the dataclass,
    `help()` and editors from `__signature__`, and an unknown name is refused here alone: `TypeError` with the nearest.
    """

    def decorate(method: Callable[[_S, _O], _R]) -> Callable[Concatenate[_S, _P], _R]:
        def call(this: _S, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
            for name in kwargs.keys() - parameters.keys():
                raise TypeError(f"{method.__qualname__}() has no parameter '{name}'{_hint(name, list(parameters))}")
            try:
                bound = arguments(*args, **kwargs)
            except TypeError as error:  # such as a missing or a second positional argument
                raise TypeError(str(error).replace(f"{_name(arguments)}.__init__", method.__qualname__)) from None
            return method(this, bound)

        parameters = _parameters(arguments)
        first = next(iter(inspect.signature(method).parameters.values()))
        signature = inspect.signature(method).replace(parameters=[first, *parameters.values()])
        functools.update_wrapper(call, method)
        call.__signature__ = signature  # type: ignore[attr-defined]
        call.__doc__ = f"{inspect.getdoc(method)}\n\n{_described(arguments)}"
        return call

    return decorate


def _parameters(arguments: Any) -> dict[str, inspect.Parameter]:
    """The parameters of a dataclass, with defaults that can be read."""
    parameters = dict(inspect.signature(arguments).parameters)
    for option in fields(arguments):
        if option.default_factory is not MISSING:
            parameters[option.name] = parameters[option.name].replace(default=option.default_factory())
    return parameters


def _name(arguments: Any) -> str:
    return str(arguments.__qualname__)


def _hint(name: str, parameters: list[str]) -> str:
    if name in LIMIT_NAMES and "limits" in parameters:
        return f"; give limits={{'{name}': …}}"
    return nearest(name, parameters)


def _described(arguments: Any) -> str:
    """A line for each parameter."""
    helps = {option.name: option.metadata["help"] for option in fields(arguments)}
    return "\n".join(f"{name}: {helps[name]}" for name in inspect.signature(arguments).parameters)
