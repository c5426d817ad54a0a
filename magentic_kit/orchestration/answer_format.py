"""The form that a team's answers have to have: a JSON Schema of its own, or one of a Python type."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import json_repair
from pydantic import TypeAdapter, ValidationError

from magentic_kit.team.answers import load_schema
from magentic_kit.team.models import AnswerConfig
from magentic_kit.text import one_line

_LONGEST_REPAIR = 20_000
"""Characters that json-repair is given; its time grows with the square of what is wrong."""

_FENCED = re.compile(r"```\w*\n(.*?)```", re.DOTALL)
_LONGEST_PROBLEM = 1_000  # characters


class AnswerFormat:
    """Reads answers that fit a JSON Schema, or a type that pydantic knows, such as a model."""

    def __init__(self, wanted: object) -> None:
        """Takes a JSON Schema as a mapping, or a type. Raises `TypeError` for what is neither."""
        self._adapter: TypeAdapter[Any] | None = None
        self.type: Any = wanted
        """What `value_of` makes objects of."""
        if isinstance(wanted, Mapping):
            self.type, self.schema = Any, dict(wanted)
            return
        try:
            if inspect.isroutine(wanted):  # which pydantic would call
                raise TypeError("a function is no type")
            self._adapter = TypeAdapter(wanted)
            self.schema = self._adapter.json_schema()
        except Exception as error:  # of pydantic's, whose kinds change
            message = f"output_type takes a pydantic model, another type or a JSON Schema, not {wanted!r}"
            raise TypeError(message) from error

    def data_of(self, text: str) -> object:
        """The answer in a model's reply as plain data. Raises `ValueError` with words for the model."""
        problem = ""
        for data in _candidates(text):
            try:
                return self._checked(data)
            except ValueError as error:
                problem = problem or str(error)
        raise ValueError(problem or "the reply is no JSON")

    def value_of(self, data: object) -> Any:
        """Plain data that fits as an object of the type; itself where there is no type."""
        if self._adapter is None or data is None:
            return data
        return self._adapter.validate_json(json.dumps(data))

    def _checked(self, data: Any) -> object:
        if self._adapter is not None:
            try:
                return self._adapter.dump_python(self._adapter.validate_json(json.dumps(data)), mode="json")
            except ValidationError as error:
                places = [f"{'.'.join(map(str, one['loc'])) or 'it'}: {one['msg']}" for one in error.errors()]
                raise ValueError(one_line("; ".join(places), _LONGEST_PROBLEM)) from error
        import jsonschema

        problems = jsonschema.validators.validator_for(self.schema)(self.schema).iter_errors(data)
        words = [f"{problem.json_path}: {problem.message}" for problem in problems]
        if words:
            raise ValueError(one_line("; ".join(words), _LONGEST_PROBLEM))
        return data


def answer_format_of(output_type: object, config: AnswerConfig | None) -> AnswerFormat | None:
    """The form of answers that the caller asks for, else the team's own; None if there is none.

    Raises `ConfigError` if the team's schema is none, `TypeError` if the caller's type is none.
    """
    if output_type is not None:
        return AnswerFormat(output_type)
    if config is not None:
        return AnswerFormat(load_schema(config.schema))
    return None


def _candidates(text: str) -> Iterator[Any]:
    """The data that a reply may mean: as it is, in a fence, and mended."""
    for part in (text, *reversed(_FENCED.findall(text))):
        try:
            yield json.loads(part)
        except (ValueError, RecursionError):
            continue
    if "{" in text or "[" in text:
        try:
            mended = json_repair.loads(text[:_LONGEST_REPAIR])
        except Exception:  # a repair of any text at all may run into anything
            return
        yield mended
        if isinstance(mended, list):  # of several objects in prose, the last
            yield from reversed(mended)


def is_strict(schema: object) -> bool:
    """Whether a schema is of the kind that OpenAI's strict mode takes: closed objects, all of whose keys are needed."""
    if isinstance(schema, list):
        return all(map(is_strict, schema))
    if not isinstance(schema, Mapping):
        return True
    if schema.get("type") == "object" or "properties" in schema:
        properties = schema.get("properties", {})
        if schema.get("additionalProperties") is not False or {*schema.get("required", ())} != {*properties}:
            return False
    return all(map(is_strict, schema.values()))
