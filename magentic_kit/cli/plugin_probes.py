"""Probes whether a team's plugins can be built and connected to, and which functions each agent gets."""

from __future__ import annotations

from collections.abc import Iterator

from semantic_kernel.functions import KernelPlugin

from magentic_kit.cli.findings import Finding
from magentic_kit.errors import ConfigError
from magentic_kit.runlog.redaction import Redactor
from magentic_kit.team.loading import Team
from magentic_kit.tools.mcp import PluginServers
from magentic_kit.tools.plugins import Tools

_MOST = 10
"""Operations that are left out of a plugin and named each."""


async def probe_plugins(team: Team) -> list[Finding]:
    """What can be said of each plugin of the team and of what each agent lists.

    Classes are made, MCP servers started and ended again, OpenAPI documents read; no function is called. What is
    wrong with a plugin that no agent lists is no fault of the team.
    """
    tools = Tools(team, {})
    listed = {pattern.partition(".")[0] for agent in team.config.agents for pattern in agent.functions}
    servers = PluginServers(tools.remote)
    try:
        await servers.open()
        plugins = [_plugin(team, name, tools, servers)._replace(needed=name in listed) for name in team.config.plugins]
    finally:
        await servers.close()
    redactor = Redactor(team.secrets())  # an error of a plugin's or a server's may quote what it was given
    findings = [*plugins, *_agents(team, tools, servers)]
    return [finding._replace(found=redactor.text(finding.found)) for finding in findings]


def _plugin(team: Team, name: str, tools: Tools, servers: PluginServers) -> Finding:
    what, mend = f"plugin {name}", f"correct plugins.{name}"
    if name in servers.failures:
        problem = team.problem(("plugins", name), servers.failures[name])
        return Finding(what, False, str(problem), f"{mend}, or what it connects to")
    if name in servers.plugins:
        found = _functions([servers.plugins[name]])
        if left_out := servers.left_out.get(name):
            found += f"; left out: {'; '.join(left_out[:_MOST])}"
            if len(left_out) > _MOST:
                found += f"; and {len(left_out) - _MOST} more"
        return Finding(what, True, found)
    try:
        return Finding(what, True, _functions([tools.build(name)]))
    except ConfigError as error:
        return Finding(what, False, str(error), mend)


def _agents(team: Team, tools: Tools, servers: PluginServers) -> Iterator[Finding]:
    """The functions of each agent that lists some; those of a plugin that failed have been reported."""
    for index, agent in enumerate(team.config.agents):
        if not agent.functions:
            continue
        what = f"agent {agent.name}"
        try:
            plugins = tools.local(index, agent)
        except ConfigError as error:
            yield Finding(what, False, str(error), "correct its tools, or the plugin")
            continue
        connected, missing = tools.connected(agent.functions, servers)
        if missing:
            problem = team.problem(("agents", index, "tools"), " ".join(missing))
            yield Finding(what, False, str(problem), "correct its tools, or the plugin")
        else:
            yield Finding(what, True, _functions([*plugins, *connected]))


def _functions(plugins: list[KernelPlugin]) -> str:
    names = [f"{plugin.name}.{function}" for plugin in plugins for function in plugin.functions]
    return ", ".join(names) or "no functions"
