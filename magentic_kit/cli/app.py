"""The command `magentic-kit`: its first page, and how every command ends."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence

import click

from magentic_kit import __version__
from magentic_kit.cli.commands import LazyGroup
from magentic_kit.cli.output import complain, prepare_streams, say
from magentic_kit.errors import ConfigError, KitError, ReplayError

_BEGIN = f"""\
magentic-kit {__version__}: teams of agents from YAML, on Semantic Kernel's Magentic orchestration.

To begin:
  magentic-kit init my-team         make a project that runs at once, without a key
  magentic-kit run TEAM.yaml TASK   let a team work; the answer goes to standard output
  magentic-kit list                 see what ran, and how it ended

All commands: magentic-kit --help. One of them: magentic-kit COMMAND --help."""


_SETTINGS = {"help_option_names": ["-h", "--help"], "terminal_width": 78}


@click.group(cls=LazyGroup, invoke_without_command=True, context_settings=_SETTINGS)
@click.version_option(__version__)
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Teams of agents from YAML, on Semantic Kernel's Magentic orchestration."""
    if ctx.invoked_subcommand is None:
        say(_BEGIN)


def run(arguments: Sequence[str]) -> int:
    """Runs a command line (without the program's name) and returns its exit code.

    Raises `KitError`, or `click.ClickException` for a wrong command line.
    """
    return cli.main([*arguments], prog_name="magentic-kit", standalone_mode=False) or 0


def main() -> None:
    """Runs the command and exits; a user's error is one red line, a bug keeps its traceback."""
    prepare_streams()
    try:
        code = run(sys.argv[1:])
    except click.Abort:  # Ctrl-C
        code = 130
    except click.ClickException as error:
        from magentic_kit.cli.usage import usage_message

        complain(usage_message(error))
        code = 2
    except ConfigError as error:
        complain(*map(str, error.problems))
        code = 2
    except KitError as error:
        complain(str(error))
        code = 2 if isinstance(error, ReplayError) else 1
    # The interpreter would look through all objects of Semantic Kernel for cycles before it ends: half a second.
    gc.freeze()
    sys.exit(code)
