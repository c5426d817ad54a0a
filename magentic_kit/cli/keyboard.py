"""The keyboard of the person at the terminal: one line for one question, and nothing that was typed before it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from magentic_kit.cli.output import say
from magentic_kit.tools.threads import in_daemon_thread

PROMPT = "> "


async def read_answer(question: str) -> str | None:
    """Shows `question` on standard error and returns the line that answers it, without its end; None at end of input.

    Input counts from the moment when the whole question has been written; what is older is dropped. The prompt comes
    after that, so whoever waits for it, person or program, loses nothing.
    """
    say(question, err=True)
    _discard_input()
    with _terminal_given_back():
        try:
            return await in_daemon_thread(_read_line)
        except BaseException:
            say("", err=True)  # what is shown next begins on a line of its own
            raise


def _discard_input() -> None:
    """Drops what was typed and not read. Line editing reads up to the end of a line and holds nothing back."""
    if sys.platform == "win32":
        import msvcrt

        while msvcrt.kbhit():
            msvcrt.getwch()
    else:
        import termios

        with suppress(termios.error):  # the terminal is gone, which reading it tells
            termios.tcflush(sys.stdin, termios.TCIFLUSH)


@contextmanager
def _terminal_given_back() -> Iterator[None]:
    """Gives the terminal its settings back, also when the thread that edits a line is left behind by a cancel."""
    if sys.platform == "win32":
        yield
        return
    import termios

    settings = None
    with suppress(termios.error):
        settings = termios.tcgetattr(sys.stdin)
    try:
        yield
    finally:
        if settings:
            with suppress(termios.error):
                termios.tcsetattr(sys.stdin, termios.TCSANOW, settings)


def _read_line() -> str | None:
    """Reads a line, with editing and a history in memory where standard output is the terminal as well."""
    if not sys.stdout.isatty():  # then `input` would print its prompt among the answers
        say(PROMPT, err=True, end="")
        line = sys.stdin.readline()
        if line:
            return line.rstrip("\n")
        return None
    with suppress(ImportError):  # Windows edits lines by itself
        import readline  # noqa: F401
    try:
        return input(PROMPT)
    except EOFError:
        return None
