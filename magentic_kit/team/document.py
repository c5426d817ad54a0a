"""A team as plain data that remembers where each value stands; files, `${NAME}` and overrides are filled in."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from magentic_kit.errors import ConfigError, Problem
from magentic_kit.team.problems import KEY, Route, clip, get, label, nearest
from magentic_kit.team.references_in_text import HOW_TO_GIVE, ReferencesInText
from magentic_kit.team.stored import Find, Piece, Stored, store
from magentic_kit.team.yaml_nodes import (
    MAX_DEPTH,
    MAX_VALUES,
    TOO_MUCH,
    Place,
    compose,
    dump,
    node_of,
    place_of,
    read_bytes,
    scalar_value,
    text_node,
)  # fmt: skip
from magentic_kit.text import one_line

_FILES: list[Route] = [("agents", "team"), ("services", "script"), ("plugins", "spec"), ("answer", "schema")]
_FOLDERS: list[Route] = [("services", "log"), ("plugins", "root"), ("plugins", "cwd"), ("agents", "skills")]
_EXISTS = dict.fromkeys(_FILES, os.path.isfile) | dict.fromkeys(_FOLDERS, os.path.isdir)


_TEXTS = {"env", "headers", "query", "cookies"}


def _is_text(route: Route) -> bool:
    """Whether what stands there is text as it is written: a key of 007 is no 7, and a version of 1.10 no 1.1."""
    return len(route) == 4 and route[0] in ("plugins", "agents") and route[2] in _TEXTS


class Document(ReferencesInText):
    """A team's data, the places of its values, and what was found wrong with it so far."""

    def __init__(self, team: Path | Mapping[str, Any], base_dir: Path, env: Mapping[str, str]) -> None:
        """Reads the team. Raises `ConfigError` if there is nothing to speak of; smaller problems are noted."""
        super().__init__(env)
        self.base_dir = base_dir
        self.places: dict[Route, Place] = {}
        self.warned: set[Problem] = set()
        self._pieces: dict[Route, list[Piece]] = {}
        self._named: dict[Route, bytes | str] = {}
        self._count = 0
        root = compose(team) if isinstance(team, Path) else node_of(dict(team), "team")
        self.data: Any = self._read(root, ())

    def problem(self, route: Route, message: str) -> Problem:
        """A problem at the value, or at the nearest thing around it; in one line of bearable length."""
        while route not in self.places:
            route = route[:-1]
        return Problem(*self.places[route], one_line(message, 300))

    def override(self, dotted: str, value: Any) -> None:
        """Put a value at a dotted path, agents by name, making the mappings on the way to it."""
        for cached in ("found", "digest"):
            vars(self).pop(cached, None)
        place, steps = f"--set {dotted}", dotted.split(".")
        route: Route = ()
        at = inside = self.data
        while steps and inside is not None:
            at, step = inside, steps.pop(0)
            keys = {get(item, "name"): n for n, item in enumerate(at if isinstance(at, list) else ())}
            if not isinstance(at, dict) and step not in keys:
                self.problems.append(Problem(place, 0, 0, f"{label(route)} has no '{step}'{nearest(step, keys)}"))
                return
            route = (*route, keys.get(step, step))
            inside = get(at, route[-1])
        for step in reversed(steps):
            value = {step: value}
        for lacking in [lacking for lacking in self._lacking if lacking[: len(route)] == route]:
            self.problems.remove(self._lacking.pop(lacking))
            self._broken.discard(lacking)
        self.places[(*route, KEY)] = (place, 0, 0)
        at[route[-1]] = self._read(node_of(value, place), route)

    def add_agents(self, agents: Mapping[str, str]) -> None:
        """Add the agents, as name -> description, that the data does not have."""
        members = get(self.data, "agents")
        if members is None and isinstance(self.data, dict):
            members = self.data["agents"] = []
            self.places["agents",] = self.places[()]
        if not isinstance(members, list):
            return
        present = {get(agent, "name", kind=str) for agent in members}
        for name, description in agents.items():
            if name in present:
                continue
            entry = {"name": name, "type": "python", "description": description}
            members.append(self._read(node_of(entry, f"agents={name}"), ("agents", len(members))))

    @property
    def shown(self) -> dict[Route, str]:
        """The text of each value that is to be shown differently: with its secrets as `${NAME}`."""
        return self.found.texts

    def stored(self, find: Find | None = None) -> tuple[str, list[Problem]]:
        """The data as YAML that is read back as it is: agent files taken in, paths absolute, secrets as `${NAME}`.

        `find` tells where else in a text secrets stand. The problems are the secrets that the team file itself has:
        they are not stored, and whoever reads the team back has to set the variables that are named there.
        """
        stored = store(self.data, self._pieces, find) if find else self.found
        problem = f"this secret is not stored with a run; to resume, {HOW_TO_GIVE}"
        problems = [self.problem(route, problem.format(name)) for name, route in stored.missing.items()]
        return dump(self._copy(self.data, (), stored.texts, {})), problems

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the data, with files by their content, folders and secrets by their names."""
        import hashlib  # OpenSSL takes milliseconds
        import json

        def encode(value: bytes | yaml.ScalarNode) -> Any:
            if isinstance(value, bytes):
                return hashlib.sha256(value).hexdigest()
            return value.value

        data = self._copy(self.data, (), self.found.hashed, self._named)
        return hashlib.sha256(json.dumps(data, sort_keys=True, default=encode).encode()).hexdigest()

    @cached_property
    def found(self) -> Stored:
        """The secrets that stand in the data, and what is stored in their place."""
        return store(self.data, self._pieces)

    def _copy(self, data: Any, route: Route, texts: Mapping[Route, str], instead: Mapping[Route, bytes | str]) -> Any:
        if route in instead:
            return instead[route]
        if route in texts:
            return text_node(texts[route], quoted=isinstance(data, str))
        if isinstance(data, dict):
            return {key: self._copy(value, (*route, key), texts, instead) for key, value in data.items()}
        if isinstance(data, list):
            return [self._copy(item, (*route, n), texts, instead) for n, item in enumerate(data)]
        return data

    def _read(self, node: yaml.Node, route: Route) -> Any:
        """The data of a node, which is to stand at `route`."""
        self.places[route] = place_of(node) or self.places[route[:-1]]
        self._pieces.pop(route, None)
        self._named.pop(route, None)
        self._bound(route)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, route)
        if isinstance(node, yaml.SequenceNode):
            return [self._read(item, (*route, n)) for n, item in enumerate(node.value)]
        data: dict[str, Any] = {}
        pairs = self._pairs(node, route)
        if route[:-1] == ("agents",) and "type" in pairs:
            self._agent_types[route] = str(pairs["type"][1].value)
        for key, (key_node, value) in pairs.items():
            self.places[(*route, key, KEY)] = place_of(key_node) or self.places[route]
            data[key] = self._read(value, (*route, key))
        return data

    def _bound(self, route: Route) -> None:
        self._count += 1
        if len(route) > MAX_DEPTH or self._count > MAX_VALUES:
            raise ConfigError([self.problem(route, TOO_MUCH)])

    def _pairs(self, node: yaml.Node, route: Route) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Key -> its node and its value's; what `<<` or an agent's `file` brings in stands behind a mapping's own."""
        self._bound(route)
        pairs: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        if not isinstance(node, yaml.MappingNode):
            raise ConfigError([self.problem(route, "<< should name a mapping")])
        for key, value in node.value:
            name, place = str(key.value), place_of(key) or self.places[route]
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigError([Problem(*place, "a key should be plain text")])
            if name in pairs:
                self.problems.append(Problem(*place, f"key {clip(name)} is given twice"))
            pairs[name] = key, value
        _, merged = pairs.pop("<<", (None, None))
        for other in merged.value if isinstance(merged, yaml.SequenceNode) else filter(None, [merged]):
            pairs = {**self._pairs(other, (*route, "<<")), **pairs}
        if route[:-1] == ("agents",) and "file" in pairs:
            _, file = pairs.pop("file")
            try:
                path = self._find((*route, "file"), self._read(file, (*route, "file")), os.path.isfile)
                pairs = {**self._pairs(compose(path), ()), **pairs}
            except ConfigError as error:
                self.problems += error.problems
                self._broken.add(route)
        return pairs

    def _scalar(self, node: yaml.ScalarNode, route: Route) -> Any:
        text = node.value
        if "${" in text:
            self._pieces[route] = [*self._filled(node.value, route)]
            text = "".join(piece.text for piece in self._pieces[route])
        if _is_text(route) and (text or text != node.value):
            return text
        try:
            value = scalar_value(node, text)
        except ValueError as error:
            self.report(route, f"{clip(node.value)} cannot be read as {error}")
            return None
        named = route[:3] if route[2:3] == ("skills",) else route
        exists = _EXISTS.get(named if len(named) == 2 else named[:1] + named[2:])
        if exists and isinstance(value, str) and "://" not in value:
            return self._path(route, value, exists)
        return value

    def _path(self, route: Route, name: str, exists: Callable[[Any], bool]) -> str:
        """The absolute path that is named at `route`; the name itself if there is no such file or folder."""
        try:
            path = self._find(route, name, exists)
            if route[-1] == "script":
                self._pairs(compose(path), ())
            self._named[route] = read_bytes(path) if exists is os.path.isfile else path.name
        except ConfigError as error:
            self.problems += error.problems
            self._broken.add(route)
            return name
        return str(path.resolve())

    def _find(self, route: Route, name: Any, exists: Callable[[Any], bool]) -> Path:
        """The file or folder that is named at `route`. Raises `ConfigError` if there is none."""
        path = self.base_dir / str(name)
        if isinstance(name, str) and exists(path):
            return path
        beside = os.listdir(path.parent) if os.path.isdir(path.parent) else ()  # noqa: PTH112, PTH208 (odd names)
        near = [str(Path(str(name)).parent / other) for other in beside if exists(path.parent / other)]
        kind = "file" if exists is os.path.isfile else "folder"
        hint = nearest(str(name), near, list_all=False)
        raise ConfigError([self.problem(route, f"there is no {kind} {clip(name)}{hint}")])
