"""What commands print: made safe for the terminal, in an encoding that it can show."""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO

import click

from magentic_kit.text import printable


def say(text: object, *, err: bool = False, end: str = "\n") -> None:
    """Prints printable `text` on standard output at once, or on standard error."""
    _write(sys.stderr if err else sys.stdout, printable(str(text)) + end)


def say_json(data: object) -> None:
    """Prints `data` as indented JSON, in ASCII: whole JSON in every encoding. What JSON lacks is printed as text."""
    import json

    say(json.dumps(data, indent=2, default=str))


def complain(*messages: str, colour: str = "red") -> None:
    """Prints lines on standard error, in `colour` if the terminal shows colours and the user wants them."""
    for message in messages:
        line = printable(message)
        if shows_colours():
            line = click.style(line, fg=colour)
        _write(sys.stderr, f"{line}\n")


def _write(stream: TextIO | None, text: str) -> None:
    if stream is not None:  # Python gives no stream for a descriptor that was closed before it began
        stream.write(text)
        stream.flush()


def shows_colours() -> bool:
    """Says whether standard error is a terminal that shows colours, and colours are not switched off."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return sys.stderr is not None and sys.stderr.isatty()


def escape_unencodable() -> None:
    """Makes standard output and error write a character that their encoding lacks as `\\u2192`, not fail on it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
