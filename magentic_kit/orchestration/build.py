"""The parts of one run: fresh agents, a fresh manager and their tools, wired into SK's orchestration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from semantic_kernel.agents import MagenticOrchestration
from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase
from semantic_kernel.connectors.ai.function_choice_behavior import FunctionChoiceBehavior
from semantic_kernel.connectors.ai.prompt_execution_settings import PromptExecutionSettings
from semantic_kernel.contents import ChatMessageContent
from semantic_kernel.filters.filter_types import FilterTypes
from semantic_kernel.functions.kernel_arguments import KernelArguments
from semantic_kernel.prompt_template.prompt_template_config import PromptTemplateConfig

from magentic_kit.embed import TeamChatCompletion
from magentic_kit.errors import ConfigError
from magentic_kit.events import MANAGER, ToolCallFailed
from magentic_kit.orchestration.agent import TeamAgent
from magentic_kit.orchestration.context_window import Window
from magentic_kit.orchestration.manager import TeamManager
from magentic_kit.orchestration.manager_calls import NAME, Voice
from magentic_kit.orchestration.model_calls import Lane
from magentic_kit.runlog.context import RunContext
from magentic_kit.services.human import HumanChatCompletion
from magentic_kit.team.agents import AgentConfig, ContextConfig
from magentic_kit.team.people import People
from magentic_kit.team.plan import TaskLedger
from magentic_kit.tools.permissions import GateKernel, ToolGate

if TYPE_CHECKING:
    from magentic_kit.factory import TeamFactory
    from magentic_kit.orchestration.options import RunOptions
    from magentic_kit.tools.mcp import PluginServers


_Place = tuple[Lane, ChatCompletionClientBase, dict[str, Any]]
"""An agent's lane and service, and what the log tells of them."""


class Assembly:
    """One run's orchestration and what it is made of. Raises `ConfigError` if the parts do not fit together."""

    def __init__(
        self,
        factory: TeamFactory,
        context: RunContext,
        inputs: Mapping[str, Any],
        people: People,
        plan: TaskLedger | None = None,
    ) -> None:
        config = factory.team.config
        if config.review.plan and people.reviewer is None:
            raise ConfigError.one("`review.plan` asks for a person: give a reviewer, --approve-plan, or a terminal")
        self._factory, self._context, self._inputs, self._people = factory, context, inputs, people
        self._gate = ToolGate(context, config.plugins, config.review.tools, people)
        self._servers: PluginServers | None = None
        if factory.tools.remote:
            from magentic_kit.tools.mcp import PluginServers  # a third of a second, for MCP's own package

            self._servers = PluginServers(factory.tools.remote)
        self.seats: dict[str, dict[str, Any]] = {
            MANAGER: self._seat(factory.team.manager_service, None, config.manager.context)
        }
        self.manager = self._manager(plan)
        self.agents = [self._agent(index, agent) for index, agent in enumerate(config.agents)]
        self.orchestration = MagenticOrchestration[str, ChatMessageContent](
            members=list(self.agents),
            manager=self.manager,
            name=config.name,
            description=config.description or None,
        )

    async def close(self) -> None:
        """Ends the servers that the run has started."""
        if self._servers is not None:
            await self._servers.close()

    async def _equip(self) -> None:
        """Starts what has to be connected to, and gives the agents the functions that come from there."""
        if self._servers is None:
            return
        with self._context.interruptible():
            await self._servers.open()
        for plugin, reason in self._servers.failures.items():
            call, function, took = f"start of {plugin}", f"{plugin}.*", self._context.elapsed
            self._context.emit(ToolCallFailed(call=call, who=MANAGER, function=function, seconds=took, error=reason))
        for agent, config in zip(self.agents, self._factory.team.config.agents, strict=True):
            plugins, missing = self._factory.tools.connected(config.functions, self._servers)
            agent.equip(plugins, missing=missing)

    def _manager(self, plan: TaskLedger | None) -> TeamManager:
        factory, config = self._factory, self._factory.team.config
        name = factory.team.manager_service
        entry = config.services.get(name)
        options = factory.options(name, config.manager.options, ("manager", "options"))
        lane = self._lane(MANAGER, name, options, config.manager.context, as_name=NAME)
        return TeamManager(
            # SK's own round and reset limits end a run with whatever was said last (DESIGN.md, defect 6).
            max_stall_count=config.manager.max_stalls,
            config=config.manager,
            context=self._context,
            voice=Voice(lane, factory.service(name), options, entry.structured_output if entry else "auto"),
            inputs=self._inputs,
            given=plan,
            reviewer=self._people.reviewer if config.review.plan else None,
            equip=self._equip,
        )

    def _agent(self, index: int, config: AgentConfig) -> TeamAgent:
        match config.type:
            case "human":
                lane, service, seat = self._human(config)
            case "team":
                lane, service, seat = self._team(config)
            case _:
                lane, service, seat = self._model(index, config)
        self.seats[config.name] = {"description": config.description, **seat}
        inputs = {key: spec.default for key, spec in config.inputs.items() if spec.default is not None}
        settings = PromptExecutionSettings(**lane.options)
        agent = TeamAgent(  # type: ignore[call-arg]  # mypy sees pydantic's __init__
            name=config.name,
            description=config.description,
            kernel=self._kernel(lane),
            service=lane.connect(service),
            arguments=KernelArguments(settings=settings, **{**inputs, **self._inputs}),
            function_choice_behavior=FunctionChoiceBehavior.Auto(
                maximum_auto_invoke_attempts=self._context.limits.tool_rounds
            ),
            prompt_template_config=_template(config),
        )
        agent.join(lane, self.manager.turn)
        agent.equip(self._factory.tools.local(index, config))
        return agent

    def _kernel(self, lane: Lane) -> GateKernel:
        kernel, given = GateKernel(), self._factory.kernel
        for kind in FilterTypes if given else ():
            for _, function in getattr(given, f"{kind.value}_filters"):
                kernel.add_filter(kind, function)
        kernel.add_filter(FilterTypes.AUTO_FUNCTION_INVOCATION, self._gate.filter(lane))
        return kernel

    def _lane(
        self, who: str, service: str, options: Mapping[str, Any], window: ContextConfig | None, *, as_name: str = ""
    ) -> Lane:
        seen = Window(window, options) if window else None
        throttle = self._factory.throttle(service)
        return Lane(who, service, self._context, options=options, as_name=as_name, throttle=throttle, window=seen)

    def _model(self, index: int, config: AgentConfig) -> _Place:
        factory, model = self._factory, config.model
        name = factory.team.service_of(config)
        options = factory.options(name, model.options, ("agents", index, "model", "options"))
        seat = {**self._seat(name, model.id, config.context), "tools": config.functions}
        return self._lane(config.name, name, options, config.context), factory.service(name, model.id), seat

    def _human(self, config: AgentConfig) -> _Place:
        speaker = self._people.humans.get(config.name) or self._people.humans.get("*")
        if speaker is None:
            raise ConfigError.one(f"agent '{config.name}' is a person: give `humans`, or use a terminal")
        lane = Lane(config.name, config.type, self._context)
        lane.person, lane.silence = True, None
        return lane, HumanChatCompletion(config.name, speaker), {"service": "", "provider": "human", "model": ""}

    def _team(self, config: AgentConfig) -> _Place:
        """The nested team, with this run's people, and those of its inputs that the nested team has too."""
        factory = self._factory.member(str(config.team))
        inputs = {name: self._inputs[name] for name in factory.team.config.inputs if name in self._inputs}
        options = {key: value for key, value in vars(self._people).items() if value} | {"inputs": inputs}
        service = TeamChatCompletion(factory, None, cast("RunOptions", options))
        lane = Lane(config.name, config.type, self._context)
        lane.silence = None
        return lane, service, {"service": "", "provider": "team", "model": service.ai_model_id}

    def _seat(self, name: str, model: str | None, window: ContextConfig | None) -> dict[str, Any]:
        service = self._factory.service(name, model)
        more = {"context": window.model_dump(exclude_defaults=True)} if window else {}
        return {"service": name, "provider": self._factory.provider(name), "model": service.ai_model_id, **more}


def _template(config: AgentConfig) -> PromptTemplateConfig | None:
    prompt = config.prompt
    if not prompt.template:
        return None
    # Inputs come from the team's own people: sent as written (DESIGN.md, defect 11).
    data = {key: value for key, value in vars(prompt).items() if key != "execution_settings" and value is not None}
    return PromptTemplateConfig(**{**data, "allow_dangerously_set_content": True})
