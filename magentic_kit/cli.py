"""The command line: `cli` and the commands it loads when they are called; only they print or exit."""

from __future__ import annotations

import importlib
import os
import sys

import click

from magentic_kit import __version__
from magentic_kit.commands.common import complain
from magentic_kit.errors import ConfigError, KitError, ReplayError

_COMMANDS = {
    "init": "init",
    "run": "run",
    "resume": "run",
    "plan": "run",
    "doctor": "doctor",
    "list": "runs",
    "show": "runs",
    "report": "runs",
    "validate": "files",
    "schema": "files",
    "completion": "completion",
}
"""Command -> its module under `magentic_kit.commands`."""


class _Commands(click.Group):
    """A group that imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module = importlib.import_module(f"magentic_kit.commands.{_COMMANDS[name]}")
        command: click.Command = getattr(module, name)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="magentic-kit")
def cli() -> None:
    """Teams of agents from YAML, on Semantic Kernel's Magentic orchestration."""


def main() -> None:
    """Runs the command and exits; a user's mistake is one red line, a bug keeps its traceback."""
    try:
        code = cli.main(standalone_mode=False)
    except ConfigError as error:
        complain(*map(str, error.problems))
        code = 2
    except KitError as error:
        complain(str(error))
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
