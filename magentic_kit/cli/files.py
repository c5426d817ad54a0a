"""`validate` and `schema`: what can be said of team files without a model."""

from __future__ import annotations

from pathlib import Path

from magentic_kit.cli.arguments import argument, command, flag
from magentic_kit.cli.common import ENV_FILE, complain, load_environment, say
from magentic_kit.errors import ConfigError, Problem


@command(
    argument("files", nargs="+", type=Path, metavar="FILES..."),
    flag("--strict", help="Count warnings as mistakes."),
    flag("--json", dest="as_json", help="Print what was found as JSON."),
    ENV_FILE,
)
def validate(files: tuple[Path, ...], strict: bool, as_json: bool, env_file: Path | None) -> int:
    """Check team FILES without a model; tells every mistake at once.

    Exit code: 0 if all are good, else 2.
    """
    from magentic_kit.team.loading import load_team

    found: list[tuple[str, Problem]] = []
    for file in files:
        load_environment(env_file, beside=file)
        try:
            team = load_team(file)
        except ConfigError as error:
            here = [("error", problem) for problem in error.problems]
        else:
            here = [("error" if strict else "warning", problem) for problem in team.warnings]
        found += here
        if as_json:
            continue
        for level, problem in here:
            complain(str(problem) if level == "error" else f"warning: {problem}", colour=31 if level == "error" else 33)
        if not any(level == "error" for level, _ in here):
            say(f"{file}: ok, {len(team.config.agents)} agents, {len(team.config.services)} services")
    if as_json:
        import json

        say(json.dumps([{"level": level, **problem._asdict()} for level, problem in found], indent=2))
    return 2 if any(level == "error" for level, _ in found) else 0


@command()
def schema() -> None:
    """Print the JSON Schema of the team file."""
    import json

    from magentic_kit.team.schema import team_schema

    say(json.dumps(team_schema(), indent=2, ensure_ascii=False))
