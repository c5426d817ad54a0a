"""A run that follows another knows its task, facts, plan and answer, pays for nothing again, and is linked to it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from runs.test_task_contents import DATA_URI, images, message
from support.openai_server import OpenAIServer, Reply, Request, TeamBrain, error, text_of

from magentic_kit import ConfigError, TeamFactory
from magentic_kit.cli import app
from magentic_kit.runlog.reader import read_log
from magentic_kit.runlog.record import RunRecord


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")
    monkeypatch.setattr("magentic_kit.orchestration.attempts._FIRST_WAIT", 0.01)


def brain() -> TeamBrain:
    return TeamBrain(
        rounds=[("Ada", "Look.")],
        agents={"Ada": lambda request: f"Ada looked into: {request.task}."},
        facts=lambda request: f"FACTS of {request.task}.",
        plan=lambda request: f"PLAN of {request.task}.",
        answer=lambda request: f"ANSWER to {request.task}.",
    )


def team(server: OpenAIServer, **manager: Any) -> dict[str, Any]:
    services = {"default": {"provider": "openai", "model": "m", "base_url": server.base_url}}
    agents = [{"name": "Ada", "description": "Looks.", "instructions": "Look."}]
    return {"name": "follow", "services": services, "agents": agents, "manager": manager}


def said(request: Request) -> str:
    return "\n".join(map(text_of, request.messages))


def of(server: OpenAIServer, task: str) -> list[Request]:
    return [request for request in server.requests if request.task == task]


async def test_a_follow_up_holds_the_earlier_answer_and_pays_nothing_again(tmp_path: Path) -> None:
    with OpenAIServer(brain()) as server:
        async with TeamFactory.from_dict(team(server)) as factory:
            first = await factory.run(message("In 2025?"), out=tmp_path)
            second = await factory.run("And for 2024?", out=tmp_path, history=first)
            third = await factory.run("And for 2023?", out=tmp_path, history=second.run_dir)
            unlogged = await factory.run(
                "In short?", out=None, history=await factory.run("At all?", out=None, history=first)
            )
    assert {result.outcome for result in (first, second, third, unlogged)} == {"satisfied"}
    assert len(of(server, "In 2025?")) == len(of(server, "And for 2024?")) == 6
    for request in of(server, "And for 2024?"):
        text = said(request)
        for part in ("Task: In 2025?", "FACTS of In 2025?", "PLAN of In 2025?", "Answer: ANSWER to In 2025?"):
            assert text.count(part) == 1, (request.purpose, part)
        assert text.count("Ada: Ada looked into: In 2025?") == 1, "what was said"
        assert images(request) == [DATA_URI], "what went with the earlier task"
    for request in of(server, "And for 2023?"):
        text = said(request)
        assert text.count("Answer: ANSWER to In 2025?") == text.count("Answer: ANSWER to And for 2024?") == 1
        assert "Ada looked into: In 2025?" not in text and text.count("Ada: Ada looked into: And for 2024?") == 1
    assert all("Answer: ANSWER to At all?" in said(request) for request in of(server, "In short?"))
    assert second.record.plans[0].plan == "PLAN of And for 2024?.", "a plan of its own"
    assert (second.record.follows, third.record.follows) == (first.run_id, second.run_id)
    assert f"It follows the run {first.run_id}." in (second.run_dir / "report.md").read_text()
    assert f'href="../{first.run_id}/report.html"' in (second.run_dir / "report.html").read_text()


@pytest.mark.parametrize(("context", "turns"), [({"messages": 2}, 2), ({"tokens": 20}, 1), (None, 3)])
async def test_what_was_said_is_known_as_the_window_of_the_manager_allows(context: Any, turns: int) -> None:
    answers = TeamBrain(
        rounds=[("Ada", "1"), ("Ada", "2"), ("Ada", "3")],
        agents={"Ada": "Some sixty characters, as far as I can see, or so."},
    )
    with OpenAIServer(answers) as server:
        made = team(server, context=context) if context else team(server)
        async with TeamFactory.from_dict(made) as factory:
            first = await factory.run("one", out=None)
            await factory.run("two", out=None, history=first)
    facts = next(request for request in of(server, "two") if request.purpose == "facts")
    assert said(facts).count("Ada: Some sixty") == turns


async def test_a_follow_up_is_resumed_without_the_earlier_run(tmp_path: Path) -> None:
    def once(request: Request) -> Reply | None:
        return error(400, "no") if request.task == "And for 2024?" else None

    with OpenAIServer(brain().on("Ada", "turn", 0, once)) as server:
        async with TeamFactory.from_dict(team(server)) as factory:
            first = await factory.run("In 2025?", out=None)
            failed = await factory.run("And for 2024?", out=tmp_path, history=first)
            asked = len(server.requests)
            result = await factory.resume(failed.run_dir).result()
    assert (failed.outcome, result.outcome) == ("failed", "satisfied"), result.error
    assert len(server.requests) == asked + 3
    assert all("Answer: ANSWER to In 2025?" in said(request) for request in server.requests[asked:])
    assert result.record.follows == first.run_id


async def test_nothing_follows_a_run_that_is_not_there(tmp_path: Path) -> None:
    with OpenAIServer(brain()) as server:
        async with TeamFactory.from_dict(team(server)) as factory:
            with pytest.raises(ConfigError, match="there is no run here"):
                await factory.run("t", out=None, history=tmp_path)
    assert server.requests == []


def test_run_continue_takes_team_and_words_from_the_earlier_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with OpenAIServer(brain()) as server:
        Path("team.yaml").write_text(yaml.safe_dump(team(server)))
        assert app.run(["run", "team.yaml", "In 2025?", "--quiet"]) == 0
        (first,) = Path("runs").iterdir()
        assert app.run(["run", "--continue", "last", "And for 2024?", "--quiet"]) == 0
        (second,) = {*Path("runs").iterdir()} - {first}
        assert app.run(["run", "team.yaml", "--continue", second.name, "And for 2023?", "--quiet"]) == 0
    out = capsys.readouterr().out
    assert "ANSWER to And for 2024?." in out and "ANSWER to And for 2023?." in out
    assert "Answer: ANSWER to In 2025?" in said(of(server, "And for 2023?")[0])
    records = {}
    for log in Path("runs").glob("*/events.jsonl"):
        record = RunRecord.of(read_log(log.parent)[0])
        records[record.task] = record
    assert records["And for 2023?"].follows == records["And for 2024?"].run_id


@pytest.mark.slow
def test_a_conversation_is_a_run_for_each_message_with_a_directory_of_its_own(tmp_path: Path) -> None:
    with OpenAIServer(brain()) as server:
        (tmp_path / "team.yaml").write_text(yaml.safe_dump(team(server)))
        (tmp_path / "notes.txt").write_text("Noted.")
        done = subprocess.run(
            [sys.executable, "-m", "magentic_kit", "chat", "team.yaml", "--attach", "notes.txt"],
            cwd=tmp_path,
            env={**os.environ, "OPENAI_API_KEY": "sk-test"},
            input="In 2025?\nAnd for 2024?\n\nnever asked\n",
            capture_output=True,
            text=True,
            timeout=180,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "ANSWER to In 2025?.\nANSWER to And for 2024?.\n"
    assert not of(server, "never asked")
    for request in of(server, "And for 2024?"):
        assert said(request).count("Answer: ANSWER to In 2025?") == said(request).count("Noted.") == 1
    records = [RunRecord.of(read_log(log.parent)[0]) for log in (tmp_path / "runs").glob("*/events.jsonl")]
    runs = sorted(records, key=lambda run: run.started)
    assert [run.task for run in runs] == ["In 2025?", "And for 2024?"]
    assert runs[1].follows == runs[0].run_id
