"""Many tasks of one team: side by side in one directory, and gone on with after a stop."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncGenerator, Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import anyio
import yaml

from magentic_kit.batch.carrier import Carrier, LocalRuns
from magentic_kit.batch.checks import judge
from magentic_kit.batch.results import TaskResult, write_page
from magentic_kit.batch.tasks import Task
from magentic_kit.errors import ConfigError
from magentic_kit.orchestration.keywords import takes
from magentic_kit.orchestration.options import ResumeArguments, default_of, optional
from magentic_kit.runlog.directory import new_run_id
from magentic_kit.runlog.files import lock_directory, make_directory, open_private, read_regular, write_private
from magentic_kit.team.values import ListOf, Model

if TYPE_CHECKING:
    from filelock import BaseFileLock

    from magentic_kit.factory import TeamFactory
    from magentic_kit.runlog.result import RunResult

logger = logging.getLogger(__name__)

_LARGEST = 2**28  # bytes of a batch's own files


class _Limits(Model):
    concurrency: int | None
    rpm: int | None
    tpm: int | None


class _BatchFile(Model):
    """What batch.json has."""

    team_dir: str
    base_dir: str
    queued: bool
    limits: _Limits
    tasks: ListOf[Task]


@dataclass(frozen=True, kw_only=True)
class Results(ResumeArguments):
    """How the runs of a batch are carried out; the options of a run are for every one."""

    concurrency: int | None = optional("how many runs are under way at a time; default: 8")
    rpm: int | None = optional("how many requests a minute a service gets at most")
    tpm: int | None = optional("how many tokens a minute a service gets at most")
    queue: Carrier | None = optional("carries out the runs elsewhere, in place of this process")

    def __post_init__(self) -> None:
        given = [option.name for option in fields(ResumeArguments) if getattr(self, option.name) != default_of(option)]
        if self.queue is not None and given:
            raise TypeError(f"the workers of a queue take no options of a run: leave out {', '.join(given)}")


@dataclass(frozen=True)
class RunBatch(Results):
    """The arguments of `run_batch`."""

    tasks: Iterable[Task] = field(metadata={"help": "what to do; each with an id of its own"})
    out: str | Path = field(default="batches", kw_only=True, metadata={"help": "where the batch's directory is made"})


class Batch:
    """The tasks of a team and the directory that holds their runs. One process at a time may work on it.

    `batch.json` and `team.yaml` have what it is made from, `tasks/` the run directories. `results.jsonl` is
    derived from these, a line a task, as they end, and `batch.html` with all of them, at the end.
    """

    def __init__(self, factory: TeamFactory, tasks: Iterable[Task], directory: Path, base_dir: Path) -> None:
        self.factory, self.tasks, self.directory, self.base_dir = factory, list(tasks), directory, base_dir
        self._limits: dict[str, int | None] = {"concurrency": 8, "rpm": None, "tpm": None}
        self.queued = False
        self._carrier: Carrier | None = None
        self._cancelled = False

    @classmethod
    def new(
        cls, factory: TeamFactory, tasks: Iterable[Task], *, out: str | Path = "batches", base_dir: str | Path = "."
    ) -> Batch:
        """A batch in a new directory under `out`; `base_dir` is where functions of checks are looked for."""
        directory = Path(out) / new_run_id(factory.blueprint.team.config.name)
        return cls(factory, tasks, directory, Path(base_dir).resolve())

    @classmethod
    def load(cls, directory: str | Path, **source: Any) -> Batch:
        """The batch of a directory, to go on with; `source` as for `TeamFactory.from_dict`. Raises `ConfigError`."""
        from magentic_kit.factory import TeamFactory

        directory = Path(directory)
        try:
            data = _BatchFile.model_validate_json(read_regular(directory / "batch.json", _LARGEST))
            team = dict(yaml.safe_load(read_regular(directory / "team.yaml", _LARGEST)))
        except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
            raise ConfigError.one(f"there is no batch here: {error}", file=str(directory)) from error
        factory = TeamFactory.from_dict(team, base_dir=data.team_dir, **source)
        batch = cls(factory, data.tasks, directory, Path(data.base_dir))
        batch._limits, batch.queued = data.limits.model_dump(), data.queued
        return batch

    def cancel(self) -> None:
        """Ends the runs that are under way as `cancelled`; no other task begins. Those of a queue go on."""
        self._cancelled = True
        if self._carrier is not None:
            self._carrier.cancel()

    @takes(Results)
    def results(self, arguments: Results) -> AsyncGenerator[TaskResult, None]:
        """Carries out what is left to do; see `carry_out`."""
        return self.carry_out(arguments)

    async def carry_out(self, arguments: Results) -> AsyncGenerator[TaskResult, None]:
        """Carries out what is left to do and gives every task's result as it ends; leaving the loop cancels the rest.

        A batch that goes on keeps the limits that it had. With a `queue` the runs are those of its workers, who
        take no options of a run, and the limits are the queue's. Raises `ConfigError` if runs cannot begin at all.
        """
        given = {"concurrency": arguments.concurrency, "rpm": arguments.rpm, "tpm": arguments.tpm}
        queue = arguments.queue
        if self.queued and queue is None:
            raise ConfigError.one("the batch is in a queue: give its --database", file=str(self.directory))
        carrier = queue or LocalRuns(self.factory, arguments)
        self.queued, self._carrier = queue is not None, carrier
        self._limits |= {name: limit for name, limit in given.items() if limit is not None}
        most = anyio.CapacityLimiter(await carrier.prepare(given if queue else self._limits))
        lock = self._save()
        ended_tasks: list[TaskResult] = []
        under_way = [asyncio.create_task(self._carry_out(*task, carrier, most)) for task in enumerate(self.tasks, 1)]
        try:
            with self._open_results() as file:
                for ended in asyncio.as_completed(under_way):
                    if result := await ended:
                        file.write(self._line(result))
                        file.flush()
                        ended_tasks.append(result)
                        yield result
        finally:
            self.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)
            team, ids = self.factory.blueprint.config.name, [task.id for task in self.tasks]
            write_page(self.directory, team, ids, ended_tasks)
            lock.release()

    def _line(self, result: TaskResult) -> bytes:
        data = asdict(result)
        data["run_dir"] = result.run_dir and result.run_dir.relative_to(self.directory).as_posix()
        data["passed"] = result.passed
        return json.dumps(data).encode() + b"\n"

    def _save(self) -> BaseFileLock:
        """Writes what the batch is made from, and keeps others away from it. Raises `ConfigError`."""
        team, team_file = self.factory.blueprint.team, self.directory / "team.yaml"
        data = _BatchFile(
            team_dir=str(team.base_dir),
            base_dir=str(self.base_dir),
            queued=self.queued,
            limits=_Limits(**self._limits),
            tasks=tuple(self.tasks),
        )
        try:
            make_directory(self.directory, exist_ok=True)
            lock = lock_directory(self.directory, "batch")
            if not team_file.exists():
                write_private(team_file, team.stored(self.factory.blueprint.redactor().spans).encode())
            write_private(self.directory / "batch.json", data.model_dump_json(indent=1, exclude_defaults=True).encode())
        except OSError as error:
            raise self._unwritable(error) from error
        return lock

    def _open_results(self) -> BinaryIO:
        try:
            return open_private(self.directory / "results.jsonl")
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> ConfigError:
        told = f"cannot write here: {error.strerror or error}; choose another --out"
        return ConfigError.one(told, file=str(self.directory))

    async def _carry_out(
        self, number: int, task: Task, carrier: Carrier, most: anyio.CapacityLimiter
    ) -> TaskResult | None:
        home = self.directory / "tasks" / f"{number:04}-{re.sub('[^0-9A-Za-z]+', '-', task.id)[:40]}"
        async with most:
            if self._cancelled or (result := await carrier.run(task, home)) is None:
                return None
            return await asyncio.to_thread(self._result, task, result)  # a check may take its time

    def _result(self, task: Task, result: RunResult) -> TaskResult:
        same = {f.name: getattr(result, f.name) for f in fields(TaskResult) if hasattr(result, f.name)}
        own = {"id": task.id, "error": result.failure}
        return TaskResult(**{**same, **own, "checks": judge(task, result, self.base_dir)})


@takes(RunBatch)
def run_batch(factory: TeamFactory, arguments: RunBatch) -> AsyncGenerator[TaskResult, None]:
    """Carries out tasks of the factory's team in a new directory, and gives the result of each as it ends."""
    return Batch.new(factory, arguments.tasks, out=arguments.out).carry_out(arguments)
