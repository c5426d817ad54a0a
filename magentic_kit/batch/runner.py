"""Many tasks of one team: side by side in one directory, and gone on with after a stop."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import anyio
import yaml
from filelock import FileLock, Timeout
from typing_extensions import Unpack

from magentic_kit import events as ev
from magentic_kit.batch.tasks import Check, Task, judge
from magentic_kit.errors import ConfigError, KitError
from magentic_kit.runlog.directory import LOG, new_run_id, read_log
from magentic_kit.runlog.record import RunRecord
from magentic_kit.text import printable

if TYPE_CHECKING:
    from magentic_kit.cluster.queued import Queue
    from magentic_kit.factory import TeamFactory
    from magentic_kit.orchestration.options import RunOptions
    from magentic_kit.run import Run, RunResult

_ENDED = ("satisfied", "limited", "rejected")
"""Outcomes that are kept when a batch is resumed; other runs go on, or begin."""


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """How a task ended, as for `RunResult`; `run_dir` is None if the run could not begin or go on.

    `outcome` is `parked` if a queued run waits for a person: `error` says what for.
    """

    id: str
    outcome: str
    answer: str
    error: str
    prompt_tokens: int | None
    completion_tokens: int | None
    seconds: float
    run_dir: Path | None
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether all its checks passed; without any, whether the run was satisfied."""
        return not any(check.problem for check in self.checks) if self.checks else self.outcome == "satisfied"


class Batch:
    """The tasks of a team and the directory that holds their runs. One process at a time may work on it.

    `batch.json` and `team.yaml` have what it is made from, `tasks/` the run directories. `results.jsonl` is
    derived from these: a line a task, as they end.
    """

    def __init__(self, factory: TeamFactory, tasks: Sequence[Task], directory: Path, base_dir: Path) -> None:
        self.factory, self.tasks, self.directory, self.base_dir = factory, tasks, directory, base_dir
        self._limits: dict[str, Any] = {"concurrency": 8, "rpm": None, "tpm": None}
        self.queued = False
        self._carrier: _Here | Queue | None = None
        self._cancelled = False

    @classmethod
    def new(
        cls, factory: TeamFactory, tasks: Iterable[Task], *, out: str | Path = "batches", base_dir: str | Path = "."
    ) -> Batch:
        """A batch in a new directory under `out`; `base_dir` is where functions of checks are looked for."""
        return cls(factory, list(tasks), Path(out) / new_run_id(factory.team.config.name), Path(base_dir).resolve())

    @classmethod
    def load(cls, directory: str | Path, **source: Any) -> Batch:
        """The batch of a directory, to go on with; `source` as for `TeamFactory.from_dict`. Raises `ConfigError`."""
        from magentic_kit.factory import TeamFactory

        directory = Path(directory)
        try:
            data = json.loads((directory / "batch.json").read_text(encoding="utf-8"))
            tasks = [Task.read(task) for task in data["tasks"]]
            team = dict(yaml.safe_load((directory / "team.yaml").read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError, ConfigError) as error:
            raise ConfigError.one(f"there is no batch here: {error}", file=str(directory)) from error
        factory = TeamFactory.from_dict(team, base_dir=data["team_dir"], **source)
        batch = cls(factory, tasks, directory, Path(data["base_dir"]))
        batch._limits, batch.queued = data["limits"], data["queued"]
        return batch

    def cancel(self) -> None:
        """Ends the runs that are under way as `cancelled`; no other task begins. Those of a queue go on."""
        self._cancelled = True
        if self._carrier is not None:
            self._carrier.cancel()

    async def results(
        self,
        *,
        concurrency: int | None = None,
        rpm: int | None = None,
        tpm: int | None = None,
        queue: Queue | None = None,
        **options: Unpack[RunOptions],
    ) -> AsyncGenerator[TaskResult, None]:
        """Carries out what is left to do and tells of every task as it ends; leaving the loop cancels the rest.

        At most `concurrency` (8) runs are under way, each service gets at most `rpm` requests and `tpm` tokens a
        minute; a batch that goes on keeps what it had. `options` are for every run. With a `queue` the runs are
        those of its workers, who know no other `options`, and the limits are the queue's. Raises `ConfigError` if
        runs cannot begin at all.
        """
        given = {"concurrency": concurrency, "rpm": rpm, "tpm": tpm}
        if self.queued and queue is None:
            raise ConfigError.one("the batch is in a queue: give its --database", file=str(self.directory))
        self.queued, self._carrier = queue is not None, (carrier := queue or _Here(self.factory, options))
        self._limits |= {name: limit for name, limit in given.items() if limit is not None}
        most = anyio.CapacityLimiter(carrier.prepare(given if queue else self._limits))
        lock = self._save()
        under_way = [asyncio.create_task(self._carry_out(*task, carrier, most)) for task in enumerate(self.tasks, 1)]
        try:
            with (self.directory / "results.jsonl").open("w", encoding="utf-8", buffering=1) as file:
                for ended in asyncio.as_completed(under_way):
                    if result := await ended:
                        run_dir = result.run_dir and result.run_dir.relative_to(self.directory).as_posix()
                        told = {**asdict(result), "run_dir": run_dir, "passed": result.passed}
                        file.write(json.dumps(told) + "\n")
                        yield result
        finally:
            self.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)
            lock.release()

    def _save(self) -> FileLock:
        """Writes what the batch is made from, and keeps others away from it. Raises `ConfigError`."""
        team, lock = self.factory.team, FileLock(self.directory / ".lock", timeout=0)
        data = {"team_dir": str(team.base_dir), "base_dir": str(self.base_dir), "queued": self.queued}
        data |= {"limits": self._limits, "tasks": [task.model_dump(exclude_defaults=True) for task in self.tasks]}
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            lock.acquire()
            if not (team_file := self.directory / "team.yaml").exists():
                team_file.write_text(self.factory.redactor().text(team.resolved()), encoding="utf-8")
            (new := self.directory / "batch.new").write_text(json.dumps(data, indent=1), encoding="utf-8")
            new.replace(self.directory / "batch.json")
        except Timeout:
            raise ConfigError.one("another process is at work on this batch", file=str(self.directory)) from None
        except OSError as error:
            told = f"cannot write here: {error.strerror or error}; choose another --out"
            raise ConfigError.one(told, file=str(self.directory)) from error
        return lock

    async def _carry_out(
        self, number: int, task: Task, carrier: _Here | Queue, most: anyio.CapacityLimiter
    ) -> TaskResult | None:
        home = self.directory / "tasks" / f"{number:04}-{re.sub('[^0-9A-Za-z]+', '-', task.id)[:40]}"
        async with most:
            if self._cancelled or (result := await carrier.run(task, home)) is None:
                return None
            return await asyncio.to_thread(self._result, task, result)  # a check may take its time

    def _result(self, task: Task, result: RunResult) -> TaskResult:
        same = {f.name: getattr(result, f.name) for f in fields(TaskResult) if hasattr(result, f.name)}
        own = {"id": task.id, "error": (result.error or {}).get("message", "")}
        return TaskResult(**{**same, **own, "checks": judge(task, result, self.base_dir)})


def _run_dir(home: Path) -> Path | None:
    return next((log.parent for log in home.glob(f"*/{LOG}")), None)


class _Here:
    """Carries out runs in this process."""

    def __init__(self, factory: TeamFactory, options: RunOptions) -> None:
        self._factory, self._options = factory, options
        self._runs: set[Run] = set()

    def prepare(self, limits: Mapping[str, int | None]) -> float:
        """Takes the limits; returns how many tasks it may be given at a time. Raises `ConfigError`."""
        pool, team = self._factory.pool, self._factory.team
        pool.use_loop(asyncio.get_running_loop())
        pool.limit(rpm=limits["rpm"], tpm=limits["tpm"])
        agents = [agent for agent in team.config.agents if agent.type == "chat_completion_agent"]
        for name in {team.manager_service, *map(team.service_of, agents)}:
            self._factory.service(name)  # what it lacks is told before anything is written
        return limits["concurrency"] or 1

    async def run(self, task: Task, home: Path) -> RunResult:
        """Carries out the run of a task, or what is left of it, in a directory under `home`."""
        from magentic_kit.run import RunResult  # brings Semantic Kernel

        record = RunRecord()
        run_dir = _run_dir(home)
        try:
            if run_dir and (log := ev.effective(read_log(run_dir)[0])):
                record = RunRecord.of(log)
                if record.outcome in _ENDED:
                    return RunResult.of(record, run_dir)
                return await self._end_of(self._factory.resume(run_dir, **self._options))
        except KitError as error:  # this one alone cannot go on
            record.outcome, record.error = "failed", {"kind": error.kind, "message": str(error)}
            return RunResult.of(record, run_dir)
        shutil.rmtree(home, ignore_errors=True)  # of a run that was killed before it began
        begun: RunOptions = {**self._options, "inputs": task.inputs, "out": home}
        return await self._end_of(self._factory.start(task.task, **begun))

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


def run_batch(
    factory: TeamFactory, tasks: Iterable[Task], *, out: str | Path = "batches", **how: Any
) -> AsyncGenerator[TaskResult, None]:
    """Carries out the tasks in a new directory under `out`; `how` as for `Batch.results`."""
    return Batch.new(factory, tasks, out=out).results(**how)


def junit(batch: Batch, results: Iterable[TaskResult]) -> bytes:
    """The results by task as JUnit XML; what did not run to an end counts as skipped."""
    name, by_id = batch.factory.team.config.name, {result.id: result for result in results}
    suite = ElementTree.Element("testsuite", name=name, tests=str(len(batch.tasks)))
    for task in batch.tasks:
        case = ElementTree.SubElement(suite, "testcase", classname=name, name=_xml(task.id))
        result = by_id.get(task.id)
        if result is None or result.outcome == "cancelled":
            ElementTree.SubElement(case, "skipped")
            continue
        case.set("time", f"{result.seconds:.3f}")
        if not result.passed:
            why = [f"{check.check}: {check.problem}" for check in result.checks if check.problem]
            message = result.error or (why or [result.outcome])[0]
            trouble = ElementTree.SubElement(case, "error" if result.outcome == "failed" else "failure")
            trouble.set("message", _xml(message))
            trouble.text = _xml("\n".join(why))
        ElementTree.SubElement(case, "system-out").text = _xml(result.answer)
    for kind, tag in {"failures": "failure", "errors": "error", "skipped": "skipped"}.items():
        suite.set(kind, str(len(suite.findall(f"*/{tag}"))))
    xml: bytes = ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)
    return xml


def _xml(text: str) -> str:
    return re.sub("[\ufffe\uffff]", "\ufffd", printable(text))  # which XML cannot hold either
