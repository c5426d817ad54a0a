"""When things happened in a run: spans of time folded from its events, and their places on a chart."""

from __future__ import annotations

from dataclasses import dataclass, field

from magentic_kit import events as ev
from magentic_kit.text import duration, one_line

_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400)  # seconds
_KINDS = {"turn": "turn in", "model": "model call for the", "tool": "tool", "wait": "wait"}


@dataclass
class Span:
    """A stretch of the run, from `begin` to `end` in seconds since 1970; `end` is None if it never came.

    `kind` is `turn`, `model`, `tool` or `wait` (before a model call is repeated), `turn` the number of the turn
    it belongs to, from 1, or 0.
    """

    kind: str
    who: str
    name: str
    begin: float
    end: float | None = None
    turn: int = 0
    status: str = "unfinished"
    note: str = ""


@dataclass(frozen=True)
class Bar:
    """A span's place on the chart, `x` and `width` in percent of it, and what it says in words."""

    span: Span
    x: float
    width: float
    title: str


@dataclass
class Timeline:
    """The spans of a run in the order they began; those of turns and tools match the record's lists."""

    began: float = 0.0
    last: float = 0.0
    turns: int = 0
    spans: list[Span] = field(default_factory=list)
    pauses: list[tuple[float, float]] = field(default_factory=list)
    _open: dict[tuple[str, str], Span] = field(default_factory=dict)

    def apply(self, event: ev.AnyEvent) -> None:
        """Take in the next event."""
        if not event.time:  # no run has stamped it
            return
        before, self.last = self.last, ev.seconds(event.time)
        match event:
            case ev.RunStarted():
                self.began = self.last
            case ev.RunResumed():
                self.pauses.append((before, self.last))
            case ev.AgentStarted():
                self._begin("turn", event.agent, f"round {event.round}")
            case ev.AgentMessage():
                self._end("turn", event.agent, f"round {event.round}", note=event.note)
            case ev.ModelCallStarted():
                self._begin("model", event.who, event.purpose, event.call)
            case ev.ModelCallRetried():
                span = self._end("wait", event.who, f"before attempt {event.attempt + 1}", note=event.error)
                span.end = self.last + event.wait
            case ev.ModelCallFinished():
                tokens = f"{event.usage.prompt_tokens or '?'} → {event.usage.completion_tokens or '?'} tokens"
                unheard = ("model", event.call) not in self._open  # a resumed run does not tell again that it began
                span = self._end("model", event.who, event.purpose, event.call, note=tokens)
                span.begin -= event.seconds if unheard and not event.reused else 0
            case ev.ModelCallFailed():
                self._end("model", event.who, event.purpose, event.call, "failed", event.error)
            case ev.ToolCallStarted():
                self._begin("tool", event.who, event.function, event.call)
            case ev.ToolCallFinished():
                self._end("tool", event.who, event.function, event.call)
            case ev.ToolCallFailed():
                self._end("tool", event.who, event.function, event.call, "failed", event.error)
            case ev.ToolCallDenied():
                self._end("tool", event.who, event.function, event.call, "denied", event.reason)

    def bars(self, pixels: int) -> list[Bar]:
        """Every span to scale, a turn before its calls; what never ended lasts to the end.

        Pauses before a resume take no room; what took no time still has two of the chart's `pixels`.
        """
        return [self._bar(span, 200 / pixels) for span in self.spans]

    def ticks(self, pixels: int) -> list[tuple[float, str]]:
        """Round times for an axis of `pixels`: where, in percent, and what they say."""
        most = pixels / 100
        step = next((step for step in _STEPS if self.seconds / step <= most), max(604800, self.seconds / most))
        return [(100 * n * step / self.seconds, duration(n * step)) for n in range(int(self.seconds / step) + 1)]

    def breaks(self) -> list[tuple[float, str]]:
        """Where, in percent, the run was resumed, and after how long."""
        return [(100 * self._at(begin) / self.seconds, duration(end - begin)) for begin, end in self.pauses]

    @property
    def seconds(self) -> float:
        """How long the chart is."""
        return max(self._at(self.last), 0.001)

    def _bar(self, span: Span, least: float) -> Bar:
        begin, end = (self._at(self.last if time is None else time) for time in (span.begin, span.end))
        what = f"{span.who}, {_KINDS[span.kind]} {span.name}: {duration(end - begin)} from {duration(begin)}"
        title = ", ".join(one_line(word, 200) for word in (what, span.status, span.note) if word not in ("", "ok"))
        x, until = (min(max(100 * time / self.seconds, 0), 100) for time in (begin, end))
        width = max(until - x, least)
        return Bar(span, round(min(x, 100 - width), 3), round(width, 3), title)

    def _at(self, time: float) -> float:
        """Seconds since the run began, without the pauses."""
        return time - self.began - sum(max(min(time, end) - begin, 0) for begin, end in self.pauses)

    def _begin(self, kind: str, who: str, name: str, call: str = "") -> None:
        self.turns += kind == "turn"
        span = self._open[kind, call] = Span(kind, who, name, self.last)
        span.turn = self.turns if ("turn", "") in self._open else 0
        self.spans.append(span)

    def _end(self, kind: str, who: str, name: str, call: str = "", status: str = "ok", note: str = "") -> Span:
        if (kind, call) not in self._open:  # a refused call, or one whose reply was recorded before, never began
            self._begin(kind, who, name, call)
        span = self._open.pop((kind, call))
        span.end, span.status, span.note = self.last, status, note
        return span
