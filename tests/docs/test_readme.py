"""The README's commands and code work as they stand, and what it promises is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.openai_server import OpenAIServer, TeamBrain
from test_docs import ROOT, blocks, checkout, commands, type_in  # noqa: F401

from magentic_kit.cli.commands import COMMANDS
from magentic_kit.team.loading import load_team

README = ROOT / "README.md"
FIRST, SECOND, *OTHERS = commands(README)


def test_the_first_command_runs_the_demo(checkout: Path) -> None:  # noqa: F811
    assert SECOND == "uv run pytest"
    assert blocks(README, "text")[0] in type_in(FIRST)
    (run_dir,) = (checkout / "runs").iterdir()
    promised = {"events.jsonl", "report.md", "report.html", "result.json", "team.yaml"}
    assert promised <= {path.name for path in run_dir.iterdir()}


@pytest.mark.slow
def test_the_other_commands_run_in_their_order(checkout: Path) -> None:  # noqa: F811
    brain = TeamBrain(rounds=[("Analyst", "look")], agents={"Analyst": ["one fact"]})
    with OpenAIServer(brain) as server:
        type_in(FIRST, *OTHERS, OPENAI_API_KEY="sk-test", OPENAI_BASE_URL=server.base_url)
    assert server.requests, "one of them asks a real model"
    assert (checkout / "configs" / "notes" / "orders.md").exists(), "what a person approved was done"


def test_the_team_file_shown_is_valid(checkout: Path) -> None:  # noqa: F811
    team = checkout / "configs" / "team.yaml"
    team.write_text(blocks(README, "yaml")[0])
    assert load_team(team, env={}).config.name == "sales-analysis"


@pytest.mark.slow
def test_the_python_shown_runs(checkout: Path) -> None:  # noqa: F811
    (checkout / "app.py").write_text(blocks(README, "python")[0])
    told = type_in("uv run python app.py")
    assert told.startswith("satisfied **East") and "run_finished" in told


@pytest.mark.slow
def test_the_tests_shown_pass(checkout: Path) -> None:  # noqa: F811
    type_in("uv run magentic-kit run configs/sales_analysis.yaml && mv runs/* recorded")
    (checkout / "test_team.py").write_text(blocks(README, "python")[1])
    assert "2 passed" in type_in("uv run pytest -q test_team.py")


def test_the_readme_stays_short_and_names_every_command() -> None:
    text = README.read_text("utf-8")
    assert len(text.splitlines()) < 200
    table = text.partition("## Commands")[2]
    named = set(re.findall(r"`([a-z]+)[ `]", table.partition("## ")[0]))
    assert set(COMMANDS) == named
