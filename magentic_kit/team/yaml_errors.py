"""The usual causes of YAML's syntax errors, in words for the person who wrote the file."""

from __future__ import annotations

import re
from typing import Any

import yaml

from magentic_kit.errors import Problem

_REFERENCE = re.compile(r"[{\[,:] *\$\{")
_KEY_WITH_TEXT = re.compile(r"\s*(- +)*[^\s#'\"{\[-][^#'\"{\[]*?:\s+\S")
"""A line that has a key with a value already."""

_NO_SPACE = re.compile(r"\s*(?:- +)*([\w.-]+):(\S.*)")
_AFTER_QUOTE = re.compile(r"""[:\-,\[{]\s+(["']).*\1\s*""")


def syntax_problem(error: Any, file: str, raw: bytes) -> Problem:
    """What is wrong where PyYAML could not read a file any further, with the usual cause where it is known."""
    mark: Any = getattr(error, "problem_mark", None)
    lines = raw.decode(errors="replace").split("\n")
    if mark:
        line, column = mark.line, mark.column
    else:
        line, column = raw.count(b"\n", 0, getattr(error, "position", 0)), 0
    lines += [""] * (line + 1 - len(lines))  # YAML knows more ends of lines, and libyaml one at the end of a file
    cause = (
        _unreadable(error, raw) if isinstance(error, yaml.reader.ReaderError) else _cause(error, lines, line, column)
    )
    return Problem(file, line + 1, column + 1, f"this is not valid YAML: {cause}")


def _cause(error: Any, lines: list[str], line: int, column: int) -> str:
    theirs = str(getattr(error, "problem", None) or getattr(error, "reason", ""))
    before, rest = lines[line][:column], lines[line][column:]
    if _REFERENCE.search(lines[line][: column + 1]):
        return "inside { } and [ ], ${…} has to stand in quotes"
    if "\t" in lines[line][: column + 1]:
        return "a tab stands where YAML wants spaces"
    if rest.startswith("---"):
        return "a second document begins here; a file holds one"
    context = str(getattr(error, "context", None) or "")
    start: Any = getattr(error, "context_mark", None) or error.problem_mark
    found = (
        _scanned(context, theirs, lines, start)
        or _second_colon(lines, line, before, rest)
        or _misplaced(context, before, rest)
    )
    return found or theirs


def _unreadable(error: Any, raw: bytes) -> str:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return "the file is not UTF-8 text; save it as UTF-8"
    return f"the character U+{error.character:04X} cannot stand in YAML; leave it out"


def _scanned(context: str, theirs: str, lines: list[str], start: Any) -> str:
    """The cause of an error inside of one value, which begins at `start`."""
    first = lines[start.line][start.column : start.column + 1]
    if "quoted scalar" in context and "escape" in theirs:
        return r"""in "…" a backslash begins an escape: write '…' instead, or each \ twice"""
    if "quoted scalar" in context:
        return f"the quote that opens in line {start.line + 1} is never closed"
    if "block scalar" in context:
        return f"the text of {first} begins in the next line, indented"
    if first and first in "@`%*&!" and ("scanning" in context or "token" in theirs):
        return f"quote it: a text without quotes cannot begin with '{first}'"
    if "flow" in context:
        return f"the {first} that opens in line {start.line + 1} is not closed, or a comma is missing"
    if "simple key" in context:
        return _no_space(lines[start.line]) or (
            f"line {start.line + 1} has no ': ' behind its key; a text of several lines needs 'key: |' above it"
        )
    return ""


def _no_space(line: str) -> str:
    match = _NO_SPACE.match(line)
    if match:
        return f"a space is missing behind a colon: '{match[1]}: {match[2][:40].strip()}'"
    return ""


def _second_colon(lines: list[str], line: int, before: str, rest: str) -> str:
    """The cause of a colon where there can be none."""
    if not rest.startswith(":"):
        return ""
    if _KEY_WITH_TEXT.match(before):
        text = lines[line].partition(": ")[2].strip()
        return f"quote the text, since it contains ': ', such as '{text[:40]}'"
    above = next((other for other in reversed(lines[:line]) if other.strip()), "")
    return _no_space(above) or (
        "indentation: this line is indented deeper than the one above, which has a value already; "
        "keys of one mapping begin in the same column"
    )


def _misplaced(context: str, before: str, rest: str) -> str:
    """The cause of something that belongs neither to the mapping nor to the list around it."""
    if "parsing a block" not in context:
        return ""
    if not before.strip():
        if rest.startswith("- "):
            return "indentation: a list item stands among the keys of a mapping; the value of a key is one or the other"
        if "collection" in context:
            return "indentation: a key of a list item begins in the column of the first key behind its '- '"
        return "indentation: this line begins in no column of the lines above; keys of one mapping begin in the same"
    if _AFTER_QUOTE.search(before[-500:]):  # the time it takes grows with the square of the length
        return "the text goes on behind its closing quote: quote all of it, and write a ' inside of '…' twice"
    if rest[:1] in ("]", "}"):
        return f"nothing is open that this {rest[:1]} could close"
    value = before.partition(": ")[2].lstrip()
    if value[:1] in ("{", "["):
        return f"quote the text: without quotes it cannot begin with '{value[:1]}'"
    return ""
