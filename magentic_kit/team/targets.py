"""Finds the Python object that a team file names as `module:name`, beside the file or installed."""

from __future__ import annotations

import hashlib
import importlib
import operator
import sys
import traceback
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from magentic_kit.errors import ConfigError


def module_object(target: str, search_path: Path | None = None) -> Any:
    """The object that `target` (`package.module:name`) means.

    A module in the folder `search_path` (default: the current one) comes before an installed one. Such
    modules live under a name of their folder's own, so two teams may both have `plugins/sqlite.py`; they
    import each other relatively.
    Raises `ConfigError` when there is no such module or name, or when importing the module fails.
    """
    module_name, _, name = target.partition(":")
    folder = (search_path or Path()).resolve()
    importlib.invalidate_caches()
    root = _root(folder) if PathFinder.find_spec(module_name.partition(".")[0], [str(folder)]) else ""
    try:
        module = importlib.import_module(root + module_name)
    except (Exception, SystemExit) as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).is_relative_to(folder)]
        place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
        told = f"{type(error).__name__}: {error}".replace(root, "")
        raise ConfigError.one(f"target '{target}' cannot be imported: {told}{place}") from error
    try:
        return operator.attrgetter(name)(module)
    except AttributeError as error:
        import difflib  # only an error needs it

        near = difflib.get_close_matches(name, dir(module), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError.one(f"target '{target}': {module_name} has no {name!r}{hint}") from error


def _root(folder: Path) -> str:
    """The name of an empty package whose modules are the folder's files; the import system does the rest."""
    name = f"_team_{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"
    package = sys.modules.setdefault(name, ModuleType(name, f"Modules of the team in {folder}."))
    package.__path__ = [str(folder)]
    return f"{name}."
