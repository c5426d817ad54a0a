"""`export`: a team as a project for Microsoft Agent Framework, the successor of Semantic Kernel's agents."""

from __future__ import annotations

from pathlib import Path

import click

from magentic_kit.cli.environment import load_environment
from magentic_kit.cli.files import write_new
from magentic_kit.cli.options import PATH, TeamOptions, team_argument, team_options
from magentic_kit.cli.output import say

_TEMPLATES = Path(__file__).parent / "templates" / "agent_framework"


@click.command()
@team_argument
@click.option("--to", "target", type=click.Choice(["agent-framework"]), required=True, help="What to export to.")
@click.option("-o", "--output", type=PATH, help="Directory to write; default: TEAM's name and that of the target.")
@team_options
def export(team: Path, target: str, output: Path | None, options: TeamOptions) -> None:
    """Write TEAM (a YAML file) as a small Python project for Microsoft Agent Framework.

    What has no counterpart there is listed here, and in the comments of what is written. Never overwrites a file.
    """
    from jinja2 import Environment, StrictUndefined

    from magentic_kit.cli.agent_framework import exported
    from magentic_kit.team.loading import load_team

    load_environment(options.env_file, beside=team)
    loaded = load_team(team, overrides=options.overrides())
    project = exported(loaded)
    directory = output or Path(f"{project.values['project']}-{target}")
    environment = Environment(
        undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True, lstrip_blocks=True
    )
    files = {
        directory / source.stem: environment.from_string(source.read_text("utf-8")).render(
            project.values, left_out=project.left_out
        )
        for source in sorted(_TEMPLATES.glob("*.j2"))
    }
    write_new(files)
    say(f"wrote {len(files)} files into {directory}; left out, as Agent Framework has no counterpart:")
    for line in project.left_out:
        say(f"  - {line}")
