"""`completion`: a shell completes commands, options and paths, by argcomplete."""

from __future__ import annotations

import os
from argparse import ArgumentParser

from magentic_kit.cli import app
from magentic_kit.cli.arguments import Parser, argument, command
from magentic_kit.cli.common import say
from magentic_kit.errors import ConfigError

_FILES = {"bash": "~/.bashrc", "zsh": "~/.zshrc", "fish": "~/.config/fish/config.fish"}


@command(argument("shell", choices=list(_FILES), metavar="{bash|zsh|fish}"))
def completion(shell: str) -> None:
    """Print what makes SHELL complete this command."""
    try:
        from argcomplete.shell_integration import shellcode
    except ImportError:
        raise ConfigError.one("needs pip install 'magentic-kit[completion]'", file="completion") from None
    say(f"# to install: magentic-kit completion {shell} >> {_FILES[shell]}")
    say(shellcode(["magentic-kit"], shell=shell))


def complete() -> None:
    """Tells the shell that asks what could come next, and ends the process."""
    from argcomplete import autocomplete

    whole = ArgumentParser(allow_abbrev=False)
    whole.add_argument("--version", action="store_true")
    line = os.environ["COMP_LINE"].split()
    commands = whole.add_subparsers(parser_class=Parser)
    for name, (_, does) in app.COMMANDS.items():
        commands.add_parser(name, help=does, arguments=app.load(name).arguments if name in line else ())
    autocomplete(whole, always_complete_options=False)
