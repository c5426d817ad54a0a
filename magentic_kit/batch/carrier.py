"""Who carries out the runs of a batch: this process here; a queue is another that fits."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from magentic_kit import events as ev
from magentic_kit.batch.tasks import Task
from magentic_kit.errors import KitError
from magentic_kit.runlog.reader import LOG, read_log
from magentic_kit.runlog.record import RunRecord
from magentic_kit.runlog.result import RunResult

if TYPE_CHECKING:
    from magentic_kit.factory import TeamFactory
    from magentic_kit.orchestration.options import ResumeArguments
    from magentic_kit.run import Run

_ENDED = ("satisfied", "limited", "rejected")
"""Outcomes that are kept when a batch is resumed; other runs go on, or begin."""


class Carrier(Protocol):
    """Who carries out the runs of a batch: this process, or the workers of a queue."""

    async def prepare(self, limits: Mapping[str, int | None]) -> float:
        """Takes the limits; returns how many tasks it may be given at a time. Raises `ConfigError`."""

    async def run(self, task: Task, home: Path) -> RunResult | None:
        """Carries out a task, its run directory below `home`; None once cancelled."""

    def cancel(self) -> None:
        """Ends what is under way, or stops following it."""


class LocalRuns:
    """Carries out runs in this process."""

    def __init__(self, factory: TeamFactory, options: ResumeArguments) -> None:
        self._factory, self._options = factory, options
        self._runs: set[Run] = set()

    async def prepare(self, limits: Mapping[str, int | None]) -> float:
        """Takes the limits; returns how many tasks it may be given at a time. Raises `ConfigError`."""
        pool, team = self._factory.blueprint.pool, self._factory.blueprint.team
        pool.use_loop(asyncio.get_running_loop())
        pool.limit(rpm=limits["rpm"], tpm=limits["tpm"])
        agents = [agent for agent in team.config.agents if agent.type == "chat_completion_agent"]
        for name in {team.manager_service, *map(team.service_of, agents)}:
            self._factory.blueprint.service(name)  # what it lacks is told before anything is written
        self._factory.blueprint.check_prices()
        return limits["concurrency"] or 1

    async def run(self, task: Task, home: Path) -> RunResult:
        """Carries out the run of a task, or what is left of it, in a directory under `home`."""
        from magentic_kit.run import Run

        blueprint, record = self._factory.blueprint, RunRecord()
        run_dir = _run_dir(home)
        try:
            if run_dir and (log := ev.effective(read_log(run_dir)[0])):
                record = RunRecord.of(log)
                if record.outcome in _ENDED:
                    return RunResult.of(record, run_dir)
                return await self._end_of(Run.resumed(blueprint, run_dir, self._options, inputs=task.inputs))
        except KitError as error:  # this one alone cannot go on
            record.outcome, record.error = "failed", {"kind": error.kind, "message": str(error)}
            return RunResult.of(record, run_dir)
        shutil.rmtree(home, ignore_errors=True)  # of a run that was killed before it began
        options = self._options.for_new_run(inputs=task.inputs, out=home, attach=task.attach)
        return await self._end_of(Run.new(blueprint, task.task, options))

    def cancel(self) -> None:
        """Ends what is under way."""
        for run in self._runs:
            run.cancel()

    async def _end_of(self, run: Run) -> RunResult:
        self._runs.add(run)
        try:
            return await run.result()
        finally:
            self._runs.discard(run)


def _run_dir(home: Path) -> Path | None:
    return next((log.parent for log in home.glob(f"*/{LOG}")), None)
