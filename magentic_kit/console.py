"""Live progress of a run for a person: plain lines, or a rich terminal with a footer that keeps moving.

What models, tools and users wrote is data: never markup, never a control sequence. Text of several lines
is always indented, so that a line at the margin is ours and no model can fake one.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, TextIO

from magentic_kit import events as ev
from magentic_kit.errors import LimitReached, RunCancelled
from magentic_kit.record import RunRecord, ToolCall, stalled
from magentic_kit.text import count, duration, one_line, printable

if TYPE_CHECKING:
    from rich.console import RenderableType

_INDENT = "  "
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_DOING = {
    "facts": "gathers facts",
    "plan": "plans",
    "ledger": "judges progress",
    "answer": "writes the answer",
}


def make_console(*, stream: TextIO | None = None, mode: Literal["auto", "rich", "plain", "quiet"] = "auto") -> Console:
    """A sink that shows a run on `stream` (default: stderr).

    `auto` is `rich` on a UTF-8 terminal, and `plain` elsewhere, with `TERM=dumb` or with `NO_COLOR`.
    Call `close()` at the end, whatever happened: it gives the terminal back.
    """
    stream = stream or sys.stderr
    if mode == "auto":
        fit = stream.isatty() and "utf" in (stream.encoding or "").lower()
        mode = "plain" if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not fit else "rich"
    return {"rich": RichConsole, "plain": Console, "quiet": QuietConsole}[mode](stream)


class Console:
    """Lines without control codes, and agents' text as it comes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._record = RunRecord()
        self._streamed = False  # whether this turn's text was shown as it came
        self._tail = ""  # the line of text that has no end yet

    def __call__(self, event: ev.AnyEvent) -> None:
        """Shows what happened."""
        self._record.apply(event)
        match event:
            case ev.RunStarted():
                self._line(f"{event.team}: {event.task}", "bold")
                if names := ", ".join(self._record.scripted):
                    self._line(f"scripted replies: no model is called for {names}", "yellow")
            case ev.PlanCreated():
                self._section("facts 1", event.facts)
                self._section("plan 1", event.plan)
            case ev.Replanned():
                self._section(f"facts {event.version}", event.facts)
                self._section(f"plan {event.version}, because {event.reason or 'of stalls'}", event.plan)
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
                if event.note:
                    self._line(f"{event.agent}: {event.note}", "yellow")
                self._end_text()
            case ev.LimitReached():
                self._line(f"limit {event.limit}: {event.detail}", "yellow")
            case ev.RunFinished():
                self._finish(event)
            case _:
                self._show_call(event)

    def close(self) -> None:
        """Ends the output; may be called again."""
        self._end_text()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leaves the terminal to somebody who asks a person."""
        self._end_text()
        yield

    def _show_call(self, event: ev.AnyEvent) -> None:
        match event:
            case ev.PlanReviewed():
                self._line(f"plan {event.version}: {event.decision} {event.feedback}", "cyan")
            case ev.ToolReviewed():
                self._line(f"{event.who} may call {event.function}: {event.decision} {event.reason}", "cyan")
            case ev.RunResumed():
                self._line("── what was done before ends here; now live ──", "bold")
            case ev.LedgerRejected():
                self._line(f"manager: reply {event.attempt} is no progress ledger: {event.error}", "yellow")
            case ev.ModelCallRetried():
                failed = f"{event.who}: attempt {event.attempt} failed: {event.error}"
                self._line(f"{failed}; trying again in {duration(event.wait)}", "yellow")
            case ev.ModelCallFailed(kind=kind) if kind not in (RunCancelled.kind, LimitReached.kind):
                self._line(f"{event.who}: the model call failed: {event.error}", "red")
            case ev.ToolCallFinished() | ev.ToolCallFailed() | ev.ToolCallDenied():
                self._tool(next(c for c in reversed(self._record.tool_calls) if c.call == event.call))

    def _finish(self, event: ev.RunFinished) -> None:
        record = self._record
        for call in record.tool_calls:
            if call.status == "unfinished":
                self._tool(call)
        if record.errors and record.errors[-1].who == "run":  # else it was shown when it happened
            self._line(f"error: {record.errors[-1].message}", "red")
        sums = {"round": len(record.rounds), "stall": record.stalls, "reset": record.resets}
        parts = [count(number, noun) for noun, number in sums.items()]
        parts += [self._tokens(), duration(event.seconds)]
        outcome = f"{event.outcome} ({event.reason})" if event.reason else event.outcome
        style = "bold green" if event.outcome == "satisfied" else "bold yellow"
        self._line(f"run {outcome}: {', '.join(parts)}", style)

    def _ledger(self, event: ev.ProgressLedger) -> str:
        satisfied, moving = event.is_request_satisfied, event.is_progress_being_made
        parts = [self._because("progress" if moving.answer is True else "no progress", moving)]
        if event.is_in_loop.answer is True:
            parts.append(self._because("in a loop", event.is_in_loop))
        if stalled(event):
            parts.append(f"stall {self._of(event.stalls, 'max_stalls')}")
        asked = one_line(str(event.instruction_or_question.answer), self._width())
        then = f" → {event.next_speaker.answer}: {asked}"
        if satisfied.answer is True:
            parts, then = [self._because("satisfied", satisfied)], ""
        parts += [f"{event.attempts} replies"] * (event.attempts > 1) + ["repaired"] * event.repaired
        return f"round {self._of(event.round, 'max_rounds')}: {', '.join(parts)}{then}"

    def _because(self, state: str, judgement: ev.Judgement) -> str:
        return f"{state} ({one_line(judgement.reason, self._width())})" if judgement.reason else state

    def _tool(self, call: ToolCall) -> None:
        given = ", ".join(
            f"{name}={json.dumps(value, ensure_ascii=False, default=str)}".replace("\\n", " ")
            for name, value in (call.arguments or {}).items()
        )
        head = f"tool: {one_line(call.function, 60)}({one_line(given, self._width() // 2)})"
        head += {"ok": " → ", "unfinished": " did not finish"}.get(call.status, f" {call.status}: ")
        took = "" if call.seconds is None else f" ({duration(call.seconds)})"
        result = one_line(call.result, max(self._width() - len(head + took), 20))
        self._line(f"{head}{result}{took}", "dim" if call.status == "ok" else "yellow")

    def _of(self, number: int, limit: str) -> str:
        most = self._record.limits.get(limit)
        return str(number) if most is None else f"{number}/{most}"

    def _tokens(self) -> str:
        totals = self._record.totals
        known = [n for name in ("prompt_tokens", "completion_tokens") if (n := totals[name]) is not None]
        least = "at least " if totals["unknown_calls"] else ""
        return f"{least}{count(sum(known), 'token')}" if known else "tokens unknown"

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

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()

    def _line(self, text: str, style: str) -> None:
        """One line of ours."""
        self._end_text()
        self._write(f"{one_line(text)}\n")

    def _section(self, title: str, text: str) -> None:
        """A text in full under a title."""
        self._line(f"{title}:", "bold")
        self._text(text.strip("\n"))
        self._end_text()

    def _put(self, piece: str) -> None:
        """A piece of the line of text that has no end yet."""
        if piece:
            self._write(piece if self._tail else f"{_INDENT}{piece}")
            self._tail += piece

    def _newline(self) -> None:
        self._tail = ""
        self._write("\n")


class QuietConsole(Console):
    """Shows nothing."""

    def __call__(self, event: ev.AnyEvent) -> None:
        """Shows nothing."""


class RichConsole(Console):
    """Whole lines scroll up; the unfinished line and a footer stay live below them.

    Events come from one thread; the thread that redraws the footer only reads strings.
    """

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console as Terminal
        from rich.live import Live

        super().__init__(stream)
        self._began, self._doing, self._counts = time.monotonic(), "", ""
        self._terminal = Terminal(file=stream, force_terminal=True, markup=False, emoji=False, highlight=False)
        self._live = Live(self, console=self._terminal, refresh_per_second=8, transient=True, redirect_stdout=False)

    def __call__(self, event: ev.AnyEvent) -> None:
        """Shows what happened."""
        super().__call__(event)
        match event:
            case ev.RunStarted():
                self._live.start()
            case ev.ModelCallStarted():
                self._doing = f"{event.who} {_DOING.get(event.purpose, 'thinks')}"
            case ev.TextDelta(purpose="turn"):
                self._doing = f"{event.who} speaks"
            case ev.ToolCallStarted():
                self._doing = one_line(f"{event.who} calls {event.function}", 60)
            case ev.RunFinished():
                self.close()
        if event.logged:
            at, stalls = next(((r.round, r.stalls) for r in self._record.rounds[-1:]), (0, 0))
            counts = f"round {self._of(at, 'max_rounds')} · stalls {self._of(stalls, 'max_stalls')}"
            self._counts = f"{counts} · {self._tokens()}"

    def close(self) -> None:
        """Ends the output and gives the terminal back; may be called again."""
        try:
            super().close()
        finally:
            self._live.stop()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leaves the terminal to somebody who asks a person."""
        with super().paused():
            self._live.stop()
            try:
                yield
            finally:
                self._live.start()

    def __rich__(self) -> RenderableType:
        """The live region, drawn anew below whatever is printed."""
        from rich.console import Group
        from rich.text import Text

        elapsed = time.monotonic() - self._began
        spin = _SPINNER[int(elapsed * 8) % len(_SPINNER)]
        footer = " · ".join(filter(None, (self._doing, self._counts, duration(int(elapsed)))))
        status = Text(f"{spin} {footer}", style="dim", no_wrap=True, overflow="ellipsis")
        if not (tail := self._tail):
            return status
        rows = Text(tail).wrap(self._terminal, max(self._width() - len(_INDENT), 1))
        shown = [Text(_INDENT).append_text(row) for row in rows[2 - self._terminal.height :]]
        return Group(*shown, status)

    def _width(self) -> int:
        return self._terminal.width

    def _line(self, text: str, style: str) -> None:
        from rich.text import Text

        self._end_text()
        self._terminal.print(Text(one_line(text), style=style))

    def _section(self, title: str, text: str) -> None:
        from rich.panel import Panel
        from rich.text import Text

        body = Text(printable(text).strip("\n"))
        self._terminal.print(Panel(body, title=Text(one_line(title)), title_align="left", border_style="cyan"))

    def _put(self, piece: str) -> None:
        self._tail += piece

    def _newline(self) -> None:
        from rich.padding import Padding
        from rich.text import Text

        line, self._tail = self._tail, ""  # first, so that no redraw shows it twice
        self._terminal.print(Padding(Text(line), (0, 0, 0, len(_INDENT)), expand=False))
