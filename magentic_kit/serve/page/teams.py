"""The team files that the page offers: those given, or those found below a folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from magentic_kit.errors import ConfigError, Problem
from magentic_kit.runlog.files import read_regular
from magentic_kit.team.loading import Team, load_team
from magentic_kit.team.models import TeamConfig

_LARGEST = 2**20  # bytes of a file that is looked into
_DEEPEST = 3  # folders below the first
_MOST = 50  # files that are offered
_SKIPPED = {"node_modules", "runs", "batches", "venv", "__pycache__", "site-packages", "tests", "scripts"}
_AGENTS = re.compile(rb"^agents:", re.MULTILINE)


@dataclass(frozen=True)
class TeamCard:
    """A team file as the page shows it: `team` is None if it has `problems`."""

    key: str
    path: Path
    team: Team | None
    problems: tuple[Problem, ...]

    @property
    def file(self) -> str:
        """The path, as short as it can be."""
        path = self.path
        if path.is_absolute() and path.is_relative_to(Path.cwd()):
            path = path.relative_to(Path.cwd())
        return str(path)

    @property
    def config(self) -> TeamConfig | None:
        """The checked team."""
        return self.team.config if self.team else None

    @property
    def name(self) -> str:
        """The team's name, or the file's."""
        return self.team.config.name if self.team else self.path.stem

    @property
    def description(self) -> str:
        """What the team is for."""
        return self.team.config.description if self.team else ""


class Teams:
    """Team files by the names that addresses have for them."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths: dict[str, Path] = {}
        self._cards: dict[str, tuple[int, TeamCard]] = {}
        for path in paths:
            slug = re.sub(r"[^a-z0-9]+", "-", path.stem.lower()).strip("-") or "team"
            number = 1
            key = slug
            while key in self._paths:
                number += 1
                key = f"{slug}-{number}"
            self._paths[key] = path

    def card(self, key: str, *, fresh: bool = True) -> TeamCard:
        """Loads a team; unless `fresh`, only if its file has changed. Raises `KeyError`."""
        path = self._paths[key]
        try:
            changed = path.stat().st_mtime_ns
        except OSError:
            changed = -1
        if not fresh and key in self._cards and self._cards[key][0] == changed:
            return self._cards[key][1]
        try:
            card = TeamCard(key, path, load_team(path), ())
        except ConfigError as error:
            card = TeamCard(key, path, None, error.problems)
        self._cards[key] = (changed, card)
        return card

    def cards(self) -> list[TeamCard]:
        """Returns all teams."""
        return [self.card(key, fresh=False) for key in self._paths]


def find_teams(folder: Path) -> list[Path]:
    """Returns the YAML files below a folder that have agents at their top."""
    found = []
    for path in _yaml_files(folder):
        try:
            if _AGENTS.search(read_regular(path, _LARGEST)):
                found.append(path)
        except OSError:
            continue
        if len(found) == _MOST:
            break
    return found


def _yaml_files(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        depth = len(Path(place).relative_to(folder).parts)
        kept = [name for name in sorted(folders) if name not in _SKIPPED and not name.startswith(".")]
        folders[:] = kept if depth < _DEEPEST else []
        yield from (Path(place, name) for name in sorted(files) if name.endswith((".yaml", ".yml")))
