"""The console on a terminal: finished Markdown blocks scroll up, the unfinished one and a footer stay live below."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from rich.console import Console as Screen
from rich.console import Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.segment import Segment, SegmentLines
from rich.table import Table
from rich.text import Text

from magentic_kit import events as ev
from magentic_kit.runlog.record import RunRecord
from magentic_kit.runlog.usage import tokens_of
from magentic_kit.text import duration, one_line, printable
from magentic_kit.views.console import Console
from magentic_kit.views.framed import visible
from magentic_kit.views.lines import INDENT
from magentic_kit.views.markdown import BLOCK_LIMIT, blocks, is_same, markdown
from magentic_kit.views.wording import number_of

_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_DOING = {
    "facts": "gathers facts",
    "plan": "plans",
    "ledger": "judges progress",
    "answer": "writes the answer",
    "summary": "sums up",
}
_TEXT_LIMIT = 50_000  # characters; what is longer is shown as it is, not as Markdown
_LIVE_LIMIT = 4_000  # characters of a growing block that are drawn anew at every frame
_FRAMES = 8  # a second
_NEAR = 0.8  # of a limit
_CHANGED = {"+": "green", "-": "red"}


class RichConsole(Console):
    """Panels for plans, rows for rounds, Markdown for what is said, and a footer that keeps moving.

    Events come from one thread, another redraws the footer: one at a time, since what rich prints above a live
    display and what it draws anew are not one step, and either could be drawn over.
    """

    def __init__(self, stream: TextIO, **options: Any) -> None:
        super().__init__(stream, **options)
        self._said = 0  # characters of the text under way
        self._spaced = False  # whether a block of it was printed
        self._raw = False  # whether it has become too long for Markdown
        self._doing, self._since, self._stalls = "", 0.0, 0
        self._tokens_used = self._manager_tokens = 0
        self._screen = Screen(file=stream, force_terminal=True, markup=False, emoji=False, highlight=False)
        self._live = self._new_live()
        self._drawing = threading.RLock()
        self._closed = threading.Event()
        self._closed.set()

    def _new_live(self) -> Live:
        return Live(self, console=self._screen, auto_refresh=False, transient=True, redirect_stdout=False)

    def _show(self, event: ev.AnyEvent, record: RunRecord) -> None:
        with self._drawing:
            self._draw(event, record)

    def _draw(self, event: ev.AnyEvent, record: RunRecord) -> None:
        self._since = self._clock()
        match event:
            case ev.ModelCallStarted():
                self._doing = f"{event.who} {_DOING.get(event.purpose, 'thinks')}"
            case ev.ModelCallFinished():  # summed here: the footer's thread may not walk what a run may change
                self._tokens_used = record.tokens or 0
                self._manager_tokens = tokens_of(record.tally_of(ev.MANAGER)) or 0
            case ev.TextDelta(purpose="turn"):
                self._doing = f"{event.who} speaks"
            case ev.ToolCallStarted():
                self._doing = f"{event.who} calls {event.function}"
            case ev.ProgressLedger() | ev.Replanned():
                self._stalls = getattr(event, "stalls", 0)
        super()._show(event, record)
        if isinstance(event, ev.RunStarted) and self._closed.is_set():
            self._closed.clear()
            self._live.start()
            threading.Thread(target=self._redraw, name="footer", daemon=True).start()
        elif isinstance(event, ev.RunFinished):
            self.close()

    def close(self) -> None:
        """Ends the output and gives the terminal back; may be called again."""
        self._closed.set()
        with self._drawing:
            try:
                super().close()
            finally:
                self._live.stop()

    @contextmanager
    def waiting(self, reason: str) -> Iterator[None]:
        """Shows a spinner and what is waited for."""
        with self._screen.status(Text(one_line(reason), style="dim")):
            yield

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leaves the terminal to somebody who asks a person."""
        with self._drawing:
            self._end_text()
            was_live = self._live.is_started
            self._live.stop()
        with super().paused():
            try:
                yield
            finally:
                with self._drawing:
                    if was_live and not self._closed.is_set():
                        self._live = self._new_live()  # the old one would erase as many rows as it once had
                        self._live.start()

    def shows_all_of(self, plan: str) -> bool:
        """Whether the panel of a plan has every character of its source."""
        if len(plan) > BLOCK_LIMIT or visible(plan) != plan:
            return False
        lines = self._lines(markdown(plan), max(map(len, plan.split("\n"))) + 100)
        return is_same(plan, "\n".join("".join(part.text for part in line) for line in lines))

    def _redraw(self) -> None:
        while not self._closed.wait(1 / _FRAMES):
            with self._drawing:
                if self._live.is_started:
                    self._live.refresh()

    def __rich__(self) -> RenderableType:
        """The live region, drawn anew below whatever is printed."""
        footer = self._footer()
        room = max(self._screen.height - len(footer) - 1, 0)
        lines: list[list[Segment]] = []
        if tail := self._tail:
            shown = markdown(tail) if len(tail) <= _LIVE_LIMIT else Text(tail[-_LIVE_LIMIT:])
            lines = [[]] * self._spaced + self._indented(shown)
        return Group(SegmentLines(lines[-room:] if room else [], new_lines=True), *footer)

    def _footer(self) -> list[Text]:
        timeline, limits, now = self._record.timeline, self._record.limits, self._clock()
        elapsed = now - timeline.began - sum(end - begin for begin, end in timeline.pauses)
        silent = int(now - self._since)
        doing = f"{_SPINNER[int(now * 8) % len(_SPINNER)]} {one_line(self._doing, 60)}"
        manager, agents = self._manager_tokens, self._tokens_used - self._manager_tokens
        rounds, resets = len(self._record.turns), self._record.resets
        most = f" of {duration(deadline)}" if (deadline := limits.deadline) else ""
        parts = [
            (f"{doing} {duration(silent)}" if silent else doing, 0.0, None),
            (f"round {number_of(rounds, limits.max_rounds)}", rounds, limits.max_rounds),
            (f"stalls {number_of(self._stalls, limits.max_stalls)}", self._stalls, limits.max_stalls),
            (f"resets {number_of(resets, limits.max_resets)}", resets, limits.max_resets),
            (f"tokens {manager:,} manager, {agents:,} agents", manager + agents, limits.max_tokens),
            (f"{duration(int(elapsed))}{most}", elapsed, deadline),
        ]
        rows = [Text(no_wrap=True, overflow="ellipsis")]
        for text, number, limit in parts:
            near = number > _NEAR * (limit or float("inf"))
            part = Text(f"{text}!" if near else text, style="bold yellow" if near else "dim")
            if rows[-1] and rows[-1].cell_len + 3 + part.cell_len > self._width():
                rows.append(Text("  ", no_wrap=True, overflow="ellipsis"))
            elif rows[-1]:
                rows[-1].append(" · ", "dim")
            rows[-1].append_text(part)
        return rows

    def _width(self) -> int:
        return self._screen.width

    def _lines(self, shown: RenderableType, width: int) -> list[list[Segment]]:
        """`shown` as it will stand on the screen, nothing in it but text and our own styles."""
        lines = self._screen.render_lines(shown, self._screen.options.update(width=max(width, 1)), pad=False)
        full = [index for index, line in enumerate(lines) if any(part.text.strip() for part in line)] or [-1]
        clean = lines[full[0] : full[-1] + 1]  # rich begins a list with an empty line
        return [[Segment(printable(part.text), part.style) for part in line] for line in clean]

    def _indented(self, shown: RenderableType) -> list[list[Segment]]:
        return [[Segment(INDENT), *line] for line in self._lines(shown, self._width() - len(INDENT))]

    def _print(self, lines: Iterable[list[Segment]]) -> None:
        self._screen.print(SegmentLines(lines, new_lines=True), end="")

    def _line(self, text: str, style: str, *, fold: bool = False) -> None:
        self._end_text()
        shown = Text(one_line(text), style=style)
        if fold:
            shown.truncate(self._width() - len(INDENT), overflow="ellipsis")
        first, *rest = self._lines(shown, self._width() - len(INDENT)) or [[]]
        self._print([first, *([Segment(INDENT), *line] for line in rest)])  # nobody's text wraps to the margin

    def _row(self, where: str, speaker: str, asked: str, judged: str, *, alarm: bool) -> None:
        self._end_text()
        row = Table.grid(padding=(0, 1))
        row.add_column(no_wrap=True, style="bold yellow" if alarm else "bold cyan")
        row.add_column()
        body = Text.assemble("→ ", (speaker, "bold magenta"), asked and f": {asked}", " · ") if speaker else Text()
        body.append(judged, "yellow" if alarm else "dim")
        row.add_row(where if speaker else f"{where}:", body)
        self._print(self._lines(row, self._width()))

    def _section(self, title: str, text: str, *, changed: bool = False) -> None:
        self._end_text()
        body: RenderableType = SegmentLines(self._lines(markdown(printable(text)), self._width() - 4), new_lines=True)
        if changed:
            lines = printable(text).split("\n")
            body = Text("\n").join(Text(line, style=_CHANGED.get(line[:1], "")) for line in lines)
        style = "yellow" if changed else "cyan"
        panel = Panel(body, title=Text(one_line(title)), title_align="left", border_style=style)
        self._print(self._lines(panel, self._width()))

    def _verbatim(self, text: str) -> None:
        self._print(self._indented(Text(printable(text).strip("\n"), style="dim")))

    def _text(self, text: str) -> None:
        self._tail += printable(text)
        self._said += len(text)
        if "\n" in text or len(self._tail) > BLOCK_LIMIT:
            self._flush()

    def _end_text(self) -> None:
        self._flush(ended=True)
        self._said, self._spaced, self._raw = 0, False, False

    def _flush(self, *, ended: bool = False) -> None:
        """Prints the blocks that are finished: all but the last, which the next line may still change."""
        self._raw |= self._said > _TEXT_LIMIT
        whole = len(self._tail) if ended else self._tail.rfind("\n") + 1
        done, last = [self._tail[:whole]], ""
        if not self._raw:
            *done, last = blocks(self._tail[:whole])
        rest = last + self._tail[whole:]
        if ended or len(rest) > BLOCK_LIMIT:
            done, rest, self._raw = [*done, rest], "", self._raw or not ended
        lines: list[list[Segment]] = []
        for block in filter(str.strip, done):
            apart = (self._spaced or lines) and not self._raw
            lines += [[]] * bool(apart) + self._indented(Text(block.strip("\n")) if self._raw else markdown(block))
        self._tail, self._spaced = rest, self._spaced or bool(lines)  # first, so that no redraw shows it twice
        if lines:
            self._print(lines)
