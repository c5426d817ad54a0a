"""The tasks of a batch: read from a file, every error reported with its line, and the checks of their answers."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import yaml
from pydantic import BeforeValidator, Field, PlainSerializer, model_validator
from typing_extensions import Self

from magentic_kit.errors import ConfigError, Problem
from magentic_kit.team.bounded_yaml import load_yaml, load_yaml_list
from magentic_kit.team.problems import clip
from magentic_kit.team.targets import module_object
from magentic_kit.team.validation import validate
from magentic_kit.team.values import ListOf, Model, Target, Text

if TYPE_CHECKING:
    from magentic_kit.factory import TeamFactory


def _compiled(text: Any) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except (re.error, TypeError) as error:
        raise ValueError(f"should be a regular expression ({error})") from error


def _schema(schema: Any) -> Any:
    from jsonschema import SchemaError, validators

    try:
        if isinstance(schema, dict):
            validators.validator_for(schema).check_schema(schema)
    except SchemaError as error:
        raise ValueError(f"is no JSON Schema: {error.message}") from error
    return schema


def _json(value: Any) -> Any:
    try:
        read_back = json.loads(json.dumps(value))
    except TypeError:  # a date, say, in YAML
        read_back = None
    if read_back != value:
        raise ValueError("should be what JSON can hold")
    return value


def _one_or_list(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return value
    return [value]


Pattern = Annotated[re.Pattern[str], BeforeValidator(_compiled), PlainSerializer(lambda pattern: pattern.pattern)]
Schema = Annotated[dict[str, Any], BeforeValidator(_schema)]
Json = Annotated[Any, BeforeValidator(_json)]


class Expect(Model):
    """What an answer has to be; every key that is given is a check of its own."""

    contains: str | None = Field(default=None, description="Text that the answer contains.")
    regex: Pattern | None = Field(default=None, description="Regular expression that is found in the answer.")
    json_schema: Schema | None = Field(default=None, description="JSON Schema of the answer, which may be fenced.")
    python: Target | None = Field(
        default=None, description="Function beside the tasks file; gets the RunResult, returns bool or raises."
    )
    fields: dict[str, Json] | None = Field(
        default=None,
        description="Fields of an answer that is data, by dotted path: {region.name: East}.",
    )

    @model_validator(mode="after")
    def _has_a_check(self) -> Self:
        if not self.given():
            raise ValueError(f"needs a check: {', '.join(type(self).model_fields)}")
        return self

    def given(self) -> dict[str, Any]:
        """The checks by their kinds."""
        return {kind: wanted for kind, wanted in self if wanted is not None}


class Task(Model):
    """One task of a batch. Raises pydantic's `ValidationError` if it is made of something else."""

    id: Text = Field(description="Unique name; default: the line number.")
    task: str | None = Field(default=None, description="What is to be done; default: the team's own task.")
    inputs: dict[str, Json] = Field(default={}, description="Values for the team's inputs.")
    attach: ListOf[str] = Field(default=(), description="Files that go with it, relative to the file of tasks.")
    expect: Annotated[ListOf[Expect], BeforeValidator(_one_or_list)] = Field(default=(), description="Checks.")

    @classmethod
    def read(cls, data: Any) -> Self:
        """The task that plain data holds. Raises `ConfigError` with every problem."""
        task, problems = validate(cls, data, root="the task")
        if task is None:
            raise ConfigError([Problem("the task", 0, 0, message) for _, message in problems])
        return task


def load_tasks(path: Path, factory: "TeamFactory") -> list[Task]:
    """The tasks of a .jsonl, .yaml or .csv file. Raises `ConfigError` with every problem and its line.

    A table's columns are `id`, `task` and `expect` (YAML, such as `contains: East`); all others are inputs.
    """
    blueprint = factory.blueprint
    tasks: dict[str, Task] = {}
    problems: list[Problem] = []
    for line, load in _rows(path):
        try:
            row = load()
            task = _with_files(Task.read({"id": line, **row} if isinstance(row, dict) else row), path.parent)
            blueprint.fill_task(task.task, blueprint.fill_inputs(task.inputs))
            for expect in task.expect:
                module_object(expect.python, path.parent) if expect.python else None
            if tasks.setdefault(task.id, task) is not task:
                raise ValueError(f"there is another task with the id {clip(task.id)}")
        except ConfigError as error:
            problems += [Problem(str(path), line, 1, problem.message) for problem in error.problems]
        except (ValueError, yaml.YAMLError) as error:
            problems.append(Problem(str(path), line, 1, _words(error)))
    if not tasks and not problems:
        problems.append(Problem(str(path), 0, 0, "there are no tasks"))
    if problems:
        raise ConfigError(problems)
    return list(tasks.values())


def _with_files(task: Task, folder: Path) -> Task:
    """The task with its files by their absolute paths. Raises `ValueError` if one is not there."""
    files = [(folder / name).resolve() for name in task.attach]
    for name, file in zip(task.attach, files, strict=True):
        if not file.is_file():
            raise ValueError(f"attach: there is no file {clip(name)}")
    return task.model_copy(update={"attach": tuple(map(str, files))})


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
            for number, item in load_yaml_list(text):
                yield number, partial(_same, item)
        except TypeError as error:
            raise ConfigError.one("the file should hold a list of tasks", file=str(path)) from error
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            place = (mark.line + 1, mark.column + 1) if mark else (0, 0)
            raise ConfigError([Problem(str(path), *place, f"this is not valid YAML: {_words(error)}")]) from error
    else:
        raise ConfigError.one("a tasks file ends in .jsonl, .yaml or .csv", file=str(path))


def _same(item: Any) -> Any:
    return item


def _from_table(row: dict[str, Any]) -> dict[str, Any]:
    if None in row:
        raise ValueError("the line has more cells than there are columns")
    cells: dict[str, Any] = {name: cell for name, cell in row.items() if cell}
    task = {name: cells.pop(name) for name in [*cells] if name in ("id", "task", "expect")}
    if "expect" in task:
        task["expect"] = load_yaml(task["expect"])
    return {**task, "inputs": cells}


def _words(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"this is not valid JSON: {error.msg}"
    return getattr(error, "problem", None) or str(error)
