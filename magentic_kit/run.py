"""One run of a team: from the task to an outcome that is true, whatever happens in between."""

from __future__ import annotations

import asyncio
import logging
import platform
import traceback
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import semantic_kernel
from semantic_kernel.agents.runtime import CoreRuntime, InProcessRuntime

from magentic_kit import __version__
from magentic_kit import events as ev
from magentic_kit.errors import ConfigError, KitError, PlanRejected, ReplayError, RunCancelled
from magentic_kit.orchestration.build import Assembly
from magentic_kit.orchestration.manager import last_word
from magentic_kit.runlog.context import Sink
from magentic_kit.runlog.directory import Journal, RunLog, new_run_id, read_log
from magentic_kit.runlog.record import RunRecord, View
from magentic_kit.runlog.replay import Steps
from magentic_kit.runlog.restored import has_mask, restored_inputs, restored_task
from magentic_kit.runlog.settle import settle, until_limit
from magentic_kit.team.people import People
from magentic_kit.team.plan import TaskLedger
from magentic_kit.views.report import ReportWriter

if TYPE_CHECKING:
    from magentic_kit.factory import TeamFactory
    from magentic_kit.orchestration.options import RunOptions

logger = logging.getLogger(__name__)


_GRACE = 2.0
"""Seconds that Semantic Kernel's runtime gets to come to rest before the run goes on without it."""


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """How a run ended. `outcome` is `satisfied`, `limited`, `rejected`, `cancelled` or `failed`.

    `reason` names the limit, `error` is `{kind, message}` if it failed; tokens are None where no provider
    told them; `rounds` counts agents' turns; `run_dir` is None if none was asked for.
    """

    outcome: str
    answer: str
    reason: str
    error: dict[str, str] | None
    rounds: int
    stalls: int
    resets: int
    prompt_tokens: int | None
    completion_tokens: int | None
    seconds: float
    run_id: str
    run_dir: Path | None
    record: RunRecord

    @classmethod
    def of(cls, record: RunRecord, run_dir: Path | None) -> RunResult:
        """The result that a record tells of."""
        same = {f.name: getattr(record, f.name) for f in fields(cls) if hasattr(record, f.name)}
        tokens: dict[str, Any] = {name: record.totals[name] for name in ("prompt_tokens", "completion_tokens")}
        own = {"rounds": len(record.turns), "seconds": record.seconds or 0.0, "run_dir": run_dir, "record": record}
        return cls(**{**same, **tokens, **own})


class Run:
    """A run under way; made by `TeamFactory.start` and `TeamFactory.resume`."""

    def __init__(self, factory: TeamFactory, task: str, options: RunOptions, run_id: str, steps: Steps) -> None:
        loop = asyncio.get_running_loop()
        factory.pool.use_loop(loop)
        self.run_id = run_id
        self.run_dir: Path | None = None
        self.record = RunRecord()
        self._team = factory.team
        self._inputs = factory.fill_inputs(options.get("inputs", {}))
        self._runtime = options.get("runtime")
        self._plan = options.get("plan")
        self._queue: asyncio.Queue[ev.AnyEvent | None] = asyncio.Queue()
        views = (self._sink_of(view) for view in options.get("views", ()))
        self._sinks: list[Sink] = [self.record.apply, self._queue.put_nowait, *views, *options.get("sinks", ())]
        self._context = factory.context(run_id, self._sinks, steps, inputs=self._inputs)
        self._context.unknown_tools = options.get("unknown_tools", {})
        people = People(
            reviewer=options.get("reviewer"), approver=options.get("approver"), humans=options.get("humans", {})
        )
        self._assembly = Assembly(factory, self._context, self._inputs, people, options.get("plan"))
        self._task = task
        self._end: asyncio.Future[RunResult] = loop.create_future()

    @classmethod
    def new(cls, factory: TeamFactory, task: str | None, options: RunOptions) -> Run:
        """Begins a run; see `TeamFactory.start`."""
        if task is None and (plan := options.get("plan")):
            task = plan.task
        steps = Steps()
        if (earlier := options.get("reuse")) is not None:
            steps = Steps(ev.effective(read_log(Path(earlier))[0]), strict=False)
            settle(steps, factory, options.get("unknown_tools", {}))
        filled = factory.task(task, factory.fill_inputs(options.get("inputs", {})))
        run = cls(factory, filled, options, new_run_id(factory.team.config.name), steps)
        out = options.get("out", "runs")
        if out is not None:  # only now, when nothing can be wrong with the team any more
            run._log_to(Journal.create(Path(out), run.run_id))
        run._begin()
        return run

    @classmethod
    def resumed(cls, factory: TeamFactory, run_dir: Path, options: RunOptions) -> Run:
        """Goes on with a run; see `TeamFactory.resume`."""
        if not read_log(run_dir)[0]:
            raise ConfigError.one("the run broke off before it began: start it anew", file=str(run_dir))
        return cls.over(factory, Journal(run_dir), None, options, "")

    @classmethod
    def over(cls, factory: TeamFactory, log: RunLog, task: str | None, options: RunOptions, run_id: str) -> Run:
        """Goes on with the run that the log has, or begins it on the task if it has none. The log is closed at the end.

        Raises `ConfigError` if the run cannot go on, `JournalError` if the log cannot be read.
        """
        try:
            events = log.read()
            held = ev.effective(events)
            finished = RunRecord.of(held).outcome in ("satisfied", "rejected")
            if not finished:
                held = until_limit([e for e in held if not isinstance(e, ev.RunFinished)], factory.team.config)
            steps = Steps(held, next_seq=len(events))
            if held and isinstance(began := held[0], ev.RunStarted):
                task, run_id, options = cls._restored(factory, began, task, options, finished=finished)
            else:
                task = factory.task(task, factory.fill_inputs(options.get("inputs", {})))
            if not finished:
                settle(steps, factory, options.get("unknown_tools", {}))
            run = cls(factory, task, options, run_id, steps)
        except BaseException:
            log.close()
            raise
        run._log_to(log)
        if finished:
            run._show(held)
            run._leave()
            run._end.set_result(RunResult.of(run.record, run.run_dir))
        else:
            run._begin(held)
        return run

    @staticmethod
    def _restored(
        factory: TeamFactory, began: ev.RunStarted, task: str | None, options: RunOptions, *, finished: bool
    ) -> tuple[str, str, RunOptions]:
        """Task, id and options of a run as it began, with the secrets that its log does not have."""
        recorded, inputs = began.task, began.inputs
        given = options.get("inputs", {})
        if not finished:
            redactor = factory.redactor(given)
            defaults = {name: spec.default for name, spec in factory.team.config.inputs.items()}
            inputs = restored_inputs(inputs, given=given, defaults=defaults, redactor=redactor)
            if has_mask(recorded) and (task or factory.team.config.task):
                task = factory.task(task, factory.fill_inputs(inputs))
            recorded = restored_task(recorded, task or "", redactor)
        options = {**options, "inputs": inputs}
        if began.plan:
            options["plan"] = TaskLedger(task=recorded, **began.plan)
        return recorded, began.run_id, options

    def cancel(self) -> None:
        """Ends the run as `cancelled`, in well under a second; without effect once it has ended."""
        self._context.cancel()

    async def result(self) -> RunResult:
        """Waits for the end and tells how it was; a run that fails says so here.

        Raises `ReplayError` alone: the run that was to be resumed is asked something else than its log has.
        """
        return await asyncio.shield(self._end)

    async def events(self) -> AsyncIterator[ev.AnyEvent]:
        """Every event as it comes, the last is `run_finished`; for one reader."""
        while (event := await self._queue.get()) is not None:
            yield event

    def _sink_of(self, view: View) -> Sink:
        return lambda event: view(event, self.record)

    def _begin(self, held: Iterable[ev.AnyEvent] = ()) -> None:
        if self.run_dir is not None:
            self._sinks.append(self._sink_of(ReportWriter(self.run_dir, self._team.config.report.formats)))
        self._end = asyncio.get_running_loop().create_task(self._main(held), name=f"run {self.run_id}")

    def _show(self, held: Iterable[ev.AnyEvent]) -> None:
        for event in held:
            for sink in self._sinks:
                self._context.show(sink, event)

    def _log_to(self, log: RunLog) -> None:
        self._context.log, self.run_dir = log, log.directory
        log.describe(self._team.stored(self._context.redactor.spans))

    async def _main(self, held: Iterable[ev.AnyEvent]) -> RunResult:
        context = self._context
        context.begin()
        self._show(held)  # in this task, whose context a sink may set
        answer, error = "", None
        try:
            context.emit(self._started())
            answer = await self._orchestrate()
        except (Exception, asyncio.CancelledError) as raised:
            if isinstance(raised, ReplayError) and context.steps.known:  # the log stays as it was
                self._leave()
                raise
            error = raised
        finally:
            await self._assembly.close()
        outcome, reason, details = self._judge(error)
        if outcome == "limited" and not answer:
            answer = last_word((turn.agent, turn.text) for turn in reversed(self.record.turns))
        self._finish(
            ev.RunFinished(outcome=outcome, answer=answer, reason=reason, error=details, seconds=context.elapsed)
        )
        return RunResult.of(self.record, self.run_dir)

    def _started(self) -> ev.RunStarted:
        config, seats = self._team.config, dict(self._assembly.seats)
        manager = config.manager
        rounds = {"max_rounds": manager.max_rounds, "max_stalls": manager.max_stalls, "max_resets": manager.max_resets}
        return ev.RunStarted(
            team=config.name,
            task=self._task,
            manager=seats.pop(ev.MANAGER),
            agents=seats,
            limits=ev.RunLimits(**rounds, **vars(config.limits)),
            inputs=self._inputs,
            plan={"facts": plan.facts, "plan": plan.plan} if (plan := self._plan) else {},
            base_dir=str(self._team.base_dir),
            config_hash=self._team.config_hash,
            versions={
                "magentic_kit": __version__,
                "semantic_kernel": semantic_kernel.__version__,
                "python": platform.python_version(),
            },
        )

    async def _orchestrate(self) -> str:
        if self._runtime is not None:
            return await self._answer(self._runtime)
        runtime = InProcessRuntime()
        runtime.start()
        try:
            return await self._answer(runtime)
        finally:
            await _stop(runtime)

    async def _answer(self, runtime: CoreRuntime) -> str:
        """What the orchestration brings; given up when it does not follow a cancel or the deadline."""
        context, deadline = self._context, self._context.limits.deadline
        invoked = await self._assembly.orchestration.invoke(self._task, runtime)
        ended = asyncio.ensure_future(invoked.get())
        cancelled = asyncio.ensure_future(context.cancelled.wait())
        try:
            while not ended.done() and not cancelled.done():
                left = None if deadline is None else max(deadline - context.elapsed, 0) + _GRACE
                done, _ = await asyncio.wait({ended, cancelled}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                if not done:
                    context.check(final=True)
            if not ended.done():
                await asyncio.wait({ended}, timeout=_GRACE)
            if not ended.done():
                raise RunCancelled("the run was cancelled")
            return ended.result().content
        finally:
            ended.cancel()
            cancelled.cancel()

    def _judge(self, error: BaseException | None) -> tuple[str, str, dict[str, str] | None]:
        """Outcome, reason and error details of the run."""
        if error is not None and (self._context.cancelled.is_set() or isinstance(error, asyncio.CancelledError)):
            return "cancelled", "", None
        if isinstance(error, PlanRejected):
            return "rejected", str(error), None
        if self._context.limit is not None:
            return "limited", self._context.limit.limit, None
        if error is None:
            return "satisfied", "", None
        if not isinstance(error, KitError):
            trace = "".join(traceback.format_exception(error))
            logger.error("the run failed\n%s", self._context.redactor.text(trace).rstrip())
        kind = error.kind if isinstance(error, KitError) else "internal"
        message = str(error) if isinstance(error, KitError) else f"{type(error).__name__}: {error}"
        return "failed", kind, {"kind": kind, "message": message}

    def _finish(self, finished: ev.RunFinished) -> None:
        """Tells the end, upon which the report is written, and closes the log; a failure changes no outcome."""
        try:
            self._context.emit(finished)
        except KitError as error:
            logger.error("%s", self._context.redactor.text(str(error)))
        self._leave()

    def _leave(self) -> None:
        if self._context.log is not None:
            self._context.log.close()
        self._queue.put_nowait(None)


async def _stop(runtime: InProcessRuntime) -> None:
    idle = asyncio.ensure_future(runtime.stop_when_idle())
    await asyncio.wait({idle}, timeout=_GRACE)
    if not idle.done():  # something does not follow its cancellation; leave it behind
        await runtime.stop()
        idle.cancel()  # it waits for the queue that `stop` has replaced
    await asyncio.gather(idle, return_exceptions=True)
