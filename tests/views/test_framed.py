"""Others' text before a decision: no character hides, no row reaches the margin, nothing is cut in silence."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from magentic_kit.views.framed import ASCII, UNICODE, Marks, framed, shortened, visible
from magentic_kit.views.markdown import is_same

HIDDEN = {
    "zero width": "\u200b\u200c\u200d\u2060\ufeff",
    "fillers": "\u115f\u1160\u3164\uffa0\u2800\u17b4",
    "tags": "\U000e0041\U000e007f",
    "bidi": "\u202e\u2066\u061c\u200f",
    "odd blanks": "\u00a0\u2003\u3000\u202f\u2028\u2029\x85",
    "selectors": "\ufe0f\U000e0100",
    "controls": "\x00\x1b\r\x0b\x7f\x9b",
    "private and unassigned": "\ue000\U000f0000\u0378",
    "our own marks": "⟨⟩␣⇥",
}


@pytest.mark.parametrize("kind", HIDDEN)
def test_what_does_not_show_itself_is_shown_as_its_number(kind: str) -> None:
    for character in HIDDEN[kind]:
        assert visible(f"rm{character}x") == f"rm⟨U+{ord(character):04X}⟩x"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Größe: 12 €, 売上, हिन्दी, שלום, 🙂", "Größe: 12 €, 売上, हिन्दी, שלום, 🙂"),
        ("a" + " " * 16 + "b", "a" + " " * 16 + "b"),
        ("a" + " " * 400 + "b", "a⟨␣×400⟩b"),  # noqa: RUF001
        ("a\n\n\nb", "a\n\n\nb"),
        ("a" + "\n" * 41 + "b", "a\n⟨40 blank lines⟩\nb"),
        ("\tx", "⇥   x"),
        ("e" + "\u0301" * 5, "e" + "\u0301" * 4 + "⟨U+0301⟩"),
        ("a\n\u0301", "a\n⟨U+0301⟩"),
    ],
)
def test_ordinary_text_stays_and_runs_of_blanks_are_counted(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text(), st.integers(20, 120), st.sampled_from([UNICODE, ASCII]), st.sampled_from(["", "  "]))
def test_every_row_is_in_the_frame_and_within_the_width(text: str, width: int, marks: Marks, indent: str) -> None:
    rows = framed(text, width, indent=indent, marks=marks)
    for row in rows:
        assert row.startswith((marks.first + indent, marks.more + indent))
        assert cell_len(row) < width
        assert all(unicodedata.category(character) not in ("Cc", "Cf", "Zl", "Zp", "Cs") for character in row)
        assert row.isascii() or not marks.only_ascii
    shown = "".join(row[len(marks.first + indent) :] for row in rows)
    assert shown == visible(text, marks).replace("\n", "")


def test_what_is_left_out_is_counted() -> None:
    rows = framed("\n".join(map(str, range(100))), 80)
    short = shortened(rows, 10)
    assert short[0] == rows[0] and short[-1] == rows[-1] and len(short) == 10
    assert "91 rows" in " ".join(short) and "v shows them" in " ".join(short)
    assert shortened(rows, 100) == rows


@pytest.mark.parametrize(
    ("source", "rendered", "same"),
    [
        ("- Query\n- Write", "• Query\n• Write", True),
        ("1. Query\n2. Write", " 1 Query\n 2 Write", True),
        ("# Plan\n\nAsk.", "Plan\n\nAsk.", True),
        ("rm -rf *a* *", "rm -rf a *", False),
        ("| a |\n|---|\n| b | hidden |", "a\nb", False),
        ("```sh hidden\nx\n```", "x", False),
        ('[a](http://b "hidden")', "a (http://b)", False),
    ],
)
def test_rendered_markdown_counts_as_whole_only_if_nothing_was_dropped(source: str, rendered: str, same: bool) -> None:
    assert is_same(source, rendered) is same
