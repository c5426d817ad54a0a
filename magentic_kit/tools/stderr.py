"""The part of a failed server's stderr that says why it failed."""

from __future__ import annotations

import re

from magentic_kit.text import one_line

MAX_CHARACTERS = 500

_BLOCK = re.compile(r".*Traceback \(most recent call last\):|\s*(\| *)*\+-.*")
"""A line that Python writes before the frames of an exception, or between the exceptions of a group."""
_MARGIN = re.compile(r"\s*\| ?")
"""Stands left of the exceptions of a group."""
_NOISE = re.compile(
    r"""\s | \W*$                                         # indented: stack frames, source; no word at all
    | (Node\.js|Bun)\ v\d | note:\ run\ with | hint:\  | exit\ status\ \d
    | goroutine\ \d | [\w./*()]+\(.*\)$                   # frames of Go
    | npm\ \S+\ (code\ )?\S+$ | npm\ \S+\ A\ complete\ log
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""A line that does not say what went wrong."""


def telling_line(stderr: str) -> str:
    """The line of `stderr` that says why its process failed, cut to 500 characters; "" if nothing was written.

    It is what a Python traceback ends in, with all its lines, or else the last line that is neither part of a stack
    trace nor a hint.
    """
    lines = [line[:1_000] for line in stderr.splitlines()]
    message: list[str] = []
    for number, line in enumerate(lines):
        if _BLOCK.fullmatch(line):
            message = _message(lines[number + 1 :]) or message
    if not message:
        message = [line for line in lines if line.strip() and not _NOISE.match(line)][-1:] or lines[-1:]
    return one_line("\n".join(message), MAX_CHARACTERS)


def _message(lines: list[str]) -> list[str]:
    """What follows the frames of an exception, which are indented, down to the next exception."""
    message: list[str] = []
    for line in lines:
        text = _MARGIN.sub("", line, count=1)
        if _BLOCK.fullmatch(line):
            break
        if message or (text.strip() and not text.startswith(" ")):
            message.append(text)
    return message
