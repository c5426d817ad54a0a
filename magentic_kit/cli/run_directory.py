"""Which run a word of the command line means: its directory, its id, a unique beginning of that, or `last`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import click

from magentic_kit.errors import ConfigError

RUNS = Path("runs")
"""Where run directories are, if nothing else is said."""

LAST = "last"
_BATCHES = Path("batches")
_SHOWN = 3  # runs in an error
_LEAST = 8  # characters of the beginning of an id that is shown


class RunDirectory(click.Path):
    """A run directory, named by its path, by its id or a unique beginning of it, or as `last`."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Returns the run's directory. Raises `ConfigError` if the word means no run, or several."""
        return find_run(Path(str(super().convert(value, param, ctx))))


RUN = RunDirectory()
run_argument = click.argument("run_dir", type=RUN, metavar="RUN")


def find_run(word: Path) -> Path:
    """The directory of the run that `word` means; one that is there is taken as it is.

    `last` is the newest run in `runs`, and `DIR/last` that in DIR; ids and their beginnings are looked for in `runs`
    and in `batches`, or in DIR. Raises `ConfigError` if there is no such run, or several, with the nearest ones.
    """
    if word.is_dir() or not word.name:
        return word
    folders = [word.parent] if len(word.parts) > 1 else [RUNS, _BATCHES]
    from magentic_kit.runlog.listing import runs_below

    found = [run_dir for folder in folders for run_dir in runs_below(folder)]
    if word.name == LAST:
        newest = runs_below(folders[0])
        if newest:
            return newest[0]
        raise ConfigError.one(f"there is no run in {folders[0]}; `magentic-kit run TEAM` makes one", file=str(word))
    same = [run_dir for run_dir in found if run_dir.name == word.name]
    meant = same or [run_dir for run_dir in found if run_dir.name.startswith(word.name)]
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise ConfigError.one(f"{len(meant)} runs begin so: {_names(meant)}; give more of the id", file=str(word))
    nearest = sorted(found, key=lambda run_dir: _likeness(run_dir.name, word.name), reverse=True)[:_SHOWN]
    hint = f"; the nearest: {_names(nearest)}" if nearest else ""
    raise ConfigError.one(f"there is no run here{hint}; `magentic-kit list` shows runs", file=str(word))


def unique_beginnings(names: Sequence[str]) -> list[str]:
    """Of each name as much as tells it from the others, and not less than is worth reading; names are sorted."""
    shared = [0, *(_alike(*pair) for pair in pairwise(names)), 0]
    return [name[: max(*around, _LEAST - 1) + 1] for name, around in zip(names, pairwise(shared), strict=True)]


def _likeness(name: str, word: str) -> tuple[bool, int]:
    return word in name, _alike(name, word)


def _alike(one: str, other: str) -> int:
    """How many characters two names have in common from their beginning."""
    return next((place for place, pair in enumerate(zip(one, other, strict=False)) if len({*pair}) > 1), len(one))


def _names(run_dirs: Sequence[Path]) -> str:
    shown = [run_dir.name for run_dir in run_dirs[:_SHOWN]]
    return ", ".join([*shown, "…"] if len(run_dirs) > _SHOWN else shown)
