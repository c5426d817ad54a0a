"""Confines what a queued team may load and read to some folders: whoever may submit runs does not choose the code."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from sqlalchemy import make_url

from magentic_kit.errors import ConfigError
from magentic_kit.team.loading import Team, load_team
from magentic_kit.team.modules import MissingModule, find_source
from magentic_kit.team.plugins import MCPStdioPlugin, OpenAPIPlugin, PythonPlugin, SqlPlugin
from magentic_kit.team.secrets import scalars
from magentic_kit.team.services import PythonService, ReplayService, ScriptedService

_LEADS_AWAY = re.compile(r"(?!.*://)(?:[/~]|.*(?:^|[/\\=:])\.\.(?:$|[/\\])|.*[=:][/~])", re.DOTALL)
"""An argument that may name a file outside the folder in which it is used."""


class AllowedFolders:
    """The folders below which teams may have code, commands and data; None allows everything."""

    def __init__(self, folders: Sequence[Path] | None) -> None:
        self._folders = None if folders is None else [folder.resolve() for folder in folders]

    def check_base(self, base_dir: Path) -> None:
        """Raises `ConfigError` if a team may not have its paths in that folder."""
        self._check("the team's folder", base_dir)

    def check(self, team: Team) -> None:
        """Raises `ConfigError` for the first thing that the team, or a team that is its member, names elsewhere.

        Nothing of the team is loaded. An argument of Python code or of an MCP server counts as a path if it leads out
        of its folder: if it is absolute, begins with `~`, or contains `..`.
        """
        if self._folders is None:
            return
        for what, path in _paths(team):
            self._check(what, path)
        for agent in team.config.agents:
            if agent.team is not None:
                self._check(f"agent '{agent.name}'", agent.team)
                self.check(load_team(agent.team))

    def _check(self, what: str, path: Path | None) -> None:
        if self._folders is None:
            return
        found = "is no file of its own, and so"
        if path is not None:
            found = f"is {path.resolve()}, which is"
            if any(path.resolve().is_relative_to(folder) for folder in self._folders):
                return
        raise ConfigError.one(f"{what} {found} outside the folders that this worker allows; --allow names others")


def _paths(team: Team) -> Iterator[tuple[str, Path | None]]:
    """What the team names, each with its path; None if it is not in a file that could be allowed."""
    base = team.base_dir
    for name, service in team.config.services.items():
        what = f"service '{name}'"
        match service:
            case PythonService():
                yield what, _module(service.target, base)
                yield from _arguments(what, service.args, base)
            case ScriptedService(script=Path() as script):
                yield what, base / script
            case ReplayService():
                yield what, base / service.log
    for name, plugin in team.config.plugins.items():
        what = f"plugin '{name}'"
        match plugin:
            case PythonPlugin():
                yield what, _module(plugin.target, base)
                yield from _arguments(what, plugin.args, base)
            case MCPStdioPlugin():
                folder = base / (plugin.cwd or "")
                yield what, folder
                command = shutil.which(plugin.command) or folder / plugin.command
                yield f"{what}, command {plugin.command}", Path(command)
                yield from _arguments(what, [*plugin.args, dict(plugin.env)], folder)
            case OpenAPIPlugin() if "://" not in plugin.spec:
                yield what, base / plugin.spec
            case SqlPlugin() if (url := make_url(plugin.url)).get_backend_name() == "sqlite":
                yield what, base / (url.database or "")
            case _ if isinstance(root := getattr(plugin, "root", None), Path):
                yield what, base / root


def _module(target: str, base: Path) -> Path | None:
    try:
        return find_source(target.partition(":")[0], base)
    except MissingModule:
        return None


def _arguments(what: str, arguments: object, folder: Path) -> Iterator[tuple[str, Path]]:
    for _, value, _ in scalars(arguments):
        if isinstance(value, str) and _LEADS_AWAY.match(value):
            path = re.split(r"[=:](?=[/~.])", value)[-1]
            yield f"{what}, argument {value!r}", folder / Path(path).expanduser()
