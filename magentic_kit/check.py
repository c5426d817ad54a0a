"""Loading a team: file, then text, then data; every problem found is told at once."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from magentic_kit.config import AgentConfig, TeamConfig
from magentic_kit.crosscheck import choose_service, cross_check
from magentic_kit.errors import ConfigError, Problem
from magentic_kit.explain import clip, label, nearest, validate
from magentic_kit.source import Place, Route, Source, escaped, from_data, parse, read_text


@dataclass(frozen=True)
class Team:
    """A valid team, where it came from, and what in it was odd (`warnings`).

    `config_hash` is the SHA-256 of the resolved team, scripts by their content and secrets by name.
    """

    config: TeamConfig
    path: Path | None
    base_dir: Path
    warnings: tuple[Problem, ...]
    config_hash: str
    source: Source = field(repr=False)
    known_services: tuple[str, ...] = ()

    def problem(self, route: Route, message: str) -> Problem:
        """A problem with the value at `route`, such as `("agents", 0, "tools", 1, "id")`."""
        return self.source.problem(route, message)

    def service_of(self, agent: AgentConfig) -> str:
        """Name of the service an agent talks to."""
        return self._service(agent.model.connection.service_id)

    @property
    def manager_service(self) -> str:
        """Name of the service the manager talks to."""
        return self._service(self.config.manager.service)

    def _service(self, wanted: str | None) -> str:
        return choose_service(wanted, [*self.config.services, *self.known_services]) or ""

    def resolved(self) -> str:
        """The team as one YAML text: agent files taken in, paths absolute, secrets as `${NAME}`.

        It loads again, through `team_from_dict` with this `base_dir`, to the same `config_hash`.
        """
        text: str = yaml.dump(_showable(self.source), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
        return text


def load_team(
    path: str | Path,
    *,
    overrides: Mapping[str, Any] = {},
    env: Mapping[str, str] | None = None,
    known_services: Collection[str] = (),
    known_plugins: Mapping[str, Collection[str]] = {},
) -> Team:
    """The team of a file. Raises `ConfigError` with every problem found.

    `overrides` are values by dotted path, agents by name (`agents.Writer.instructions`); paths in them count
    from the team file. `env` fills `${NAME}` (default: the environment). `known_services` and
    `known_plugins` (name -> its functions) are defined outside the file, and count as defined in it.
    """
    path = Path(path)
    env = os.environ if env is None else env
    source = parse(read_text(path, file=str(path)), file=str(path), env=env)
    return _team(source, path.resolve(), path.resolve().parent, overrides, env, known_services, known_plugins)


def team_from_dict(
    data: Mapping[str, Any],
    *,
    base_dir: Path | None = None,
    overrides: Mapping[str, Any] = {},
    env: Mapping[str, str] | None = None,
    known_services: Collection[str] = (),
    known_plugins: Mapping[str, Collection[str]] = {},
) -> Team:
    """The team of data made in Python; paths count from `base_dir` (default: the current folder).

    The other options, and what is raised, are those of `load_team`.
    """
    env = os.environ if env is None else env
    base_dir = (base_dir or Path.cwd()).resolve()
    return _team(from_data(data, env=env), None, base_dir, overrides, env, known_services, known_plugins)


def _team(
    source: Source,
    path: Path | None,
    base_dir: Path,
    overrides: Mapping[str, Any],
    env: Mapping[str, str],
    known_services: Collection[str],
    known_plugins: Mapping[str, Collection[str]],
) -> Team:
    _take_in_agent_files(source, base_dir, env)
    for dotted, value in overrides.items():
        _override(source, dotted, value)
    _find_scripts(source, base_dir)
    config = validate(source)
    warnings = cross_check(source, base_dir, known_services, known_plugins)
    if config is None or source.problems:
        found = set(source.problems)
        raise ConfigError(sorted(found, key=lambda p: (p.file, p.line, p.column, p.message)))
    hashed = json.dumps(_showable(source, scripts_by_content=True), sort_keys=True)
    digest = hashlib.sha256(hashed.encode()).hexdigest()
    return Team(config, path, base_dir, tuple(warnings), digest, source, tuple(known_services))


def _file_at(source: Source, route: Route, name: Any, base_dir: Path) -> Path | None:
    """The file that a value names; None, and a problem noted, if there is none."""
    path = base_dir / str(name)
    if isinstance(name, str) and os.path.isfile(path):  # noqa: PTH113 (Path.is_file raises on an odd name)
        return path.resolve()
    folder = os.listdir(path.parent) if os.path.isdir(path.parent) else ()  # noqa: PTH112, PTH208 (as above)
    near = [str(Path(str(name)).parent / other) for other in folder if "." in other]
    source.broke(route, f"there is no file {clip(name)}{nearest(str(name), near, list_all=False)}")
    return None


def _take_in_agent_files(source: Source, base_dir: Path, env: Mapping[str, str]) -> None:
    agents = source.data.get("agents")
    for n, entry in enumerate(agents if isinstance(agents, list) else ()):
        if not isinstance(entry, dict) or "file" not in entry:
            continue
        route: Route = ("agents", n)
        over = {key: value for key, value in entry.items() if key != "file"}
        if (path := _file_at(source, (*route, "file"), entry["file"], base_dir)) is None:
            source.broken.add(route)
            continue
        shown = str(Path(source.file).parent / entry["file"])
        try:
            spec = parse(read_text(path, file=shown), file=shown, env=env)
        except ConfigError as error:
            source.problems += error.problems
            source.broken.add(route)
        else:
            agents[n] = source.graft(route, spec, over=over)


def _override(source: Source, dotted: str, value: Any) -> None:
    """Put a value in place, making the mappings on the way to it."""
    place, node = Place(f"--set {dotted}"), source.data
    route: Route = ()
    steps = dotted.split(".")
    for n, step in enumerate(steps):
        if not isinstance(node, dict | list):
            source.problems.append(place.problem(f"{label(route)} is a single value and has no '{step}'"))
            return
        key: Any = step
        if isinstance(node, list):
            names = [item.get("name") if isinstance(item, dict) else None for item in node]
            if step not in names:
                hint = nearest(step, [name for name in names if isinstance(name, str)])
                source.problems.append(place.problem(f"{label(route)} has no '{step}'{hint}"))
                return
            key = names.index(step)
        route = (*route, key)
        last = n == len(steps) - 1
        if last or (isinstance(node, dict) and node.get(step) is None):
            node[key] = source.adopt(route, value if last else {}, place)
        node = node[key]


def _find_scripts(source: Source, base_dir: Path) -> None:
    """Make the paths of script files absolute, and see that each holds a mapping."""
    services = source.data.get("services")
    for name, entry in services.items() if isinstance(services, dict) else ():
        if not isinstance(entry, dict) or not isinstance(script := entry.get("script"), str):
            continue
        if path := _file_at(source, ("services", name, "script"), script, base_dir):
            entry["script"] = str(path)
            shown = str(Path(source.file).parent / script)
            try:
                source.problems += parse(read_text(path, file=shown), file=shown, env=None).problems
            except ConfigError as error:
                source.problems += error.problems


class _Quoted(str):
    """A text that YAML must not read as anything else."""


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(
    _Quoted, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style='"')
)


def _showable(source: Source, *, scripts_by_content: bool = False) -> Any:
    """The data of a source with secrets as `${NAME}`, written so that it is read back as it is."""

    def copy(node: Any, route: Route) -> Any:
        if route in source.shown:
            return _Quoted(source.shown[route]) if isinstance(node, str) else source.shown[route]
        if isinstance(node, dict):
            return {key: copy(value, (*route, key)) for key, value in node.items()}
        if isinstance(node, list):
            return [copy(item, (*route, n)) for n, item in enumerate(node)]
        if scripts_by_content and route[:1] + route[2:] == ("services", "script") and isinstance(node, str):
            return hashlib.sha256(Path(node).read_bytes()).hexdigest()
        return escaped(node) if isinstance(node, str) else node

    return copy(source.data, ())
