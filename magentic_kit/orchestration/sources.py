"""Where the replies of each participant of a run come from: a model, a person, or another team."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from semantic_kernel.agents import Agent
from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase
from semantic_kernel.functions.kernel_arguments import KernelArguments

from magentic_kit.errors import ConfigError
from magentic_kit.orchestration.blueprint import TeamBlueprint
from magentic_kit.orchestration.connected import ModelCall
from magentic_kit.orchestration.context_window import Window
from magentic_kit.orchestration.model_calls import ParticipantCalls
from magentic_kit.orchestration.options import OrchestrationArguments, RunArguments
from magentic_kit.orchestration.sk_agents import arguments_of, make_agent, release_agent, remote_agent
from magentic_kit.orchestration.substitutes import Substitutes
from magentic_kit.orchestration.task import Contents
from magentic_kit.runlog.control import RunControl
from magentic_kit.runlog.emitter import RunEmitter
from magentic_kit.runlog.replay import RecordedSteps
from magentic_kit.services.agent_chat import AgentChatCompletion, AgentConversation
from magentic_kit.services.contents import require_takes
from magentic_kit.services.human import HumanChatCompletion
from magentic_kit.services.prices import Pricing, free
from magentic_kit.team.agents import AgentConfig, ContextConfig
from magentic_kit.team.skills import PLUGIN
from magentic_kit.tools.kernel import AgentKernel, TurnKernel

MemberService = Callable[[TeamBlueprint, RunArguments, RunEmitter, RecordedSteps], ChatCompletionClientBase]
"""Makes the chat service that answers by runs of a member team, as parts of the run with this emitter and steps."""


@dataclass(frozen=True)
class Source:
    """Where one agent's replies come from: its calls, the service and what is asked of it."""

    calls: ParticipantCalls
    service: ChatCompletionClientBase
    call: ModelCall
    participant: dict[str, Any]
    """How the log describes it."""
    kernel: AgentKernel | None = None
    """Has the functions in place of the member's own kernel, where the service is an agent that calls them."""


class Sources:
    """Makes the calls of each participant of one run."""

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
        contents: Contents,
    ) -> None:
        self._blueprint, self._inputs, self._options = blueprint, inputs, options
        self._emitter, self._control, self._steps = emitter, control, steps
        self._member_service = member_service
        self._conversations: list[AgentConversation] = []
        self._contents = contents
        self._down: set[str] = set()  # services that failed this run for good

    def of(self, index: int, config: AgentConfig) -> Source:
        """Where the replies of the agent at `index` come from. Raises `ConfigError` if a person is absent."""
        match config.type:
            case "human":
                return self._human(config)
            case "team":
                return self._team(config)
            case "chat_completion_agent":
                return self._model(config)
            case "a2a":
                return self._remote(config)
            case _:
                return self._sk_agent(index, config)

    def calls(
        self,
        who: str,
        service: str,
        model: str | None,
        options: Mapping[str, Any],
        context: ContextConfig | None,
        *,
        history_name: str = "",
    ) -> ParticipantCalls:
        """The model calls of a participant that a service of the team answers.

        Raises `ConfigError` if its connector cannot be sent what goes with the task.
        """
        substitutes = self._blueprint.substitutes(service)
        require_takes(self._blueprint.service(service, model), service, self._contents)
        for substitute in substitutes:
            require_takes(substitute.service, substitute.name, self._contents)
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
            substitutes=Substitutes(substitutes, self._down),
            pricing=self._blueprint.pricing(service, model),
            contents=self._contents,
        )

    def _model(self, config: AgentConfig) -> Source:
        blueprint, model = self._blueprint, config.model
        name = blueprint.team.service_of(config)
        options = blueprint.settings(name, model.options)
        calls = self.calls(config.name, name, model.id, options, config.context)
        participant = self.participant(name, model.id, config.context)
        participant["tools"] = [*config.functions, *([f"{PLUGIN}.read"] if config.skills else [])]
        return Source(calls, blueprint.service(name, model.id), calls.describe("turn", options), participant)

    async def close(self) -> None:
        """Deletes what SK's agents of the run keep at their providers."""
        for conversation in self._conversations:
            await conversation.close()

    def _sk_agent(self, index: int, config: AgentConfig) -> Source:
        """An agent of SK's that has a thread of its own; functions go to its kernel, which logs their calls."""
        blueprint = self._blueprint
        is_own = config.type == "python"
        kernel = None if is_own else TurnKernel()
        clean = None if is_own else partial(release_agent, config)
        conversation = AgentConversation(
            partial(make_agent, blueprint, index, config, kernel or TurnKernel()),
            arguments_of(config, self._inputs),
            clean=clean,
        )
        self._conversations.append(conversation)
        if kernel is None:
            service = AgentChatCompletion(config.type, conversation, self._emitter)
        else:
            service = AgentChatCompletion(config.type, conversation, None, kernel.has_called)
        source = self._agent_of_its_own(config, service)
        source.participant["tools"] = config.functions
        return replace(source, kernel=kernel)

    def _remote(self, config: AgentConfig) -> Source:
        """An agent that A2A leads to. Raises `ConfigError` if the package for it is not installed."""
        agent = remote_agent(config)

        async def make() -> Agent:
            return agent

        conversation = AgentConversation(make, KernelArguments(), clean=lambda _: agent.close())
        self._conversations.append(conversation)
        about = f"{config.name} at {config.url}"
        return self._agent_of_its_own(config, AgentChatCompletion(config.type, conversation, None, about=about))

    def _agent_of_its_own(self, config: AgentConfig, service: AgentChatCompletion) -> Source:
        source = self._in_process(config, service, provider=config.type, model=config.model.id or "")
        return replace(source, call=replace(source.call, timeout=self._control.limits.model_timeout))

    def _human(self, config: AgentConfig) -> Source:
        speaker = self._options.humans.get(config.name) or self._options.humans.get("*")
        if speaker is None:
            raise ConfigError.one(f"agent '{config.name}' is a person: give `humans`, or use a terminal")
        service = HumanChatCompletion(config.name, speaker, self._emitter.run_id)
        source = self._in_process(config, service, provider="human", pricing=free)
        return replace(source, call=replace(source.call, person=True))

    def _team(self, config: AgentConfig) -> Source:
        """The member team, with this run's people, and those of its inputs that the member has too."""
        member = self._blueprint.members[config.name]
        inputs = {name: self._inputs[name] for name in member.config.inputs if name in self._inputs}
        mine = self._options
        options = RunArguments(inputs=inputs, reviewer=mine.reviewer, approver=mine.approver, humans=mine.humans)
        service = self._member_service(member, options, self._emitter, self._steps)
        return self._in_process(config, service, provider="team", model=service.ai_model_id)

    def _in_process(
        self,
        config: AgentConfig,
        service: ChatCompletionClientBase,
        *,
        provider: str,
        model: str = "",
        pricing: Pricing | None = None,
    ) -> Source:
        """An agent that no model answers for, and that may take its time."""
        calls = ParticipantCalls(
            config.name,
            config.type,
            emitter=self._emitter,
            control=self._control,
            steps=self._steps,
            pricing=pricing,
            contents=self._contents,
        )
        call = replace(calls.describe("turn", {}), silence=None, timeout=None)
        return Source(calls, service, call, {"service": "", "provider": provider, "model": model})

    def participant(self, name: str, model: str | None, context: ContextConfig | None) -> dict[str, Any]:
        """How the log describes a participant that the service of that name answers."""
        service = self._blueprint.service(name, model)
        participant: dict[str, Any] = {
            "service": name,
            "provider": self._blueprint.provider(name),
            "model": service.ai_model_id,
        }
        if context is not None:
            participant["context"] = context.model_dump(exclude_defaults=True)
        return participant
