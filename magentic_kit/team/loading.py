"""Loading a team: file, then plain data, then models; every problem found is reported at once."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from magentic_kit.errors import ConfigError, Problem
from magentic_kit.team.agents import AgentConfig, KnownAgents
from magentic_kit.team.document import Document
from magentic_kit.team.models import TeamConfig
from magentic_kit.team.problems import Route
from magentic_kit.team.references import check_references, choose_service
from magentic_kit.team.secrets import environment_secrets
from magentic_kit.team.stored import Find, store
from magentic_kit.team.validation import validate


class Team(NamedTuple):
    """A valid team, where it came from, and what in it was odd (`warnings`)."""

    config: TeamConfig
    path: Path | None
    base_dir: Path
    warnings: tuple[Problem, ...]
    source: Document
    known_services: tuple[str, ...] = ()

    def problem(self, route: Route, message: str) -> Problem:
        """A problem with the value at `route`, such as `("agents", 0, "tools", 1, "id")`."""
        return self.source.problem(route, message)

    @property
    def config_hash(self) -> str:
        """SHA-256 of the resolved team, files by their content and secrets by name."""
        return self.source.digest

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

        It loads again, with this `base_dir`, to the same `config_hash`.
        """
        return self.source.stored()[0]

    def secrets(self, inputs: Mapping[str, Any] = {}) -> set[str]:
        """The secrets of the team and of `inputs` given to it, of its environment and of the process's."""
        keys = [str(getattr(service, "api_key_env", "")) for service in self.config.services.values()]
        known = {*environment_secrets(os.environ, self.source.env, keys=keys), *self.source.found.secrets}
        return known | store({"inputs": inputs}, {}).secrets

    def stored(self, find: Find | None = None) -> str:
        """The same for a file that is kept: without the secrets either that `find` sees in other places.

        Those that the team file itself has cannot be stored: each is logged as a warning, once a team.
        """
        import logging  # who only checks a team logs nothing

        text, problems = _stored(self.source, find)
        for problem in problems:
            if problem not in self.source.warned:
                logging.getLogger(__name__).warning("%s", problem)
        self.source.warned.update(problems)
        return text


@lru_cache(maxsize=16)
def _stored(source: Document, find: Find | None) -> tuple[str, list[Problem]]:
    """The same for all runs of a team that know the same secrets: YAML takes milliseconds."""
    return source.stored(find)


def load_team(
    team: str | Path | Mapping[str, Any],
    *,
    base_dir: Path | None = None,
    overrides: Mapping[str, Any] = {},
    env: Mapping[str, str] | None = None,
    known_services: Collection[str] = (),
    known_plugins: Mapping[str, Collection[str]] = {},
    known_agents: KnownAgents = KnownAgents(),
    above: tuple[Path, ...] = (),
    thorough: bool = False,
) -> Team:
    """The team of a file, or of data made in Python. Raises `ConfigError` with every problem found.

    Paths in it count from `base_dir` (default: the file's folder, or the current one). `overrides` are values by
    dotted path, agents by name (`agents.Writer.instructions`). `env` fills `${NAME}` (default: the environment).
    `known_services` and `known_plugins` (name -> its functions) count as defined in the team; of `known_agents`, those
    that the file does not have are added to it. Teams that are its members are checked too; `above` are the files that
    it is itself a member of. With `thorough`, what the team names
    is looked into too: Python code, which is not imported, data files and scripts.
    """
    team = Path(team) if isinstance(team, str) else team
    path = team.resolve() if isinstance(team, Path) else None
    if base_dir is None:
        base_dir = team.parent if isinstance(team, Path) else Path.cwd()
    source = Document(team, base_dir, os.environ if env is None else env)
    if known_agents.are_members:
        source.add_agents(known_agents.agents)
    return _checked(source, path, overrides, known_services, known_plugins, known_agents, above, thorough=thorough)


def vary_team(
    team: Team,
    overrides: Mapping[str, Any],
    *,
    known_plugins: Mapping[str, Collection[str]] = {},
    known_agents: KnownAgents = KnownAgents(),
) -> Team:
    """The team with other values by dotted path; that team stays as it is. Raises `ConfigError`."""
    source = deepcopy(team.source, {id(team.source.env): team.source.env})
    return _checked(source, team.path, overrides, team.known_services, known_plugins, known_agents, ())


def _checked(
    source: Document,
    path: Path | None,
    overrides: Mapping[str, Any],
    known_services: Collection[str],
    known_plugins: Mapping[str, Collection[str]],
    known_agents: KnownAgents,
    above: tuple[Path, ...],
    *,
    thorough: bool = False,
) -> Team:
    """The team of a document with these overrides. Raises `ConfigError` with every problem found."""
    for dotted, value in overrides.items():
        source.override(dotted, value)
    config, problems = validate(TeamConfig, source.data, source.shown)
    for route, message in problems:
        source.report(route, message)
    warnings = check_references(source, known_services, known_plugins, known_agents)
    if thorough:
        from magentic_kit.team.code_checks import check_code
        from magentic_kit.team.script_checks import check_scripts

        warnings += check_code(source)
        check_scripts(source)
    above = (*above, path) if path else above
    for n, agent in enumerate(config.agents if config else ()):
        if agent.team in above:
            names = " > ".join(file.name for file in (*above[above.index(agent.team) :], agent.team))
            source.report(("agents", n, "team"), f"a team cannot be its own member: {names}")
        elif agent.team and agent.team.is_file():
            try:
                member = load_team(
                    agent.team,
                    env=source.env,
                    known_services=known_services,
                    known_plugins=known_plugins,
                    known_agents=known_agents.elsewhere(),
                    above=above,
                    thorough=thorough,
                )
                warnings += member.warnings
            except ConfigError as error:
                source.problems += error.problems
    if config is None or source.problems:
        raise ConfigError(sorted(set(source.problems), key=lambda p: (p.file, p.line, p.column, p.message)))
    return Team(config, path, source.base_dir.resolve(), tuple(warnings), source, tuple(known_services))
