"""What commands print: made safe for the terminal, in an encoding that it can show."""

from __future__ import annotations

import io
import os
import sys

import click

from magentic_kit.text import printable


def say(text: object, *, err: bool = False, end: str = "\n") -> None:
    """Prints printable `text` on standard output at once, or on standard error."""
    print(printable(str(text)), end=end, file=sys.stderr if err else sys.stdout, flush=True)


def say_json(data: object) -> None:
    """Prints `data` as indented JSON, in ASCII: whole JSON in every encoding. What JSON lacks is printed as text."""
    import json

    say(json.dumps(data, indent=2, default=str))


def complain(*messages: str, colour: str = "red") -> None:
    """Prints lines on standard error, in `colour` if the terminal shows colours and the user wants them.

    Keys are masked: an error quotes what it is about, and that may be a key in a wrong place.
    """
    from magentic_kit.runlog.redaction import redactor_of_all  # a command that does not complain need not wait for it

    for message in messages:
        line = printable(redactor_of_all().text(message))
        if shows_colours():
            line = click.style(line, fg=colour)
        print(line, file=sys.stderr, flush=True)


def shows_colours() -> bool:
    """Says whether standard error is a terminal that shows colours, and colours are not switched off."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return sys.stderr.isatty()


def prepare_streams() -> None:
    """Makes the standard streams safe to use, whatever the process was started with.

    One that is closed leads to the null device: else the next file that is opened would take its place. A character
    that the encoding of an output stream lacks is written as `\\u2192`.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def discard_output() -> None:
    """Sends what is still printed on standard output nowhere, once its reader has left."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
