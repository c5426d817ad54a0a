"""`init` makes a project whose own README's commands work, one after the other."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pexpect
import pytest
import yaml
from support.certificates import trusting_the_system
from support.needs import lacking
from support.openai_server import OpenAIServer, Reply, Request, TeamBrain, ToolCall

from magentic_kit import TeamFactory
from magentic_kit.cli import app
from magentic_kit.cli.init import PROVIDERS
from magentic_kit.errors import ConfigError
from magentic_kit.team.loading import load_team
from magentic_kit.team.people import PlanReview
from magentic_kit.team.schema import team_schema
from magentic_kit.team.services import Service

PYTHON = [sys.executable, "-m"]


ROOT = Path(__file__).parents[2]


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """The environment of a fresh shell that has uv, and neither this project's commands nor its packages."""
    uv = shutil.which("uv")
    if uv is None:
        lacking("uv", "pip install uv")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "uv").write_text(f'#!/bin/sh\nexec {uv} "$@"\n')
    (tmp_path / "bin" / "uv").chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    return {**trusting_the_system(kept), "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}


def blocks(document: Path) -> list[str]:
    """The commands of each of a document's blocks, as one script."""
    found = re.findall(r"```console\n(.*?)```", document.read_text(), re.DOTALL)
    return ["\n".join(re.findall(r"^\$ (.*)$", block, re.MULTILINE)) for block in found]


def do(folder: Path, script: str, shell: dict[str, str]) -> str:
    """What a newcomer types; every command has to succeed. Returns standard output."""
    command = ["sh", "-euc", script]
    done = subprocess.run(command, cwd=folder, env=shell, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(900)  # the packages are installed, and compiled when they are first imported
def test_a_newcomer_with_uv_alone_follows_readme_and_agents_md_to_a_real_server(
    tmp_path: Path, shell: dict[str, str]
) -> None:
    told = do(tmp_path, f"uv run --project '{ROOT}' magentic-kit init demo", shell).splitlines()
    assert told[0].startswith("wrote 12 files") and told[1:] == ["  cd demo", "  uv run magentic-kit run team.yaml"]
    demo = tmp_path / "demo"
    first, test, real = blocks(demo / "README.md")

    checked, answer = do(demo, first, shell).split("\n", 1)
    assert checked == "team.yaml: ok, 2 agents, 2 services"
    assert answer.startswith("**Mend the login first: 4 of the 7 open tickets are about it.**")
    (run_dir,) = (demo / "runs").iterdir()
    assert "- login: 4" in (run_dir / "report.md").read_text()
    assert "1 passed" in do(demo, test, shell)

    check, offline, replay = blocks(demo / "AGENTS.md")
    found = do(demo, check, shell)
    assert re.search("^unused +live ", found, re.MULTILINE) and "1 passed" in found
    assert do(demo, offline, shell).startswith("**Mend the login first")
    assert do(demo, replay, shell).count("**Mend the login first") == 2

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
        copy, *others = real.splitlines()
        do(demo, copy, shell)
        filled_in = (demo / ".env").read_text().replace("OPENAI_API_KEY=", "OPENAI_API_KEY=sk-0123456789abcdef0123")
        (demo / ".env").write_text(f"{filled_in}OPENAI_BASE_URL={server.base_url}\n")
        doctor, ask = others
        assert re.search("^ok +live: tools", do(demo, doctor, shell), re.MULTILINE)
        assert do(demo, ask, shell) == "The web.\n"
        assert any(r.who == "Analyst" and r.last_tool_results == ["- web: 5\n- app: 2"] for r in server.requests)
    assert "1 passed" in do(demo, test, shell)  # the test stays offline


async def test_the_demo_survives_a_plan_that_is_revised_several_times(tmp_path: Path) -> None:
    app.run(["init", str(tmp_path / "demo"), "--provider", "openai", "--model", "m"])
    reviews = iter(
        [PlanReview.revise("Leave the closed ones out."), PlanReview.revise("Shorter."), PlanReview.approve()]
    )
    source = {"env": {"SERVICE": "offline"}, "overrides": {"review.plan": True}}
    async with TeamFactory.from_yaml(tmp_path / "demo" / "team.yaml", **source) as factory:
        result = await factory.run(out=tmp_path, reviewer=lambda plan: next(reviews))
    assert result.outcome == "satisfied" and not list(reviews)
    assert len(result.record.plans) == 3


@pytest.mark.parametrize("name", ["demo", "pytest", "magentic-kit", "Ä ö", "my_team", "a.b"])
def test_the_project_never_depends_on_itself(name: str, tmp_path: Path) -> None:
    app.run(["init", str(tmp_path / "p"), "--provider", "anthropic", "--model", "m", "--name", name])
    text = (tmp_path / "p" / "pyproject.toml").read_text()
    (project,) = re.findall(r'^name = "(.*)"$', text, re.MULTILINE)
    assert re.fullmatch("([a-z0-9]+-)*team", project)
    assert 'dependencies = ["magentic-kit[anthropic]"]' in text


@pytest.mark.parametrize(
    ("origin", "source"),
    [
        (None, None),
        (
            {"url": "file:///a%20b/kit", "dir_info": {"editable": True}},
            {"path": "/a b/kit", "editable": True},
        ),
        ({"url": "file:///a/kit.whl", "archive_info": {}}, {"path": "/a/kit.whl"}),
        ({"url": "https://example.org/kit.whl", "archive_info": {}}, {"url": "https://example.org/kit.whl"}),
        (
            {"url": "https://example.org/kit.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}},
            {"git": "https://example.org/kit.git", "rev": "abc"},
        ),
    ],
)
def test_the_project_takes_the_package_from_where_it_was_installed_from(
    origin: dict[str, Any] | None, source: dict[str, Any] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tomllib = pytest.importorskip("tomllib")  # Python 3.11
    installed = tmp_path / "site" / "magentic_kit-0.1.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: magentic-kit\nVersion: 0.1\n")
    if origin:
        (installed / "direct_url.json").write_text(json.dumps(origin))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    app.run(["init", str(tmp_path / "p"), "--provider", "openai", "--model", "m"])
    project = tomllib.loads((tmp_path / "p" / "pyproject.toml").read_text())
    assert project["project"]["dependencies"] == ["magentic-kit"]
    assert project.get("tool", {}).get("uv", {}).get("sources", {}).get("magentic-kit") == source


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
    child = pexpect.spawn(PYTHON[0], ["-m", "magentic_kit", "init", "."], cwd=tmp_path, env={**os.environ}, timeout=180)
    child.expect("Provider .*openai")
    child.sendline("olama")
    child.expect("Provider .*openai")
    child.sendline("ollama")
    child.expect(r"Model \[qwen3:8b\]")
    child.sendline("")
    child.expect("wrote 12 files")
    child.expect(pexpect.EOF)
    team = load_team(tmp_path / "team.yaml", env={})
    assert (team.config.services["live"].provider, team.config.services["live"].model) == ("ollama", "qwen3:8b")
    assert team.config.name == tmp_path.name


@pytest.mark.parametrize("leave", ["sendintr", "sendeof"])
def test_who_leaves_at_a_question_leaves_nothing_behind(leave: str, tmp_path: Path) -> None:
    child = pexpect.spawn(PYTHON[0], ["-m", "magentic_kit", "init", "."], cwd=tmp_path, timeout=180)
    child.expect("Provider .*openai")
    getattr(child, leave)()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130 and not [*tmp_path.iterdir()]
