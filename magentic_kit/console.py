"""Live progress of a run for a person: plain lines, or a rich terminal with a footer that keeps moving.

What models, tools and users wrote is data: never markup, never a control sequence. Text of several lines
is always indented, so that a line at the margin is ours and no model can fake one.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Literal, TextIO

from magentic_kit import events as ev
from magentic_kit.errors import LimitReached, RunCancelled
from magentic_kit.record import RunRecord, ToolCall, stalled
from magentic_kit.text import count, duration, one_line, printable

if TYPE_CHECKING:
    from rich.console import RenderableType

Mode = Literal["auto", "rich", "plain", "quiet"]

_INDENT = "  "
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_DOING = {
    "facts": "gathers facts",
    "plan": "plans",
    "ledger": "judges progress",
    "answer": "writes the answer",
}


def make_console(*, stream: TextIO | None = None, mode: Mode = "auto") -> Console:
    """A sink that shows a run on `stream` (default: stderr).

    `auto` is `rich` on a UTF-8 terminal, and `plain` elsewhere, with `TERM=dumb` or with `NO_COLOR`.
    Call `close()` at the end, whatever happened: it gives the terminal back.
    """
    stream = stream or sys.stderr
    if mode == "auto":
        fit = stream.isatty() and "utf" in (stream.encoding or "").lower()
        mode = (
            "plain" if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not fit else "rich"
        )
    return {"rich": RichConsole, "plain": PlainConsole, "quiet": Console}[mode](stream)


class Console:
    """The quiet console; the others say more."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, event: ev.AnyEvent) -> None:
        """Shows what happened."""

    def close(self) -> None:
        """Ends the output; may be called again."""


class PlainConsole(Console):
    """Lines without control codes, and agents' text as it comes."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._record = RunRecord()
        self._streamed = False  # whether this turn's text was shown as it came
        self._tail = ""  # the line that has no end yet

    def __call__(self, event: ev.AnyEvent) -> None:
        """Shows what happened."""
        self._record.apply(event)
        match event:
            case ev.RunStarted():
                self._line(f"{event.team}: {event.task}", "bold")
                if names := self._record.scripted:
                    everyone = len(names) == len(self._record.participants)
                    whose = "" if everyone else f" for {', '.join(names)}"
                    self._line(f"scripted replies{whose}: no model is called", "yellow")
            case ev.PlanCreated() | ev.Replanned():
                reason = event.reason if isinstance(event, ev.Replanned) else ""
                self._section(f"facts {event.version}", event.facts)
                self._section(f"plan {event.version}{f' ({reason})' if reason else ''}", event.plan)
            case ev.ProgressLedger():
                self._line(self._ledger(event), "yellow" if stalled(event) else "cyan")
            case ev.AgentStarted():
                self._streamed = False
                self._line(f"── {event.agent} ──", "bold magenta")
            case ev.TextDelta(purpose="turn"):
                self._streamed = True
                self._text(event.text)
            case ev.AgentMessage():
                if not self._streamed:
                    self._text(event.text)
                self._end_text()
                if event.note:
                    self._line(f"{event.agent}: {event.note}", "yellow")
            case ev.LimitHit():
                self._line(f"limit {event.limit}: {event.detail}", "yellow")
            case ev.RunFinished():
                self._finish(event)
            case _:
                self._show_call(event)

    def close(self) -> None:
        """Ends the output; may be called again."""
        self._end_text()

    def _show_call(self, event: ev.AnyEvent) -> None:
        match event:
            case ev.LedgerRejected():
                self._line(
                    f"{ev.MANAGER}: reply {event.attempt} is no progress ledger: {event.error}", "yellow"
                )
            case ev.ModelCallRetried():
                again = f"trying again in {duration(event.wait)}"
                self._line(f"{event.who}: attempt {event.attempt} failed: {event.error}; {again}", "yellow")
            case ev.ModelCallFailed(kind=kind) if kind not in (RunCancelled.kind, LimitReached.kind):
                self._line(f"{event.who}: the model call failed: {event.error}", "red")
            case ev.ToolCallFinished() | ev.ToolCallFailed() | ev.ToolCallDenied():
                calls = reversed(self._record.tool_calls)
                self._tool(next(call for call in calls if call.call == event.call))

    def _finish(self, event: ev.RunFinished) -> None:
        record = self._record
        for call in record.tool_calls:
            if call.status == "unfinished":
                self._tool(call)
        if record.errors and record.errors[-1].who == "run":  # else it was shown when it happened
            self._line(f"error: {record.errors[-1].message}", "red")
        parts = [
            count(len(record.rounds), "round"),
            count(record.stalls, "stall"),
            count(record.resets, "reset"),
        ]
        if len(record.scripted) < len(record.participants):
            unknown = record.totals["unknown_calls"]
            some = f" ({count(unknown, 'call')} told none)" if unknown else ""
            parts.append((self._tokens() or "tokens unknown") + some)
        reason = f" ({event.reason})" if event.reason else ""
        style = "bold green" if event.outcome == "satisfied" else "bold yellow"
        self._line(f"run {event.outcome}{reason}: {', '.join(parts)}, {duration(event.seconds)}", style)

    def _ledger(self, event: ev.ProgressLedger) -> str:
        def because(judgement: ev.Judgement) -> str:
            return f" ({one_line(judgement.reason, self._width())})" if judgement.reason else ""

        moving, satisfied = event.is_progress_being_made, event.is_request_satisfied.answer is True
        if satisfied:
            parts = [f"satisfied{because(event.is_request_satisfied)}"]
        else:
            parts = [f"{'progress' if moving.answer is True else 'no progress'}{because(moving)}"]
            parts += [f"in a loop{because(event.is_in_loop)}"] if event.is_in_loop.answer is True else []
        parts += [f"stall {self._of(event.stalls, 'max_stalls')}"] if stalled(event) else []
        parts += [f"{event.attempts} replies"] if event.attempts > 1 else []
        parts += ["repaired"] if event.repaired else []
        line = f"round {self._of(event.round, 'max_rounds')}: {', '.join(parts)}"
        asked = one_line(str(event.instruction_or_question.answer), self._width())
        return line if satisfied else f"{line} → {event.next_speaker.answer}: {asked}"

    def _tool(self, call: ToolCall) -> None:
        given = (
            f"{name}={json.dumps(value, ensure_ascii=False, default=str)}".replace("\\n", " ")
            for name, value in (call.arguments or {}).items()
        )
        head = f"{one_line(call.function, 60)}({one_line(', '.join(given), self._width() // 2)})"
        ends = {"ok": " → ", "failed": " failed: ", "denied": " denied: ", "unfinished": " did not finish"}
        took = "" if call.seconds is None else f" ({duration(call.seconds)})"
        end, style = ends[call.status], "dim" if call.status == "ok" else "yellow"
        room = self._width() - len("tool: ") - len(head) - len(end) - len(took)
        self._line(f"tool: {head}{end}{one_line(call.result, max(room, 20))}{took}", style)

    def _of(self, number: int, limit: str) -> str:
        most = self._record.limits.get(limit)
        return str(number) if most is None else f"{number}/{most}"

    def _tokens(self) -> str:
        known = [self._record.totals[name] for name in ("prompt_tokens", "completion_tokens")]
        return "" if known == [None, None] else count(sum(number or 0 for number in known), "token")

    def _text(self, text: str) -> None:
        first, *rest = printable(text).split("\n")
        self._put(first)
        for piece in rest:
            self._newline()
            self._put(piece)

    def _end_text(self) -> None:
        if self._tail:
            self._newline()

    # What follows is all that touches the stream.

    def _width(self) -> int:
        return 110

    def _line(self, text: str, style: str = "") -> None:
        """One line of ours."""
        self._end_text()
        self._stream.write(f"{one_line(text)}\n")
        self._stream.flush()

    def _section(self, title: str, text: str) -> None:
        """A text in full under a title."""
        self._line(f"{title}:")
        self._text(text.strip("\n"))
        self._end_text()

    def _put(self, piece: str) -> None:
        """A piece of the line that has no end yet."""
        if piece:
            self._stream.write(piece if self._tail else f"{_INDENT}{piece}")
            self._stream.flush()
            self._tail = piece

    def _newline(self) -> None:
        self._tail = ""
        self._stream.write("\n")
        self._stream.flush()


class RichConsole(PlainConsole):
    """Whole lines scroll up; the unfinished line and a footer stay live below them.

    Events come from one thread; the thread that redraws the footer only reads strings.
    """

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console as Terminal
        from rich.live import Live

        super().__init__(stream)
        self._terminal = Terminal(
            file=stream, force_terminal=True, markup=False, emoji=False, highlight=False
        )
        self._live = Live(
            get_renderable=self._footer,
            console=self._terminal,
            transient=True,
            refresh_per_second=8,
            redirect_stdout=False,
        )
        self._began = time.monotonic()
        self._doing = self._counts = ""

    def __call__(self, event: ev.AnyEvent) -> None:
        """Shows what happened."""
        super().__call__(event)
        match event:
            case ev.RunStarted():
                self._began = time.monotonic()
                self._live.start()
            case ev.ModelCallStarted():
                self._doing = f"{event.who} {_DOING.get(event.purpose, 'thinks')}"
            case ev.ToolCallStarted():
                self._doing = one_line(f"{event.who} calls {event.function}", 60)
            case ev.TextDelta(purpose="turn"):
                self._doing = f"{event.who} speaks"
                return
            case ev.RunFinished():
                self.close()
        rounds = self._record.rounds
        counts = [f"round {self._of(rounds[-1].round if rounds else 0, 'max_rounds')}"]
        counts += [f"stalls {self._of(rounds[-1].stalls if rounds else 0, 'max_stalls')}", self._tokens()]
        self._counts = " · ".join(filter(None, counts))

    def close(self) -> None:
        """Ends the output and gives the terminal back; may be called again."""
        try:
            super().close()
        finally:
            self._live.stop()

    def _footer(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        seconds = time.monotonic() - self._began
        spin = _SPINNER[int(seconds * 8) % len(_SPINNER)]
        footer = " · ".join(filter(None, (self._doing, self._counts, duration(int(seconds)))))
        status = Text(f"{spin} {footer}", style="dim", no_wrap=True, overflow="ellipsis")
        return Group(Text(f"{_INDENT}{self._tail}"), status) if self._tail else status

    def _width(self) -> int:
        return self._terminal.width

    def _line(self, text: str, style: str = "") -> None:
        from rich.text import Text

        self._end_text()
        self._terminal.print(Text(one_line(text), style=style))

    def _section(self, title: str, text: str) -> None:
        from rich.panel import Panel
        from rich.text import Text

        body = Text(printable(text).strip("\n"))
        self._terminal.print(
            Panel(body, title=Text(one_line(title)), title_align="left", border_style="cyan")
        )

    def _put(self, piece: str) -> None:
        from rich.text import Text

        room = max(self._width() - len(_INDENT), 1)
        tail = Text(self._tail + piece)
        if tail.cell_len <= room:
            self._tail = tail.plain
            return
        rows = [row.plain for row in tail.wrap(self._terminal, room)]
        if tail.plain[-1] == " " != rows[-1][-1:]:
            rows.append("")  # the last row is full: the space that ends it must still part two words
        self._tail = rows.pop()
        self._terminal.print(Text("\n".join(f"{_INDENT}{row}" for row in rows)))

    def _newline(self) -> None:
        from rich.text import Text

        line, self._tail = self._tail, ""
        self._terminal.print(Text(f"{_INDENT}{line}"))
