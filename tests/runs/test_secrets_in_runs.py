"""Secrets of every place and form leave a run by no way out, and a run that goes on has their real values."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from semantic_kernel.functions import kernel_function
from support import secret_samples as secrets
from support.openai_server import OpenAIServer, Reply, Request, TeamBrain, ToolCall, error
from support.screens import Person

from magentic_kit import TeamFactory
from magentic_kit import events as ev
from magentic_kit.errors import ConfigError
from magentic_kit.runlog.reader import read_log
from magentic_kit.team.plan import TaskLedger
from magentic_kit.text import MASK

COMMAND = [sys.executable, "-m", "magentic_kit"]
ENVIRONMENT = {**secrets.ENVIRONMENT, secrets.LITERAL_VARIABLE: secrets.LITERAL}
FILES = {"events.jsonl", "report.md", "report.html", "result.json", "team.yaml"}
LINES = "\n\n".join([*secrets.BY_LOOKS, *secrets.SECRETS])
"""Secrets that no terminal breaks in two."""


def run_dir(folder: Path) -> Path:
    (found,) = (folder / "runs").iterdir()
    return found


@pytest.mark.slow
def test_no_secret_leaves_a_run_and_its_resume_has_the_real_values(tmp_path: Path) -> None:
    printed: dict[str, bytes] = {}
    fault = error(400, f"I do not like {secrets.everything()}")
    is_down = [True]

    def command(*arguments: str, code: int = 0, **env: str) -> None:
        own = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        done = subprocess.run(
            [*COMMAND, *arguments], cwd=tmp_path, env=own | ENVIRONMENT | env, capture_output=True, timeout=240
        )
        printed[" ".join(arguments[:2])] = done.stdout + done.stderr
        assert done.returncode == code, done.stderr.decode()

    brain = secrets.brain(secrets.everything()).on("manager", "answer", None, lambda _: fault if is_down[0] else None)
    with secrets.collector() as (url, exported), OpenAIServer(brain) as server:
        secrets.write_team(tmp_path, server.base_url, task="Look: ${MY_PASSWORD}, {{$door_key}}, ${DATABASE_URL}")
        command("run", "team.yaml", "--jsonl", "--otel", code=1, OTEL_EXPORTER_OTLP_ENDPOINT=url)
        is_down[0] = False
        asked = len(server.requests)
        command("resume", "last", "--verbosity", "full", "--otel", OTEL_EXPORTER_OTLP_ENDPOINT=url)
        assert [request.purpose for request in server.requests[asked:]] == ["answer"], "all else is not asked again"
        sent = "".join(str(request.messages) for request in server.requests)
    for name in ("show", "report", "diff"):
        command(name, *["last"] * (2 if name == "diff" else 1))
    command("list", "runs")
    assert secrets.LITERAL in sent, "models get the real values"
    assert [*secrets.real_values(tmp_path)] == [True], "a tool as well, and once"
    found = secrets.files(tmp_path / "runs")
    assert {Path(name).name for name in found} >= FILES
    assert secrets.leaks({**found, **printed, "spans": b"".join(exported)}) == []
    for name in ("run team.yaml", "resume last", "show last"):
        assert MASK.encode() in printed[name], "else there was nothing to mask"
    assert MASK.encode() in b"".join(exported)


@pytest.mark.slow
def test_no_secret_is_shown_at_a_terminal_not_in_a_question_either(tmp_path: Path) -> None:
    with OpenAIServer(secrets.brain(LINES)) as server:
        secrets.write_team(tmp_path, server.base_url, review={"plan": True, "tools": ["box.look"]})
        command = ["run", "team.yaml", LINES, "--verbosity", "full"]
        with Person(command, tmp_path, columns=200, **ENVIRONMENT) as person:
            person.wait_for_question(1)
            person.type("a\n")
            person.wait_for_question(2)
            assert "Solo wants to call box.look" in person.text
            person.type("v\n")
            person.wait_for_question(3)
            person.type("y\n")
            assert person.leave() == 0
        assert secrets.leaks({"screen": person.raw}) == [] and MASK.encode() in person.raw
    assert [*secrets.real_values(tmp_path)] == [True]


@pytest.mark.slow
def test_a_plan_is_written_without_secrets_and_not_carried_out_with_their_masks(tmp_path: Path) -> None:
    with OpenAIServer(secrets.brain(secrets.everything())) as server:
        secrets.write_team(tmp_path, server.base_url)
        for arguments, code in ((["plan", "team.yaml", "Look."], 0), (["run", "team.yaml", "--plan", "plan.md"], 2)):
            env = os.environ | ENVIRONMENT
            done = subprocess.run([*COMMAND, *arguments], cwd=tmp_path, env=env, capture_output=True, timeout=240)
            assert done.returncode == code, done.stderr
            assert secrets.leaks({"printed": done.stdout + done.stderr}) == []
    assert secrets.leaks({"plan.md": (tmp_path / "plan.md").read_bytes()}) == []
    assert b"plan.md:" in done.stderr and b"stands where a secret was masked" in done.stderr


def test_the_mask_of_a_plan_is_refused_with_its_place() -> None:
    text = TaskLedger(task="t", facts="f", plan=f"- log in\n- with {MASK}").to_markdown(team="t", members={})
    with pytest.raises(ConfigError, match=r"^plan.md:\d+:8: \[secret\] stands where a secret was masked"):
        TaskLedger.from_markdown(text, file="plan.md")


# -- a call that is recorded with a mask

PASSWORD = "correct horse battery staple"


class Door:
    """Takes a password, and keeps what it was given."""

    def __init__(self) -> None:
        self.given: list[str] = []

    @kernel_function(description="Opens the door.")
    def open(self, password: str) -> str:
        self.given.append(password)
        return "open"


def knocking() -> TeamBrain:
    """The agent opens the door, again if that is denied, and tells what it heard."""
    call = Reply("I open it.", tool_calls=[ToolCall("door-open", {"password": PASSWORD})])

    def then(request: Request) -> Any:
        (heard,) = request.last_tool_results
        return call if heard.startswith("Denied") else heard

    return TeamBrain(rounds=[("Guard", "go")], agents={"Guard": [call, then, then]})


def guarded(base_url: str) -> dict[str, Any]:
    agent = {"name": "Guard", "description": "d", "instructions": "i", "tools": [{"id": "door.open"}]}
    service = {"provider": "openai", "model": "m", "base_url": base_url}
    return {"name": "guarded", "services": {"default": service}, "agents": [agent], "inputs": {"password": PASSWORD}}


async def stopped_run(folder: Path, server: OpenAIServer, door: Door) -> Path:
    """A run that is cancelled when the agent's model has asked for the call, which does not begin."""

    def stop(event: ev.AnyEvent) -> None:
        if isinstance(event, ev.ModelCallFinished) and event.who == "Guard":
            run.cancel()

    async with TeamFactory.from_dict(guarded(server.base_url), plugins={"door": door}) as factory:
        run = factory.start("t", out=folder / "runs", sinks=[stop])
        await run.result()
    return run_dir(folder)


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")


@pytest.mark.parametrize("how", ["resume", "reuse"])
async def test_a_call_is_not_made_with_a_mask_but_asked_for_again(how: str, key: None, tmp_path: Path) -> None:
    door = Door()
    with OpenAIServer(knocking()) as server:
        stopped = await stopped_run(tmp_path, server, door)
        assert door.given == [] and PASSWORD not in (stopped / "events.jsonl").read_text()
        async with TeamFactory.from_dict(guarded(server.base_url), plugins={"door": door}) as factory:
            if how == "resume":
                result = await factory.resume(stopped, inputs={"password": PASSWORD}).result()
            else:
                result = await factory.run("t", out=None, reuse=stopped)
    assert result.outcome == "satisfied" and door.given == [PASSWORD]
    if how == "resume":
        log = read_log(stopped)[0]
        (denied,) = [event for event in log if isinstance(event, ev.ToolCallDenied)]
        assert denied.arguments == {"password": MASK} and "not stored with a run" in denied.reason
