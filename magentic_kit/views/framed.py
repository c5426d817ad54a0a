"""Others' text as a person sees it before a decision: every character visible, in a frame that no text can leave."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from magentic_kit.text import count

_MOST_BLANKS = 16  # in a row that are shown as they are
_MOST_BLANK_LINES = 3
_MOST_PILED = 4  # combining marks on one character
_WIDE_FROM = 0x1100  # characters from here on may take two columns

_INVISIBLE = (  # ranges that look like nothing, or like a blank, though some of them count as letters
    *((0x00AD, 0x00AD), (0x034F, 0x034F), (0x061C, 0x061C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F)),
    *((0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x2800, 0x2800), (0x3164, 0x3164), (0xFE00, 0xFE0F)),
    *((0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFFB), (0x16FE4, 0x16FE4), (0x1BCA0, 0x1BCA3)),
    *((0x1D159, 0x1D159), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF)),
)
_OURS = frozenset("⟨⟩␣⇥")  # so that what we insert cannot be mistaken for text, nor text for it
_PLAIN = re.compile(r"[\n -~]*")
_BLANKS = re.compile(rf" {{{_MOST_BLANKS + 1},}}")
_BLANK_LINES = re.compile(rf"\n(?: *\n){{{_MOST_BLANK_LINES + 1},}}")


@dataclass(frozen=True, kw_only=True)
class Marks:
    """What we put beside others' text and into it: the left edge of a line, of its continuation, escapes, a tab."""

    first: str = "  │ "
    more: str = "  ┊ "
    escape: str = "⟨{}⟩"
    blanks: str = "␣×"  # noqa: RUF001
    tab: str = "⇥   "
    only_ascii: bool = False


UNICODE = Marks()
ASCII = Marks(first="  | ", more="  : ", escape="<{}>", blanks="blanks x", tab="<tab>", only_ascii=True)
"""For a terminal whose encoding lacks the others; all text that is not ASCII is escaped then."""


def framed(text: str, width: int, *, indent: str = "", marks: Marks = UNICODE) -> list[str]:
    """The whole text as rows of at most `width` columns; a line that does not fit goes on in rows with another mark."""
    room = max(width - len(marks.first) - len(indent) - 1, 8)
    rows = []
    for line in visible(text, marks).split("\n"):
        head, *rest = _wrapped(line, room)
        rows.append(f"{marks.first}{indent}{head}")
        rows += [f"{marks.more}{indent}{row}" for row in rest]
    return rows


def shortened(rows: list[str], most: int) -> list[str]:
    """The first and the last of `rows`, and between them how many are left out, if there are more than `most`."""
    most = max(most, 4)
    if len(rows) <= most:
        return rows
    end = most // 3
    start = most - end - 1
    left_out = rows[start:-end]
    characters = sum(len(row) for row in left_out)
    note = f"  ... {count(len(left_out), 'row')} ({count(characters, 'character')}) not shown here: v shows them"
    return [*rows[:start], note, *rows[-end:]]


def visible(text: str, marks: Marks = UNICODE) -> str:
    """The text with each character shown that does not show itself: `⟨U+200B⟩`, `⟨9 blank lines⟩`.

    Newlines stay. What is not ordinary: controls, format characters, blanks but the common one, fillers, what is not
    assigned, piles of combining marks, and our own marks.
    """

    def blanks(match: re.Match[str]) -> str:
        return marks.escape.format(f"{marks.blanks}{len(match[0]):,}")

    def blank_lines(match: re.Match[str]) -> str:
        number = match[0].count("\n") - 1
        return f"\n{marks.escape.format(f'{number:,} blank lines')}\n"

    if not _PLAIN.fullmatch(text):
        text = _escaped(text, marks)
    return _BLANK_LINES.sub(blank_lines, _BLANKS.sub(blanks, text))


def _escaped(text: str, marks: Marks) -> str:
    """The text with everything escaped that is not ordinary."""
    shown: list[str] = []
    piled = _MOST_PILED  # combining marks so far; at a line's beginning one would sit on the frame
    for character in text:
        combines = unicodedata.category(character).startswith("M")
        if character == "\t":
            shown.append(marks.tab)
        elif character == "\n" or (_is_ordinary(character, marks) and not (combines and piled >= _MOST_PILED)):
            shown.append(character)
        else:
            shown.append(marks.escape.format(f"U+{ord(character):04X}"))
        if combines:
            piled += 1
        elif character.isspace():
            piled = _MOST_PILED
        else:
            piled = 0
    return "".join(shown)


def _is_ordinary(character: str, marks: Marks) -> bool:
    if marks.only_ascii and not character.isascii():
        return False
    if not character.isprintable() or character in _OURS:
        return False
    return not any(first <= ord(character) <= last for first, last in _INVISIBLE)


def _wrapped(line: str, room: int) -> list[str]:
    """The line in pieces of at most `room` columns; counted so that no terminal needs more."""
    if len(line) <= room and line.isascii():
        return [line]
    rows, start, used = [], 0, 0
    for index, character in enumerate(line):
        columns = 1 + (ord(character) >= _WIDE_FROM)
        if used + columns > room:
            rows.append(line[start:index])
            start, used = index, 0
        used += columns
    return [*rows, line[start:]]
