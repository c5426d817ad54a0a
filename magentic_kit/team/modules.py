"""Finds the source of a Python module without importing the module or the packages around it."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from collections.abc import Iterable
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

_MAX_BYTES = 5_000_000
"""Size of a source that is read."""

_NO_SUBMODULES = ("sys.modules", "__path__", "meta_path")
"""What stands in the source of a package that finds its modules in a way of its own."""


class MissingModule(Exception):
    """There is no module `name`; `near` are modules with a like name that stand where it should."""

    def __init__(self, name: str, near: list[str]) -> None:
        super().__init__(name)
        self.name, self.near = name, near


def find_source(module: str, folder: Path) -> Path | None:
    """The source file of a module, of which one in `folder` comes before an installed one.

    None for a module without source, and where only the import system can tell. Raises `MissingModule`.
    """
    importlib.invalidate_caches()
    places = [str(folder.absolute())]  # Python 3.10 keeps the first `.` for all later ones
    found = ""
    for part in module.split("."):
        # Only the last part of the name, for which nothing needs to be imported.
        spec = PathFinder.find_spec(part, places)
        if spec is None and not found:
            try:
                spec = importlib.util.find_spec(part)
            except (ImportError, ValueError):
                return None
        if spec is None:
            if module in sys.modules:
                return None
            import difflib  # only an error needs it

            near = difflib.get_close_matches(part, sorted(_modules_in(places)))
            raise MissingModule(f"{found}{part}", [f"{found}{name}" for name in near])
        places = list(spec.submodule_search_locations or ())
        found += f"{part}."
        if found.rstrip(".") != module and not _has_ordinary_submodules(spec):
            return None
    source = _source_of(spec)
    if source is not None and source.is_relative_to(folder.absolute()):
        return folder / source.relative_to(folder.absolute())
    return source


def parse_source(path: Path) -> ast.Module | None:
    """The syntax tree of a source file, or None if it cannot be read. Raises `SyntaxError`."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            return None
        tree = ast.parse(path.read_bytes(), str(path))
        compile(tree, str(path), "exec", dont_inherit=True)  # finds what the grammar alone allows
    except (OSError, ValueError, RecursionError, MemoryError):
        return None
    return tree


def _source_of(spec: ModuleSpec | None) -> Path | None:
    if spec is None or not spec.has_location or not spec.origin or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)


def _has_ordinary_submodules(spec: ModuleSpec) -> bool:
    """Whether the modules of a package are the files in its folders."""
    if spec.submodule_search_locations is None:
        return False
    source = _source_of(spec)
    if source is None:
        return spec.origin is None  # a folder without `__init__.py`
    try:
        text = source.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return not any(words in text for words in _NO_SUBMODULES)


def _modules_in(folders: Iterable[str]) -> set[str]:
    """The names of the modules and packages in some folders."""
    names = set()
    for folder in map(Path, folders):
        if not folder.is_dir():
            continue
        for path in folder.iterdir():
            if path.stem.isidentifier() and (path.suffix == ".py" or path.is_dir()) and path.stem != "__init__":
                names.add(path.stem)
    return names
