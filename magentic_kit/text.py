"""Text that others wrote, made safe to show: control characters never reach a terminal or a report."""

from __future__ import annotations

MASK = "[secret]"
"""What stands where a secret was."""

_REPLACED = "\ufffd"
_TABLE: dict[int, int | str | None] = {
    **{code: 0x2400 + code for code in range(0x20)},  # ESC becomes the picture ␛
    0x7F: 0x2421,
    **dict.fromkeys(range(0x80, 0xA0), _REPLACED),  # C1: U+009B alone starts a control sequence
    **dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)), _REPLACED),  # bidi overrides
    **dict.fromkeys(range(0xD800, 0xE000), _REPLACED),  # lone surrogates cannot be written as UTF-8
    ord("\t"): "\t",
    ord("\n"): "\n",
    ord("\r"): None,
}


def printable(text: str) -> str:
    """`text` without control characters but tab and newline.

    Works one character at a time, so a control sequence that is split over two pieces of a stream
    does not get through either.
    """
    return text.translate(_TABLE)


def sendable(text: str) -> str:
    """`text` with `?` for each lone surrogate (a name of a file may have one): it could not be sent to a model."""
    return text.encode("utf-8", "replace").decode()


def one_line(text: str, limit: int | None = None) -> str:
    """Printable `text` on one line, cut to at most `limit` characters with an ellipsis."""
    line = " ".join(printable(text).split())
    if limit is None or len(line) <= limit:
        return line
    return line[: max(limit - 1, 0)].rstrip() + "…"


def duration(seconds: float) -> str:
    """`seconds` for a person: `0.02 s`, `1.5 s`, `42 s`, `3 min 05 s`."""
    if seconds < 10:
        return f"{round(seconds, 3):.2g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes:
        return f"{minutes} min {rest:02} s"
    return f"{rest} s"


def money(dollars: float) -> str:
    """An amount in US dollars: `$0`, `$0.0042`, `$1.25`, `$1,200.00`; small ones with two digits that count."""
    if dollars == 0 or abs(dollars) >= 0.1:
        if dollars:
            return f"${dollars:,.2f}"
        return "$0"
    shown = f"{dollars:.2g}"
    if "e" in shown:
        shown = f"{dollars:.12f}".rstrip("0").rstrip(".")
    return f"${shown}"


def count(number: int, noun: str, nouns: str = "") -> str:
    """`number` with its noun: `1 round`, `1,200 tokens`."""
    return f"{number:,} {noun if number == 1 else nouns or f'{noun}s'}"
