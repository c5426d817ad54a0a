"""`TeamFactory`: a team file as an immutable blueprint, from which every run gets parts of its own."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import AsyncGenerator, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from semantic_kernel import Kernel
from semantic_kernel.agents import MagenticOrchestration
from semantic_kernel.agents.runtime import CoreRuntime
from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase
from semantic_kernel.connectors.ai.prompt_execution_settings import PromptExecutionSettings
from semantic_kernel.contents import ChatMessageContent
from semantic_kernel.filters.filter_types import FilterTypes
from semantic_kernel.functions.kernel_arguments import KernelArguments
from semantic_kernel.functions.kernel_plugin import KernelPlugin
from semantic_kernel.prompt_template.kernel_prompt_template import KernelPromptTemplate
from semantic_kernel.prompt_template.prompt_template_config import PromptTemplateConfig

from magentic_kit.agents import TeamAgent
from magentic_kit.calls import Lane
from magentic_kit.check import Team, load_team, team_from_dict
from magentic_kit.config import AgentConfig
from magentic_kit.context import RunContext, Sink
from magentic_kit.errors import ConfigError
from magentic_kit.events import AnyEvent
from magentic_kit.journal import new_run_id
from magentic_kit.manager import TeamManager
from magentic_kit.run import Run, RunResult
from magentic_kit.services import build_service, close_service
from magentic_kit.tools import as_plugin, build_plugin, select_functions, tool_filter

Services = Mapping[str, ChatCompletionClientBase]


class TeamFactory:
    """Makes runs of one team; use as `async with`, or call `close()`, to close the HTTP clients it made.

    Services and plugins can be handed in by name, or with a `kernel` whose services, plugins and filters
    the agents then share; they come before those of the team file and are never closed here. Runs share
    services (and so HTTP clients) and nothing else: several can go on at once.
    """

    def __init__(
        self,
        team: Team,
        *,
        kernel: Kernel | None = None,
        services: Services | None = None,
        plugins: Mapping[str, object] | None = None,
    ) -> None:
        self.team = team
        self._kernel = kernel
        given = {**(kernel.services if kernel else {}), **(services or {})}
        self._given: dict[str, ChatCompletionClientBase] = {
            name: service for name, service in given.items() if isinstance(service, ChatCompletionClientBase)
        }
        self._plugins = _given_plugins(kernel, plugins)
        self._made: dict[str, ChatCompletionClientBase] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    @classmethod
    def from_yaml(
        cls,
        path: str | Path,
        *,
        overrides: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        kernel: Kernel | None = None,
        services: Services | None = None,
        plugins: Mapping[str, object] | None = None,
    ) -> TeamFactory:
        """A factory from a team file.

        `overrides` are values by dotted path (`{"manager.max_rounds": 5}`); `env` takes the place of the
        process's environment for `${NAME}`. Raises `ConfigError` with every problem of the file.
        """
        known = _known(kernel, services, plugins)
        team = load_team(Path(path), overrides=overrides or {}, env=env, **known)
        return cls(team, kernel=kernel, services=services, plugins=plugins)

    @classmethod
    def from_dict(
        cls,
        data: Mapping[str, Any],
        *,
        base_dir: str | Path | None = None,
        overrides: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        kernel: Kernel | None = None,
        services: Services | None = None,
        plugins: Mapping[str, object] | None = None,
    ) -> TeamFactory:
        """The same from data; relative paths are relative to `base_dir` (default: the working directory)."""
        known = _known(kernel, services, plugins)
        folder = Path(base_dir) if base_dir else Path.cwd()
        team = team_from_dict(data, base_dir=folder, overrides=overrides or {}, env=env, **known)
        return cls(team, kernel=kernel, services=services, plugins=plugins)

    # -- running

    def start(
        self,
        task: str | None = None,
        *,
        inputs: Mapping[str, Any] | None = None,
        sinks: Iterable[Sink] = (),
        out: str | Path | None = "runs",
        runtime: CoreRuntime | None = None,
    ) -> Run:
        """Begins a run in the background of the running event loop.

        `task` is sent as written; without one the team's own is filled in with `inputs`. The run directory
        is made under `out`, or not at all with None. A `runtime` of your own has to be started, and keeps
        the run's actors until you close it. Raises `ConfigError` before anything is sent.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # an HTTP client belongs to the event loop that it was used in
            self._loop, self._made = loop, {}
        filled = self._fill_inputs(inputs or {})
        folder = Path(out) if out is not None else None
        return Run(self, self._task(task, filled), filled, sinks=list(sinks), out=folder, runtime=runtime)

    async def run(self, task: str | None = None, **options: Any) -> RunResult:
        """Runs the team to its end; takes the options of `start`. How it ended is in `RunResult.outcome`."""
        return await self.start(task, **options).result()

    async def stream(self, task: str | None = None, **options: Any) -> AsyncGenerator[AnyEvent, None]:
        """The events of a run as they come; takes the options of `start`. Leaving the loop cancels the run."""
        run = self.start(task, **options)
        try:
            async for event in run.events():
                yield event
        finally:
            run.cancel()
            await run.result()

    def create_orchestration(
        self, *, inputs: Mapping[str, Any] | None = None, on_event: Sink | None = None
    ) -> MagenticOrchestration[str, ChatMessageContent]:
        """SK's own `MagenticOrchestration` with this team's agents and manager, for one run on your runtime."""
        run_id = new_run_id(self.team.config.name)
        sinks = [on_event] if on_event else []
        context = RunContext(run_id=run_id, limits=self.team.config.limits, sinks=sinks)
        return self.orchestrate(context, self._fill_inputs(inputs or {}))

    async def close(self) -> None:
        """Closes what the factory opened; runs that are under way lose their connections."""
        made, self._made = self._made, {}
        for service in made.values():
            await close_service(service)

    async def __aenter__(self) -> TeamFactory:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # -- building

    def orchestrate(
        self, context: RunContext, inputs: Mapping[str, Any]
    ) -> MagenticOrchestration[str, ChatMessageContent]:
        """Fresh agents and a fresh manager, bound to `context`."""
        config = self.team.config
        service = self._service(name := self.team.manager_service)
        entry = config.services.get(name)
        options = {**(entry.options if entry else {}), **config.manager.options}
        self._check_options(service, options, ("manager", "options"))
        manager = TeamManager(
            config=config.manager,
            context=context,
            service=service,
            service_name=name,
            structured_output=entry.structured_output if entry else "auto",
            options=options,
            inputs=inputs,
        )
        agents = [self._agent(index, agent, context, inputs) for index, agent in enumerate(config.agents)]
        for agent in agents:
            agent.join(context, manager.turn)
        return MagenticOrchestration[str, ChatMessageContent](
            members=list(agents), manager=manager, name=config.name, description=config.description or None
        )

    def describe(self) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
        """Agents by name, and the manager, as the event `run_started` tells of them."""

        def seat(service_name: str, model: str | None) -> dict[str, Any]:
            entry = self.team.config.services.get(service_name)
            service = self._service(service_name)
            provider = type(service).__name__ if service_name in self._given else entry.provider if entry else ""
            return {"service": service_name, "provider": provider, "model": model or service.ai_model_id}

        agents = {
            agent.name: {
                "description": agent.description,
                **seat(self.team.service_of(agent), agent.model.id),
                "tools": [tool.id for tool in agent.tools],
            }
            for agent in self.team.config.agents
        }
        return agents, seat(self.team.manager_service, None)

    def _task(self, given: str | None, inputs: Mapping[str, Any]) -> str:
        if given is not None and given.strip():
            return given
        if not self.team.config.task:
            raise ConfigError.one("there is no task: give one, or set `task:` in the team file")
        return KernelPromptTemplate.quick_render(self.team.config.task, dict(inputs))

    def _agent(self, index: int, config: AgentConfig, context: RunContext, inputs: Mapping[str, Any]) -> TeamAgent:
        name = self.team.service_of(config)
        service = self._service(name)
        entry = self.team.config.services.get(name)
        options = {**(entry.options if entry else {}), **config.model.options}
        self._check_options(service, options, ("agents", index, "model", "options"))
        kernel = Kernel(plugins=self._tools(index, config))
        if self._kernel is not None:
            for kind in FilterTypes:
                for _, function in getattr(self._kernel, f"{kind.value}_filters"):
                    kernel.add_filter(kind, function)
        kernel.add_filter(FilterTypes.AUTO_FUNCTION_INVOCATION, tool_filter(config.name, context))
        own = {key: spec.default for key, spec in config.inputs.items() if spec.default is not None}
        settings = PromptExecutionSettings(**options)
        return TeamAgent(
            name=config.name,
            description=config.description,
            kernel=kernel,
            service=Lane(config.name, name, context).connect(service, model=config.model.id),
            arguments=KernelArguments(settings=settings, **{**own, **inputs}),
            prompt_template_config=_template(config),  # type: ignore[call-arg]  # mypy sees pydantic's __init__
        )

    def _tools(self, index: int, config: AgentConfig) -> dict[str, KernelPlugin]:
        patterns = [tool.id for tool in config.tools if tool.id and tool.type == "function"]
        for name in {pattern.partition(".")[0] for pattern in patterns} - self._plugins.keys():
            if plugin := self.team.config.plugins.get(name):
                self._plugins[name] = build_plugin(name, plugin, search_path=self.team.base_dir)
        selected, unknown = select_functions(self._plugins, patterns)
        problems = []
        for pattern in unknown:
            known = [f"{name}.{f}" for name, plugin in self._plugins.items() for f in plugin.functions]
            near = difflib.get_close_matches(pattern, known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"there is: {', '.join(known) or 'no function'}"
            place = ("agents", index, "tools", [tool.id for tool in config.tools].index(pattern), "id")
            problems.append(self.team.problem(place, f"no plugin has the function '{pattern}'; {hint}"))
        if problems:
            raise ConfigError(problems)
        return {plugin.name: plugin for plugin in selected}

    def _service(self, name: str) -> ChatCompletionClientBase:
        if name in self._given:
            return self._given[name]
        if name not in self._made:
            config = self.team.config.services[name]
            self._made[name] = build_service(name, config, search_path=self.team.base_dir)
        return self._made[name]

    def _check_options(
        self, service: ChatCompletionClientBase, options: Mapping[str, Any], place: tuple[str | int, ...]
    ) -> None:
        """SK drops execution settings that a connector does not know, and so a typo passes unseen."""
        known = service.get_prompt_execution_settings_class().model_fields
        if len(known) <= len(PromptExecutionSettings.model_fields):
            return  # a connector without settings of its own takes what it likes from `extension_data`
        for option in options:
            if option not in known:
                near = difflib.get_close_matches(option, known, n=1)
                hint = f"; did you mean '{near[0]}'?" if near else ""
                message = f"{type(service).__name__} has no option '{option}'{hint}"
                raise ConfigError([self.team.problem(place, message)])

    def _fill_inputs(self, given: Mapping[str, Any]) -> dict[str, Any]:
        specs = self.team.config.inputs
        if unknown := [name for name in given if name not in specs]:
            near = difflib.get_close_matches(unknown[0], specs, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"it has: {', '.join(specs) or 'none'}"
            raise ConfigError.one(f"the team has no input '{unknown[0]}'; {hint}")
        filled = {**{name: spec.default for name, spec in specs.items()}, **given}
        missing = [name for name, spec in specs.items() if filled[name] is None and spec.required]
        if missing:
            raise ConfigError.one(f"the team needs the input '{missing[0]}': give --input {missing[0]}=…")
        return {name: value for name, value in filled.items() if value is not None}


def _template(config: AgentConfig) -> PromptTemplateConfig | None:
    prompt = config.prompt
    if not prompt.template:
        return None
    # Inputs come from the team's own people: sent as written (DESIGN.md, defect 11).
    data = prompt.model_dump(exclude={"execution_settings"}, exclude_none=True)
    return PromptTemplateConfig(**{**data, "allow_dangerously_set_content": True})


def _given_plugins(kernel: Kernel | None, plugins: Mapping[str, object] | None) -> dict[str, KernelPlugin]:
    given = dict(kernel.plugins) if kernel else {}
    return {**given, **{name: as_plugin(name, source) for name, source in (plugins or {}).items()}}


def _known(kernel: Kernel | None, services: Services | None, plugins: Mapping[str, object] | None) -> dict[str, Any]:
    """What the caller brings, for the checks of the team file."""
    return {
        "known_services": [*(kernel.services if kernel else ()), *(services or ())],
        "known_plugins": {n: list(p.functions) for n, p in _given_plugins(kernel, plugins).items()},
    }
