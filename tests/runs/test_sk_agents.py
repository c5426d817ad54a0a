"""Agents of SK's other kinds, and agents of a program, are members of a team like any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from semantic_kernel.agents import Agent, AgentResponseItem, AgentThread, ChatHistoryAgentThread
from semantic_kernel.contents import ChatMessageContent
from support.agent_server import CLIENTS, AgentServer, Turn
from support.durable import PLUGIN, child, effects
from support.openai_server import OpenAIServer, Reply, Request, TeamBrain, ToolCall, ledger, text_of

from magentic_kit import ConfigError, TeamFactory
from magentic_kit import events as ev
from magentic_kit.runlog.reader import read_log

ROUNDS = [("Old Hand", "look"), ("Clerk", "draft"), ("Old Hand", "check")]


def brain(request: Request) -> Any:
    """The manager of a team of two agents, as a pure function of the request."""
    if request.purpose == "ledger":
        done = "".join(map(text_of, request.messages)).count("Transferred to")
        if done >= len(ROUNDS):
            return ledger(satisfied=True)
        return ledger(*ROUNDS[done])
    return f"the {request.purpose}"


def agents(turn: Turn) -> str | ToolCall:
    """Each agent calls its function once in its first turn, and says how much it was told."""
    is_first = not any(f"noted {turn.api}" in text for text in turn.texts)
    if is_first and not turn.results:
        assert [tool.get("name") or tool["function"]["name"] for tool in turn.tools] == ["notes-add"]
        return ToolCall("notes-add", {"text": turn.api})
    said = turn.results[0] if turn.results else "checked"
    return f"{turn.instructions} {said} after {len(turn.texts)}"


def write_team(folder: Path, base_url: str) -> Path:
    (folder / "notes.py").write_text(PLUGIN)
    connection = {"connection": {"endpoint": base_url, "api_key": "${OpenAI:ApiKey}"}}
    tools = [{"id": "notes.add", "type": "function"}]
    data = {
        "name": "mixed",
        "task": "Do it.",
        "inputs": {"tone": "Dry"},
        "services": {"default": {"provider": "openai", "model": "m", "base_url": base_url}},
        "plugins": {"notes": {"type": "python", "target": "notes:Notes", "args": {"file": str(folder / "effects")}}},
        "agents": [
            {
                "name": "Old Hand",
                "type": "openai_assistant",
                "description": "Looks.",
                "instructions": "Looking.",
                "model": {"id": "m", **connection},
                "tools": tools,
            },
            {
                "name": "Clerk",
                "type": "openai_responses",
                "description": "Writes.",
                "instructions": "{{$tone}}.",
                "template": {"format": "semantic-kernel"},
                "model": {"id": "m", **connection},
                "tools": tools,
            },
        ],
        "report": {"formats": ["md"]},
    }
    (folder / "team.yaml").write_text(yaml.safe_dump(data))
    return folder / "team.yaml"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")


@pytest.fixture
def server() -> Any:
    with AgentServer(brain, agents) as server:
        yield server


def messages(events: list[ev.AnyEvent]) -> list[tuple[str, str]]:
    return [(event.agent, event.text.strip()) for event in events if isinstance(event, ev.AgentMessage)]


async def test_assistants_and_responses_agents_take_their_turns(tmp_path: Path, server: AgentServer) -> None:
    async with TeamFactory.from_yaml(write_team(tmp_path, server.base_url)) as factory:
        events = [event async for event in factory.stream(out=tmp_path / "runs")]
    assert events[-1].outcome == "satisfied", events[-1]
    assert messages(events) == [
        ("Old Hand", "Looking. noted assistants after 2"),
        ("Clerk", "Dry. noted responses after 8"),  # SK sends all again with a function's result
        ("Old Hand", "Looking. checked after 7"),
    ]
    calls = [(event.who, event.function) for event in events if isinstance(event, ev.ToolCallFinished)]
    assert calls == [("Old Hand", "notes.add"), ("Clerk", "notes.add")]
    assert sum(isinstance(event, ev.TextDelta) and event.who == "Clerk" for event in events) > 2, "it streams"
    speakers = [event.next_speaker.answer for event in events if isinstance(event, ev.ProgressLedger)]
    assert speakers[:3] == ["Old Hand", "Clerk", "Old Hand"]
    assert sorted(server.created) == sorted(server.deleted), "nothing is left at the provider"


@pytest.mark.slow
@pytest.mark.parametrize("at", range(10, 40, 8))
def test_a_killed_run_makes_no_finished_turn_again(at: int, tmp_path: Path, server: AgentServer) -> None:
    write_team(tmp_path, server.base_url)
    told = child(tmp_path, kill_at=at)
    if told is None:
        told = child(tmp_path, resume=True)
        if "nobody knows" in (told or {}).get("error", ""):
            told = child(tmp_path, resume=True, unknown_tools={"*": "noted again"})
    assert told == {"outcome": "satisfied", "answer": "the answer"}
    (run_dir,) = (tmp_path / "runs").iterdir()
    log = ev.effective(read_log(run_dir)[0])
    finished = [event.call for event in log if isinstance(event, ev.ModelCallFinished)]
    assert len(finished) == len(set(finished)) == 10
    # Three turns, two of which take a second request for the function's result; the one in flight is made again.
    assert 5 <= len(server.turns) <= 7
    assert len(effects(tmp_path)) <= 2, "a function call that had its result is not made again"


class Echo(Agent):
    """An agent of a kind that SK does not have: it does not stream, and counts what its thread was sent."""

    async def invoke(self, messages: Any = None, *, thread: AgentThread | None = None, **kwargs: Any) -> Any:
        thread = thread or ChatHistoryAgentThread()
        for message in messages:
            await thread.on_new_message(message)
        heard = [message async for message in thread.get_messages()]
        reply = ChatMessageContent(role="assistant", content=f"{self.name} heard {len(heard)}")
        yield AgentResponseItem(message=reply, thread=thread)

    def invoke_stream(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    async def get_response(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError


PYTHON = """
from support.agent_server import CLIENTS
from semantic_kernel.agents import ChatCompletionAgent
from semantic_kernel.connectors.ai.open_ai import OpenAIChatCompletion
from semantic_kernel.functions import kernel_function
from openai import AsyncOpenAI

class Sums:
    @kernel_function
    def add(self, a: int, b: int) -> int:
        return a + b

def made(url: str) -> ChatCompletionAgent:
    CLIENTS.append(AsyncOpenAI(api_key="k", base_url=url))
    service = OpenAIChatCompletion(ai_model_id="m", async_client=CLIENTS[-1])
    return ChatCompletionAgent(name="Inner", service=service, plugins=[Sums()], instructions="Add.")

def nothing() -> str:
    return "no agent"
"""


def python_team(folder: Path, base_url: str, **entry: Any) -> dict[str, Any]:
    (folder / "mine.py").write_text(PYTHON)
    agent = {"name": "Clerk", "type": "python", "description": "Writes.", **entry}
    services = {"default": {"provider": "openai", "model": "m", "base_url": base_url}}
    return {"name": "t", "task": "Do it.", "services": services, "agents": [agent], "report": {"formats": []}}


async def test_a_callable_brings_an_agent_whose_calls_are_logged(tmp_path: Path) -> None:
    script = TeamBrain(rounds=[("Clerk", "add")], agents={})
    inner = iter([ToolCall("Sums-add", {"a": 2, "b": 3}), "five"])

    def brain(request: Request) -> Any:
        if request.who != "Inner":
            return script(request)
        said = next(inner)
        return said if isinstance(said, str) else Reply(tool_calls=[said])

    with OpenAIServer(brain) as server:
        entry = {"target": "mine:made", "args": {"url": server.base_url}}
        team = python_team(tmp_path, server.base_url, **entry)
        async with TeamFactory.from_dict(team, base_dir=tmp_path) as factory:
            events = [event async for event in factory.stream(out=None)]
        await CLIENTS.pop().close()
    assert events[-1].outcome == "satisfied", events[-1]
    assert messages(events) == [("Clerk", "five")]
    (call,) = [event for event in events if isinstance(event, ev.ToolCallFinished)]
    assert (call.who, call.function, call.result) == ("Clerk", "Sums.add", "5")


async def test_agents_of_a_program_are_members(tmp_path: Path) -> None:
    rounds = [("Guest", "say"), ("Clerk", "say"), ("Guest", "say")]
    with OpenAIServer(TeamBrain(rounds=rounds, agents={})) as server:
        team = python_team(tmp_path, server.base_url)
        given = {"Clerk": Echo(name="One"), "Guest": Echo(name="Two", description="Comes by.")}
        async with TeamFactory.from_dict(team, agents=given) as factory:
            events = [event async for event in factory.stream(out=None)]
            assert factory.blueprint.config.agents[1].description == "Comes by."
    said = messages(events)
    assert [name for name, _ in said] == ["Guest", "Clerk", "Guest"], events[-1]
    counts = [int(text.split()[-1]) for _, text in said]
    assert counts[2] > counts[0] + 1, "the thread lives as long as the run, and gets what is new"


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({}, "'type: python' and 'target: package.module:name' go together"),
        ({"target": "mine:made", "tools": []}, "is a Python object and has no 'tools'"),
        ({"type": "bedrock_agent"}, "BedrockAgent"),
        ({"type": "openai_asistant"}, "did you mean 'openai_assistant'"),
    ],
)
def test_what_makes_no_agent_is_refused(entry: dict[str, Any], problem: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=problem):
        TeamFactory.from_dict(python_team(tmp_path, "http://127.0.0.1:9/v1", **entry), base_dir=tmp_path)


async def test_a_callable_that_returns_no_agent_fails_the_run(tmp_path: Path) -> None:
    with OpenAIServer(TeamBrain(rounds=[("Clerk", "say")], agents={})) as server:
        team = python_team(tmp_path, server.base_url, target="mine:nothing")
        async with TeamFactory.from_dict(team, base_dir=tmp_path) as factory:
            result = await factory.run(out=None)
    assert result.outcome == "failed"
    assert "mine:nothing returned no SK Agent, but str" in result.error["message"]
