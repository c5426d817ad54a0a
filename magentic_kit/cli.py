"""The command line: the only place that prints or exits."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from magentic_kit import __version__
from magentic_kit.errors import ConfigError, KitError

if TYPE_CHECKING:
    from magentic_kit.context import Sink
    from magentic_kit.run import RunResult

EXIT_CODES = {"satisfied": 0, "limited": 3, "rejected": 3, "cancelled": 130, "failed": 1}
"""Outcome of a run -> exit code; 2 is a usage or configuration error."""


def main() -> None:
    """Runs the command and exits; a user's mistake is one red line, a bug keeps its traceback."""
    try:
        code = cli.main(standalone_mode=False)
    except ConfigError as error:
        for problem in error.problems:
            _complain(str(problem))
        code = 2
    except KitError as error:
        _complain(str(error))
        code = 1
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


@cli.command()
@click.argument("team", type=click.Path(path_type=Path))
@click.argument("task", required=False)
@click.option("--task-file", type=click.Path(path_type=Path), help="Read the task from this file.")
@click.option("--input", "inputs", multiple=True, metavar="K=V", help="A value for one of the team's inputs.")
@click.option("--set", "settings", multiple=True, metavar="PATH=V", help="Override a value of the team file.")
@click.option("--service", "services", multiple=True, metavar="NAME=PROVIDER[:MODEL]", help="Override a service.")
@click.option("--env-file", type=click.Path(path_type=Path), help="Environment file to read; default: .env.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True)
@click.option("--max-rounds", type=int, help="Same as --set manager.max_rounds=N.")
@click.option("--deadline", help="Same as --set limits.deadline=D, such as 90s or 15m.")
@click.option("--json", "form", flag_value="json", help="Print the whole result as JSON in place of the answer.")
@click.option("--jsonl", "form", flag_value="jsonl", help="Print every event as a line of JSON as it comes.")
@click.option("--quiet", is_flag=True, help="Show nothing of the run; print the answer.")
@click.option("--plain", is_flag=True, help="Plain lines: no colour, no live display.")
@click.option("--no-report", is_flag=True, help="Write the log only.")
def run(
    team: Path,
    task: str | None,
    task_file: Path | None,
    inputs: tuple[str, ...],
    settings: tuple[str, ...],
    services: tuple[str, ...],
    env_file: Path | None,
    out: Path,
    max_rounds: int | None,
    deadline: str | None,
    form: str | None,
    quiet: bool,
    plain: bool,
    no_report: bool,
) -> int:
    """Run TEAM (a YAML file) on TASK; `-` reads the task from standard input.

    Progress goes to standard error, the answer to standard output. Exit code: 0 satisfied, 3 limited or
    rejected, 1 failed, 130 cancelled, 2 nothing was started.
    """
    _load_environment(env_file, beside=team)
    overrides: dict[str, Any] = dict(_pair(setting, "--set") for setting in settings)
    overrides |= {f"services.{name}": _service(value) for name, value in map(_service_pair, services)}
    overrides |= {"manager.max_rounds": max_rounds} if max_rounds is not None else {}
    overrides |= {"limits.deadline": deadline} if deadline is not None else {}
    overrides |= {"report.formats": []} if no_report else {}
    given = dict(_pair(value, "--input") for value in inputs)
    text = _task(task, task_file)

    from magentic_kit.check import load_team

    load_team(team, overrides=overrides)  # tells what is wrong before the seconds that the next import takes
    from magentic_kit.console import make_console

    console = make_console(mode="quiet" if quiet or form == "jsonl" else "plain" if plain else "auto")
    sinks: list[Sink] = [console, _print_event] if form == "jsonl" else [console]
    try:
        result = _run(team, overrides, text, given, out, sinks, stop=console.close)
    finally:
        console.close()
    if form == "json":
        click.echo(json.dumps(result.record.to_dict(), ensure_ascii=False, indent=2))
    elif form is None and result.answer:
        from magentic_kit.text import printable

        click.echo(printable(result.answer))
    if result.run_dir and not quiet:
        click.echo(f"{result.outcome}: see {result.run_dir}", err=True)
    return EXIT_CODES[result.outcome]


@cli.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--env-file", type=click.Path(path_type=Path), help="Environment file to read; default: .env.")
def validate(files: tuple[Path, ...], env_file: Path | None) -> int:
    """Check team FILES without a model; tells every problem at once."""
    from magentic_kit.check import load_team

    problems = 0
    for file in files:
        _load_environment(env_file, beside=file)
        try:
            team = load_team(file)
        except ConfigError as error:
            for problem in error.problems:
                _complain(str(problem))
            problems += len(error.problems)
            continue
        for warning in team.warnings:
            click.secho(f"warning: {warning}", fg="yellow", err=True)
        click.echo(f"{file}: ok, {len(team.config.agents)} agents, {len(team.config.services)} services")
    return 2 if problems else 0


@cli.command()
def schema() -> None:
    """Print the JSON Schema of the team file."""
    from magentic_kit.config import team_schema

    click.echo(json.dumps(team_schema(), indent=2, ensure_ascii=False))


def _run(
    team: Path,
    overrides: dict[str, Any],
    task: str | None,
    inputs: dict[str, Any],
    out: Path,
    sinks: Iterable[Sink],
    *,
    stop: Callable[[], None],
) -> RunResult:
    import asyncio

    from magentic_kit.factory import TeamFactory

    # Whatever Semantic Kernel would log as an error is an event of the run.
    logging.basicConfig(format="%(name)s: %(message)s", level=logging.WARNING)
    logging.getLogger("semantic_kernel").setLevel(logging.CRITICAL)

    async def whole() -> RunResult:
        async with TeamFactory.from_yaml(team, overrides=overrides) as factory:
            running = factory.start(task, inputs=inputs, sinks=sinks, out=out)
            _on_signals(running.cancel, stop)
            return await running.result()

    return asyncio.run(whole())


def _on_signals(cancel: Callable[[], None], stop: Callable[[], None]) -> None:
    """The first Ctrl-C or SIGTERM ends the run in order, a second one leaves at once."""
    import asyncio
    import signal

    loop = asyncio.get_running_loop()
    asked: list[int] = []

    def ask() -> None:
        if asked:
            with suppress(Exception):
                stop()
            os._exit(130)
        asked.append(1)
        cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, ask)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(ask))


def _print_event(event: Any) -> None:
    from magentic_kit.events import to_dict

    click.echo(json.dumps(to_dict(event), ensure_ascii=False))


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
    if task_file is None:
        return task
    try:
        return task_file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError.one(f"cannot be read: {error}", file=str(task_file)) from error


def _pair(text: str, option: str) -> tuple[str, Any]:
    import yaml

    name, found, value = text.partition("=")
    if not found or not name:
        raise ConfigError.one(f"'{text}' should be name=value", file=option)
    try:
        return name, yaml.safe_load(value)
    except yaml.YAMLError:
        return name, value


def _service_pair(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found or not name or not value:
        raise ConfigError.one(f"'{text}' should be name=provider:model", file="--service")
    return name, value


def _service(value: str) -> dict[str, str]:
    provider, _, model = value.partition(":")
    return {"provider": provider, **({"model": model} if model else {})}


def _complain(message: str) -> None:
    click.secho(message, fg="red", err=True)
