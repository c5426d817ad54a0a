"""`completion`: a shell completes commands, options and paths by click's own means."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what makes SHELL complete this command."""
    file = {"bash": "~/.bashrc", "zsh": "~/.zshrc", "fish": "~/.config/fish/config.fish"}[shell]
    click.echo(f"# to install: magentic-kit completion {shell} >> {file}")
    if (kind := get_completion_class(shell)) is not None:
        click.echo(kind(ctx.find_root().command, {}, "magentic-kit", "_MAGENTIC_KIT_COMPLETE").source())
