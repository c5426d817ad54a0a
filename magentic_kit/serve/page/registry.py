"""The runs that the page shows: those that this process carries out, and all others under the same folder."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magentic_kit.errors import KitError
from magentic_kit.events import AnyEvent
from magentic_kit.runlog.listing import RunSummary, runs_below, summary_of
from magentic_kit.runlog.reader import LOG
from magentic_kit.runlog.record import RunRecord
from magentic_kit.serve.page.questions import Questions
from magentic_kit.serve.page.rendering import Site
from magentic_kit.serve.page.run_feed import ActiveRun, RunFeed

if TYPE_CHECKING:
    from magentic_kit.factory import TeamFactory
    from magentic_kit.orchestration.options import ResumeOptions
    from magentic_kit.run import Run
    from magentic_kit.serve.page.queued import QueuedRuns

_MOST_FEEDS = 64  # of runs that nobody looks at, kept for who comes back
_ROWS = 100  # runs in the list


@dataclass(frozen=True)
class Row:
    """A run in the list; `status` is where it stands if this process carries it out."""

    summary: RunSummary
    status: str


class Watch:
    """Shows a run of this process on its page, which there is only once the run has begun."""

    def __init__(self, runs: Runs, feed: RunFeed | None = None) -> None:
        self._runs = runs
        self.feed = feed
        self.questions = Questions(self._changed)

    def begin(self, run: Run, close: Callable[[], Awaitable[None]] | None = None) -> RunFeed:
        """Takes the run, whose page is returned; `close` is called after its end."""
        self.feed = self._runs.follow(run, self, close)
        return self.feed

    def show(self, event: AnyEvent, record: RunRecord) -> None:
        """Takes in an event, as a view does."""
        if self.feed is not None:
            self.feed.show(event, record)

    def _changed(self) -> None:
        if self.feed is not None:
            self.feed.changed()


class Runs:
    """The runs under `out`, by the names of their directories, and those of a `queue`."""

    def __init__(self, out: Path, site: Site, queue: QueuedRuns | None = None) -> None:
        self.out, self.site, self.queue = out, site, queue
        self._feeds: dict[str, RunFeed] = {}
        self._reading = asyncio.Lock()
        self._endings: set[asyncio.Task[None]] = set()
        self._summaries: dict[Path, tuple[tuple[int, int], RunSummary]] = {}

    # -- carrying out

    async def start(self, factory: TeamFactory, task: str | None, **options: Any) -> RunFeed:
        """Begins a run of a team, which is closed after it; `options` as for `TeamFactory.start`.

        Raises `ConfigError`.
        """

        def begin(shared: ResumeOptions) -> Run:
            return factory.start(task or None, out=self.out, **shared, **options)

        return await self._carry_out(factory, begin, Watch(self))

    async def resume(self, name: str, **options: Any) -> None:
        """Goes on with a run; `options` as for `TeamFactory.resume`. What is wrong is shown on the run's page."""
        feed = self.feed(name)
        if feed.active is not None:
            return
        try:
            factory = (await load_factories()).from_run(feed.run_dir)
            begin = partial(factory.resume, feed.run_dir, **options)
            await self._carry_out(factory, lambda shared: begin(**shared), Watch(self, feed))
        except KitError as error:
            feed.problem = str(error)
            feed.changed(at_once=True)

    async def _carry_out(self, factory: TeamFactory, begin: Callable[[ResumeOptions], Run], watch: Watch) -> RunFeed:
        people = watch.questions.people()
        shared: ResumeOptions = {
            "views": [watch.show],
            "reviewer": people["reviewer"],
            "approver": people["approver"],
            "humans": people["humans"],
        }
        try:
            run = begin(shared)
        except BaseException:
            await factory.close()
            raise
        return watch.begin(run, factory.close)

    def follow(self, run: Run, watch: Watch, close: Callable[[], Awaitable[None]] | None) -> RunFeed:
        """Shows a run of this process from here on, and calls `close` after its end."""
        assert run.run_dir is not None
        feed = watch.feed or RunFeed(run.run_dir, self.site)
        self._feeds[run.run_dir.name] = feed
        feed.carry(ActiveRun(run, watch.questions))
        ending = asyncio.create_task(self._end(run, feed, close))
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)
        return feed

    async def _end(self, run: Run, feed: RunFeed, close: Callable[[], Awaitable[None]] | None) -> None:
        try:
            await run.result()
        except KitError as error:
            feed.problem = str(error)
        finally:
            feed.follow_log()
            if close is not None:
                await close()

    async def close(self) -> None:
        """Cancels the runs of this process and waits for their ends."""
        for feed in self._feeds.values():
            if feed.active is not None:
                feed.active.run.cancel()
        if self._endings:
            await asyncio.wait(self._endings)

    # -- looking

    def feed(self, name: str) -> RunFeed:
        """Returns the page of a run. Raises `KeyError` if there is none of this name."""
        if name in self._feeds:
            self._feeds[name] = self._feeds.pop(name)  # the last one looked at is the last to go
            return self._feeds[name]
        run_dir = next((path for path in runs_below(self.out) if path.name == name), None)
        if run_dir is None:
            raise KeyError(name)
        feed = self._feeds[name] = RunFeed(run_dir, self.site)
        idle = [other for other, kept in self._feeds.items() if not kept.readers and kept.active is None]
        for other in idle[: max(len(idle) - _MOST_FEEDS, 0)]:
            del self._feeds[other]
        return feed

    async def read_rows(self, query: str) -> tuple[list[Row], int]:
        """Returns the newest runs that have all words of `query`, and how many more there are."""
        async with self._reading:
            return await asyncio.to_thread(self._rows, query)

    def _rows(self, query: str) -> tuple[list[Row], int]:
        rows: list[Row] = []
        more = 0
        words = query.casefold().split()
        for run_dir in runs_below(self.out):
            summary = self._summary(run_dir)
            if summary is None:
                continue
            text = " ".join((summary.task, summary.team, summary.outcome, run_dir.name)).casefold()
            if not all(word in text for word in words):
                continue
            if len(rows) < _ROWS:
                rows.append(Row(summary, self._status(run_dir.name)))
            else:
                more += 1
        return rows, more

    @property
    def waiting(self) -> int:
        """How many questions wait for a person."""
        return sum(len(feed.waiting) for feed in list(self._feeds.values()))

    def _status(self, name: str) -> str:
        feed = self._feeds.get(name)
        if feed is None or feed.active is None:
            return ""
        state = feed.live_state()
        if state is None:
            return ""
        return state.status

    def _summary(self, run_dir: Path) -> RunSummary | None:
        try:
            info = (run_dir / LOG).stat()
        except OSError:
            return None
        state = (info.st_mtime_ns, info.st_size)
        if self._summaries.get(run_dir, ((0, 0), None))[0] != state:
            self._summaries[run_dir] = (state, replace(summary_of(run_dir), run=run_dir))
        return self._summaries[run_dir][1]


async def load_factories() -> type[TeamFactory]:
    """Imports Semantic Kernel, which takes seconds the first time, beside everything else."""

    def load() -> type[TeamFactory]:
        from magentic_kit.factory import TeamFactory

        return TeamFactory

    return await asyncio.to_thread(load)
