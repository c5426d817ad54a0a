"""`validate` and `schema`: what can be said of team files without a model."""

from __future__ import annotations

from pathlib import Path

from magentic_kit.commands.arguments import argument, command
from magentic_kit.commands.common import ENV_FILE, complain, load_environment, say
from magentic_kit.errors import ConfigError


@command(argument("files", nargs="+", type=Path, metavar="FILES..."), ENV_FILE)
def validate(files: tuple[Path, ...], env_file: Path | None) -> int:
    """Check team FILES without a model; tells every problem at once."""
    from magentic_kit.check import load_team

    code = 0
    for file in files:
        load_environment(env_file, beside=file)
        try:
            team = load_team(file)
        except ConfigError as error:
            complain(*map(str, error.problems))
            code = 2
            continue
        for warning in team.warnings:
            complain(f"warning: {warning}", colour=33)
        say(f"{file}: ok, {len(team.config.agents)} agents, {len(team.config.services)} services")
    return code


@command()
def schema() -> None:
    """Print the JSON Schema of the team file."""
    import json

    from magentic_kit.schema import team_schema

    say(json.dumps(team_schema(), indent=2, ensure_ascii=False))
