"""The runs of a queue as the page shows them: the list, and each as it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from dbos import error as dbos_error
from sqlalchemy.exc import SQLAlchemyError

from magentic_kit import events as ev
from magentic_kit.cluster.database import Database
from magentic_kit.cluster.entry import DECISIONS, Entry, Question
from magentic_kit.cluster.history import History
from magentic_kit.cluster.limits import reason_of
from magentic_kit.errors import ConfigError
from magentic_kit.runlog.record import RunRecord
from magentic_kit.serve.page.rendering import Site
from magentic_kit.serve.page.run_feed import RunFeed
from magentic_kit.views.html import LiveState

_T = TypeVar("_T")
_ROWS = 100
"""Runs in the list, the newest."""
_WORDS = {
    "plan": "A plan waits for your review",
    "tool": "A call waits for your word",
    "turn": "It is your turn",
    "outcome": "Nobody knows what became of a call",
    "problem": "The run cannot go on",
}


@dataclass(frozen=True)
class QueuedQuestion:
    """What a queued run asks; its `number` is the same as long as it is asked."""

    number: int
    asked: Question
    kind: str = "queued"

    @property
    def words(self) -> str:
        """What is asked, for a title."""
        return _WORDS[self.asked.kind]

    @property
    def decisions(self) -> Sequence[str]:
        """How it can be answered; not at all if only by what became of calls."""
        return DECISIONS[self.asked.kind]


class QueuedFeed(RunFeed):
    """The parts of the page of a queued run, from its log in the database."""

    is_queued = True

    def __init__(self, queue: QueuedRuns, id: str) -> None:
        super().__init__(Path(id), queue.site, under="queued")
        self._queue, self._id = queue, id
        self._history = History()
        self._shown: list[ev.AnyEvent] = []
        self._numbers: dict[str, int] = {}
        self.entry: Entry | None = None

    async def _read(self) -> tuple[Sequence[ev.AnyEvent], RunRecord | None]:
        shown = self._shown
        entry, log = await self._queue.ask(self._look)
        self.entry = entry
        self._shown, self.problem = log, ""
        if entry.state == "failed":
            self.problem = entry.note
        if not log:
            task = await self._queue.ask(lambda database: database.spec(self._id)["task"])
            return [], RunRecord(run_id=self._id, team=self._id, task=task or "The team's own task")
        new = log[len(shown) :]
        # A run that was cancelled, or whose worker was lost, may have gone on from somewhere before its last event.
        if not shown or log[len(shown) - 1] is not shown[-1] or any(isinstance(one, ev.RunResumed) for one in new):
            return ev.effective(log), RunRecord()
        return new, None

    def _look(self, database: Database) -> tuple[Entry, list[ev.AnyEvent]]:
        log = database.history(self._id, self._history).log()
        return database.entry(self._id), log

    def live_state(self) -> LiveState | None:
        """Where the run stands; None if it has ended."""
        match self.entry:
            case Entry(state="queued"):
                return LiveState(status="queued", sentence="It waits for a worker.", seconds=self.seconds)
            case Entry(state="running"):
                return LiveState(status="at work", sentence=self._phase or "The team begins.", seconds=self.seconds)
            case Entry(state="waiting"):
                sentence = f"{self.waiting[0].words}."
                return LiveState(status="waiting for you", sentence=sentence, seconds=self.seconds)
        return None

    @property
    def waiting(self) -> list[QueuedQuestion]:
        """What waits for a person."""
        questions = self.entry.questions if self.entry else ()
        numbers = self._numbers
        return [QueuedQuestion(numbers.setdefault(one.id, len(numbers) + 1), one) for one in questions]


class QueuedRuns:
    """The runs of a database, by their ids."""

    def __init__(self, database: Database, site: Site) -> None:
        database.client = database.connect(wait=False)  # a page says that the database is away
        self._database, self.site = database, site
        self._feeds: dict[str, QueuedFeed] = {}

    async def ask(self, question: Callable[[Database], _T]) -> _T:
        """Asks the database, which may take its time. Raises `ConfigError`, also while it is away."""
        try:
            return await asyncio.to_thread(question, self._database)
        except SQLAlchemyError as error:
            raise ConfigError.one(f"does not answer: {reason_of(error)}", file="the database") from error
        except dbos_error.DBOSException as error:
            raise ConfigError.one(str(error), file="the database") from error

    async def read_rows(self, query: str) -> tuple[list[Entry], str]:
        """Returns the newest runs that have all words of `query`, or why there are none to show."""
        try:
            entries = await self.ask(lambda database: database.entries(newest=_ROWS))
        except ConfigError as error:
            return [], str(error)
        words = query.casefold().split()
        return [one for one in entries if all(word in f"{one.id} {one.state}".casefold() for word in words)], ""

    async def find(self, id: str) -> QueuedFeed:
        """Returns the page of a run. Raises `ConfigError` if there is none of this id."""
        if id not in self._feeds:
            await self.ask(lambda database: database.entry(id))
            idle = [other for other, kept in self._feeds.items() if not kept.readers]
            for other in idle[:-_ROWS]:
                del self._feeds[other]
            self._feeds[id] = QueuedFeed(self, id)
        return self._feeds[id]
