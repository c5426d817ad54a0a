"""The schema of a team's answers: a file with a JSON Schema, as JSON or YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from magentic_kit.errors import ConfigError
from magentic_kit.team.bounded_yaml import load_yaml
from magentic_kit.team.document import Document
from magentic_kit.team.problems import get


def load_schema(path: Path) -> dict[str, Any]:
    """The JSON Schema of a file. Raises `ConfigError` if it is none."""
    import jsonschema  # a tenth of a second, which a team without it need not wait for

    try:
        schema = load_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError.one(f"cannot be read: {error}", file=str(path)) from error
    if not isinstance(schema, dict):
        raise ConfigError.one("should be a JSON Schema, which is a mapping", file=str(path))
    try:
        jsonschema.validators.validator_for(schema).check_schema(schema)
    except jsonschema.SchemaError as error:
        raise ConfigError.one(f"is no JSON Schema: {error.message}", file=str(path)) from error
    return schema


def check_answer(document: Document) -> None:
    """Reports a schema of answers that cannot be used."""
    path = get(document.data, "answer", "schema", kind=str)
    if not path or not Path(path).is_file():  # which is reported already
        return
    try:
        load_schema(Path(path))
    except ConfigError as error:
        document.report(("answer", "schema"), f"answer.schema {error.problems[0].message}")
