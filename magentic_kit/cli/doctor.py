"""`doctor`: whether all that a team needs is there, and what its models can do; each fault with its remedy."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import metadata, requires, version
from pathlib import Path
from typing import TYPE_CHECKING

import click

from magentic_kit.cli.environment import load_environment
from magentic_kit.cli.findings import Finding, print_findings
from magentic_kit.cli.options import PATH, env_file_option
from magentic_kit.errors import ConfigError

if TYPE_CHECKING:
    from magentic_kit.team.loading import Team


@click.command()
@click.argument("file", type=PATH, required=False, metavar="[TEAM]")
@click.option("--live", is_flag=True, help="Ask each model for a reply, a ledger and a tool call; costs some tokens.")
@env_file_option
def doctor(file: Path | None, live: bool, env_file: Path | None) -> int:
    """Check Python and Semantic Kernel, and whether the services and plugins of TEAM have all they need.

    Plugins are built, MCP servers started, OpenAPI documents read, and the functions of each agent listed.
    Exit code: 0 what the team uses is there, 1 something of it is missing.
    """
    from magentic_kit.team.loading import load_team

    if live and file is None:
        raise ConfigError.one("--live needs a TEAM whose services it can ask", file="command line")
    findings = list(_installed())
    if file is not None:
        import asyncio

        from magentic_kit.cli.process import quiet_logs

        load_environment(env_file, beside=file)
        team = load_team(file)
        quiet_logs()
        findings += asyncio.run(_team(team, live=live))
    print_findings(findings)
    if any(finding.is_fault for finding in findings):
        return 1
    return 0


async def _team(team: Team, *, live: bool) -> list[Finding]:
    """What is found of a team and of the teams that are its members."""
    from magentic_kit.cli.plugin_probes import probe_plugins
    from magentic_kit.cli.probes import probe_services
    from magentic_kit.team.loading import load_team

    findings = [*await probe_services(team, live=live), *await probe_plugins(team)]
    for agent in team.config.agents:
        if agent.team:
            inside = await _team(load_team(agent.team), live=live)
            findings += [finding._replace(what=f"{agent.name}: {finding.what}") for finding in inside]
    return findings


def _installed() -> Iterator[Finding]:
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    declared = [Requirement(text) for text in requires("magentic-kit") or ()]
    kernel = next(it.specifier for it in declared if it.name == "semantic-kernel" and not it.marker)
    python = SpecifierSet(metadata("magentic-kit")["Requires-Python"])
    for what, found, supported, mend in (
        ("python", platform.python_version(), python, f"install Python {python}"),
        ("semantic-kernel", version("semantic-kernel"), kernel, f"pip install 'semantic-kernel{kernel}'"),
    ):
        yield Finding(what, supported.contains(found, prereleases=True), f"{found}, supported {supported}", mend)
