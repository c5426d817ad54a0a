"""`validate` and `schema`: what can be said of team files without a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from magentic_kit.team.loading import Team

from magentic_kit.cli.environment import load_environment
from magentic_kit.cli.options import PATH, env_file_option, json_option
from magentic_kit.cli.output import complain, say, say_json
from magentic_kit.errors import ConfigError, Problem


@click.command()
@click.argument("files", nargs=-1, required=True, type=PATH)
@click.option("--strict", is_flag=True, help="Count warnings as errors.")
@json_option(help="Print what was found as JSON.")
@env_file_option
def validate(files: tuple[Path, ...], strict: bool, as_json: bool, env_file: Path | None) -> int:
    """Check team FILES without a model, and without importing the code they name; reports every error at once.

    Exit code: 0 if all are good, else 2.
    """
    from magentic_kit.team.loading import load_team

    found: list[tuple[str, Problem]] = []
    for file in files:
        load_environment(env_file, beside=file)
        try:
            team = load_team(file, thorough=True)
        except ConfigError as error:
            here = [("error", problem) for problem in error.problems]
        else:
            here = [("error" if strict else "warning", problem) for problem in team.warnings]
            here += [("error", problem) for problem in _wrong_options(team)]
        found += here
        if as_json:
            continue
        for level, problem in here:
            if level == "error":
                complain(str(problem))
            else:
                complain(f"warning: {problem}", colour="yellow")
        if not any(level == "error" for level, _ in here):
            say(f"{file}: ok, {len(team.config.agents)} agents, {len(team.config.services)} services")
    if as_json:
        say_json([{"level": level, **problem._asdict()} for level, problem in found])
    if any(level == "error" for level, _ in found):
        return 2
    return 0


def _wrong_options(team: Team) -> list[Problem]:
    """What connectors do not know; they are imported, for two seconds, only where a team has options at all."""
    parts = [*team.config.services.values(), team.config.manager, *(agent.model for agent in team.config.agents)]
    if not any(part.options for part in parts):
        return []
    from magentic_kit.services.options import wrong_options

    return wrong_options(team)


@click.command()
def schema() -> None:
    """Print the JSON Schema of the team file."""
    from magentic_kit.team.schema import team_schema

    say_json(team_schema())
