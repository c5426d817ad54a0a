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
from magentic_kit.team.plugins import FilesPlugin, MCPStdioPlugin, OpenAPIPlugin, PythonPlugin, SqlPlugin
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
        allowed = self._folders is None
        for folder in self._folders or ():
            allowed = allowed or (path is not None and path.resolve().is_relative_to(folder))
        if not allowed:
            raise ConfigError.one(f"{what} is outside the folders that this worker allows; --allow names others")


def _paths(team: Team) -> Iterator[tuple[str, Path | None]]:
    """What the team names, each with its path; None if it is in no file that could be allowed."""
    base = team.base_dir
    for name, service in team.config.services.items():
        match service:
            case PythonService():
                yield from _code(f"service '{name}'", service, base)
            case ScriptedService(script=Path() as script):
                yield f"service '{name}': script", base / script
            case ReplayService():
                yield f"service '{name}': log", base / service.log
    for name, plugin in team.config.plugins.items():
        match plugin:
            case PythonPlugin():
                yield from _code(f"plugin '{name}'", plugin, base)
            case MCPStdioPlugin():
                yield from _program(f"plugin '{name}'", plugin, base)
            case OpenAPIPlugin() if "://" not in plugin.spec:
                yield f"plugin '{name}': spec", base / plugin.spec
            case SqlPlugin() if (url := make_url(plugin.url)).get_backend_name() == "sqlite":
                yield f"plugin '{name}': url", base / (url.database or "")
            case FilesPlugin():
                yield f"plugin '{name}': root", base / plugin.root


def _code(who: str, config: PythonService | PythonPlugin, base: Path) -> Iterator[tuple[str, Path | None]]:
    try:
        source = find_source(config.target.partition(":")[0], base)
    except MissingModule:
        source = None
    yield f"{who}: target '{config.target}'", source
    yield from _arguments(f"{who}: args", config.args, base)


def _program(who: str, plugin: MCPStdioPlugin, base: Path) -> Iterator[tuple[str, Path | None]]:
    folder = Path.cwd()
    if plugin.cwd is not None:
        folder = base / plugin.cwd
        yield f"{who}: cwd", folder
    program = folder / plugin.command
    if "/" not in plugin.command:
        program = Path(shutil.which(plugin.command) or program)
    yield f"{who}: command '{plugin.command}'", program
    yield from _arguments(f"{who}: args", plugin.args, folder)
    yield from _arguments(f"{who}: env", plugin.env, folder)


def _arguments(what: str, arguments: object, folder: Path) -> Iterator[tuple[str, Path]]:
    for route, value, _ in scalars(arguments):
        if isinstance(value, str) and _LEADS_AWAY.match(value):
            path = re.split(r"[=:](?=[/~.])", value)[-1]
            yield ".".join(map(str, (what, *route))), folder / Path(path).expanduser()  # the value may be a secret
