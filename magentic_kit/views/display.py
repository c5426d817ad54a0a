"""The console that fits where it is shown: drawn on a terminal, in plain lines elsewhere, or none."""

from __future__ import annotations

import os
import sys
import time
from typing import Literal, TextIO, TypeAlias

from magentic_kit.views.console import Clock, Console, QuietConsole

Mode: TypeAlias = Literal["auto", "rich", "plain", "quiet"]


def make_console(
    *,
    stream: TextIO | None = None,
    mode: Mode = "auto",
    verbosity: str = "normal",
    show_reasons: bool = True,
    announced: str = "",
    clock: Clock = time.time,
) -> Console:
    """A view that shows a run on `stream` (default: stderr).

    `auto` is `rich` on a UTF-8 terminal, and `plain` elsewhere, with `TERM=dumb` or with `NO_COLOR`.
    `announced` is the line of team and task (`team: task`) that stands there already.
    `verbosity` is `quiet` (plans, rounds, trouble and the end), `normal` (what is said and called as well) or
    `full` (facts, all of the manager's reasons, whole results as well); `clock` tells seconds since 1970.
    Call `close()` at the end, whatever happened: it gives the terminal back.
    """
    stream = stream or sys.stderr
    if mode == "auto":
        mode = "rich" if can_draw(stream) else "plain"
    return _kind(mode)(stream, verbosity=verbosity, show_reasons=show_reasons, announced=announced, clock=clock)


def _kind(mode: Mode) -> type[Console]:
    if mode == "plain":
        return Console
    if mode == "quiet":
        return QuietConsole
    from magentic_kit.views.live import RichConsole  # plain lines need no rich

    return RichConsole


def can_draw(stream: TextIO) -> bool:
    """Says whether a stream is a terminal that shows colours and Unicode, and nobody has switched them off."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream.isatty() and "utf" in (stream.encoding or "").lower()
