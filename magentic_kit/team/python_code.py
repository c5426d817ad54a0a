"""What the source text of a module shows of it: the names it has, and the arguments of its classes."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

Definition: TypeAlias = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef

_DYNAMIC = {"globals", "locals", "vars", "setattr", "exec", "eval", "__dict__", "modules"}
"""Names of what may add a name to a module without binding it."""


class Arguments(NamedTuple):
    """What a call takes by keyword: `names`, those of them it cannot do without, and whether it takes any other."""

    names: list[str]
    required: list[str]
    takes_any: bool


def names_of(body: Sequence[ast.stmt]) -> set[str] | None:
    """The names that the statements of a module or class bind; None where running them may bind others."""
    names = set(_bound_names(body))
    for statement in body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Global):
                names.update(node.names)
            if getattr(node, "id", getattr(node, "attr", "")) in _DYNAMIC:
                return None
    if names & {"*", "__getattr__"}:
        return None
    return names


def definition_of(name: str, body: Sequence[ast.stmt]) -> Definition | None:
    """The class or function of that name; None if it is something else, or bound more than once."""
    if list(_bound_names(body)).count(name) != 1:
        return None
    for node in body:
        if isinstance(node, Definition) and node.name == name:
            return node
    return None


def arguments_of(definition: Definition) -> Arguments | None:
    """The arguments that a call of the function or class takes; None where the text does not show them."""
    if definition.decorator_list:
        return None
    if not isinstance(definition, ast.ClassDef):
        return _arguments(definition, skip=0)
    names = names_of(definition.body)
    if definition.keywords or names is None or "__new__" in names:
        return None
    if "__init__" in names:
        init = definition_of("__init__", definition.body)
        if init is None or isinstance(init, ast.ClassDef) or init.decorator_list:
            return None
        return _arguments(init, skip=1)
    if any(ast.unparse(base) != "object" for base in definition.bases):
        return None
    return Arguments([], [], takes_any=False)


def _arguments(function: ast.FunctionDef | ast.AsyncFunctionDef, *, skip: int) -> Arguments | None:
    """The arguments of a function but for the first `skip`, which is `self`."""
    arguments = function.args
    if arguments.posonlyargs[skip:] or len(arguments.posonlyargs + arguments.args) < skip:
        return None
    positional = arguments.args[max(0, skip - len(arguments.posonlyargs)) :]
    without_default = len(positional) - min(len(positional), len(arguments.defaults))
    required = [argument.arg for argument in positional[:without_default]]
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if default is None:
            required.append(argument.arg)
    names = [argument.arg for argument in [*positional, *arguments.kwonlyargs]]
    return Arguments(names, required, takes_any=arguments.kwarg is not None)


def _bound_names(body: Sequence[ast.AST]) -> Iterator[str]:
    """Each name that is bound, as often as it is, outside of functions and inner classes."""
    waiting = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, Definition):
            yield node.name
        elif isinstance(node, ast.Import):
            yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)
        else:
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id
            elif isinstance(name := getattr(node, "name", None), str):  # of an `except … as` or a `case`
                yield name
            waiting += ast.iter_child_nodes(node)
