"""Many tasks of one team: read from a file, run side by side in one directory, checked, and gone on with."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
import shutil
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from xml.etree import ElementTree

import yaml
from filelock import FileLock, Timeout
from pydantic import BeforeValidator, Field, JsonValue, ValidationError, field_validator, model_validator
from typing_extensions import Self, Unpack
from yaml.constructor import SafeConstructor

from magentic_kit import events as ev
from magentic_kit.errors import ConfigError, KitError, Problem
from magentic_kit.explain import clip, nearest
from magentic_kit.journal import LOG, new_run_id, read_log
from magentic_kit.providers import Model, Target, opt
from magentic_kit.rates import Throttle
from magentic_kit.record import RunRecord
from magentic_kit.redaction import Redactor
from magentic_kit.targets import module_object
from magentic_kit.text import printable

if TYPE_CHECKING:
    from magentic_kit.factory import RunOptions, TeamFactory
    from magentic_kit.run import RunResult

_ENDED = ("satisfied", "limited", "rejected")
"""Outcomes that are kept when a batch is resumed; other runs go on, or begin."""


class Expect(Model):
    """What an answer has to be; every key that is given is a check of its own."""

    contains: str | None = opt(None, "Text that the answer contains.")
    regex: re.Pattern[str] | None = opt(None, "Regular expression that is found in the answer.", strict=False)
    json_schema: dict[str, Any] | None = opt(None, "JSON Schema of the answer, which is JSON then, fenced or not.")
    python: Target | None = opt(None, "Function beside the tasks file; gets the RunResult, returns bool or raises.")

    @model_validator(mode="after")
    def _names_a_check(self) -> Self:
        if not self.given():
            raise ValueError(f"should be a check: {', '.join(type(self).model_fields)}")
        return self

    @field_validator("json_schema")
    @classmethod
    def _is_schema(cls, schema: dict[str, Any] | None) -> dict[str, Any] | None:
        from jsonschema import SchemaError, validators

        try:
            validators.validator_for(schema).check_schema(schema or {})
        except SchemaError as error:
            raise ValueError(f"is no JSON Schema: {error.message}") from error
        return schema

    def given(self) -> dict[str, Any]:
        """The checks by their kinds."""
        return {kind: wanted for kind, wanted in self if wanted is not None}


def _one_or_list(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


class Task(Model):
    """One task of a batch."""

    id: str = Field(description="Unique name; default: the line number.", strict=False, coerce_numbers_to_str=True)
    task: str | None = opt(None, "What is to be done; default: the team's own task.")
    inputs: dict[str, JsonValue] = opt({}, "Values for the team's inputs.")
    expect: Annotated[tuple[Expect, ...], BeforeValidator(_one_or_list), Field(strict=False)] = opt((), "Checks.")


@dataclass(frozen=True)
class Check:
    """A check of an answer, and why the answer does not pass; `problem` is empty if it does."""

    check: str
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """How a task ended, as for `RunResult`; `run_dir` is None if the run could not begin or go on."""

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


def load_tasks(path: Path, factory: TeamFactory) -> list[Task]:
    """The tasks of a .jsonl, .yaml or .csv file. Raises `ConfigError` with every problem and its line.

    A table's columns are `id`, `task` and `expect` (YAML, such as `contains: East`); all others are inputs.
    """
    tasks: dict[str, Task] = {}
    problems: list[Problem] = []
    for line, read in _rows(path):
        try:
            row = read()
            task = Task.model_validate({"id": line, **row} if isinstance(row, dict) else row)
            factory.task(task.task, factory.fill_inputs(task.inputs))
            for expect in task.expect:
                module_object(expect.python, path.parent) if expect.python else None
            if tasks.setdefault(task.id, task) is not task:
                raise ValueError(f"there is another task with the id {clip(task.id)}")
        except ValidationError as error:
            problems += [Problem(str(path), line, 1, _told(e)) for e in error.errors(include_url=False)]
        except ConfigError as error:
            problems += [Problem(str(path), line, 1, problem.message) for problem in error.problems]
        except (ValueError, yaml.YAMLError) as error:
            problems.append(Problem(str(path), line, 1, getattr(error, "problem", None) or str(error)))
    if not tasks and not problems:
        problems.append(Problem(str(path), 0, 0, "there are no tasks"))
    if problems:
        raise ConfigError(problems)
    return list(tasks.values())


def _rows(path: Path) -> Iterator[tuple[int, Callable[[], Any]]]:
    """The line of each task, and what reads it."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError.one(f"cannot be read: {error}", file=str(path)) from error
    if path.suffix == ".jsonl":
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                yield number, partial(json.loads, line)
    elif path.suffix == ".csv":
        table, line_num = csv.DictReader(io.StringIO(text, newline="")), 1
        for row in table:
            yield line_num + 1, partial(_from_table, row)
            line_num = table.line_num
    elif path.suffix in (".yaml", ".yml"):
        try:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.YAMLError as error:
            mark, what = getattr(error, "problem_mark", None), getattr(error, "problem", None) or error
            place = (mark.line + 1, mark.column + 1) if mark else (0, 0)
            raise ConfigError([Problem(str(path), *place, f"this is not valid YAML: {what}")]) from error
        if not isinstance(root, yaml.SequenceNode):
            raise ConfigError.one("the file should hold a list of tasks", file=str(path))
        for node in root.value:
            yield node.start_mark.line + 1, partial(SafeConstructor().construct_document, node)
    else:
        raise ConfigError.one("a tasks file ends in .jsonl, .yaml or .csv", file=str(path))


def _from_table(row: dict[str, Any]) -> dict[str, Any]:
    if None in row:
        raise ValueError("the line has more cells than there are columns")
    cells = {name: cell for name, cell in row.items() if cell}
    task = {name: cells.pop(name) for name in ("id", "task", "expect") if name in cells}
    if "expect" in task:
        task["expect"] = yaml.safe_load(task["expect"])
    return {**task, "inputs": cells}


def _told(error: Any) -> str:
    where = ".".join(str(step) for step in error["loc"])
    if error["type"] == "extra_forbidden":
        known = Expect if "expect" in error["loc"] else Task
        return f"unknown key {clip(where)}{nearest(str(error['loc'][-1]), known.model_fields)}"
    return f"{where or 'the task'}: {error['msg'].removeprefix('Value error, ')}"


class Batch:
    """The tasks of a team and the directory that holds their runs. One process at a time may work on it.

    `batch.json` and `team.yaml` have what it is made from, `tasks/` the run directories. `results.jsonl` is
    derived from these: a line a task, as they end.
    """

    def __init__(self, factory: TeamFactory, tasks: Sequence[Task], directory: Path, base_dir: Path) -> None:
        self.factory, self.tasks, self.directory, self.base_dir = factory, tasks, directory, base_dir
        self._runs: set[Any] = set()
        self._cancelled = False

    @classmethod
    def new(
        cls,
        factory: TeamFactory,
        tasks: Sequence[Task],
        *,
        out: str | Path = "batches",
        base_dir: str | Path = ".",
    ) -> Batch:
        """A batch in a new directory under `out`; `base_dir` is where functions of checks are looked for."""
        team = factory.team
        directory = Path(out) / new_run_id(team.config.name)
        data = {
            "v": 1,
            "team": team.config.name,
            "team_dir": str(team.base_dir),
            "base_dir": str(Path(base_dir).resolve()),
            "tasks": [task.model_dump(mode="json", exclude_defaults=True) for task in tasks],
        }
        try:
            directory.mkdir(parents=True)
            (directory / "team.yaml").write_text(Redactor.from_environment().text(team.resolved()), encoding="utf-8")
            (directory / "batch.json").write_text(json.dumps(data, indent=1), encoding="utf-8")
        except OSError as error:
            told = f"cannot write here: {error.strerror or error}; choose another --out"
            raise ConfigError.one(told, file=str(directory)) from error
        return cls(factory, tasks, directory, Path(data["base_dir"]))

    @classmethod
    def load(cls, directory: str | Path, **source: Any) -> Batch:
        """The batch of a directory, to go on with; `source` as for `TeamFactory.from_dict`. Raises `ConfigError`."""
        from magentic_kit.factory import TeamFactory

        directory = Path(directory)
        try:
            data = json.loads((directory / "batch.json").read_text(encoding="utf-8"))
            tasks = [Task.model_validate(task) for task in data["tasks"]]
            team = yaml.safe_load((directory / "team.yaml").read_text(encoding="utf-8"))
        except (OSError, ValueError, KeyError, yaml.YAMLError) as error:
            raise ConfigError.one(f"there is no batch here: {error}", file=str(directory)) from error
        factory = TeamFactory.from_dict(team, base_dir=data["team_dir"], **source)
        return cls(factory, tasks, directory, Path(data["base_dir"]))

    def cancel(self) -> None:
        """Ends the runs that are under way as `cancelled`; no other task begins."""
        self._cancelled = True
        for run in self._runs:
            run.cancel()

    async def results(
        self, *, concurrency: int = 8, rpm: int | None = None, tpm: int | None = None, **options: Unpack[RunOptions]
    ) -> AsyncGenerator[TaskResult, None]:
        """Carries out what is left to do and tells of every task as it ends; leaving the loop cancels the rest.

        At most `concurrency` runs are under way, each service gets at most `rpm` requests and `tpm` tokens a
        minute. `options` are for every run. Raises `ConfigError` if runs cannot begin at all.
        """
        lock = FileLock(self.directory / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise ConfigError.one("another process is at work on this batch", file=str(self.directory)) from None
        waiting, under_way = deque(enumerate(self.tasks, 1)), set[asyncio.Task[TaskResult]]()
        try:
            self._pace(rpm, tpm)
            with (self.directory / "results.jsonl").open("w", encoding="utf-8", buffering=1) as file:
                while under_way or (waiting and not self._cancelled):
                    while waiting and not self._cancelled and len(under_way) < concurrency:
                        under_way.add(asyncio.create_task(self._carry_out(*waiting.popleft(), options)))
                    ended, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                    for task in ended:
                        told = asdict(result := task.result())
                        run_dir = result.run_dir and result.run_dir.relative_to(self.directory).as_posix()
                        file.write(json.dumps({**told, "run_dir": run_dir, "passed": result.passed}) + "\n")
                        yield result
        finally:
            self.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)
            lock.release()

    def _pace(self, rpm: int | None, tpm: int | None) -> None:
        factory, team = self.factory, self.factory.team
        factory.use_loop(asyncio.get_running_loop())
        seats = {(team.service_of(a), a.model.id) for a in team.config.agents if a.type != "human"}
        for name, model in {(team.manager_service, None), *seats}:
            Throttle.of(factory.service(name, model)).pace(rpm=rpm, tpm=tpm)

    async def _carry_out(self, number: int, task: Task, options: RunOptions) -> TaskResult:
        home = self.directory / "tasks" / f"{number:04}-{re.sub(r'[^0-9A-Za-z]+', '-', task.id)[:40].strip('-')}"
        run_dir = next((log.parent for log in home.glob(f"*/{LOG}")), None)
        try:
            log = ev.effective(read_log(run_dir)[0]) if run_dir else []
            if log and (record := RunRecord.of(log)).outcome in _ENDED:
                return self._result(task, _recorded(record, run_dir))
            if not log:
                shutil.rmtree(home, ignore_errors=True)  # what was left was killed before it began
            go_on: Any = partial(self.factory.resume, run_dir) if log else partial(self._start, task, home)
            self._runs.add(run := go_on(**options))
        except KitError as error:
            if not run_dir:
                raise
            return self._failed(task, error, run_dir)
        ...
