"""One run of a team: from the task to an outcome that is true, whatever happens in between."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

from magentic_kit import events as ev
from magentic_kit.embed import EmbeddedTeam, TeamChatCompletion
from magentic_kit.errors import ConfigError, KitError, ReplayError
from magentic_kit.orchestration.blueprint import TeamBlueprint
from magentic_kit.orchestration.build import RunParts
from magentic_kit.orchestration.follow_up import given_task
from magentic_kit.orchestration.invoke import answer_of
from magentic_kit.orchestration.options import OnEvent, ResumeArguments, RunArguments, Task
from magentic_kit.orchestration.outcome import run_finished, run_started
from magentic_kit.orchestration.restored import restored
from magentic_kit.orchestration.task import RunTask, logged_contents, parts_of
from magentic_kit.runlog.control import RunControl
from magentic_kit.runlog.directory import Journal, RunLog, new_run_id
from magentic_kit.runlog.emitter import RunEmitter
from magentic_kit.runlog.reader import read_log
from magentic_kit.runlog.record import RunRecord
from magentic_kit.runlog.replay import RecordedSteps
from magentic_kit.runlog.result import RunResult
from magentic_kit.runlog.settle import resumable, settle
from magentic_kit.team.plan import TaskLedger
from magentic_kit.views.report import ReportWriter

logger = logging.getLogger(__name__)


class Run:
    """A run under way, by `TeamFactory.start` or `resume`; as `async with`, cancelled and waited for on leaving."""

    def __init__(
        self, blueprint: TeamBlueprint, task: RunTask, options: ResumeArguments, run_id: str, steps: RecordedSteps
    ) -> None:
        loop = asyncio.get_running_loop()
        blueprint.pool.use_loop(loop)
        self.run_id = run_id
        self.run_dir: Path | None = None
        self._team, self._task, self._steps, self._runtime = blueprint.team, task, steps, options.runtime
        self._queue: asyncio.Queue[ev.AnyEvent | None] = asyncio.Queue()
        self._emitter = RunEmitter(
            run_id,
            redactor=blueprint.redactor(task.inputs),
            steps=steps,
            views=options.views,
            sinks=[self._queue.put_nowait, *options.sinks],
        )
        self._control = RunControl(blueprint.config.run_limits(), self._emitter)
        self.clock = self._control.clock
        """How long the run has taken, without the time that people took to answer."""
        self._parts = RunParts(
            *(blueprint, self._emitter, self._control, steps),
            inputs=task.inputs,
            options=options,
            member_service=member_service,
            plan=task.plan,
            contents=task.contents,
        )
        self._end: asyncio.Future[RunResult] = loop.create_future()

    @classmethod
    def new(cls, blueprint: TeamBlueprint, task: Task | None, options: RunArguments) -> Run:
        """Begins a run; see `TeamFactory.start`."""
        blueprint = blueprint.varied(options)
        if task is None and options.plan is not None:
            task = options.plan.task
        given = given_task(task, options, blueprint.config.manager.context)
        steps = RecordedSteps()
        if options.reuse is not None:
            folder = Path(options.reuse)
            log = ev.effective(read_log(folder)[0])
            steps = RecordedSteps(log, strict=False, unknown_tools=options.unknown_tools, folder=folder)
            settle(steps, blueprint.tools.repeatable)
        inputs, run_id = blueprint.fill_inputs(options.inputs), new_run_id(blueprint.config.name)
        text = blueprint.fill_task(given.text, inputs)
        whole = RunTask(text, given.contents, inputs=inputs, plan=options.plan, follows=given.follows)
        run = cls(blueprint, whole, options, run_id, steps)
        if options.out is not None:  # only now, when nothing can be wrong with the team any more
            run._log_to(Journal.create(Path(options.out), run.run_id))
        run._begin()
        return run

    @classmethod
    def resumed(
        cls, blueprint: TeamBlueprint, run_dir: Path, options: ResumeArguments, *, inputs: Mapping[str, Any] = {}
    ) -> Run:
        """Goes on with a run; see `TeamFactory.resume`."""
        journal = Journal.existing(run_dir)
        if not journal.read():
            journal.close()
            raise ConfigError.one("the run broke off before it began: start it anew", file=str(run_dir))
        return cls.over(blueprint, journal, None, options, "", inputs=inputs)

    @classmethod
    def over(
        cls,
        blueprint: TeamBlueprint,
        log: RunLog,
        task: Task | None,
        options: ResumeArguments,
        run_id: str,
        *,
        inputs: Mapping[str, Any] = {},
    ) -> Run:
        """Goes on with the run that the log has, or begins it on task and inputs. The log is closed at the end.

        Raises `ConfigError` if the run cannot go on, `JournalError` if the log cannot be read.
        """
        with ExitStack() as opened:
            opened.callback(log.close)
            blueprint = blueprint.varied(options)
            events, plan, follows = log.read(), None, ""
            text, contents = parts_of(task)
            recorded, is_finished = resumable(events, blueprint.config.run_limits())
            steps = RecordedSteps(recorded, next_seq=len(events), unknown_tools=options.unknown_tools)
            if recorded and isinstance(started := recorded[0], ev.RunStarted):
                run_id = started.run_id
                if not is_finished:
                    started = restored(started, blueprint, text, inputs)
                    contents = logged_contents(started.attachments, contents, log)
                text, inputs, follows = started.task, started.inputs, started.follows
                if started.plan:
                    plan = TaskLedger(task=text, **started.plan)  # type: ignore[call-arg]  # not empty: both
            filled = blueprint.fill_inputs(inputs)
            text = blueprint.fill_task(text, filled)
            if not is_finished:
                settle(steps, blueprint.tools.repeatable)
            whole = RunTask(text, contents, inputs=filled, plan=plan, follows=follows)
            run = cls(blueprint, whole, options, run_id, steps)
            run._log_to(log)
            if is_finished:
                run._show(recorded)
                run._leave()
                run._end.set_result(run._result())
            else:
                run._begin(recorded)
            opened.pop_all()
        return run

    @property
    def record(self) -> RunRecord:
        """What happened in the run so far."""
        return self._emitter.record

    def cancel(self) -> None:
        """Ends the run as `cancelled`, in well under a second; without effect once it has ended."""
        self._control.cancel()

    async def result(self) -> RunResult:
        """Waits for the end and returns how it was; a run that fails says so here.

        Raises `ReplayError` alone: the run that was to be resumed is asked something else than its log has.
        """
        return await asyncio.shield(self._end)

    async def events(self) -> AsyncIterator[ev.AnyEvent]:
        """Every event as it comes, the last is `run_finished`; for one reader."""
        while (event := await self._queue.get()) is not None:
            yield event

    async def __aenter__(self) -> Run:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.cancel()
        with suppress(ReplayError):  # whoever wants the result asks for it
            await self.result()

    def _begin(self, recorded: Sequence[ev.AnyEvent] = ()) -> None:
        if self.run_dir is not None:
            self._emitter.add_view(ReportWriter(self.run_dir, self._team.config.report.formats))
        self._end = asyncio.get_running_loop().create_task(self._main(recorded), name=f"run {self.run_id}")

    def _show(self, recorded: Iterable[ev.AnyEvent]) -> None:
        for event in recorded:
            self._emitter.show(event)

    def _log_to(self, log: RunLog) -> None:
        self._emitter.log, self.run_dir = log, log.directory
        log.describe(self._team.stored(self._emitter.redactor.spans))

    async def _main(self, recorded: Sequence[ev.AnyEvent]) -> RunResult:
        self.clock.start()
        self._show(recorded)  # in this task, whose context a view may set
        answer, error = "", None
        try:
            files = self._emitter.attachments
            self._emitter.emit(run_started(self._team, self._task, self._parts, self._control.limits, files))
            answer = await answer_of(self._parts.orchestration, self._task.message, self._control, self._runtime)
        except (Exception, asyncio.CancelledError) as raised:
            if isinstance(raised, ReplayError) and self._steps.is_resumed:  # the log stays as it was
                self._leave()
                raise
            error = raised
        finally:
            await self._parts.close()
        self._finish(run_finished(error, answer, self._parts, self.record, self._control, self._emitter.redactor))
        return self._result()

    def _finish(self, finished: ev.RunFinished) -> None:
        """Emits the end, upon which the report is written, and closes the log; a failure changes no outcome."""
        try:
            self._emitter.emit(finished)
        except KitError as error:
            logger.error("%s", self._emitter.redactor.text(str(error)))
        self._leave()

    def _result(self) -> RunResult:
        value, form = self.record.value, self._parts.answer_format
        if form is not None:
            value = form.value_of(value)
        return RunResult.of(self.record, self.run_dir, self._emitter.attachments, value)

    def _leave(self) -> None:
        if self._emitter.log is not None:
            self._emitter.log.close()
        self._queue.put_nowait(None)


def start_run(blueprint: TeamBlueprint, task: Task | None, options: RunArguments, log: RunLog | None = None) -> Run:
    """Begins a run, or goes on with the one that the log has."""
    if log is None:
        return Run.new(blueprint, task, options)
    return Run.over(blueprint, log, task, options, new_run_id(blueprint.config.name), inputs=options.inputs)


def embedded_team(blueprint: TeamBlueprint, options: RunArguments, on_event: OnEvent | None = None) -> EmbeddedTeam:
    """The team for callers that only start runs of it."""
    start = partial(start_run, blueprint)
    return EmbeddedTeam(config=blueprint.config, start=start, options=options, on_event=on_event)


def member_service(
    blueprint: TeamBlueprint, options: RunArguments, emitter: RunEmitter, steps: RecordedSteps
) -> TeamChatCompletion:
    """The chat service of a member team, whose runs are parts of the run with this emitter and these steps."""
    return TeamChatCompletion(embedded_team(blueprint, options), emitter, steps)
