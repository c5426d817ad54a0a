"""What belongs to a team, and stays the same for all of its runs."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from semantic_kernel.agents.agent import AGENT_TYPE_REGISTRY
from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase
from semantic_kernel.functions import KernelPlugin
from semantic_kernel.prompt_template.kernel_prompt_template import KernelPromptTemplate

from magentic_kit.errors import ConfigError
from magentic_kit.orchestration.options import Injected, TeamChanges
from magentic_kit.orchestration.substitutes import ChatService
from magentic_kit.runlog.redaction import Redactor, redactor_of
from magentic_kit.services.keys import keys_of
from magentic_kit.services.mixins import adapted
from magentic_kit.services.options import wrong_options
from magentic_kit.services.pool import Pool
from magentic_kit.services.prices import Pricing, pricing_of
from magentic_kit.services.rate_limits import Throttle
from magentic_kit.team.agents import AGENT_TYPES, KnownAgents
from magentic_kit.team.limits import limit_overrides
from magentic_kit.team.loading import Team, load_team, vary_team
from magentic_kit.team.problems import nearest
from magentic_kit.text import sendable
from magentic_kit.tools.plugins import Tools, as_plugin


class TeamBlueprint:
    """A team with its services and tools, and the blueprints of the teams that are its members.

    What the caller injected comes before what the team file has. Services, and so HTTP clients, come from the `pool`,
    which members share; whoever made the pool closes it.
    """

    def __init__(self, team: Team, *, pool: Pool, injected: Injected, is_concurrent: bool = False) -> None:
        self.team = team
        self.config = team.config
        self.pool = pool
        self.is_concurrent = is_concurrent
        """Whether all its agents answer at once, in place of being led by the manager; of a member of another team."""
        self.kernel = injected.kernel
        self._injected = injected
        self._services = injected_services(injected)
        plugins = injected_plugins(injected)
        self.tools = Tools(team, plugins)
        self.agents = injected.agents
        """Agents of SK's that the caller brings, by name."""
        known = known_plugins(injected)
        self.members: Mapping[str, TeamBlueprint] = {
            agent.name: TeamBlueprint(
                load_team(
                    agent.team,
                    env=team.source.env,
                    known_services=[*self._services],
                    known_plugins=known,
                    known_agents=known_agents(injected).elsewhere(),
                ),
                pool=pool,
                injected=injected,
                is_concurrent=agent.mode == "concurrent",
            )
            for agent in team.config.agents
            if agent.team is not None
        }
        """The teams that are members of this one, by the agent's name."""

    def varied(self, changes: TeamChanges) -> TeamBlueprint:
        """The blueprint of the team with these changes, for one run. Raises `ConfigError`; `TypeError` for a name.

        Limits alone share everything with this one; for other changes plugins and member teams are made anew.
        """
        overrides = limit_overrides(changes.limits)
        overrides.update(changes.overrides)
        if not overrides:
            return self
        injected = self._injected
        team = vary_team(
            self.team, overrides, known_plugins=known_plugins(injected), known_agents=known_agents(injected)
        )
        if changes.overrides:
            return TeamBlueprint(team, pool=self.pool, injected=self._injected, is_concurrent=self.is_concurrent)
        varied = copy.copy(self)
        varied.team, varied.config = team, team.config
        return varied

    def service(self, name: str, model: str | None = None) -> ChatCompletionClientBase:
        """The service of that name, asking another model if one is named. Raises `ConfigError`."""
        injected = self._services.get(name)
        if injected is None:
            return self.pool.service(name, self.config.services[name], model, self.team.base_dir)
        if model:
            return injected.model_copy(update={"ai_model_id": model})
        return injected

    def throttle(self, name: str) -> Throttle:
        """What all calls to the service of that name pass, whichever model they ask."""
        return self.pool.throttle(name if name in self._services else repr(self.config.services[name]))

    def pricing(self, name: str, model: str | None = None) -> Pricing | None:
        """What the model of the service costs, another model if one is named; None if its price is unknown.

        Of a service that was injected only a price in the team file is known.
        """
        entry = self.config.services.get(name)
        if entry is None or (name in self._services and entry.price is None):
            return None
        return pricing_of(entry, self.service(name, model).ai_model_id)

    def check_prices(self) -> None:
        """Raises `ConfigError` if the team limits its cost, and what a model costs is unknown."""
        if self.config.limits.max_cost is not None and (unknown := self._unpriced()):
            raise ConfigError.one(
                f"limits.max_cost needs the price of every model, and that of {', '.join(unknown)} is unknown: set "
                "`price` of its service, or install magentic-kit[prices] for published prices"
            )

    def _unpriced(self) -> list[str]:
        models: list[tuple[str, str | None]] = [(self.team.manager_service, None)]
        for agent in self.config.agents:
            if agent.type == "chat_completion_agent":
                models.append((self.team.service_of(agent), agent.model.id))
        for name, _ in list(models):
            entry = self.config.services.get(name)
            models += [(other, None) for other in (entry.fallback if entry else ())]
        unknown = [
            f"service '{name}' ({self.service(name, model).ai_model_id})"
            for name, model in dict.fromkeys(models)
            if self.pricing(name, model) is None
        ]
        for member in self.members.values():
            unknown += member._unpriced()
        return unknown

    def provider(self, name: str) -> str:
        """Where a service comes from, as events have it: its provider, or the class of one that was injected."""
        if name in self._services:
            return type(self._services[name]).__name__
        return self.config.services[name].provider

    def structured_output(self, name: str) -> str:
        """How ledgers are asked for from the service of that name."""
        entry = self.config.services.get(name)
        if entry:
            return entry.structured_output
        return "auto"

    def require_known_options(self) -> None:
        """Raises `ConfigError` with every option that a connector does not know."""
        problems = wrong_options(self.team, self._services)
        if problems:
            raise ConfigError(problems)

    def settings(self, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Execution settings: the service's, then the participant's own."""
        entry = self.config.services.get(name)
        settings = dict(entry.options) if entry else {}
        settings.update(options)
        return settings

    def substitutes(self, name: str) -> list[ChatService]:
        """The services that may answer in place of the service of that name, in their order."""
        entry = self.config.services.get(name)
        return [
            ChatService(
                name=other,
                service=self.service(other),
                options=self.settings(other, {}),
                throttle=self.throttle(other),
                pricing=self.pricing(other),
            )
            for other in (entry.fallback if entry else ())
        ]

    def redactor(self, inputs: Mapping[str, Any] = {}) -> Redactor:
        """Masks the secrets of team, services and inputs, of this environment and of the one it was loaded with."""
        secrets = self.team.secrets(inputs).union(*map(keys_of, self._services.values()))
        return redactor_of(frozenset(secrets))

    def fill_inputs(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The team's inputs with the given values. Raises `ConfigError` on an unknown or a missing one."""
        specs = self.config.inputs
        for name in given.keys() - specs.keys():
            raise ConfigError.one(f"the team has no input '{name}'{nearest(name, specs)}")
        filled: dict[str, Any] = {}
        for name, spec in specs.items():
            value = given.get(name, spec.default)
            if value is None and spec.required:
                raise ConfigError.one(f"the team needs the input '{name}': give --input {name}=…")
            if value is not None:
                filled[name] = sendable(value) if isinstance(value, str) else value
        return filled

    def fill_task(self, given: str | None, inputs: Mapping[str, Any]) -> str:
        """The task as given, else the team's own with the inputs filled in. Raises `ConfigError` if there is none."""
        if given is not None and given.strip():
            return sendable(given)
        if not self.config.task:
            raise ConfigError.one("there is no task: give one, or set `task:` in the team file")
        return KernelPromptTemplate.quick_render(self.config.task, dict(inputs))


def injected_services(injected: Injected) -> dict[str, ChatCompletionClientBase]:
    """The chat services that the caller brings, by name."""
    services: dict[str, Any] = {}
    if injected.kernel is not None:
        services.update(injected.kernel.services)
    services.update(injected.services)
    chat = {name: one for name, one in services.items() if isinstance(one, ChatCompletionClientBase)}
    return {name: adapted(service) for name, service in chat.items()}


def injected_plugins(injected: Injected) -> dict[str, KernelPlugin]:
    """The plugins that the caller brings, by name. Raises `ConfigError` if one has no function."""
    plugins: dict[str, KernelPlugin] = {}
    if injected.kernel is not None:
        plugins.update(injected.kernel.plugins)
    plugins.update({name: as_plugin(name, source) for name, source in injected.plugins.items()})
    return plugins


def known_agents(injected: Injected) -> KnownAgents:
    """The agents that the caller brings, and the types of agents that it has registered with Semantic Kernel."""
    agents = {name: agent.description or f"An agent called {name}." for name, agent in injected.agents.items()}
    return KnownAgents(agents, [kind for kind in AGENT_TYPE_REGISTRY if kind not in AGENT_TYPES])


def known_plugins(injected: Injected) -> dict[str, list[str]]:
    """The functions of the plugins that the caller brings, by the plugin's name."""
    return {name: list(plugin.functions) for name, plugin in injected_plugins(injected).items()}
