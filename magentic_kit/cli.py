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
    "init": ("init", "Write a small team that runs at once, without a key."),
    "run": ("run", "Let a team work on a task."),
    "resume": ("run", "Go on with a run that stopped; nothing is paid twice."),
    "plan": ("run", "Make a team's plan only, to edit and carry out later."),
    "batch": ("batch", "Let a team work on many tasks, and check the answers."),
    "list": ("runs", "List runs: how they ended, time, tokens, task."),
    "show": ("runs", "Play a run on the console, or follow a live one."),
    "report": ("runs", "Write a run's report again."),
    "validate": ("files", "Tell every mistake in team files at once."),
    "schema": ("files", "Print the JSON Schema of the team file."),
    "doctor": ("doctor", "Check the installation, keys and services."),
    "mcp": ("mcp", "Serve teams as tools of an MCP server."),
    "worker": ("cluster", "Carry out queued runs; on as many hosts as you like."),
    "submit": ("cluster", "Queue a run for the workers."),
    "status": ("cluster", "Tell how queued runs stand."),
    "result": ("cluster", "Get a queued run's answer, log and reports."),
    "cancel": ("cluster", "Cancel a queued run."),
    "settle": ("cluster", "Let a run go on that waits for a person."),
    "limits": ("cluster", "Set what all workers together may do at most."),
    "completion": ("completion", "Print what makes a shell complete all this."),
}
"""Command -> its module under `magentic_kit.commands`, and what it does."""


class _Commands(click.Group):
    """A group that imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module = importlib.import_module(f"magentic_kit.commands.{_COMMANDS[name][0]}")
        command: click.Command = getattr(module, name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, does) for name, (_, does) in _COMMANDS.items()])


_BEGIN = f"""\
magentic-kit {__version__}: teams of agents from YAML, on Semantic Kernel's Magentic orchestration.

To begin:
  magentic-kit init my-team         make a project that runs at once, without a key
  magentic-kit run TEAM.yaml TASK   let a team work; the answer goes to standard output
  magentic-kit list                 see what ran, and how it ended

All commands: magentic-kit --help. One of them: magentic-kit COMMAND --help."""


@click.group(cls=_Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="magentic-kit")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Teams of agents from YAML, on Semantic Kernel's Magentic orchestration."""
    if ctx.invoked_subcommand is None:
        click.echo(_BEGIN)


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
