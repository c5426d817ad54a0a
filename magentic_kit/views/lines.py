"""All that touches the stream of a console: lines of ours, and others' text indented below them."""

from __future__ import annotations

import re
from typing import TextIO

from magentic_kit.text import one_line, printable

INDENT = "  "


class Lines:
    """Writes to one stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._tail = ""  # the text that has no end yet: of the line, or of the Markdown block

    def _width(self) -> int:
        return 110

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()

    def _line(self, text: str, style: str, *, fold: bool = False) -> None:
        """One line of ours; one that is folded has been cut to about the width."""
        self._end_text()
        self._write(f"{one_line(text)}\n")

    def _row(self, where: str, speaker: str, asked: str, judged: str, *, alarm: bool) -> None:
        """A round's ledger."""
        then = ": ".join(part for part in (speaker, asked) if part)
        self._line(f"{where}: {judged} → {then}" if then else f"{where}: {judged}", "")

    def _section(self, title: str, text: str, *, changed: bool = False) -> None:
        """A text in full under a title; one that is `changed` has a mark before each line: "+", "-" or none."""
        self._line(f"{title}:", "bold")
        self._verbatim(text)

    def _verbatim(self, text: str) -> None:
        """A text in full, line by line."""
        self._write("".join(f"{INDENT}{line}".rstrip() + "\n" for line in printable(text).strip("\n").split("\n")))

    def _text(self, text: str) -> None:
        """A piece of what an agent says."""
        shown = re.sub(r"(?<=\n)(?=[^\n])", INDENT, printable(text))
        self._write(shown if self._tail or shown[:1] in ("", "\n") else f"{INDENT}{shown}")
        self._tail = shown.rpartition("\n")[2] if "\n" in shown else self._tail or shown

    def _end_text(self) -> None:
        if self._tail:
            self._tail = ""
            self._write("\n")
