"""The parts of one run: fresh agents, a fresh manager and their tools, built into SK's orchestration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from semantic_kernel.agents import MagenticOrchestration
from semantic_kernel.connectors.ai.function_choice_behavior import FunctionChoiceBehavior
from semantic_kernel.connectors.ai.prompt_execution_settings import PromptExecutionSettings
from semantic_kernel.contents import ChatHistory, ChatMessageContent
from semantic_kernel.filters.filter_types import FilterTypes
from semantic_kernel.functions.kernel_arguments import KernelArguments

from magentic_kit.errors import ConfigError
from magentic_kit.events import MANAGER, FunctionsLeftOut, ToolCallFailed
from magentic_kit.orchestration.agent import TeamAgent
from magentic_kit.orchestration.answer_format import answer_format_of
from magentic_kit.orchestration.blueprint import TeamBlueprint
from magentic_kit.orchestration.callbacks import isolated
from magentic_kit.orchestration.changing_tools import ChangingTools
from magentic_kit.orchestration.concurrent import ConcurrentTeam
from magentic_kit.orchestration.manager import TeamManager
from magentic_kit.orchestration.manager_model import NAME, ManagerModel
from magentic_kit.orchestration.model_calls import ParticipantCalls
from magentic_kit.orchestration.options import OrchestrationArguments
from magentic_kit.orchestration.own_manager import FormAnswer, OwnManager, own_manager
from magentic_kit.orchestration.prompts import ANSWER_IN_FORM, template
from magentic_kit.orchestration.reviews import PlanReviews
from magentic_kit.orchestration.server_host import RunHost
from magentic_kit.orchestration.sk_agents import arguments_of
from magentic_kit.orchestration.sources import MemberService, Sources
from magentic_kit.orchestration.task import Contents
from magentic_kit.runlog.control import RunControl
from magentic_kit.runlog.emitter import RunEmitter
from magentic_kit.runlog.replay import RecordedSteps
from magentic_kit.services.contents import KeptContents
from magentic_kit.team.agents import AgentConfig
from magentic_kit.team.plan import TaskLedger
from magentic_kit.tools.kernel import AgentKernel
from magentic_kit.tools.permissions import ToolPermissions

if TYPE_CHECKING:
    from magentic_kit.tools.mcp import PluginServers  # a third of a second, for MCP's own package


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
        contents: Contents = (),
        gives_value: bool = False,
    ) -> None:
        config = blueprint.config
        if config.review.plan and options.reviewer is None:
            raise ConfigError.one("`review.plan` asks for a person: give a reviewer, --approve-plan, or a terminal")
        blueprint.require_known_options()
        blueprint.check_prices()
        self._blueprint, self._inputs, self._options = blueprint, inputs, options
        self._emitter, self._control, self._steps = emitter, control, steps
        self._sources = Sources(
            blueprint,
            emitter,
            control,
            steps,
            inputs=inputs,
            options=options,
            member_service=member_service,
            contents=contents,
        )
        self._permissions = ToolPermissions(
            emitter,
            control,
            steps,
            plugins=config.plugins,
            patterns=config.review.tools,
            people=options.people,
            store=KeptContents(emitter.attachments),
        )
        self.answer_format = answer_format_of(options.output_type, config.answer)
        self._servers: PluginServers | None = None
        self._changing: ChangingTools | None = None
        if blueprint.tools.remote:
            from magentic_kit.tools.mcp import PluginServers

            host = RunHost(blueprint, emitter, control, options.people).host()
            self._servers = PluginServers(blueprint.tools.remote, host)
            self._changing = ChangingTools(blueprint.tools, self._servers, emitter, control)
        self.participants: dict[str, dict[str, Any]] = {}
        """The manager and each agent as the log describes them, by name."""
        self.notes: list[str] = []
        """What a reader of the answer has to know besides."""
        self.manager = self._manager(plan)
        self.agents = [self._agent(index, agent) for index, agent in enumerate(config.agents)]
        answer_type: Any = ChatMessageContent
        if gives_value and self.answer_format is not None:
            answer_type = self.answer_format.type
        common: dict[str, Any] = {
            "name": config.name,
            "description": config.description or None,
            "agent_response_callback": isolated(options.agent_response_callback),
            "streaming_agent_response_callback": isolated(options.streaming_agent_response_callback),
        }
        self.orchestration: Any
        """SK's orchestration: of the team's manager, or of all agents at once."""
        if blueprint.is_concurrent:
            self.orchestration = ConcurrentTeam(self.agents, self._start_plugins, **common)
            return
        self.orchestration = MagenticOrchestration[str, answer_type](
            members=list(self.agents),
            manager=self.manager,
            output_transform=None if answer_type is ChatMessageContent else self._value_of,
            **common,
        )

    def _value_of(self, answer: object) -> object:
        """The answer as an object of the type that was asked for."""
        assert self.answer_format is not None
        return self.answer_format.value_of(self.manager.value)

    async def close(self) -> None:
        """Ends the servers that the run has started, and the threads of its agents."""
        await self._sources.close()
        if self._servers is not None:
            await self._servers.close(seconds=self._control.time_to_end(self._servers.TIME_TO_END))

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
        for plugin, reasons in self._servers.left_out.items():
            if reasons:
                self._emitter.emit(FunctionsLeftOut(plugin=plugin, reasons=list(reasons)))
        for agent, config in zip(self.agents, self._blueprint.config.agents, strict=True):
            plugins, missing = self._blueprint.tools.connected(config.functions, self._servers)
            agent.offer(plugins, missing=missing)

    def _manager(self, plan: TaskLedger | None) -> TeamManager | OwnManager:
        blueprint, config = self._blueprint, self._blueprint.config.manager
        name = blueprint.team.manager_service
        options = blueprint.settings(name, config.options)
        calls = self._sources.calls(MANAGER, name, None, options, config.context, history_name=NAME)
        self.participants[MANAGER] = self._sources.participant(name, None, config.context)
        reviews = None
        if blueprint.config.review.plan and self._options.reviewer is not None:
            reviews = PlanReviews(self._options.reviewer, self._emitter, self._control, self._steps)
        if self._options.manager is not None:
            if plan is not None:
                raise TypeError("a manager of your own makes its own plan: leave out plan=, or manager=")
            service = blueprint.service(name)
            return own_manager(
                self._options.manager,
                service,
                calls,
                self._control,
                reviews,
                self._start_plugins,
                self._former(ManagerModel(calls, service, options, blueprint.structured_output(name))),
            )
        return TeamManager(
            # SK's own round and reset limits end a run with whatever was said last (DESIGN.md, defect 6).
            max_stall_count=config.max_stalls,
            config=config,
            emitter=self._emitter,
            control=self._control,
            model=ManagerModel(calls, blueprint.service(name), options, blueprint.structured_output(name)),
            inputs=self._inputs,
            first_plan=plan,
            names={one.wire_name: one.name for one in blueprint.config.agents if one.wire_name != one.name},
            reviews=reviews,
            start_plugins=self._start_plugins,
            answer_format=self.answer_format,
        )

    def _former(self, model: ManagerModel) -> FormAnswer | None:
        """What puts the answer of a manager of the caller's into the form that the team asks for."""
        form, attempts = self.answer_format, self._blueprint.config.manager.ledger_attempts
        if form is None:
            return None

        async def form_answer(answer: str) -> object:
            try:
                return form.data_of(answer)
            except ValueError:  # most likely prose
                prompt = ANSWER_IN_FORM.format(answer=answer)
                return await model.ask_answer(ChatHistory(), prompt, form, attempts=attempts)

        return form_answer

    def _agent(self, index: int, config: AgentConfig) -> TeamAgent:
        source = self._sources.of(index, config)
        self.participants[config.name] = {"description": config.description, **source.participant}
        if source.kernel is not None:
            self._guard(source.kernel, source.calls)
        arguments = arguments_of(config, self._inputs)
        arguments.execution_settings = KernelArguments(
            settings=PromptExecutionSettings(**source.call.options)
        ).execution_settings
        agent = TeamAgent(  # type: ignore[call-arg]  # mypy sees pydantic's __init__
            name=config.wire_name,
            description=config.description,
            kernel=self._guard(AgentKernel(), source.calls),
            arguments=arguments,
            function_choice_behavior=FunctionChoiceBehavior.Auto(
                maximum_auto_invoke_attempts=self._blueprint.config.limits.tool_rounds
            ),
            prompt_template_config=None if config.is_of_sk else template(config),
        )
        agent.join(source, self.manager.turn)
        agent.offer(self._blueprint.tools.local(index, config))
        if self._changing is not None:
            self._changing.watch(agent, config, source.calls)
        return agent

    def _guard(self, kernel: AgentKernel, calls: ParticipantCalls) -> AgentKernel:
        injected = self._blueprint.kernel
        if injected is not None:
            for kind in FilterTypes:
                for _, function in getattr(injected, f"{kind.value}_filters"):
                    kernel.add_filter(kind, function)
        kernel.guard(self._permissions, calls.who, lambda: calls.last_call, lambda: calls.last_ending)
        return kernel
