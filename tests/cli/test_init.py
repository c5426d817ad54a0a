"""`init` makes a project whose own README's commands work, one after the other."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pexpect
import pytest
import yaml
from support.openai_server import OpenAIServer, Reply, Request, TeamBrain, ToolCall

from magentic_kit.cli import app
from magentic_kit.cli.init import PROVIDERS
from magentic_kit.errors import ConfigError
from magentic_kit.team.loading import load_team
from magentic_kit.team.schema import team_schema
from magentic_kit.team.services import Service

PYTHON = [sys.executable, "-m"]


def do(folder: Path, command: str) -> str:
    """What a newcomer types, with this Python's commands; returns standard output."""
    program, *words = shlex.split(command)
    installed = {"magentic-kit": [*PYTHON, "magentic_kit"], "pytest": [*PYTHON, "pytest", "-p", "no:cacheprovider"]}
    done = subprocess.run(
        [*installed.get(program, [program]), *words], cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_a_newcomer_follows_the_readme_to_a_run_with_a_real_server(tmp_path: Path) -> None:
    told = do(tmp_path, "magentic-kit init demo").splitlines()
    assert told[0].startswith("wrote 10 files") and told[1:] == ["  cd demo", "  magentic-kit run team.yaml"]
    demo = tmp_path / "demo"
    blocks = re.findall(r"```console\n(.*?)```", (demo / "README.md").read_text(), re.DOTALL)
    (validate, run), (test,), (copy, doctor, ask) = [re.findall(r"^\$ (.*)$", block, re.MULTILINE) for block in blocks]

    assert do(demo, validate) == "team.yaml: ok, 2 agents, 2 services\n"
    assert do(demo, run).startswith("**Mend the login first: 4 of the 7 open tickets are about it.**")
    (run_dir,) = (demo / "runs").iterdir()
    assert "login: 4" in (run_dir / "report.md").read_text()
    assert "1 passed" in do(demo, test)

    call = ToolCall("tickets-count", {"by": "product", "status": "open"})

    def model(request: Request) -> Reply | str | None:
        if request.who:
            return brain(request)
        add = ToolCall("numbers-add", {"a": 1234, "b": 4321})
        return Reply(tool_calls=[add]) if request.tools and not request.last_tool_results else "ready"

    brain = TeamBrain(
        rounds=[("Analyst", "count")],
        agents={"Analyst": lambda r: Reply(tool_calls=[call]) if not r.last_tool_results else r.last_tool_results[0]},
        answer="The web.",
    )
    with OpenAIServer(model) as server:
        do(demo, copy)
        filled_in = (demo / ".env").read_text().replace("OPENAI_API_KEY=", "OPENAI_API_KEY=sk-0123456789abcdef0123")
        (demo / ".env").write_text(f"{filled_in}OPENAI_BASE_URL={server.base_url}\n")
        assert re.search("^ok +live: tools", do(demo, doctor), re.MULTILINE)
        assert do(demo, ask) == "The web.\n"
        assert any(r.who == "Analyst" and r.last_tool_results == ["web: 5\napp: 2"] for r in server.requests)
    assert "1 passed" in do(demo, test)  # the test stays offline


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_provider_makes_a_valid_team(provider: str, tmp_path: Path) -> None:
    code = app.run(["init", str(tmp_path / "p"), "--provider", provider, "--name", 'a "b": c'])
    assert code == 0
    team = load_team(tmp_path / "p" / "team.yaml", env={"SERVICE": "live"})
    assert team.config.name == 'a "b": c' and not team.warnings
    live = team.config.services["live"]
    assert (live.provider, live.model) == (provider, PROVIDERS[provider][0])
    assert {team.manager_service, *map(team.service_of, team.config.agents)} == {"live"}
    wanted = ["SERVICE=live", *(f"{name}=" for name in PROVIDERS[provider][1:])]
    assert [line for line in (tmp_path / "p" / ".env.example").read_text().splitlines() if line[0] != "#"] == wanted


def test_providers_are_those_that_ask_a_model() -> None:
    models = get_args(get_args(Service)[0])
    names = {name for model in models for name in get_args(model.model_fields["provider"].annotation)}
    assert set(PROVIDERS) == names - {"python", "scripted", "replay"}


def test_the_schema_lies_beside_the_team_and_is_named_in_it(tmp_path: Path) -> None:
    app.run(["init", str(tmp_path), "--model", "m"])
    header = (tmp_path / "team.yaml").read_text().splitlines()[0]
    schema = header.removeprefix("# yaml-language-server: $schema=./")
    assert yaml.safe_load((tmp_path / schema).read_text()) == team_schema()


@pytest.mark.parametrize("taken", ["team.yaml", "README.md", "tests/test_team.py"])
def test_a_file_that_is_there_is_named_and_nothing_is_written(taken: str, tmp_path: Path) -> None:
    (tmp_path / taken).parent.mkdir(exist_ok=True)
    (tmp_path / taken).write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigError) as caught:
        app.run(["init", str(tmp_path)])
    assert str(caught.value) == f"{tmp_path / taken}: exists already; nothing was written"
    assert sorted(tmp_path.rglob("*")) == before and (tmp_path / taken).read_text() == "mine"


def test_what_was_written_before_a_failure_is_taken_back(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where a folder should be")
    with pytest.raises(ConfigError, match=r"data/tickets\.csv: cannot be written: File exists$"):
        app.run(["init", str(tmp_path)])
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["data"]


def test_on_a_terminal_it_asks_for_provider_and_model(tmp_path: Path) -> None:
    child = pexpect.spawn(PYTHON[0], ["-m", "magentic_kit", "init", "."], cwd=tmp_path, env={**os.environ}, timeout=20)
    child.expect("Provider .*openai")
    child.sendline("olama")
    child.expect("Provider .*openai")
    child.sendline("ollama")
    child.expect(r"Model \[qwen3:8b\]")
    child.sendline("")
    child.expect("wrote 10 files")
    child.expect(pexpect.EOF)
    team = load_team(tmp_path / "team.yaml", env={})
    assert (team.config.services["live"].provider, team.config.services["live"].model) == ("ollama", "qwen3:8b")
    assert team.config.name == tmp_path.name


@pytest.mark.parametrize("leave", ["sendintr", "sendeof"])
def test_who_leaves_at_a_question_leaves_nothing_behind(leave: str, tmp_path: Path) -> None:
    child = pexpect.spawn(PYTHON[0], ["-m", "magentic_kit", "init", "."], cwd=tmp_path, timeout=20)
    child.expect("Provider .*openai")
    getattr(child, leave)()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130 and not [*tmp_path.iterdir()]
