"""One run of a team: from the task to an outcome that is true, whatever happens in between."""

from __future__ import annotations

import asyncio
import logging
import platform
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import semantic_kernel
from semantic_kernel.agents.orchestration.orchestration_base import OrchestrationResult
from semantic_kernel.agents.runtime import CoreRuntime, InProcessRuntime
from semantic_kernel.contents import ChatMessageContent

from magentic_kit import __version__
from magentic_kit import events as ev
from magentic_kit.context import RunContext, Sink
from magentic_kit.errors import KitError, RunCancelled
from magentic_kit.journal import Journal, new_run_id
from magentic_kit.manager import last_word
from magentic_kit.record import RunRecord
from magentic_kit.report import write_reports

if TYPE_CHECKING:
    from magentic_kit.factory import TeamFactory

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


class Run:
    """A run under way; made by `TeamFactory.start`."""

    def __init__(
        self,
        factory: TeamFactory,
        task: str,
        inputs: Mapping[str, Any],
        *,
        sinks: list[Sink],
        out: Path | None,
        runtime: CoreRuntime | None,
    ) -> None:
        config = factory.team.config
        self.run_id = new_run_id(config.name)
        self.record = RunRecord()
        self._team = factory.team
        self._inputs = dict(inputs)
        self._runtime = runtime
        self._queue: asyncio.Queue[ev.AnyEvent | None] = asyncio.Queue()
        self._context = RunContext(
            run_id=self.run_id,
            limits=config.limits,
            sinks=[self.record.apply, self._queue.put_nowait, *sinks],
        )
        self._orchestration = factory.orchestrate(self._context, self._inputs)
        self._agents, self._manager = factory.describe()
        # Only now, when nothing can be wrong with the team any more, a directory is made.
        self._journal = Journal.create(out, self.run_id) if out else None
        self.run_dir = self._journal.directory if self._journal else None
        if self._journal:
            self._journal.save("team.yaml", self._context.redactor.text(factory.team.resolved()))
            self._context.log = self._journal.write
        self._task = asyncio.get_running_loop().create_task(self._main(task), name=f"run {self.run_id}")

    def cancel(self) -> None:
        """Ends the run as `cancelled`, in well under a second; without effect once it has ended."""
        self._context.cancel()

    async def result(self) -> RunResult:
        """Waits for the end and tells how it was; a run that fails says so here and raises nothing."""
        return await asyncio.shield(self._task)

    async def events(self) -> AsyncIterator[ev.AnyEvent]:
        """Every event as it comes, the last is `run_finished`; for one reader."""
        while (event := await self._queue.get()) is not None:
            yield event

    async def _main(self, task: str) -> RunResult:
        context = self._context
        context.begin()
        answer, error = "", None
        try:
            context.emit(self._started(task))
            answer = await self._orchestrate(task)
        except (Exception, asyncio.CancelledError) as raised:
            error = raised
        outcome, reason, details = self._judge(error)
        if outcome == "limited" and not answer:
            answer = last_word((turn.agent, turn.text) for turn in reversed(self.record.turns))
        self._finish(
            ev.RunFinished(outcome=outcome, answer=answer, reason=reason, error=details, seconds=context.elapsed)
        )
        return self._result()

    def _started(self, task: str) -> ev.RunStarted:
        config = self._team.config
        manager = config.manager.model_dump(include={"max_rounds", "max_stalls", "max_resets"})
        return ev.RunStarted(
            team=config.name,
            task=task,
            agents=self._agents,
            manager=self._manager,
            limits={**manager, **config.limits.model_dump()},
            inputs=self._inputs,
            config_hash=self._team.config_hash,
            versions={
                "magentic_kit": __version__,
                "semantic_kernel": semantic_kernel.__version__,
                "python": platform.python_version(),
            },
        )

    async def _orchestrate(self, task: str) -> str:
        if self._runtime is not None:
            return await self._end_of(await self._orchestration.invoke(task, self._runtime))
        runtime = InProcessRuntime()
        runtime.start()
        try:
            return await self._end_of(await self._orchestration.invoke(task, runtime))
        finally:
            await _stop(runtime)

    async def _end_of(self, invoked: OrchestrationResult[ChatMessageContent]) -> str:
        """What the orchestration brings; given up when it does not follow a cancel or the deadline."""
        ended = asyncio.ensure_future(invoked.get())
        cancelled = asyncio.ensure_future(self._context.cancelled.wait())
        deadline = self._context.limits.deadline
        left = None if deadline is None else max(deadline - self._context.elapsed, 0) + _GRACE
        try:
            await asyncio.wait({ended, cancelled}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                self._context.check(final=True) if not cancelled.done() else None
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
        if self._context.limit is not None:
            return "limited", self._context.limit.limit, None
        if error is None:
            return "satisfied", "", None
        if not isinstance(error, KitError):
            logger.error("the run failed", exc_info=error)
        kind = error.kind if isinstance(error, KitError) else "internal"
        message = str(error) if isinstance(error, KitError) else f"{type(error).__name__}: {error}"
        return "failed", kind, {"kind": kind, "message": message}

    def _finish(self, finished: ev.RunFinished) -> None:
        """Tells the end, writes the report, closes the log; what fails here cannot change the outcome."""
        try:
            self._context.emit(finished)
        except KitError as error:
            logger.error("%s", error)
        if self._journal is not None:
            self._journal.close()
            try:
                write_reports(self._journal.directory, self.record, self._team.config.report.formats)
            except OSError as error:
                logger.error("the report could not be written: %s", error)
        self._queue.put_nowait(None)

    def _result(self) -> RunResult:
        record, totals = self.record, self.record.totals
        return RunResult(
            outcome=record.outcome,
            answer=record.answer,
            reason=record.reason,
            error=record.error,
            rounds=len(record.turns),
            stalls=record.stalls,
            resets=record.resets,
            prompt_tokens=totals["prompt_tokens"],
            completion_tokens=totals["completion_tokens"],
            seconds=record.seconds or 0.0,
            run_id=self.run_id,
            run_dir=self.run_dir,
            record=record,
        )


async def _stop(runtime: InProcessRuntime) -> None:
    idle = asyncio.ensure_future(runtime.stop_when_idle())
    await asyncio.wait({idle}, timeout=_GRACE)
    if not idle.done():  # something does not follow its cancellation; leave it behind
        await runtime.stop()
    await asyncio.gather(idle, return_exceptions=True)
