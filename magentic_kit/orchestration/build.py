"""The parts of one run: fresh agents, a fresh manager and their tools, built into SK's orchestration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from semantic_kernel.agents import MagenticOrchestration
from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase
from semantic_kernel.connectors.ai.function_choice_behavior import FunctionChoiceBehavior
from semantic_kernel.connectors.ai.prompt_execution_settings import PromptExecutionSettings
from semantic_kernel.contents import ChatMessageContent
from semantic_kernel.filters.filter_types import FilterTypes
from semantic_kernel.functions.kernel_arguments import KernelArguments

from magentic_kit.errors import ConfigError
from magentic_kit.events import MANAGER, ToolCallFailed
from magentic_kit.orchestration.agent import TeamAgent
from magentic_kit.orchestration.blueprint import TeamBlueprint
from magentic_kit.orchestration.callbacks import isolated
from magentic_kit.orchestration.connected import ModelCall
from magentic_kit.orchestration.context_window import Window
from magentic_kit.orchestration.manager import TeamManager
from magentic_kit.orchestration.manager_model import NAME, ManagerModel
from magentic_kit.orchestration.model_calls import ParticipantCalls
from magentic_kit.orchestration.options import OrchestrationArguments, RunArguments
from magentic_kit.orchestration.own_manager import OwnManager, own_manager
from magentic_kit.orchestration.prompts import template
from magentic_kit.orchestration.reviews import PlanReviews
from magentic_kit.orchestration.substitutes import Substitutes
from magentic_kit.runlog.control import RunControl
from magentic_kit.runlog.emitter import RunEmitter
from magentic_kit.runlog.replay import RecordedSteps
from magentic_kit.services.human import HumanChatCompletion
from magentic_kit.team.agents import AgentConfig, ContextConfig
from magentic_kit.team.plan import TaskLedger
from magentic_kit.tools.kernel import AgentKernel
from magentic_kit.tools.permissions import ToolPermissions

if TYPE_CHECKING:
    from magentic_kit.tools.mcp import PluginServers  # a third of a second, for MCP's own package

MemberService = Callable[[TeamBlueprint, RunArguments, RunEmitter, RecordedSteps], ChatCompletionClientBase]
"""Makes the chat service that answers by runs of a member team, as parts of the run with this emitter and steps."""


@dataclass(frozen=True)
class _Source:
    """Where one agent's replies come from: its calls, the service and what is asked of it."""

    calls: ParticipantCalls
    service: ChatCompletionClientBase
    call: ModelCall
    participant: dict[str, Any]
    """How the log describes it."""


class RunParts:
    """One run's orchestration and what it is made of. Raises `ConfigError` if the parts do not fit together."""

    def __init__(
        self,
        blueprint: TeamBlueprint,
        emitter: RunEmitter,
        control: RunControl,
        steps: RecordedSteps,
        *,
        inputs: Mapping[str, Any],
        options: OrchestrationArguments,
        member_service: MemberService,
        plan: TaskLedger | None = None,
    ) -> None:
        config = blueprint.config
        if config.review.plan and options.reviewer is None:
            raise ConfigError.one("`review.plan` asks for a person: give a reviewer, --approve-plan, or a terminal")
        blueprint.require_known_options()
        self._blueprint, self._inputs, self._options = blueprint, inputs, options
        self._emitter, self._control, self._steps = emitter, control, steps
        self._member_service = member_service
        self._permissions = ToolPermissions(
            emitter, control, steps, plugins=config.plugins, patterns=config.review.tools, people=options.people
        )
        self._servers: PluginServers | None = None
        if blueprint.tools.remote:
            from magentic_kit.tools.mcp import PluginServers

            self._servers = PluginServers(blueprint.tools.remote)
        self.participants: dict[str, dict[str, Any]] = {}
        """The manager and each agent as the log describes them, by name."""
        self.notes: list[str] = []
        """What a reader of the answer has to know besides."""
        self._down: set[str] = set()  # services that failed this run for good
        self.manager = self._manager(plan)
        self.agents = [self._agent(index, agent) for index, agent in enumerate(config.agents)]
        self.orchestration = MagenticOrchestration[str, ChatMessageContent](
            members=list(self.agents),
            manager=self.manager,
            name=config.name,
            description=config.description or None,
            agent_response_callback=isolated(options.agent_response_callback),  # type: ignore[arg-type]
            streaming_agent_response_callback=isolated(options.streaming_agent_response_callback),
        )

    async def close(self) -> None:
        """Ends the servers that the run has started."""
        if self._servers is not None:
            await self._servers.close()

    async def _start_plugins(self) -> None:
        """Connects to the plugins that need it, and offers the agents the functions that come from there."""
        if self._servers is None:
            return
        with self._control.step():
            await self._servers.open()
        took = self._control.clock.elapsed
        for plugin, reason in self._servers.failures.items():
            call, function = f"start of {plugin}", f"{plugin}.*"
            self._emitter.emit(ToolCallFailed(call=call, who=MANAGER, function=function, seconds=took, error=reason))
            self.notes.append(f"The plugin '{plugin}' could not be started: {reason}.")
        for agent, config in zip(self.agents, self._blueprint.config.agents, strict=True):
            plugins, missing = self._blueprint.tools.connected(config.functions, self._servers)
            agent.offer(plugins, missing=missing)

    def _manager(self, plan: TaskLedger | None) -> TeamManager | OwnManager:
        blueprint, config = self._blueprint, self._blueprint.config.manager
        name = blueprint.team.manager_service
        options = blueprint.settings(name, config.options)
        calls = self._calls(MANAGER, name, options, config.context, history_name=NAME)
        self.participants[MANAGER] = self._participant(name, None, config.context)
        reviews = None
        if blueprint.config.review.plan and self._options.reviewer is not None:
            reviews = PlanReviews(self._options.reviewer, self._emitter, self._control, self._steps)
        if self._options.manager is not None:
            if plan is not None:
                raise TypeError("a manager of your own makes its own plan: leave out plan=, or manager=")
            service = blueprint.service(name)
            return own_manager(self._options.manager, service, calls, self._control, reviews, self._start_plugins)
        return TeamManager(
            # SK's own round and reset limits end a run with whatever was said last (DESIGN.md, defect 6).
            max_stall_count=config.max_stalls,
            config=config,
            emitter=self._emitter,
            control=self._control,
            model=ManagerModel(calls, blueprint.service(name), options, blueprint.structured_output(name)),
            inputs=self._inputs,
            first_plan=plan,
            reviews=reviews,
            start_plugins=self._start_plugins,
        )

    def _agent(self, index: int, config: AgentConfig) -> TeamAgent:
        match config.type:
            case "human":
                source = self._human(config)
            case "team":
                source = self._team(config)
            case _:
                source = self._model(index, config)
        self.participants[config.name] = {"description": config.description, **source.participant}
        inputs = {key: spec.default for key, spec in config.inputs.items() if spec.default is not None}
        inputs.update(self._inputs)
        agent = TeamAgent(  # type: ignore[call-arg]  # mypy sees pydantic's __init__
            name=config.name,
            description=config.description,
            kernel=self._kernel(source.calls),
            arguments=KernelArguments(settings=PromptExecutionSettings(**source.call.options), **inputs),
            function_choice_behavior=FunctionChoiceBehavior.Auto(
                maximum_auto_invoke_attempts=self._blueprint.config.limits.tool_rounds
            ),
            prompt_template_config=template(config),
        )
        agent.join(source.calls, source.service, source.call, self.manager.turn)
        agent.offer(self._blueprint.tools.local(index, config))
        return agent

    def _kernel(self, calls: ParticipantCalls) -> AgentKernel:
        kernel, injected = AgentKernel(), self._blueprint.kernel
        if injected is not None:
            for kind in FilterTypes:
                for _, function in getattr(injected, f"{kind.value}_filters"):
                    kernel.add_filter(kind, function)
        kernel.guard(self._permissions, calls.who, lambda: calls.last_call, lambda: calls.last_ending)
        return kernel

    def _calls(
        self,
        who: str,
        service: str,
        options: Mapping[str, Any],
        context: ContextConfig | None,
        *,
        history_name: str = "",
    ) -> ParticipantCalls:
        window = Window(context, me=history_name or who, options=options) if context else None
        return ParticipantCalls(
            who,
            service,
            emitter=self._emitter,
            control=self._control,
            steps=self._steps,
            throttle=self._blueprint.throttle(service),
            window=window,
            history_name=history_name,
            substitutes=Substitutes(self._blueprint.substitutes(service), self._down),
        )

    def _model(self, index: int, config: AgentConfig) -> _Source:
        blueprint, model = self._blueprint, config.model
        name = blueprint.team.service_of(config)
        options = blueprint.settings(name, model.options)
        calls = self._calls(config.name, name, options, config.context)
        participant = self._participant(name, model.id, config.context)
        participant["tools"] = config.functions
        return _Source(calls, blueprint.service(name, model.id), calls.describe("turn", options), participant)

    def _human(self, config: AgentConfig) -> _Source:
        speaker = self._options.humans.get(config.name) or self._options.humans.get("*")
        if speaker is None:
            raise ConfigError.one(f"agent '{config.name}' is a person: give `humans`, or use a terminal")
        source = self._in_process(config, HumanChatCompletion(config.name, speaker), provider="human")
        return replace(source, call=replace(source.call, person=True))

    def _team(self, config: AgentConfig) -> _Source:
        """The member team, with this run's people, and those of its inputs that the member has too."""
        member = self._blueprint.members[config.name]
        inputs = {name: self._inputs[name] for name in member.config.inputs if name in self._inputs}
        mine = self._options
        options = RunArguments(inputs=inputs, reviewer=mine.reviewer, approver=mine.approver, humans=mine.humans)
        service = self._member_service(member, options, self._emitter, self._steps)
        return self._in_process(config, service, provider="team", model=service.ai_model_id)

    def _in_process(
        self, config: AgentConfig, service: ChatCompletionClientBase, *, provider: str, model: str = ""
    ) -> _Source:
        """An agent that no model answers for, and that may take its time."""
        calls = ParticipantCalls(
            config.name, config.type, emitter=self._emitter, control=self._control, steps=self._steps
        )
        call = replace(calls.describe("turn", {}), silence=None, timeout=None)
        return _Source(calls, service, call, {"service": "", "provider": provider, "model": model})

    def _participant(self, name: str, model: str | None, context: ContextConfig | None) -> dict[str, Any]:
        service = self._blueprint.service(name, model)
        participant: dict[str, Any] = {
            "service": name,
            "provider": self._blueprint.provider(name),
            "model": service.ai_model_id,
        }
        if context is not None:
            participant["context"] = context.model_dump(exclude_defaults=True)
        return participant
