"""What several commands share: options, the team they load, and the words for what is wrong."""

from __future__ import annotations

import os
import sys
from argparse import BooleanOptionalAction
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magentic_kit.cli.arguments import PATH, Argument, argument, flag, repeated
from magentic_kit.errors import ConfigError

if TYPE_CHECKING:
    from magentic_kit.cluster.database import Database


def _setting(name: str, path: str, value: str) -> Argument:
    about, convert = f"Same as --set {path}={value}.", lambda given: f"{path}={given}"
    return argument(name, dest="settings", action="append", type=convert, metavar=value[0], help=about)


ENV_FILE = argument("--env-file", **PATH, help="Environment file to read; default: .env.")
TEAM_OPTIONS = (
    repeated("--set", dest="settings", metavar="PATH=V", help="Override a value of the team file."),
    repeated("--service", dest="services", metavar="NAME=PROVIDER[:MODEL]", help="Override a service."),
    ENV_FILE,
    _setting("--max-rounds", "manager.max_rounds", "N"),
    _setting("--max-resets", "manager.max_resets", "N"),
    _setting("--max-tokens", "limits.max_tokens", "N"),
    _setting("--deadline", "limits.deadline", "D, such as 90s or 15m"),
    flag("--no-report", dest="settings", action="append_const", const="report.formats=[]", help="Write the log only."),
    repeated("--approve", metavar="PATTERN", help="Functions that may be called without asking."),
    flag("--approve-plan", help="Approve every plan without asking."),
)
INPUT = repeated("--input", dest="inputs", metavar="K=V", help="A value for one of the team's inputs.")
TASK_OPTIONS = (
    argument("task", nargs="?", metavar="[TASK]"),
    argument("--task-file", **PATH, help="Read the task from this file."),
    INPUT,
)
OUT = argument("--out", **PATH, default=Path("runs"), help="Where run directories go; default: runs.")
WORD_OPTIONS = (
    flag("--repeat-tool", help="Call functions again whose outcome is unknown."),
    argument("--skip-tool", metavar="RESULT", help="Take this for the result of functions of unknown outcome."),
    repeated("--call", dest="calls", metavar="NAME[=RESULT]", help="The same for this call alone."),
)
_VARIABLE = "MAGENTIC_KIT_DATABASE"
DATABASE = argument(
    "--database",
    dest="url",
    metavar="URL",
    help=f"sqlite:///FILE for one machine, postgresql://… for many; default: the variable {_VARIABLE}.",
)
VERBOSITY_OPTIONS = (
    argument(
        "--verbosity",
        choices=("quiet", "normal", "full"),
        default="normal",
        help="quiet: plans, rounds and trouble; normal: and what is said and called; full: facts and whole results; "
        "default: %(default)s.",
    ),
    argument(
        "--show-reasons", action=BooleanOptionalAction, default=True, help="The manager's reasons; default: shown."
    ),
)


def overrides_of(
    *, beside: Path, settings: Sequence[str], services: Sequence[str], env_file: Path | None, **_: Any
) -> dict[str, Any]:
    """What the options put in the place of the team file's values; reads the environment file first."""
    load_environment(env_file, beside=beside)
    overrides = dict(pair(setting, "--set") for setting in settings)
    for name, value in (pair(service, "--service") for service in services):
        provider, *model = str(value).split(":", 1)
        overrides[f"services.{name}"] = {"provider": provider, "model": model[0] if model else None}
    return overrides


def words_of(*, repeat_tool: bool, skip_tool: str | None, calls: Sequence[str], **_: Any) -> dict[str, str | None]:
    """What was said of tool calls of unknown outcome (`*`: all others): a result, or None to repeat the call."""
    said = {"*": skip_tool} if repeat_tool or skip_tool is not None else {}
    return {**said, **{name: result if given else None for name, given, result in (c.partition("=") for c in calls)}}


def database_of(url: str | None) -> str | None:
    """The database that is named, here or in the environment."""
    return url or os.environ.get(_VARIABLE)


def open_database(url: str | None) -> Database:
    """The queue's database. Raises `ConfigError`."""
    if not (named := database_of(url)):
        raise ConfigError.one(f"which? Give --database, or set {_VARIABLE}", file="command line")
    try:
        from magentic_kit.cluster.database import Database

        return Database(named)
    except ImportError as error:
        raise ConfigError.one(f"{error.name} is missing: pip install 'magentic-kit[cluster]'") from error


def load_environment(env_file: Path | None, *, beside: Path) -> None:
    """Reads the given environment file, or `.env` here and beside the team; what is set already stays."""
    if env_file is not None and not env_file.is_file():
        raise ConfigError.one("there is no such environment file", file=str(env_file))
    for path in [env_file] if env_file else [Path(".env"), beside.parent / ".env"]:
        if path.is_file():
            from dotenv import load_dotenv

            load_dotenv(path)


def task_of(
    *, task: str | None, task_file: Path | None, inputs: Sequence[str], **_: Any
) -> tuple[str | None, dict[str, Any]]:
    """The task from the command line, a file or standard input, and the inputs. Raises `ConfigError`."""
    if task is not None and task_file is not None:
        raise ConfigError.one("give TASK or --task-file, not both", file="command line")
    text = sys.stdin.read() if task == "-" else read(task_file) if task_file else task
    return text, inputs_of(inputs=inputs)


def inputs_of(*, inputs: Sequence[str], **_: Any) -> dict[str, Any]:
    """The inputs from the command line. Raises `ConfigError`."""
    return dict(pair(value, "--input") for value in inputs)


def read(path: Path) -> str:
    """The text of a file. Raises `ConfigError`."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError.one(f"cannot be read: {error}", file=str(path)) from error


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Tells why nothing can be written to `path`, in place of an `OSError`. Raises `ConfigError`."""
    try:
        yield
    except OSError as error:
        raise ConfigError.one(f"cannot be written: {error.strerror or error}", file=str(path)) from error


def pair(text: str, option: str) -> tuple[str, Any]:
    """`name=value`, the value as YAML. Raises `ConfigError`."""
    import yaml

    name, found, value = text.partition("=")
    if not found or not name:
        raise ConfigError.one(f"'{text}' should be name=value", file=option)
    try:
        return name, yaml.safe_load(value)
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError):  # PyYAML: `2024-02-30`, `[[[[…`
        return name, value


def quiet_logs() -> None:
    """Keeps Semantic Kernel's own log lines off the terminal: what they tell are events of the run."""
    import logging

    from magentic_kit.runlog.redaction import RedactedFormatter

    # Whatever Semantic Kernel would log as an error is an event of the run.
    logging.basicConfig(level=logging.WARNING)
    for handler in logging.root.handlers:
        handler.setFormatter(RedactedFormatter("%(name)s: %(message)s"))
    for name in ("semantic_kernel", "in_process_runtime", "mcp"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def run_to_end(main: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Like `asyncio.run`, but five seconds after `main` has returned its exit code the process ends, come what may.

    A connector's thread that cannot be interrupted would keep it for as long as it likes.
    """
    import asyncio
    import threading

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


def say(text: object, *, aside: bool = False, end: str = "\n") -> None:
    """A line on standard output at once, or `aside` on standard error."""
    print(text, end=end, file=sys.stderr if aside else sys.stdout, flush=True)


def complain(*messages: str, colour: int = 31) -> None:
    """Lines on standard error, red (or of another `colour`, as terminals count them) if colours are seen and wanted."""
    seen = sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    for message in messages:
        say(f"\x1b[{colour}m{message}\x1b[0m" if seen else message, aside=True)
