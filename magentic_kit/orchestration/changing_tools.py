"""MCP servers that change their tools during a run: agents that list them are offered them from their next call on."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from semantic_kernel.functions.kernel_function_metadata import KernelFunctionMetadata

from magentic_kit.events import FunctionsChanged
from magentic_kit.orchestration.agent import TeamAgent
from magentic_kit.orchestration.model_calls import ParticipantCalls
from magentic_kit.runlog.control import RunControl
from magentic_kit.runlog.emitter import RunEmitter
from magentic_kit.team.agents import AgentConfig
from magentic_kit.tools.plugins import Tools

if TYPE_CHECKING:
    from magentic_kit.tools.mcp import PluginServers  # a third of a second, for MCP's own package


class ChangingTools:
    """Keeps what the agents of one run are offered in step with their MCP servers."""

    def __init__(self, tools: Tools, servers: PluginServers, emitter: RunEmitter, control: RunControl) -> None:
        self._tools, self._servers = tools, servers
        self._emitter, self._control = emitter, control
        self._agents: list[tuple[TeamAgent, AgentConfig]] = []

    def watch(self, agent: TeamAgent, config: AgentConfig, calls: ParticipantCalls) -> None:
        """Lets the agent, if it lists functions of MCP servers, have what they change."""
        remote = self._tools.remote
        listed = {function.partition(".")[0] for function in config.functions}
        calls.changing = [name for name in listed if name in remote and remote[name].type == "mcp"]
        if calls.changing:
            self._agents.append((agent, config))
            calls.offered = partial(self._offered, agent)

    async def _offered(self, agent: TeamAgent, call: str) -> list[KernelFunctionMetadata]:
        """The functions that the agent is offered in this call of a model."""
        with self._control.step():
            changes = await self._servers.refresh()
        for plugin, before, after in changes:
            added, removed = [one for one in after if one not in before], [one for one in before if one not in after]
            self._emitter.emit(FunctionsChanged(plugin=plugin, call=call, added=added, removed=removed))
        if changes:
            for one, config in self._agents:
                plugins, _ = self._tools.connected(config.functions, self._servers)
                one.offer(plugins, instead_of=[change.plugin for change in changes])
        return agent.kernel.get_full_list_of_function_metadata()
