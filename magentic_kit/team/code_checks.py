"""Checks the Python code and the data files that a team names, without importing or running anything."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from magentic_kit.errors import Problem
from magentic_kit.team.document import Document
from magentic_kit.team.modules import MissingModule, find_source, parse_source
from magentic_kit.team.problems import KEY, Route, clip, get, label, nearest
from magentic_kit.team.python_code import Definition, arguments_of, definition_of, names_of

_DATA = "csv|tsv|jsonl?|ya?ml|toml|ini|cfg|txt|md|rst|xml|html?|pdf|docx?|xlsx?|parquet|db|sqlite3?|duckdb|zip|gz|npy"
_PATH = re.compile(rf"(?!.*://)[^\s*?{{}}|<>]+\.(?:{_DATA})", re.IGNORECASE)
"""What is taken for the path of a data file."""

_WRITTEN = re.compile("out|dest|target|write|save|export|log|cache|temp|tmp", re.IGNORECASE)
"""Arguments that name a file that need not be there."""


def check_code(document: Document) -> list[Problem]:
    """Reports targets that lead nowhere and arguments that they do not take to the document.

    Returns a warning for each argument that looks like the path of a data file and names none: such a file may
    also be one that the code is to make.
    """
    warnings: list[Problem] = []
    for route, target in _targets(document):
        place = route[:-1]
        source = _source(document, route, target)
        definition = _definition(document, route, target, source.tree) if source.tree else None
        arguments = get(document.data, *place, "args", kind=dict)
        # A plugin that is no class is taken as it is; a service is what any callable returns.
        if isinstance(definition, ast.ClassDef) or (definition and place[0] == "services"):
            _check_arguments(document, place, definition, arguments)
        folders = [document.base_dir, Path.cwd()]
        if source.path:
            folders += source.path.parents[:2]
        warnings += _missing_files(document, (*place, "args"), arguments, folders)
    return warnings


def _targets(document: Document) -> Iterator[tuple[Route, str]]:
    """Each Python object that services and plugins name, with its route."""
    for part, key in (("services", "provider"), ("plugins", "type")):
        for name, config in get(document.data, part, kind=dict).items():
            target = get(config, "target")
            if get(config, key) == "python" and isinstance(target, str) and ":" in target:
                yield (part, name, "target"), target


class _Source(NamedTuple):
    """A module's file and syntax tree, as far as they are known."""

    path: Path | None = None
    tree: ast.Module | None = None


def _source(document: Document, route: Route, target: str) -> _Source:
    """The source of a target's module; a module that is not there or no Python is reported."""
    who = label(route)
    try:
        path = find_source(target.partition(":")[0], document.base_dir)
        return _Source(path, parse_source(path) if path else None)
    except MissingModule as error:
        hint = nearest(error.name, error.near, list_all=False)
        document.report(route, f"{who}: there is no module {clip(error.name)}{hint}")
    except SyntaxError as error:
        place = f"{_shown(error.filename, document)}:{error.lineno}:{error.offset}"
        document.report(route, f"{who}: {place}: this is not valid Python: {error.msg}")
    return _Source()


def _definition(document: Document, route: Route, target: str, tree: ast.Module) -> Definition | None:
    """The class or function that a target is, if the text shows it; a name that is not there is reported."""
    inside, _, name = target.partition(":")
    body = tree.body
    definition: Definition | None = None
    for part in name.split("."):
        if definition is not None:
            # What a class inherits, or a decorator returns, may have any name.
            if not isinstance(definition, ast.ClassDef) or definition.bases or definition.decorator_list:
                return None
            body, inside = definition.body, definition.name
        names = names_of(body)
        if names is not None and part not in names:
            hint = nearest(part, names, list_all=False)
            document.report(route, f"{label(route)}: {inside} has no {clip(part)}{hint}")
        definition = definition_of(part, body)
        if definition is None:
            return None
    return definition


def _shown(file: str | None, document: Document) -> str:
    """A file's path as the team file would name it."""
    path = Path(file or "")
    base_dir = document.base_dir.resolve()
    return str(path.resolve().relative_to(base_dir) if path.resolve().is_relative_to(base_dir) else path)


def _check_arguments(document: Document, place: Route, definition: Definition, given: dict[str, Any]) -> None:
    arguments = arguments_of(definition)
    if arguments is None:
        return
    what = definition.name
    for key in given:
        if key not in arguments.names and not arguments.takes_any:
            hint = nearest(key, arguments.names) or "; it takes none"
            document.report(
                (*place, "args", key, KEY), f"{label(place)}.args: {what} has no argument {clip(key)}{hint}"
            )
    for name in arguments.required:
        if name not in given:
            around = (*place, "args") if given else (*place, "target")
            document.report(around, f"{label(place)}.args: {what} needs the argument {clip(name)}")


def _missing_files(document: Document, route: Route, value: Any, folders: list[Path]) -> Iterator[Problem]:
    """A warning for each path of a data file in the value that is in none of the folders."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not _WRITTEN.search(key):
                yield from _missing_files(document, (*route, key), item, folders)
    elif isinstance(value, list):
        for n, item in enumerate(value):
            yield from _missing_files(document, (*route, n), item, folders)
    elif isinstance(value, str) and _PATH.fullmatch(value):
        path = Path(value).expanduser()
        if any((folder / path).exists() for folder in folders):
            return
        hint = nearest(value, _files_beside(document.base_dir, path), list_all=False)
        shown = document.shown.get(route, value)  # it may hold a secret
        yield document.problem(route, f"{label(route)}: there is no file {clip(shown)}{hint}")


def _files_beside(base_dir: Path, path: Path) -> list[str]:
    """What has a like name in the folder where a file should be, named as the path names it."""
    import difflib  # only an error needs it

    folder = base_dir / path.parent
    if not folder.is_dir():
        return []
    near = difflib.get_close_matches(path.name, os.listdir(folder))  # noqa: PTH208 (odd names)
    return [str(path.parent / name) for name in near]
