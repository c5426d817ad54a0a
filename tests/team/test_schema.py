"""The JSON Schema of the team file."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from support.broken_teams import WRONG
from support.team_files import GOOD, PLUGINS, whole

from magentic_kit.team.schema import team_schema

ROOT = Path(__file__).parents[2]


def test_the_committed_schema_is_current() -> None:
    committed = json.loads((ROOT / "configs/team.schema.json").read_text("utf-8"))
    assert committed == team_schema(), "run: magentic-kit schema > configs/team.schema.json"


def validator() -> jsonschema.Draft202012Validator:
    schema = team_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_schema_takes_good_files() -> None:
    schema = validator()
    for good in (GOOD, PLUGINS, *(path.read_text("utf-8") for path in ROOT.glob("configs/*.yaml"))):
        assert [error.message for error in schema.iter_errors(yaml.safe_load(good))] == []


NOT_IN_THE_FILE_ALONE = {
    # YAML itself
    "duplicate key", "unknown tag", "python tag", "number too long", "hexadecimal number too long",
    "value that is not what it claims to be", "merge of a text",
    # other files and the environment
    "missing script", "script is a list", "script with a key twice", "MCP in a missing folder",
    "missing OpenAPI document", "root is a file", "missing agent file", "agent file is a folder",
    "agent file is no YAML", "agent file with a typo", "agent file with an unset variable", "agent file is a list",
    "same agent file twice", "unset variable", "half a reference", "reference that is none",
    # references from one part to another
    "no services", "unknown service", "no default service", "manager's unknown service", "must_speak names nobody",
    "agent called manager", "two agents of one name", "two agents but for case", "person with a model",
    "agents whose names are one without spaces", "agent with a target of another type", "agent in Python with tools",
    "agent in Python without a target", "placeholder that SK does not have", "placeholder whose variable is not set",
    "a person's window", "tool without plugin", "tool without id", "tool of an unknown plugin", "tool of no plugin",
    "unknown function", "method that is no function", "function by its Python name",
    "function of files that may not be written", "function that arithmetic does not have",
    "review of a tool that nobody has", "review of another plugin's tools",
    # templates
    "open braces", "open braces in handlebars", "broken jinja2", "unknown variable in jinja2",
    "unknown variable in the task", "several unknown variables in one text", "variable without inputs",
    "unknown variable in instructions", "unknown variable as argument", "unknown variable in a template",
    "unknown variable in a prompt", "variable of another prompt",
    "expression in the task", "function in the task", "expression in an agent",
    # times, which are written as text
    "bad delay", "deadline in words", "deadline of zero", "deadline of infinity",
}  # fmt: skip


def test_the_schema_refuses_all_that_can_be_seen_in_the_file_alone() -> None:
    schema = validator()
    passed = set()
    for case, (text, *_) in WRONG.items():
        try:
            data = yaml.safe_load(whole(text))
        except (yaml.YAMLError, ValueError, KeyError):
            passed.add(case)
        else:
            passed |= {case} if schema.is_valid(data) else set()
    assert passed == NOT_IN_THE_FILE_ALONE


@pytest.mark.parametrize("value", ["${N}", "x${N:-1}"])
def test_the_schema_takes_a_reference_for_whatever_is_not_plain_text(value: str) -> None:
    text = f"""
manager: {{max_rounds: "{value}", context: {{tokens: "{value}"}}}}
limits: {{deadline: "{value}"}}
review: {{plan: "{value}"}}
report: {{formats: ["{value}"]}}
"""
    assert [error.message for error in validator().iter_errors(yaml.safe_load(whole(text)))] == []


def test_every_key_of_the_schema_is_described() -> None:
    for name, model in {"team": team_schema(), **team_schema()["$defs"]}.items():
        bare = [key for key, field in model.get("properties", {}).items() if not field.get("description")]
        assert not bare, f"{name}: {bare}"
