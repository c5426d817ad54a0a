"""Finds the Python object that a team file names as `module:name`, beside the file or installed."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import operator
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from magentic_kit.errors import ConfigError


def module_object(target: str, search_path: Path | None = None) -> Any:
    """The object that `target` (`package.module:name`) means.

    A module in the folder `search_path` comes before an installed one. Such modules live under a name of
    their folder's own, so two teams may both have `plugins/sqlite.py`; they import each other relatively.
    Raises `ConfigError` when there is no such module or name, or when importing the module fails.
    """
    module_name, _, name = target.partition(":")
    module = _load(target, module_name, search_path)
    try:
        return operator.attrgetter(name)(module)
    except AttributeError as error:
        near = difflib.get_close_matches(name, [n for n in dir(module) if not n.startswith("_")], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError.one(f"target '{target}': {module_name} has no {name!r}{hint}") from error


def _load(target: str, name: str, folder: Path | None) -> ModuleType:
    local = folder is not None and _holds(folder, name)
    importlib.invalidate_caches()
    try:
        return importlib.import_module(f"{_root(folder)}.{name}" if folder and local else name)
    except (Exception, SystemExit) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if not local and missing and f"{name}.".startswith(f"{missing}."):
            beside = f"beside the team file (in {folder}) or " if folder else ""
            raise ConfigError.one(f"target '{target}': there is no module '{name}' {beside}installed") from error
        raise _failed(target, error, folder) from error


def _holds(folder: Path, module: str) -> bool:
    path = folder.joinpath(*module.split("."))
    return path.with_name(f"{path.name}.py").is_file() or (path / "__init__.py").is_file()


def _root(folder: Path) -> str:
    """The name of an empty package whose modules are the folder's files; the import system does the rest."""
    path = str(folder.resolve())
    name = f"_team_{hashlib.sha256(path.encode()).hexdigest()[:12]}"
    if name not in sys.modules:
        sys.modules[name] = ModuleType(name, f"Modules of the team in {path}.")
        sys.modules[name].__path__ = [path]
    return name


def _failed(target: str, error: BaseException, folder: Path | None) -> ConfigError:
    if isinstance(error, SyntaxError):
        place, text = f"{error.filename}:{error.lineno}", error.msg
    else:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<")]
        own = [f for f in frames if folder and Path(f.filename).is_relative_to(folder.resolve())]
        frame = (own or frames)[-1]
        place, text = f"{frame.filename}:{frame.lineno}", str(error)
    return ConfigError.one(f"target '{target}' cannot be imported: {type(error).__name__}: {text} ({place})")
