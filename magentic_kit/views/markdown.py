"""Others' Markdown on a terminal: without links, HTML or large headings, and in bounded time."""

from __future__ import annotations

import re
from itertools import pairwise

from markdown_it import MarkdownIt
from rich.console import RenderableType
from rich.markdown import Markdown
from rich.text import Text

BLOCK_LIMIT = 20_000
"""Characters of a block; a longer one is shown as it is, not as Markdown."""

_PARSER = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
_PARSER.disable(["reference", "entity", "image"])  # what a text says, it shows
_OUTLINE = MarkdownIt("commonmark", {"html": False}).enable("table").disable(["reference", "inline"])
_SOURCE_MARK = re.compile(r"^\s*(?:[-*+]|\d+[.)]|#{1,6})\s+", re.MULTILINE)
_SHOWN_MARK = re.compile(r"^\s*(?:•|\d+)\s", re.MULTILINE)


def markdown(text: str) -> RenderableType:
    """Markdown without links, HTML or large headings; a text too long for it is shown as it is."""
    if len(text) > BLOCK_LIMIT:
        return Text(text.strip("\n"))
    shown = Markdown("", hyperlinks=False)
    shown.parsed = _PARSER.parse(text)
    for token in shown.parsed:
        token.tag = "h3" if token.tag in ("h1", "h2") else token.tag
    return shown


def blocks(text: str) -> list[str]:
    """The top-level Markdown blocks of whole lines, each with the lines up to the next."""
    lines = re.findall(r"[^\n]*\n|[^\n]+$", text)
    starts = [token.map[0] for token in _OUTLINE.parse(text) if token.level == 0 and token.map]
    return ["".join(lines[begin:end]) for begin, end in pairwise([0, *starts[1:], len(lines)])]


def is_same(source: str, rendered: str) -> bool:
    """Whether `rendered` has all characters of its Markdown source but blanks and the marks of lists and headings."""
    return "".join(_SOURCE_MARK.sub("", source).split()) == "".join(_SHOWN_MARK.sub("", rendered).split())
