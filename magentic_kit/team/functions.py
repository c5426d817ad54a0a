"""The functions of a plugin, as far as its settings and a Python class's source text show them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magentic_kit.team.problems import get

if TYPE_CHECKING:
    import ast

_BUILT_IN = {"files": ["read", "list", "search"], "sql": ["query", "schema"], "fetch": ["get"], "math": ["calculate"]}


def functions_of(plugin: Any, base_dir: Path) -> Collection[str] | None:
    """The names of the functions of a plugin, in any data; None where only running it would show them."""
    kind = get(plugin, "type", kind=str)
    if kind == "python":
        return _functions_of_class(get(plugin, "target", kind=str), base_dir)
    if kind == "files" and get(plugin, "write") is True:
        return [*_BUILT_IN[kind], "write"]
    return _BUILT_IN.get(kind)


def _functions_of_class(target: str, base_dir: Path) -> list[str] | None:
    import ast

    from magentic_kit.team.modules import MissingModule, find_source, parse_source
    from magentic_kit.team.python_code import definition_of

    module, _, name = target.partition(":")
    try:
        source = find_source(module, base_dir)
        tree = source and parse_source(source)
    except (MissingModule, SyntaxError):
        return None
    owner = definition_of(name, tree.body) if tree else None
    if not isinstance(owner, ast.ClassDef):
        return None
    if owner.bases or owner.keywords or owner.decorator_list:
        return None
    names = [_name(method, decorator) for method in owner.body for decorator in _kernel_functions(method)]
    # A kernel function may also be made in another way than by a decorator that we see.
    if len(names) != ast.unparse(owner).count("kernel_function"):
        return None
    known = [name for name in names if name is not None]
    if len(known) == len(names):
        return known
    return None


def _kernel_functions(method: ast.stmt) -> list[ast.expr]:
    """The decorators of a method that make it a kernel function."""
    import ast

    decorators: list[ast.expr] = getattr(method, "decorator_list", [])
    return [one for one in decorators if "kernel_function" in ast.unparse(getattr(one, "func", one))]


def _name(method: ast.stmt, decorator: ast.expr) -> str | None:
    """The function's name; None where it is computed."""
    keywords = {keyword.arg: keyword.value for keyword in getattr(decorator, "keywords", ())}
    name = getattr(keywords["name"], "value", None) if "name" in keywords else getattr(method, "name", None)
    if isinstance(name, str):
        return name
    return None
