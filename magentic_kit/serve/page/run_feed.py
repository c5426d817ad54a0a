"""The page of one run as it grows, from events of this process or from a log that another process writes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magentic_kit import events as ev
from magentic_kit.errors import KitError
from magentic_kit.runlog.reader import LogTail
from magentic_kit.runlog.record import RunRecord
from magentic_kit.serve.page.feed import Feed
from magentic_kit.serve.page.meters import Meter, meters_of, phase_of
from magentic_kit.serve.page.questions import Asked, Questions
from magentic_kit.serve.page.rendering import Site, charge_parts, render_run
from magentic_kit.views.html import LiveState, ReportParts, TextLimits, round_numbers, text_limits

if TYPE_CHECKING:
    from magentic_kit.run import Run

_LARGEST = 4_000_000  # characters of all parts; past it, texts are cut shorter
_FRESH = 60.0
"""Seconds after the last event of another process's run, in which it is taken to be under way."""
_STEADY = ("head", "answer", "tokens", "loose", "errors", "error-count")
_STREAMED = ("turn", "facts", "plan", "answer")


@dataclass
class ActiveRun:
    """A run that this process carries out, with what it asks."""

    run: Run
    questions: Questions
    is_stopping: bool = False


class RunFeed(Feed):
    """The parts of a run's page; what waits for a person and the controls are parts too."""

    is_queued = False

    def __init__(self, run_dir: Path, site: Site, *, under: str = "runs") -> None:
        super().__init__()
        self.run_dir, self.site = run_dir, site
        self.base = f"{site.prefix}/{under}/{run_dir.name}"
        self.record = RunRecord()
        self.active: ActiveRun | None = None
        self.problem = ""
        """Why the run could not be carried out as it was asked for last."""
        self.limits = TextLimits()
        self._tail: LogTail | None = None
        self._phase = ""
        self._dirty: set[int] = set()
        self._has_new_plan = False
        self._next_timeline = 0.0
        self._asked: set[int] = set()

    # -- what happens

    def show(self, event: ev.AnyEvent, record: RunRecord) -> None:
        """Takes in an event of a run of this process, as a view does."""
        if record is not self.record:
            self._restart(record)
        self._apply(event)
        self.changed()

    async def poll(self) -> None:
        """Reads what another process has written to the log meanwhile."""
        if self.active is not None:
            return
        try:
            new, record = await self._read()
        except KitError as error:
            self.problem = str(error)
            return
        if record is not None:
            self._restart(record)
        for event in new:
            self.record.apply(event)
            self._apply(event)

    async def _read(self) -> tuple[Sequence[ev.AnyEvent], RunRecord | None]:
        """Returns new events; with a new record, all of them, since those before hold no more."""
        tail = self._tail or LogTail(self.run_dir)
        new = await asyncio.to_thread(tail.read)
        if self._tail and any(isinstance(event, ev.RunResumed) for event in new):
            self._tail, tail = None, LogTail(self.run_dir)
            new = await asyncio.to_thread(tail.read)
        if self._tail is not None:
            return new, None
        self._tail = tail
        return ev.effective(new), RunRecord()

    def carry(self, active: ActiveRun) -> None:
        """Follows a run of this process from here on."""
        self.active, self.problem = active, ""
        self.changed(at_once=True)

    def follow_log(self) -> None:
        """Follows the log from here on, since this process does not carry out the run any more."""
        self.active, self._tail = None, None
        self.changed(at_once=True)

    def _restart(self, record: RunRecord) -> None:
        self.record, self._phase = record, ""
        self._dirty = {int(name.removeprefix("round-")) for name in self.names() if name.startswith("round-")}
        self._has_new_plan, self._next_timeline = True, 0.0

    def _apply(self, event: ev.AnyEvent) -> None:
        match event:
            case ev.TextDelta(purpose=purpose) if purpose in _STREAMED:
                key, title, text = self.stream
                self.stream = (key, title, text + event.text)
                return
            case ev.TextDelta() | ev.ReasoningDelta():
                return
            case ev.ModelCallStarted(purpose=purpose) if purpose in _STREAMED:
                self.stream = (event.call, f"{event.who} writes", "")
            case ev.ModelCallFinished() | ev.ModelCallFailed() | ev.AgentMessage():
                self.stream = ("", "", "")
            case ev.PlanCreated() | ev.Replanned() | ev.PlanReviewed():
                self._has_new_plan = True
            case ev.RunFinished():
                self._next_timeline = 0.0
                self._dirty.update(round_numbers(self.record))
                self.stream = ("", "", "")
        self._phase = phase_of(event) or self._phase
        self._dirty.update(ledger.round for ledger in self.record.rounds[-1:])
        self._dirty.update(turn.round for turn in self.record.turns[-1:])

    # -- what is shown

    def page(self) -> str:
        """Returns the whole page, of the parts as they were rendered last."""
        parts = {name: html for _, name, html in self.parts() if html}
        return render_run(self.record, self.live_state(), parts, site=self.site, base=self.base, place=self.place)

    def charge_context(self, live: LiveState | None) -> dict[str, Any]:
        """Returns what the parts are rendered with that a report has not."""
        return {
            "record": self.record,
            "live": live,
            "feed": self,
            "site": self.site,
            "base": self.base,
            "waiting": self.waiting,
        }

    def live_state(self) -> LiveState | None:
        """Where the run stands; None if it has ended, or nobody is known to carry it out."""
        record = self.record
        is_of_this_run = self.active is None or self.active.run.record is record  # not of a run that goes on just now
        if (record.outcome and is_of_this_run) or not (self.active or self._is_fresh()):
            return None
        status = "at work"
        if self.active and self.active.is_stopping:
            status = "stopping"
        elif self.waiting:
            status = "waiting for you"
        sentence = self._phase or "The team begins."
        if self.waiting:
            sentence = f"{self.waiting[0].words}."
        return LiveState(status=status, sentence=sentence, seconds=self.seconds)

    @property
    def seconds(self) -> float | None:
        """Seconds of the run so far, without the time that people took where this process knows it."""
        if self.active is not None:
            return self.active.run.clock.elapsed
        timeline = self.record.timeline
        if not timeline.began:
            return None
        return timeline.last - timeline.began

    @property
    def waiting(self) -> Sequence[Asked]:
        """What waits for a person."""
        if self.active is None:
            return []
        return list(self.active.questions.pending.values())

    @property
    def meters(self) -> list[Meter]:
        """How near the run is to its limits."""
        return meters_of(self.record, self.seconds)

    def _is_fresh(self) -> bool:
        return time.time() - self.record.timeline.last < _FRESH

    def render(self) -> None:
        """Puts all parts that may have changed."""
        live = self.live_state()
        parts = ReportParts(self.record, self.limits, live, run_link=f"{self.site.prefix}/runs/RUN")
        for name in _STEADY:
            self.put(name, parts.render(name))
        if self._has_new_plan or not self.version:
            self.put("plan", parts.render("plan"))
        present = set(round_numbers(self.record))
        for number in sorted(self._dirty | (present - self._shown_rounds())):
            html = ""
            if number in present:
                html = parts.render(f"round-{number}")
            self.put(f"round-{number}", html)
        self._dirty, self._has_new_plan = set(), False
        if time.monotonic() >= self._next_timeline:
            self.put("timeline", parts.render("timeline"))
            self._next_timeline = time.monotonic() + max(0.3, len(self.record.timeline.spans) / 100)
        for name, html in charge_parts(self.charge_context(live), self.waiting).items():
            self.put(name, html)
        for number in self._asked - {question.number for question in self.waiting}:
            self.put(f"ask-{number}", "")
        self._asked = {question.number for question in self.waiting}
        if self.size > _LARGEST:
            self._cut_shorter()

    def _cut_shorter(self) -> None:
        """Renders everything anew with shorter texts, if they can be cut at all."""
        for limits in text_limits(self.record):
            if (limits.text, limits.result) < (self.limits.text, self.limits.result):
                self.limits = limits
                self._dirty, self._has_new_plan = set(round_numbers(self.record)), True
                self.render()
                return

    def _shown_rounds(self) -> set[int]:
        return {int(name.removeprefix("round-")) for name in self.names() if name.startswith("round-")}
