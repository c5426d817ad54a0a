"""The checks of a task's answer."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magentic_kit.batch.tasks import Task
from magentic_kit.team.problems import clip
from magentic_kit.team.targets import module_object

if TYPE_CHECKING:
    from magentic_kit.runlog.result import RunResult


@dataclass(frozen=True)
class Check:
    """A check of an answer, and why the answer does not pass; `problem` is empty if it does."""

    check: str
    problem: str = ""


def judge(task: Task, result: RunResult, base_dir: Path) -> tuple[Check, ...]:
    """The checks of the task's answer; `base_dir` is where their functions are looked for first."""
    given = [(kind, wanted) for expect in task.expect for kind, wanted in expect.given().items()]
    return tuple(Check(f"{kind} {_shown(wanted)}", _problem(kind, wanted, result, base_dir)) for kind, wanted in given)


def _shown(wanted: object) -> str:
    return clip(wanted.pattern if isinstance(wanted, re.Pattern) else wanted)


def _problem(kind: str, wanted: Any, result: RunResult, base_dir: Path) -> str:
    if result.outcome not in ("satisfied", "limited"):
        return result.record.ending
    if kind == "contains":
        if wanted in result.answer:
            return ""
        return "the answer does not contain it"
    if kind == "regex":
        if wanted.search(result.answer):
            return ""
        return "it is not found in the answer"
    if kind == "json_schema":
        return _misfit(result.answer, wanted)
    if kind == "fields":
        return "; ".join(filter(None, (_field_problem(result, path, value) for path, value in wanted.items())))
    try:
        said = module_object(wanted, base_dir)(result)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if said or said is None:
        return ""
    return "it says no"


def _field_problem(result: RunResult, path: str, wanted: object) -> str:
    value = result.record.value  # as data, whatever type the caller has asked for
    if value is None:
        return "the answer is no data: give the team a schema of answers (`answer:`)"
    for step in path.split("."):
        if isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        elif isinstance(value, dict) and step in value:
            value = value[step]
        else:
            return f"the answer has no {path}"
    if value == wanted and isinstance(value, bool) == isinstance(wanted, bool):
        return ""
    return f"{path} is {clip(value)}, not {clip(wanted)}"


def _misfit(answer: str, schema: dict[str, Any]) -> str:
    import jsonschema

    fenced = re.search(r"```\w*\n(.*?)```", answer, re.DOTALL)
    try:
        jsonschema.validate(json.loads(fenced[1] if fenced else answer), schema)
    except ValueError as error:
        return f"the answer is not JSON: {error}"
    except jsonschema.ValidationError as error:
        return f"{error.json_path}: {error.message}"
    return ""
