"""`completion`: what makes a shell complete commands, options and paths."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from magentic_kit.cli.output import say
from magentic_kit.errors import ConfigError

_FILES = {"bash": "~/.bashrc", "zsh": "~/.zshrc", "fish": "~/.config/fish/config.fish"}


@click.command()
@click.argument("shell", type=click.Choice(list(_FILES)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what makes SHELL complete this command."""
    kind = get_completion_class(shell)
    if kind is None:
        raise ConfigError.one(f"the installed click cannot complete in {shell}", file="completion")
    root = ctx.find_root()
    say(f"# to install: magentic-kit completion {shell} >> {_FILES[shell]}")
    say(kind(root.command, {}, "magentic-kit", "_MAGENTIC_KIT_COMPLETE").source())
