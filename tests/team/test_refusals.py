"""What is said of a broken team file: every problem at once, each with its place."""

# ruff: noqa: E501 (messages stand here whole, so that they can be searched for)

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from support.broken_teams import THEIRS, UNREADABLE, WRONG
from support.team_files import load, refusals, whole

from magentic_kit.errors import ConfigError
from magentic_kit.team.loading import load_team


def fits(said: str, problem: str) -> bool:
    """Whether it is said word for word, but for what a library puts in."""
    return re.fullmatch(re.escape(problem).replace(re.escape(THEIRS), ".+"), said) is not None


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_file_that_cannot_be_read_gives_one_problem(folder: Path, case: str) -> None:
    text, problem = UNREADABLE[case]
    (said,) = refusals(folder, text)
    assert fits(said, problem)


@pytest.mark.parametrize("case", WRONG)
def test_a_broken_team_is_refused_in_these_words(folder: Path, case: str) -> None:
    text, *problems = WRONG[case]
    said = refusals(folder, whole(text))
    assert len(said) == len(problems) and all(map(fits, said, problems)), said


def test_all_problems_of_a_file_are_told_at_once_and_in_order(folder: Path) -> None:
    text = """\
nmae: Sales
inputs: {year: 2025}
services: {local: {provider: ollama, hots: x}}
agents:
  - name: Writer
    description: Writes about {{$year}}.
    instructions: Write about {{$yaer}}.
    model: {connection: {service_id: lokal}}
    tools: [{id: crm.find, type: function}]
  - {file: agents/typo.yaml, name: Typo}
manager: {maxrounds: 5, must_speak: [Writr]}
limits: {deadline: soon}
"""
    assert refusals(folder, text, overrides={"manager.max_stalls": "few"}) == [
        "--set manager.max_stalls: manager.max_stalls should be a whole number, not 'few'",
        "agents/typo.yaml:3:1: unknown key 'instruction' in agent 'Typo'; did you mean 'instructions'?",
        "team.yaml:1:1: the team needs 'name': Name of the team",
        "team.yaml:1:1: unknown key 'nmae' in the team; did you mean 'name'?",
        "team.yaml:3:38: unknown key 'hots' in services.local; did you mean 'host'?",
        "team.yaml:7:19: agent 'Writer' instructions: {{$yaer}} is not defined; did you mean 'year'?",
        "team.yaml:8:38: agent 'Writer' model.connection.service_id: there is no service 'lokal'; did you mean 'local'?",
        "team.yaml:9:18: agent 'Writer' tools[0].id: there is no plugin 'crm'",
        "team.yaml:11:11: unknown key 'maxrounds' in manager; did you mean 'max_rounds'?",
        "team.yaml:11:38: manager.must_speak[0]: there is no agent 'Writr'; did you mean 'Writer'?",
        "team.yaml:12:20: limits.deadline should be a time above zero such as 90, 90s, 15m or 1h30m, not 'soon'",
    ]


def test_a_missing_file_is_one_problem(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read: No such file or directory$"):
        load_team(tmp_path / "nowhere.yaml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_team(tmp_path)


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("manager.max_round", 5, "unknown key 'max_round' in manager; did you mean 'max_rounds'?"),
        ("manager.max_rounds", 0, "manager.max_rounds should be 1 or more, not 0"),
        ("manager.max_rounds.x", 0, "manager.max_rounds has no 'x'"),
        ("agents.B.instructions", "x", "agents has no 'B'; there is A"),
        ("agents.A.model.connection.service_id", "x", "agent 'A' model.connection.service_id: there is no service 'x'; there is default"),
        ("services.fast.provider", "opnai", "services.fast.provider cannot be 'opnai'; did you mean 'openai'?"),
        ("", 1, "unknown key '' in the team; there is name, description, task, inputs, services, plugins, agents, manager, answer, limits, review, report"),
    ],
)  # fmt: skip
def test_a_bad_override_is_told_where_it_was_given(folder: Path, path: str, value: Any, problem: str) -> None:
    text = whole("manager: {max_rounds: 3}\n")
    assert refusals(folder, text, overrides={path: value}) == [f"--set {path}: {problem}"]


def test_a_secret_is_not_told_in_a_problem_either(folder: Path) -> None:
    (problem,) = refusals(folder, whole("limits: {retries: '${API_KEY}'}\n"), env={"API_KEY": "hunter2"})
    assert problem == "team.yaml:1:19: limits.retries should be a whole number, not '${API_KEY}'"


def test_long_texts_load_and_long_nonsense_is_told_in_short(folder: Path) -> None:
    assert len(load(folder, whole(f"task: {'x' * 1_000_000}\n")).config.task or "") == 1_000_000
    assert all(len(line) < 300 for line in refusals(folder, whole(f"name: [1]\n? {'y' * 1_000_000}\n: 1\n")))
    assert all(len(line) < 300 for line in refusals(folder, whole(f"agents: [{{file: {'y' * 100_000}}}]\n")))
