"""The command line: the only place that prints or exits."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from magentic_kit import __version__
from magentic_kit.errors import ConfigError, KitError, ReplayError

if TYPE_CHECKING:
    from magentic_kit.events import AnyEvent
    from magentic_kit.factory import RunOptions, TeamFactory
    from magentic_kit.run import Run, RunResult

EXIT_CODES = {"satisfied": 0, "limited": 3, "rejected": 3, "cancelled": 130, "failed": 1}
"""Outcome of a run -> exit code; 2 is a usage or configuration error, or a log that does not fit."""

_C = TypeVar("_C", bound=Callable[..., Any])
_PATH = click.Path(path_type=Path)


def main() -> None:
    """Runs the command and exits; a user's mistake is one red line, a bug keeps its traceback."""
    try:
        code = cli.main(standalone_mode=False)
    except ConfigError as error:
        _complain(*map(str, error.problems))
        code = 2
    except KitError as error:
        _complain(str(error))
        code = 2 if isinstance(error, ReplayError) else 1
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        code = 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code if isinstance(code, int) else 0)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="magentic-kit")
def cli() -> None:
    """Teams of agents from YAML, on Semantic Kernel's Magentic orchestration."""


def _options(*options: Callable[[_C], _C]) -> Callable[[_C], _C]:
    def add(command: _C) -> _C:
        for option in reversed(options):
            command = option(command)
        return command

    return add


_TEAM_OPTIONS = _options(
    click.option("--set", "settings", multiple=True, metavar="PATH=V", help="Override a value of the team file."),
    click.option("--service", "services", multiple=True, metavar="NAME=PROVIDER[:MODEL]", help="Override a service."),
    click.option("--env-file", type=_PATH, help="Environment file to read; default: .env."),
    click.option("--max-rounds", type=int, help="Same as --set manager.max_rounds=N."),
    click.option("--max-resets", type=int, help="Same as --set manager.max_resets=N."),
    click.option("--max-tokens", type=int, help="Same as --set limits.max_tokens=N."),
    click.option("--deadline", help="Same as --set limits.deadline=D, such as 90s or 15m."),
    click.option("--no-report", is_flag=True, help="Write the log only."),
    click.option("--approve", multiple=True, metavar="PATTERN", help="Functions that may be called without asking."),
    click.option("--approve-plan", is_flag=True, help="Approve every plan without asking."),
)
_TASK_OPTIONS = _options(
    click.argument("task", required=False),
    click.option("--task-file", type=_PATH, help="Read the task from this file."),
    click.option("--input", "inputs", multiple=True, metavar="K=V", help="A value for one of the team's inputs."),
)
_SHOW_OPTIONS = _options(
    click.option("--json", "form", flag_value="json", help="Print the whole result as JSON in place of the answer."),
    click.option("--jsonl", "form", flag_value="jsonl", help="Print every event as a line of JSON as it comes."),
    click.option("--quiet", "show", flag_value="quiet", help="Show nothing of the run; print the answer."),
    click.option("--plain", "show", flag_value="plain", help="Plain lines: no colour, no live display."),
)
_OUT = click.option("--out", type=_PATH, default=Path("runs"), show_default=True, help="Where run directories go.")


@cli.command()
@click.argument("team", type=_PATH)
@_TASK_OPTIONS
@_TEAM_OPTIONS
@_SHOW_OPTIONS
@_OUT
@click.option("--review-plan", is_flag=True, help="Same as --set review.plan=true.")
@click.option("--plan", type=_PATH, help="Carry out this plan, made by `plan` and edited.")
@click.option("--from", "reuse", type=_PATH, metavar="RUN", help="Reuse the steps of this run that are unchanged.")
def run(
    team: Path,
    task: str | None,
    task_file: Path | None,
    inputs: tuple[str, ...],
    out: Path,
    review_plan: bool,
    plan: Path | None,
    reuse: Path | None,
    form: str | None,
    show: str | None,
    **team_options: Any,
) -> int:
    """Run TEAM (a YAML file) on TASK; `-` reads the task from standard input.

    Progress goes to standard error, the answer to standard output. Exit code: 0 satisfied, 3 limited or
    rejected, 1 failed, 130 cancelled, 2 nothing was started.
    """
    text = _task(task, task_file)
    overrides = _overrides(beside=team, **team_options) | ({"review.plan": True} if review_plan else {})
    options: RunOptions = {"inputs": dict(_pair(value, "--input") for value in inputs), "out": out}
    if plan is not None:
        from magentic_kit.plan import TaskLedger

        options["plan"] = TaskLedger.from_markdown(_read(plan), file=str(plan))
    if reuse is not None:
        options["reuse"] = reuse
    _check(team, overrides)

    def start(factory: TeamFactory, people: RunOptions) -> Run:
        people.update(options)
        return factory.start(text, **people)

    return _follow(_loader(team, overrides), start, form, show, team_options)


@cli.command()
@click.argument("run_dir", type=_PATH, metavar="RUN")
@click.option("--repeat-tool", is_flag=True, help="Call functions again whose outcome is unknown.")
@click.option("--skip-tool", metavar="RESULT", help="Take this for the result of functions of unknown outcome.")
@_TEAM_OPTIONS
@_SHOW_OPTIONS
def resume(
    run_dir: Path, repeat_tool: bool, skip_tool: str | None, form: str | None, show: str | None, **team_options: Any
) -> int:
    """Go on with RUN (a run directory) from where it stopped; nothing that is in its log is paid again."""
    overrides = _overrides(beside=run_dir, **team_options)

    def load() -> TeamFactory:
        from magentic_kit.factory import TeamFactory

        return TeamFactory.from_run(run_dir, overrides=overrides)

    def start(factory: TeamFactory, people: RunOptions) -> Run:
        from magentic_kit.run import SkipTool

        if repeat_tool or skip_tool is not None:
            people["unknown_tools"] = "repeat" if skip_tool is None else SkipTool(skip_tool)
        return factory.resume(run_dir, **people)

    return _follow(load, start, form, show, team_options)


@cli.command()
@click.argument("team", type=_PATH)
@_TASK_OPTIONS
@_TEAM_OPTIONS
@click.option("-o", "--output", type=_PATH, default=Path("plan.md"), show_default=True, help="File to write.")
def plan(
    team: Path, task: str | None, task_file: Path | None, inputs: tuple[str, ...], output: Path, **options: Any
) -> int:
    """Make the task ledger of TEAM for TASK only, as Markdown to edit and to give to `run --plan`."""
    text = _task(task, task_file)
    overrides = _overrides(beside=team, **options)
    given = dict(_pair(value, "--input") for value in inputs)
    _check(team, overrides)

    async def make() -> str:
        async with _loader(team, overrides)() as factory:
            ledger = await factory.plan(text, inputs=given)
            members = {agent.name: agent.description for agent in factory.team.config.agents}
            return ledger.to_markdown(team=factory.team.config.name, members=members)

    _quiet_logs()
    output.write_text(asyncio.run(make()), encoding="utf-8")
    click.echo(f"wrote {output}; edit it, then: magentic-kit run {team} --plan {output}")
    return 0


@cli.command()
@click.argument("files", nargs=-1, required=True, type=_PATH)
@click.option("--env-file", type=_PATH, help="Environment file to read; default: .env.")
def validate(files: tuple[Path, ...], env_file: Path | None) -> int:
    """Check team FILES without a model; tells every problem at once."""
    from magentic_kit.check import load_team

    code = 0
    for file in files:
        _load_environment(env_file, beside=file)
        try:
            team = load_team(file)
        except ConfigError as error:
            _complain(*map(str, error.problems))
            code = 2
            continue
        for warning in team.warnings:
            click.secho(f"warning: {warning}", fg="yellow", err=True)
        click.echo(f"{file}: ok, {len(team.config.agents)} agents, {len(team.config.services)} services")
    return code


@cli.command()
def schema() -> None:
    """Print the JSON Schema of the team file."""
    from magentic_kit.config import team_schema

    click.echo(json.dumps(team_schema(), indent=2, ensure_ascii=False))


def _loader(team: Path, overrides: Mapping[str, Any]) -> Callable[[], TeamFactory]:
    def load() -> TeamFactory:
        from magentic_kit.factory import TeamFactory

        return TeamFactory.from_yaml(team, overrides=overrides)

    return load


def _check(team: Path, overrides: Mapping[str, Any]) -> None:
    """Tells what is wrong with the file before the seconds that importing Semantic Kernel takes."""
    from magentic_kit.check import load_team

    load_team(team, overrides=overrides)


def _follow(
    load: Callable[[], TeamFactory],
    start: Callable[[TeamFactory, RunOptions], Run],
    form: str | None,
    show: str | None,
    flags: Mapping[str, Any],
) -> int:
    """Runs to the end, with the console on standard error and the answer on standard output."""
    from magentic_kit.console import make_console
    from magentic_kit.terminal import Terminal, on_signals

    console = make_console(mode="quiet" if show == "quiet" or form == "jsonl" else "plain" if show else "auto")
    terminal = Terminal(console, approve=flags["approve"], approve_plan=flags["approve_plan"])
    people: RunOptions = {"approver": terminal.approver, "humans": terminal.humans}
    if terminal.reviewer is not None:
        people["reviewer"] = terminal.reviewer
    people["sinks"] = [console, _print_event] if form == "jsonl" else [console]

    async def whole() -> int:
        async with load() as factory:
            run = start(factory, people)
            on_signals(run.cancel, console.close)
            result = await run.result()
        console.close()
        return _tell(result, form, quiet=show == "quiet")

    _quiet_logs()
    try:
        return asyncio.run(whole())
    finally:
        console.close()


def _tell(result: RunResult, form: str | None, *, quiet: bool) -> int:
    from magentic_kit.text import printable

    if form == "json":
        click.echo(json.dumps(result.record.to_dict(), indent=2, default=str))
    elif form is None and result.answer:
        click.echo(printable(result.answer))
    if result.run_dir and not quiet:
        click.echo(f"{result.outcome}: see {result.run_dir}", err=True)
    code = EXIT_CODES[result.outcome]
    # A connector's thread that cannot be interrupted must not keep the process: all is said and written.
    leave = threading.Timer(5, os._exit, [code])
    leave.daemon = True
    leave.start()
    return code


def _quiet_logs() -> None:
    # Whatever Semantic Kernel would log as an error is an event of the run.
    logging.basicConfig(format="%(name)s: %(message)s", level=logging.WARNING)
    logging.getLogger("semantic_kernel").setLevel(logging.CRITICAL)


def _print_event(event: AnyEvent) -> None:
    from magentic_kit.events import to_dict

    click.echo(json.dumps(to_dict(event)))


def _overrides(
    *,
    beside: Path,
    settings: tuple[str, ...],
    services: tuple[str, ...],
    env_file: Path | None,
    max_rounds: int | None,
    max_resets: int | None,
    max_tokens: int | None,
    deadline: str | None,
    no_report: bool,
    **_: Any,
) -> dict[str, Any]:
    """What the options put in the place of the team file's values; reads the environment file first."""
    _load_environment(env_file, beside=beside)
    overrides = dict(_pair(setting, "--set") for setting in settings)
    for name, value in (_pair(service, "--service") for service in services):
        provider, *model = str(value).split(":", 1)
        overrides[f"services.{name}"] = {"provider": provider, "model": model[0] if model else None}
    given: dict[str, Any] = {
        "manager.max_rounds": max_rounds,
        "manager.max_resets": max_resets,
        "limits.max_tokens": max_tokens,
        "limits.deadline": deadline,
        "report.formats": [] if no_report else None,
    }
    return {**overrides, **{path: value for path, value in given.items() if value is not None}}


def _load_environment(env_file: Path | None, *, beside: Path) -> None:
    from dotenv import load_dotenv

    if env_file is not None and not env_file.is_file():
        raise ConfigError.one("there is no such environment file", file=str(env_file))
    for path in [env_file] if env_file else [Path(".env"), beside.parent / ".env"]:
        if path.is_file():
            load_dotenv(path)


def _task(task: str | None, task_file: Path | None) -> str | None:
    if task is not None and task_file is not None:
        raise ConfigError.one("give TASK or --task-file, not both", file="command line")
    if task == "-":
        return sys.stdin.read()
    return task if task_file is None else _read(task_file)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError.one(f"cannot be read: {error}", file=str(path)) from error


def _pair(text: str, option: str) -> tuple[str, Any]:
    import yaml

    name, found, value = text.partition("=")
    if not found or not name:
        raise ConfigError.one(f"'{text}' should be name=value", file=option)
    try:
        return name, yaml.safe_load(value)
    except yaml.YAMLError:
        return name, value


def _complain(*messages: str) -> None:
    for message in messages:
        click.secho(message, fg="red", err=True)
