"""The command line: the commands, each loaded when it is called; nothing else in the package prints or exits."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING

from magentic_kit import __version__
from magentic_kit.errors import ConfigError, KitError, ReplayError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from magentic_kit.cli.arguments import Command

COMMANDS = {
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
"""Command -> its module under `magentic_kit.cli`, and what it does."""

_BEGIN = f"""\
magentic-kit {__version__}: teams of agents from YAML, on Semantic Kernel's Magentic orchestration.

To begin:
  magentic-kit init my-team         make a project that runs at once, without a key
  magentic-kit run TEAM.yaml TASK   let a team work; the answer goes to standard output
  magentic-kit list                 see what ran, and how it ended

All commands: magentic-kit --help. One of them: magentic-kit COMMAND --help."""

_HELP = """\
Usage: magentic-kit [OPTIONS] [COMMAND] [ARGS]...

  Teams of agents from YAML, on Semantic Kernel's Magentic orchestration.

Options:
  --version   Show the version and exit.
  -h, --help  Show this message and exit.

Commands:
""" + "\n".join(f"  {name:10}  {does}" for name, (_, does) in COMMANDS.items())

_PAGES = {
    "": _BEGIN,
    "--help": _HELP,
    "-h": _HELP,
    "--version": f"magentic-kit, version {__version__}",
}


def load(name: str) -> Command:
    """The command, its module imported now."""
    command: Command = getattr(importlib.import_module(f"magentic_kit.cli.{COMMANDS[name][0]}"), name)
    return command


def run(given: Sequence[str]) -> int:
    """Runs a command line (without the program's name) and returns its exit code. Raises `KitError`."""
    name = given[0] if given else ""
    if name in COMMANDS:
        return load(name)(name, given[1:])
    if name in _PAGES:
        print(_PAGES[name], flush=True)
        return 0
    from magentic_kit.cli.arguments import unknown

    raise unknown("option" if name[0] == "-" else "command", name, [*COMMANDS, *_PAGES], prog="magentic-kit")


def main() -> None:
    """Runs the command and exits; a user's mistake is one red line, a bug keeps its traceback."""
    try:
        if "_ARGCOMPLETE" in os.environ:  # a shell asks what could come next
            from magentic_kit.cli.completion import complete

            complete()
        code = run(sys.argv[1:])
    except KitError as error:
        from magentic_kit.cli.common import complain

        complain(*map(str, error.problems if isinstance(error, ConfigError) else [error]))
        code = 2 if isinstance(error, (ConfigError, ReplayError)) else 1
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)
