"""What several commands share: options, the team they load, and the words for what is wrong."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from magentic_kit.errors import ConfigError

if TYPE_CHECKING:
    from magentic_kit.cluster import Database

_C = TypeVar("_C", bound=Callable[..., Any])
PATH = click.Path(path_type=Path)


def options(*options: Callable[[_C], _C]) -> Callable[[_C], _C]:
    """Several click options or arguments as one decorator."""

    def add(command: _C) -> _C:
        for option in reversed(options):
            command = option(command)
        return command

    return add


TEAM_OPTIONS = options(
    click.option("--set", "settings", multiple=True, metavar="PATH=V", help="Override a value of the team file."),
    click.option("--service", "services", multiple=True, metavar="NAME=PROVIDER[:MODEL]", help="Override a service."),
    click.option("--env-file", type=PATH, help="Environment file to read; default: .env."),
    click.option("--max-rounds", type=int, help="Same as --set manager.max_rounds=N."),
    click.option("--max-resets", type=int, help="Same as --set manager.max_resets=N."),
    click.option("--max-tokens", type=int, help="Same as --set limits.max_tokens=N."),
    click.option("--deadline", help="Same as --set limits.deadline=D, such as 90s or 15m."),
    click.option("--no-report", is_flag=True, help="Write the log only."),
    click.option("--approve", multiple=True, metavar="PATTERN", help="Functions that may be called without asking."),
    click.option("--approve-plan", is_flag=True, help="Approve every plan without asking."),
)
TASK_OPTIONS = options(
    click.argument("task", required=False),
    click.option("--task-file", type=PATH, help="Read the task from this file."),
    click.option("--input", "inputs", multiple=True, metavar="K=V", help="A value for one of the team's inputs."),
)
WORD_OPTIONS = options(
    click.option("--repeat-tool", is_flag=True, help="Call functions again whose outcome is unknown."),
    click.option("--skip-tool", metavar="RESULT", help="Take this for the result of functions of unknown outcome."),
    click.option("--call", "calls", multiple=True, metavar="NAME[=RESULT]", help="The same for this call alone."),
)


def words_of(*, repeat_tool: bool, skip_tool: str | None, calls: tuple[str, ...]) -> dict[str, str | None]:
    """What was said of tool calls of unknown outcome (`*`: all others): a result, or None to repeat the call."""
    said = {"*": skip_tool} if repeat_tool or skip_tool is not None else {}
    return {**said, **{name: result if given else None for name, given, result in (c.partition("=") for c in calls)}}


def database_option(*, required: bool) -> Callable[[_C], _C]:
    """The option that names the database of a queue."""
    told = "sqlite:///FILE for one machine, postgresql://… for many.  [env: MAGENTIC_KIT_DATABASE]"
    return click.option("--database", "url", envvar="MAGENTIC_KIT_DATABASE", required=required, help=told)


def open_database(url: str) -> Database:
    """The queue's database. Raises `ConfigError`."""
    try:
        from magentic_kit.cluster import Database

        return Database(url)
    except ImportError as error:
        raise ConfigError.one(f"{error.name} is missing: pip install 'magentic-kit[cluster]'") from error


def overrides_of(
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
    load_environment(env_file, beside=beside)
    overrides = dict(pair(setting, "--set") for setting in settings)
    for name, value in (pair(service, "--service") for service in services):
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


def load_environment(env_file: Path | None, *, beside: Path) -> None:
    """Reads the given environment file, or `.env` here and beside the team; what is set already stays."""
    from dotenv import load_dotenv

    if env_file is not None and not env_file.is_file():
        raise ConfigError.one("there is no such environment file", file=str(env_file))
    for path in [env_file] if env_file else [Path(".env"), beside.parent / ".env"]:
        if path.is_file():
            load_dotenv(path)


def task_of(task: str | None, task_file: Path | None) -> str | None:
    """The task from the command line, a file or standard input."""
    if task is not None and task_file is not None:
        raise ConfigError.one("give TASK or --task-file, not both", file="command line")
    if task == "-":
        return sys.stdin.read()
    return task if task_file is None else read(task_file)


def read(path: Path) -> str:
    """The text of a file. Raises `ConfigError`."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError.one(f"cannot be read: {error}", file=str(path)) from error


def pair(text: str, option: str) -> tuple[str, Any]:
    """`name=value`, the value as YAML. Raises `ConfigError`."""
    import yaml

    name, found, value = text.partition("=")
    if not found or not name:
        raise ConfigError.one(f"'{text}' should be name=value", file=option)
    try:
        return name, yaml.safe_load(value)
    except yaml.YAMLError:
        return name, value


def quiet_logs() -> None:
    """Keeps Semantic Kernel's own log lines off the terminal: what they tell are events of the run."""
    import logging

    # Whatever Semantic Kernel would log as an error is an event of the run.
    logging.basicConfig(format="%(name)s: %(message)s", level=logging.WARNING)
    for name in ("semantic_kernel", "in_process_runtime", "mcp"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def run_to_end(main: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Like `asyncio.run`, but five seconds after `main` has returned its exit code the process ends, come what may.

    A connector's thread that cannot be interrupted would keep it for as long as it likes.
    """
    import asyncio

    codes: list[int] = []
    leave = threading.Timer(5, lambda: os._exit(codes[0]))
    leave.daemon = True

    async def whole() -> None:
        codes.append(await main())
        leave.start()

    try:
        asyncio.run(whole())
    finally:
        leave.cancel()
    return codes[0]


def complain(*messages: str) -> None:
    """Red lines on standard error."""
    for message in messages:
        click.secho(message, fg="red", err=True)
