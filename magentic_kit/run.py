"""One run of a team: from the task to an outcome that is true, whatever happens in between."""

from __future__ import annotations

import asyncio
import logging
import platform
import traceback
from collections.abc import AsyncIterator, Iterable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

import semantic_kernel

from magentic_kit import events as ev
from magentic_kit.embed import EmbeddedTeam, OnEvent, TeamChatCompletion
from magentic_kit.errors import ConfigError, KitError, LedgerError, PlanRejected, ReplayError, ServiceError
from magentic_kit.orchestration.blueprint import TeamBlueprint
from magentic_kit.orchestration.build import RunParts
from magentic_kit.orchestration.invoke import answer_of
from magentic_kit.orchestration.manager import last_word
from magentic_kit.orchestration.options import RunOptions, people_of
from magentic_kit.orchestration.restored import restored
from magentic_kit.runlog.control import RunControl
from magentic_kit.runlog.directory import Journal, RunLog, new_run_id, read_log
from magentic_kit.runlog.emitter import RunEmitter
from magentic_kit.runlog.record import RunRecord
from magentic_kit.runlog.replay import RecordedSteps
from magentic_kit.runlog.result import RunResult
from magentic_kit.runlog.settle import settle, until_limit
from magentic_kit.team.plan import TaskLedger
from magentic_kit.views.report import ReportWriter

logger = logging.getLogger(__name__)


class Run:
    """A run under way; made by `TeamFactory.start` and `TeamFactory.resume`."""

    def __init__(
        self, blueprint: TeamBlueprint, task: str, options: RunOptions, run_id: str, steps: RecordedSteps
    ) -> None:
        loop = asyncio.get_running_loop()
        blueprint.pool.use_loop(loop)
        self.run_id = run_id
        self.run_dir: Path | None = None
        self._team = blueprint.team
        self._task = task
        self._inputs = blueprint.fill_inputs(options.get("inputs", {}))
        self._plan = options.get("plan")
        self._runtime = options.get("runtime")
        self._queue: asyncio.Queue[ev.AnyEvent | None] = asyncio.Queue()
        self._steps = steps
        self._emitter = RunEmitter(
            run_id,
            redactor=blueprint.redactor(self._inputs),
            steps=steps,
            views=options.get("views", ()),
            sinks=[self._queue.put_nowait, *options.get("sinks", ())],
        )
        self._control = RunControl(blueprint.config.run_limits(), self._emitter)
        self._parts = RunParts(
            blueprint,
            self._emitter,
            self._control,
            steps,
            inputs=self._inputs,
            people=people_of(options),
            member_service=member_service,
            plan=self._plan,
        )
        self._end: asyncio.Future[RunResult] = loop.create_future()

    @classmethod
    def new(cls, blueprint: TeamBlueprint, task: str | None, options: RunOptions) -> Run:
        """Begins a run; see `TeamFactory.start`."""
        plan = options.get("plan")
        if task is None and plan is not None:
            task = plan.task
        steps = RecordedSteps()
        earlier = options.get("reuse")
        if earlier is not None:
            log = ev.effective(read_log(Path(earlier))[0])
            steps = RecordedSteps(log, strict=False, unknown_tools=options.get("unknown_tools"))
            settle(steps, blueprint.tools.repeatable)
        filled = blueprint.fill_task(task, blueprint.fill_inputs(options.get("inputs", {})))
        run = cls(blueprint, filled, options, new_run_id(blueprint.config.name), steps)
        out = options.get("out", "runs")
        if out is not None:  # only now, when nothing can be wrong with the team any more
            run._log_to(Journal.create(Path(out), run.run_id))
        run._begin()
        return run

    @classmethod
    def resumed(cls, blueprint: TeamBlueprint, run_dir: Path, options: RunOptions) -> Run:
        """Goes on with a run; see `TeamFactory.resume`."""
        journal = Journal.existing(run_dir)
        if not journal.read():
            journal.close()
            raise ConfigError.one("the run broke off before it began: start it anew", file=str(run_dir))
        return cls.over(blueprint, journal, None, options, "")

    @classmethod
    def over(cls, blueprint: TeamBlueprint, log: RunLog, task: str | None, options: RunOptions, run_id: str) -> Run:
        """Goes on with the run that the log has, or begins it on the task if it has none. The log is closed at the end.

        Raises `ConfigError` if the run cannot go on, `JournalError` if the log cannot be read.
        """
        try:
            return cls._over(blueprint, log, task, options, run_id)
        except BaseException:
            log.close()
            raise

    @classmethod
    def _over(cls, blueprint: TeamBlueprint, log: RunLog, task: str | None, options: RunOptions, run_id: str) -> Run:
        events = log.read()
        recorded: Sequence[ev.AnyEvent] = ev.effective(events)
        is_finished = any(isinstance(e, ev.RunFinished) and e.outcome in ("satisfied", "rejected") for e in recorded)
        if not is_finished:
            open_end = [event for event in recorded if not isinstance(event, ev.RunFinished)]
            recorded = until_limit(open_end, blueprint.config.run_limits())
        steps = RecordedSteps(recorded, next_seq=len(events), unknown_tools=options.get("unknown_tools"))
        if recorded and isinstance(started := recorded[0], ev.RunStarted):
            run_id = started.run_id
            if not is_finished:
                started = restored(started, blueprint, task, options.get("inputs", {}))
            task = started.task
            options = {**options, "inputs": started.inputs}
            if started.plan:
                options["plan"] = TaskLedger(task=task, **started.plan)
        else:
            task = blueprint.fill_task(task, blueprint.fill_inputs(options.get("inputs", {})))
        if not is_finished:
            settle(steps, blueprint.tools.repeatable)
        run = cls(blueprint, task, options, run_id, steps)
        run._log_to(log)
        if is_finished:
            run._show(recorded)
            run._leave()
            run._end.set_result(RunResult.of(run.record, run.run_dir))
        else:
            run._begin(recorded)
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
        self._control.clock.start()
        self._show(recorded)  # in this task, whose context a view may set
        answer, error = "", None
        try:
            self._emitter.emit(self._started())
            answer = await answer_of(self._parts.orchestration, self._task, self._control, self._runtime)
        except (Exception, asyncio.CancelledError) as raised:
            if isinstance(raised, ReplayError) and self._steps.is_resumed:  # the log stays as it was
                self._leave()
                raise
            error = raised
        finally:
            await self._parts.close()
        outcome, reason, details = self._judge(error)
        # What was paid for is not lost with a manager that can go no further.
        is_manager = details is not None and details["kind"] in (ServiceError.kind, LedgerError.kind)
        if not answer and (outcome == "limited" or (is_manager and self.record.turns)):
            answer = last_word((turn.agent, turn.text) for turn in reversed(self.record.turns))
        seconds = self._control.clock.elapsed
        self._finish(
            ev.RunFinished(
                outcome=outcome,
                answer=answer,
                reason=reason,
                error=details,
                seconds=seconds,
                notes=self._notes(outcome),
            )
        )
        return RunResult.of(self.record, self.run_dir)

    def _notes(self, outcome: str) -> list[str]:
        notes = [*self._parts.notes, *self._parts.manager.notes]
        if outcome == "satisfied" and not self.record.turns:
            notes.append("The manager was satisfied before any agent had spoken.")
        return notes

    def _started(self) -> ev.RunStarted:
        participants = dict(self._parts.participants)
        return ev.RunStarted(
            team=self._team.config.name,
            task=self._task,
            manager=participants.pop(ev.MANAGER),
            agents=participants,
            limits=self._control.limits,
            inputs=self._inputs,
            plan={"facts": self._plan.facts, "plan": self._plan.plan} if self._plan else {},
            base_dir=str(self._team.base_dir),
            config_hash=self._team.config_hash,
            versions={
                "magentic_kit": version("magentic-kit"),
                "semantic_kernel": semantic_kernel.__version__,
                "python": platform.python_version(),
            },
        )

    def _judge(self, error: BaseException | None) -> tuple[str, str, dict[str, str] | None]:
        """Outcome, reason and error details of the run."""
        if error is not None and (self._control.cancelled.is_set() or isinstance(error, asyncio.CancelledError)):
            return "cancelled", "", None
        if isinstance(error, PlanRejected):
            return "rejected", str(error), None
        if self._control.reached is not None:
            return "limited", self._control.reached.limit, None
        if error is None:
            return "satisfied", "", None
        kind, message = "internal", f"{type(error).__name__}: {error}"
        if isinstance(error, KitError):
            kind, message = error.kind, str(error)
        else:
            trace = "".join(traceback.format_exception(error))
            logger.error("the run failed\n%s", self._emitter.redactor.text(trace).rstrip())
        return "failed", kind, {"kind": kind, "message": message}

    def _finish(self, finished: ev.RunFinished) -> None:
        """Emits the end, upon which the report is written, and closes the log; a failure changes no outcome."""
        try:
            self._emitter.emit(finished)
        except KitError as error:
            logger.error("%s", self._emitter.redactor.text(str(error)))
        self._leave()

    def _leave(self) -> None:
        if self._emitter.log is not None:
            self._emitter.log.close()
        self._queue.put_nowait(None)


def start_run(blueprint: TeamBlueprint, task: str | None, options: RunOptions, log: RunLog | None = None) -> Run:
    """Begins a run, or goes on with the one that the log has."""
    if log is None:
        return Run.new(blueprint, task, options)
    return Run.over(blueprint, log, task, options, new_run_id(blueprint.config.name))


def embedded_team(blueprint: TeamBlueprint, options: RunOptions, on_event: OnEvent | None = None) -> EmbeddedTeam:
    """The team for callers that only start runs of it."""
    return EmbeddedTeam(
        config=blueprint.config, start=partial(start_run, blueprint), options=options, on_event=on_event
    )


def member_service(
    blueprint: TeamBlueprint, options: RunOptions, emitter: RunEmitter, steps: RecordedSteps
) -> TeamChatCompletion:
    """The chat service of a member team, whose runs are parts of the run with this emitter and these steps."""
    return TeamChatCompletion(embedded_team(blueprint, options), emitter, steps)
