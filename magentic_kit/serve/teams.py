"""The teams of a server, and their runs: so many at a time, each for one client that follows and steers it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import anyio

from magentic_kit.errors import ConfigError
from magentic_kit.events import AnyEvent
from magentic_kit.factory import TeamFactory
from magentic_kit.run import Run
from magentic_kit.runlog.record import RunRecord
from magentic_kit.runlog.result import RunResult
from magentic_kit.serve.questions import Answer, Question, Request
from magentic_kit.team.people import PeopleOptions, PlanReview, ToolReview, ToolReviewRequest, matches
from magentic_kit.tools.function_names import function_name

Step: TypeAlias = AnyEvent | Question | RunResult
Asker: TypeAlias = Callable[[Request], Awaitable[Any]]
"""Asks a person, whose `Answer` is one to that kind of request."""


class Watcher(Protocol):
    """Sees a client's run from outside: all of its events, and the run once it has begun."""

    def show(self, event: AnyEvent, record: RunRecord) -> None:
        """Is called with each event."""

    def begin(self, run: Run) -> object:
        """Is called once."""


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """How a server's runs are carried out.

    At most `concurrency` runs go on at a time, further ones wait. What `approve` (patterns of functions) and
    `approve_plan` allow is not asked. A run whose question nobody answers for `patience` seconds is cancelled.
    """

    out: str | Path | None = "runs"
    concurrency: int = 8
    approve: Sequence[str] = ()
    approve_plan: bool = False
    patience: float = 1800.0

    def people(self, ask: Asker | None) -> PeopleOptions:
        """Returns who answers in a run, with or without somebody to ask."""

        def judge(request: ToolReviewRequest) -> Any:
            if matches(request.function, self.approve):
                return ToolReview.approve_for_run()
            if ask is None:
                return ToolReview.deny("nobody is there to approve this call")
            return ask(request)

        people: PeopleOptions = {"approver": judge}
        if self.approve_plan:
            people["reviewer"] = lambda _: PlanReview.approve()
        elif ask is not None:
            people["reviewer"] = ask
        if ask is not None:
            people["humans"] = {"*": ask}
        return people


class ServedTeams:
    """Teams by the name that clients use, and the runs of all of them."""

    def __init__(self, factories: Iterable[TeamFactory], options: ServerOptions) -> None:
        self.options = options
        self.free = anyio.Semaphore(options.concurrency)
        """Is acquired for each run."""
        self.by_name: dict[str, TeamFactory] = {}
        self.runs: set[ServedRun] = set()
        self.watch: Callable[[], Watcher | None] = lambda: None
        """Gives each run somebody who watches it, if anybody does."""
        self.closers: list[Callable[[], Awaitable[None]]] = []
        """Are called by `close` when all runs have ended."""
        for factory in factories:
            team = factory.blueprint.team
            name = function_name(team.config.name)
            if name in self.by_name:
                message = f"two teams are called '{name}': a tool's name is its team's"
                raise ConfigError.one(message, file=str(team.path or team.config.name))
            self.by_name[name] = factory

    async def start(
        self, name: str, task: str | None, inputs: Mapping[str, Any], *, can_ask: bool = False
    ) -> ServedRun:
        """Begins a run when it is its turn. Raises `ConfigError`."""
        factory = self.by_name[name]
        run = ServedRun(factory, self.options, can_ask=can_ask, watcher=self.watch())
        await self.free.acquire()
        try:
            run.start(task, inputs)
        except BaseException:
            self.free.release()
            raise
        self.runs.add(run)
        run.ended.add_done_callback(lambda _: self._leave(run))
        return run

    def _leave(self, run: ServedRun) -> None:
        self.runs.discard(run)
        self.free.release()

    async def close(self) -> None:
        """Cancels all runs, waits for their ends, and closes what served them."""
        await asyncio.gather(*[run.cancel() for run in self.runs])
        for close in self.closers:
            await close()


@dataclass(eq=False)
class ServedRun:
    """A run for one client. As `async with`, it is cancelled on leaving, unless it waits for the client's answer."""

    factory: TeamFactory
    options: ServerOptions
    can_ask: bool
    watcher: Watcher | None = None
    question: Question | None = None
    """The question that `steps` gave last, until it is answered."""
    ended: asyncio.Task[None] = field(init=False)
    _run: Run = field(init=False)
    _steps: asyncio.Queue[Step] = field(default_factory=asyncio.Queue)

    def start(self, task: str | None, inputs: Mapping[str, Any]) -> None:
        """Begins the run. Raises `ConfigError`."""
        self._redact = self.factory.blueprint.redactor(self.factory.blueprint.fill_inputs(inputs)).text
        people = self.options.people(self._ask if self.can_ask else None)
        views = [self.watcher.show] if self.watcher else []
        self._run = self.factory.start(
            task, inputs=inputs, out=self.options.out, sinks=[self._steps.put_nowait], views=views, **people
        )
        if self.watcher:
            self.watcher.begin(self._run)
        self.ended = asyncio.ensure_future(self._follow())

    @property
    def run_id(self) -> str:
        """The name of the run, and of its directory."""
        return self._run.run_id

    async def steps(self) -> AsyncIterator[Step]:
        """What happens, as it happens: the last step is the result, and after a question comes the answer's effect."""
        while True:
            step = await self._steps.get()
            if isinstance(step, Question):
                self.question = step
            yield step
            if isinstance(step, RunResult):
                break

    def answer(self, answer: Answer) -> None:
        """Answers `question`."""
        if self.question is not None and not self.question.answer.done():
            self.question.answer.set_result(answer)
        self.question = None

    async def cancel(self) -> None:
        """Ends the run as `cancelled`, and waits for its end."""
        self._run.cancel()
        with anyio.CancelScope(shield=True):
            await self._run.result()

    async def __aenter__(self) -> ServedRun:
        return self

    async def __aexit__(self, *error: object) -> None:
        if self.question is None:
            await self.cancel()

    async def _follow(self) -> None:
        self._steps.put_nowait(await self._run.result())

    async def _ask(self, request: Request) -> Answer:
        question = Question.of(request, self._redact)
        self._steps.put_nowait(question)
        with anyio.move_on_after(self.options.patience):
            return await question.answer
        self._run.cancel()
        return question.unanswered("nobody has answered in time")


@asynccontextmanager
async def open_teams(files: Iterable[Path], options: ServerOptions) -> AsyncIterator[ServedTeams]:
    """Loads team files for as long as the body runs; all runs end with it. Raises `ConfigError`."""
    async with AsyncExitStack() as stack:
        factories = [await stack.enter_async_context(TeamFactory.from_yaml(file)) for file in files]
        teams = ServedTeams(factories, options)
        stack.push_async_callback(teams.close)
        yield teams
