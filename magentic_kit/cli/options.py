"""Options that several commands share, in groups: a command gets the values of a group as one object."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from magentic_kit.cli.environment import DATABASE_VARIABLE
from magentic_kit.cli.files import read_standard_input, read_text
from magentic_kit.errors import ConfigError

if TYPE_CHECKING:
    from magentic_kit.views.console import Console

Command: TypeAlias = Callable[..., Any]
Decorator: TypeAlias = Callable[[Command], Command]

PATH = click.Path(path_type=Path)
POSITIVE = click.IntRange(min=1)


class FiniteRange(click.FloatRange):
    """A range of numbers without infinity and NaN."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Returns the number. Raises `click.BadParameter`."""
        number = float(super().convert(value, param, ctx))
        if not isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number


def option_group(name: str, kind: type[Any], *options: Decorator) -> Decorator:
    """Adds `options` to a command, which gets their values as one argument: `name`, of the dataclass `kind`."""

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def with_group(**values: Any) -> Any:
            group = kind(**{field.name: values.pop(field.name) for field in fields(kind)})
            return command(**values, **{name: group})

        decorated: Command = with_group
        for option in reversed(options):
            decorated = option(decorated)
        return decorated

    return decorate


env_file_option = click.option("--env-file", type=PATH, help="Environment file to read; default: .env.")
out_option = click.option(
    "--out", type=PATH, default=Path("runs"), help="Where run directories are created.", show_default=True
)
attach_option = click.option(
    "--attach", multiple=True, type=PATH, metavar="FILE", help="A file for the task: an image, text, or PDF as text."
)
json_option = functools.partial(click.option, "--json", "as_json", is_flag=True)
team_argument = click.argument("team", type=PATH)
database_option = click.option(
    "--database",
    "url",
    metavar="URL",
    help=f"PostgreSQL of the workers, postgresql://…; default: the variable {DATABASE_VARIABLE}.",
)


@dataclass(frozen=True, kw_only=True)
class TeamOptions:
    """Values that replace those of the team file, and decisions about plans and tool calls made in advance."""

    settings: tuple[str, ...]
    services: tuple[str, ...]
    env_file: Path | None
    max_rounds: str | None
    max_resets: str | None
    max_tokens: str | None
    max_cost: str | None
    deadline: str | None
    no_report: bool
    approve: tuple[str, ...]
    approve_plan: bool

    def overrides(self) -> dict[str, Any]:
        """Returns what replaces values of the team file, by dotted path. Raises `ConfigError`."""
        overrides = dict(_pair(setting, "--set") for setting in self.settings)
        for service in self.services:
            name, value = _pair(service, "--service")
            provider, _, model = str(value).partition(":")
            overrides[f"services.{name}"] = {"provider": provider, "model": model or None}
        shortcuts = {
            "manager.max_rounds": self.max_rounds,
            "manager.max_resets": self.max_resets,
            "limits.max_tokens": self.max_tokens,
            "limits.max_cost": self.max_cost,
            "limits.deadline": self.deadline,
        }
        for path, text in shortcuts.items():
            if text is not None:
                overrides[path] = _yaml_value(text)
        if self.no_report:
            overrides["report.formats"] = []
        return overrides


team_options = option_group(
    "options",
    TeamOptions,
    click.option("--set", "settings", multiple=True, metavar="PATH=V", help="Override a value of the team file."),
    click.option("--service", "services", multiple=True, metavar="NAME=PROVIDER[:MODEL]", help="Override a service."),
    env_file_option,
    click.option("--max-rounds", metavar="N", help="Same as --set manager.max_rounds=N."),
    click.option("--max-resets", metavar="N", help="Same as --set manager.max_resets=N."),
    click.option("--max-tokens", metavar="N", help="Same as --set limits.max_tokens=N."),
    click.option("--max-cost", metavar="DOLLARS", help="Same as --set limits.max_cost=DOLLARS."),
    click.option("--deadline", metavar="D", help="Same as --set limits.deadline=D, such as 90s or 15m."),
    click.option("--no-report", is_flag=True, help="Write the log only."),
    click.option("--approve", multiple=True, metavar="PATTERN", help="Functions that may be called without asking."),
    click.option("--approve-plan", is_flag=True, help="Approve every plan without asking."),
)


@dataclass(frozen=True, kw_only=True)
class TaskOptions:
    """The task, from the command line, a file or standard input (`-`), and the team's inputs."""

    task: str | None
    task_file: Path | None
    inputs: tuple[str, ...]

    def read(self) -> tuple[str | None, dict[str, Any]]:
        """Returns the task, None if none is given, and the inputs by name. Raises `ConfigError`."""
        if self.task is not None and self.task_file is not None:
            raise ConfigError.one("give TASK or --task-file, not both", file="command line")
        inputs = read_inputs(self.inputs)
        if self.task_file is not None:
            return read_text(self.task_file), inputs
        if self.task == "-":
            return read_standard_input(), inputs
        return self.task, inputs


inputs_option = click.option(
    "--input", "inputs", multiple=True, metavar="K=V", help="A value for one of the team's inputs."
)
task_options = option_group(
    "task",
    TaskOptions,
    click.argument("task", required=False),
    click.option("--task-file", type=PATH, help="Read the task from this file."),
    inputs_option,
)


def read_inputs(inputs: Sequence[str]) -> dict[str, Any]:
    """Returns the values of `--input` by name. Raises `ConfigError`."""
    return dict(_pair(value, "--input") for value in inputs)


@dataclass(frozen=True, kw_only=True)
class UnknownCallOptions:
    """What a person says of tool calls of unknown outcome."""

    repeat_tool: bool
    skip_tool: str | None
    calls: tuple[str, ...]

    def results(self) -> dict[str, str | None]:
        """Returns a result by the call's name (`*`: all others), None if the call is to be made again."""
        results: dict[str, str | None] = {}
        if self.repeat_tool or self.skip_tool is not None:
            results["*"] = self.skip_tool
        for call in self.calls:
            name, given, result = call.partition("=")
            results[name] = result if given else None
        return results


unknown_call_options = option_group(
    "unknown_calls",
    UnknownCallOptions,
    click.option("--repeat-tool", is_flag=True, help="Call functions again whose outcome is unknown."),
    click.option("--skip-tool", metavar="RESULT", help="Take this for the result of functions of unknown outcome."),
    click.option("--call", "calls", multiple=True, metavar="NAME[=RESULT]", help="The same for this call alone."),
)


@dataclass(frozen=True, kw_only=True)
class ConsoleOptions:
    """How much of a run is shown, and how."""

    plain: bool
    verbosity: str
    show_reasons: bool

    def console(self, *, quiet: bool = False, **more: Any) -> Console:
        """Makes the console; one that is `quiet` shows nothing."""
        from magentic_kit.views.display import Mode, make_console

        mode: Mode = "plain" if self.plain else "auto"
        if quiet:
            mode = "quiet"
        return make_console(mode=mode, verbosity=self.verbosity, show_reasons=self.show_reasons, **more)


console_options = option_group(
    "display",
    ConsoleOptions,
    click.option("--plain", is_flag=True, help="Plain lines: no colour, no live display."),
    click.option(
        "--verbosity",
        type=click.Choice(["quiet", "normal", "full"]),
        default="normal",
        help="quiet: plans, rounds and trouble; normal: also what agents say; full: also facts and whole results.",
        show_default=True,
    ),
    click.option("--show-reasons/--no-show-reasons", default=True, help="The manager's reasons; default: shown."),
)


def _pair(text: str, option: str) -> tuple[str, Any]:
    """Splits `name=value` and reads the value as YAML. Raises `ConfigError`."""
    name, found, value = text.partition("=")
    if not found or not name:
        raise ConfigError.one(f"'{text}' should be name=value", file=option)
    return name, _yaml_value(value)


def _yaml_value(text: str) -> Any:
    """Returns the value that `text` is in YAML, or `text` itself if it is not YAML."""
    import yaml

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError):  # PyYAML: `2024-02-30`, `[[[[…`
        return text
