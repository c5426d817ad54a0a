"""`validate` and `schema`: what can be said of team files without a model."""

from __future__ import annotations

import json
from pathlib import Path

import click

from magentic_kit.commands.common import PATH, complain, load_environment
from magentic_kit.errors import ConfigError


@click.command()
@click.argument("files", nargs=-1, required=True, type=PATH)
@click.option("--env-file", type=PATH, help="Environment file to read; default: .env.")
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
            click.secho(f"warning: {warning}", fg="yellow", err=True)
        click.echo(f"{file}: ok, {len(team.config.agents)} agents, {len(team.config.services)} services")
    return code


@click.command()
def schema() -> None:
    """Print the JSON Schema of the team file."""
    from magentic_kit.schema import team_schema

    click.echo(json.dumps(team_schema(), indent=2, ensure_ascii=False))
