"""`doctor`: whether all that a team needs is there, and what its models can do; each fault with its remedy."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import metadata, requires, version
from pathlib import Path
from typing import TYPE_CHECKING

import click

from magentic_kit.cli.environment import load_environment
from magentic_kit.cli.options import PATH, env_file_option
from magentic_kit.cli.output import say
from magentic_kit.errors import ConfigError
from magentic_kit.text import one_line

if TYPE_CHECKING:
    from magentic_kit.cli.probes import Finding


@click.command()
@click.argument("file", type=PATH, required=False, metavar="[TEAM]")
@click.option("--live", is_flag=True, help="Ask each model for a reply, a ledger and a tool call; costs some tokens.")
@env_file_option
def doctor(file: Path | None, live: bool, env_file: Path | None) -> int:
    """Check Python and Semantic Kernel, and whether the services of TEAM have all they need.

    Exit code: 0 all is well, 1 something is missing.
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
        from magentic_kit.cli.probes import probe_services

        quiet_logs()
        findings += asyncio.run(probe_services(team, live=live))
    _print(findings)
    return 0 if all(ok for _, ok, _, _ in findings) else 1


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
        yield what, supported.contains(found, prereleases=True), f"{found}, supported {supported}", mend


def _print(findings: list[Finding]) -> None:
    """A table on a terminal, else a line for each finding."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console, table = Console(), Table("", "what", "found", "mend it with")
    for what, ok, found, mend in findings:
        cells = [one_line(cell) for cell in ("ok" if ok else "missing", what, found, "" if ok else mend)]
        table.add_row(*map(Text, cells), style="" if ok else "red")
        if not console.is_terminal:
            advice = f"; {cells[3]}" if cells[3] else ""
            say(f"{cells[0]:8} {cells[1]:24} {cells[2]}{advice}")
    if console.is_terminal:
        console.print(table)
