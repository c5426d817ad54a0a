"""What a run offers its MCP servers: its people, its agents' services, and an ear for what they report."""

from __future__ import annotations

from dataclasses import replace
from secrets import token_hex
from typing import TYPE_CHECKING

from semantic_kernel.contents import ChatHistory, ChatMessageContent
from semantic_kernel.contents.utils.author_role import AuthorRole

from magentic_kit import events as ev
from magentic_kit.errors import ConfigError
from magentic_kit.orchestration.blueprint import TeamBlueprint
from magentic_kit.orchestration.model_calls import ParticipantCalls
from magentic_kit.runlog.control import RunControl
from magentic_kit.runlog.emitter import RunEmitter
from magentic_kit.runlog.replay import RecordedSteps
from magentic_kit.team.people import HumanTurn, People, ask

if TYPE_CHECKING:
    from magentic_kit.tools.mcp_client import SamplingRequest, ServerHost  # with MCP's own package


class RunHost:
    """Answers the MCP servers of one run."""

    def __init__(self, blueprint: TeamBlueprint, emitter: RunEmitter, control: RunControl, people: People) -> None:
        self._blueprint, self._emitter, self._control, self._people = blueprint, emitter, control, people

    def host(self) -> ServerHost:
        """The same as the plugins know it."""
        from magentic_kit.tools.mcp_client import ServerHost

        host = ServerHost(root=self._blueprint.team.base_dir, report=self._report, sample=self._sample)
        if "*" in self._people.humans:
            return replace(host, ask=self._ask)
        return host

    def _report(self, plugin: str, level: str, text: str) -> None:
        self._emitter.emit(ev.ServerMessage(plugin=plugin, level=level, text=text))

    async def _ask(self, plugin: str, question: str) -> str:
        turn = HumanTurn(name=plugin, instructions=question, heard=(("", question),))
        with self._control.asking():
            return await ask(self._people.humans["*"], turn)

    async def _sample(self, plugin: str, request: SamplingRequest) -> str:
        """A reply of the service of the agent whose function call it is for; logged and counted like any other."""
        who = request.call.rpartition("#")[0]
        agent = next((one for one in self._blueprint.config.agents if one.name == who), None)
        if agent is None or agent.is_of_sk:
            raise ConfigError.one(f"no service of the team answers for '{who}'")
        name = self._blueprint.team.service_of(agent)
        service = self._blueprint.service(name, agent.model.id)
        calls = _SamplingCalls(
            plugin,
            name,
            emitter=self._emitter,
            control=self._control,
            steps=RecordedSteps(),  # a function call that is made again asks again
            throttle=self._blueprint.throttle(name),
            pricing=self._blueprint.pricing(name, agent.model.id),
        )
        calls.prefix = f"{request.call}.{token_hex(3)}"
        history = ChatHistory(system_message=request.system or None)
        for role, text in request.messages:
            history.add_message(ChatMessageContent(role=AuthorRole(role), content=text))
        options = self._blueprint.settings(name, {})
        return await calls.ask(service, calls.describe("sampling", options), history)


class _SamplingCalls(ParticipantCalls):
    """The model calls that a server asks for, named within the function call in which it does."""

    prefix = ""

    @property
    def last_call(self) -> str:
        """The name in the log of the last call."""
        return f"{self.prefix}-{self._made.total() - 1}"
