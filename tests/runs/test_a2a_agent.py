"""Remote agents that speak A2A are members of a team like any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from support.durable import child
from support.openai_server import OpenAIServer, Request, TeamBrain, ledger, text_of
from support.remote_agent import RemoteAgent, remote_agent
from support.served_app import PLAN_REVIEW, brain, served
from support.waits import reached

from magentic_kit import ConfigError, TeamFactory
from magentic_kit import events as ev
from magentic_kit.runlog.reader import read_log


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")


def team(models: str, address: str, **entry: Any) -> dict[str, Any]:
    return {
        "name": "t",
        "task": "Do it.",
        "services": {"default": {"provider": "openai", "model": "m", "base_url": models}},
        "agents": [{"name": "Far Away", "type": "a2a", "url": address, "description": "Knows.", **entry}],
        "limits": {"retries": 0},
        "report": {"formats": []},
    }


async def said(address: str, *instructions: str, models: TeamBrain | None = None, **entry: Any) -> list[ev.AnyEvent]:
    """The events of a run in which the remote agent gets these instructions, one in each round."""
    script = models or TeamBrain(rounds=[("Far Away", instruction) for instruction in instructions], agents={})
    with OpenAIServer(script) as server:
        async with TeamFactory.from_dict(team(server.base_url, address, **entry)) as factory:
            return [event async for event in factory.stream(out=None)]


def messages(events: list[ev.AnyEvent]) -> list[str]:
    return [event.text for event in events if isinstance(event, ev.AgentMessage)]


async def test_a_turn_is_a_task_and_a_run_a_context() -> None:
    with remote_agent(token="a-token-of-this-test") as agent:
        headers = {"Authorization": "Bearer a-token-of-this-test"}
        events = await said(agent.url, "look", "look again", headers=headers)
    assert messages(events) == ["found so much (1)", "found so much (2)"], events[-1]
    pieces = [event.text for event in events if isinstance(event, ev.TextDelta) and event.who == "Far Away"]
    assert len(pieces) > 2, "it streams"
    (first, whole), (second, new) = agent.received
    assert first == second and "look again" in new and len(new) < len(whole), "the context has what was sent before"
    assert not agent.cancelled


@pytest.mark.parametrize("streaming", [True, False])
async def test_how_a_task_ends_is_what_the_manager_reads(streaming: bool) -> None:
    with remote_agent(streaming=streaming) as agent:
        card = f"{agent.url}/.well-known/agent-card.json"
        wishes = ["look", "only talk", "fail after words", "reject it", "ask first", "look"]
        events = await said(card, *wishes)
    assert messages(events) == [
        "found so much (1)",
        "just words",
        "found so much (3)\n\n(its task failed: which year?)",
        "(it rejected the task: which year?)",
        "which year?\n\n(it waits for an answer, which is what it is told next)",
        "found so much (6)",
    ], events[-1]
    assert events[-1].outcome == "satisfied"
    assert not agent.cancelled


async def test_an_agent_that_breaks_fails_its_task_alone() -> None:
    with remote_agent() as agent:
        events = await said(agent.url, "break", "look")
    (broken, after) = messages(events)
    assert broken.startswith("(its task failed") and after == "found so much (2)"


async def test_a_question_that_nobody_answers_is_cancelled_with_the_run() -> None:
    with remote_agent() as agent:
        events = await said(agent.url, "ask first")
        assert events[-1].outcome == "satisfied" and len(agent.cancelled) == 1


@pytest.mark.parametrize("streaming", [True, False])
async def test_cancelling_a_run_cancels_the_task(streaming: bool) -> None:
    with (
        remote_agent(streaming=streaming) as agent,
        OpenAIServer(TeamBrain(rounds=[("Far Away", "never end")], agents={})) as server,
    ):
        async with TeamFactory.from_dict(team(server.base_url, agent.url)) as factory:
            run = factory.start(out=None)
            async for event in run.events():
                if isinstance(event, ev.TextDelta) and event.who == "Far Away":
                    run.cancel()
            result = await run.result()
        assert result.outcome == "cancelled"
        assert len(agent.cancelled) == 1


@pytest.mark.slow
async def test_a_turn_has_a_limit_of_time() -> None:
    with remote_agent() as agent, OpenAIServer(TeamBrain(rounds=[("Far Away", "never end")], agents={})) as server:
        data = team(server.base_url, agent.url)
        data["limits"]["model_timeout"] = 5
        async with TeamFactory.from_dict(data) as factory:
            result = await factory.run(out=None)
        assert result.outcome == "failed" and "limits.model_timeout" in result.error["message"]
        assert len(agent.cancelled) == 1


async def test_a_team_that_is_served_is_a_member_elsewhere(tmp_path: Path) -> None:
    async with served(tmp_path, brain("I looked."), review=PLAN_REVIEW) as to:
        events = await said(f"{to.url}/a2a/desk-team", "look", "approve", "look again")
        question, answer, *_ = messages(events)
        assert question.startswith("The plan is to be approved.")
        assert answer.startswith("The final answer.") and "satisfied" in to.outcomes, events[-1]
        await reached(lambda: sorted(to.outcomes) == ["cancelled", "satisfied"])  # the second plan had no answer


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"url": None}, "'type: a2a' and 'url: http://…' go together"),
        ({"tools": []}, "is a remote agent and has no 'tools'"),
        ({"url": "ftp://x"}, "http"),
        ({"type": "human"}, "is a person and has no 'url'"),
        ({"type": "openai_responses", "url": None, "headers": {"A": "b"}}, "is no remote agent and has no 'headers'"),
    ],
)
def test_what_is_no_remote_agent_is_refused(entry: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        TeamFactory.from_dict(team("http://127.0.0.1:9/v1", "http://127.0.0.1:9", **entry))


@pytest.mark.parametrize(
    ("options", "entry", "problem"),
    [
        ({"token": "a-token"}, {}, "401"),
        ({"elsewhere": "http://127.0.0.2:9/rpc"}, {"headers": {"Authorization": "x"}}, "http://127.0.0.2:9/rpc"),
        ({"elsewhere": "http://127.0.0.1:9/rpc"}, {}, "Far Away at http://127.0.0.1"),
    ],
)
async def test_an_agent_that_cannot_be_reached_fails_the_run(
    options: dict[str, str], entry: dict[str, Any], problem: str
) -> None:
    with remote_agent(**options) as agent:
        events = await said(agent.url, "look", **entry)
    assert events[-1].outcome == "failed" and problem in events[-1].error["message"]
    assert not agent.received


ROUNDS = [("Far Away", f"look {number}") for number in range(3)]


def manager(request: Request) -> Any:
    """The manager of three rounds, as a pure function of the request."""
    if request.purpose == "ledger":
        done = "".join(map(text_of, request.messages)).count("Transferred to")
        return ledger(*ROUNDS[done]) if done < len(ROUNDS) else ledger(satisfied=True)
    return f"the {request.purpose}"


def turns(agent: RemoteAgent) -> list[str]:
    return [next(line for line in reversed(text.splitlines()) if line.startswith("look")) for _, text in agent.received]


@pytest.mark.slow
@pytest.mark.parametrize("at", range(8, 32, 8))
def test_a_killed_run_makes_no_finished_turn_again(at: int, tmp_path: Path) -> None:
    with remote_agent() as agent, OpenAIServer(manager) as server:
        (tmp_path / "team.yaml").write_text(yaml.safe_dump(team(server.base_url, agent.url)))
        told = child(tmp_path, kill_at=at)
        assert told is None
        told = child(tmp_path, resume=True)
    assert told == {"outcome": "satisfied", "answer": "the answer"}
    (run_dir,) = (tmp_path / "runs").iterdir()
    finished = [
        event.call
        for event in ev.effective(read_log(run_dir)[0])
        if isinstance(event, ev.ModelCallFinished) and event.who == "Far Away"
    ]
    assert len(finished) == len(set(finished)) == 3
    made = turns(agent)
    assert sorted(set(made)) == ["look 0", "look 1", "look 2"] and len(made) <= 4, "at most the turn in flight again"
