"""What each participant really receives, recorded from the wire."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from semantic_kernel.functions import kernel_function
from support.openai_server import OpenAIServer, Reply, Request, TeamBrain, ToolCall, text_of

from magentic_kit import TeamFactory

TASK = "Is a < b & \"c\" or 'd'?"


class Desk:
    """A plugin with two functions, of which agents list one."""

    @kernel_function(description="Adds two numbers.")
    def add(self, a: int, b: int) -> int:
        return a + b

    @kernel_function(description="Deletes everything.")
    def destroy(self) -> str:
        raise AssertionError("no agent lists this function")


@pytest.fixture
async def wire(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")
    analyst = [
        Reply("Let me add.", tool_calls=[ToolCall("desk-add", {"a": 2, "b": 3})]),
        lambda request: f"The sum is {request.last_tool_results[-1]}.",
        "Still five.",
    ]
    brain = TeamBrain(
        rounds=[("Analyst", "Add <2> & 3."), ("Writer", "Write."), ("Analyst", "Check.")],
        agents={"Analyst": analyst, "Writer": ["Five, says the Writer."]},
        facts="the facts",
        plan="the plan",
        answer="five",
    )
    with OpenAIServer(brain) as server:
        team: dict[str, Any] = {
            "name": "wire",
            "services": {"default": {"provider": "openai", "model": "m", "base_url": server.base_url}},
            "agents": [
                {
                    "name": "Analyst",
                    "description": "Adds <numbers> & more.",
                    "instructions": "Use {{$unit}} & <exact> numbers.",
                    "inputs": {"unit": {"default": "k€ & <more>"}},
                    "tools": [{"id": "desk.add", "type": "function"}],
                    "model": {"id": "analyst-model", "options": {"temperature": 0.25}},
                },
                {"name": "Writer", "description": "Writes.", "instructions": "Be short."},
            ],
        }
        async with TeamFactory.from_dict(team, plugins={"desk": Desk()}) as factory:
            result = await factory.run(TASK, out=tmp_path)
            assert result.outcome == "satisfied", result.error
        return server.requests


def of(wire: list[Request], who: str, purpose: str = "turn") -> list[Request]:
    return [request for request in wire if (request.who, request.purpose) == (who, purpose)]


def test_the_task_and_descriptions_go_out_as_written(wire: list[Request]) -> None:
    sent = str(wire[0].messages[-1]["content"])
    assert TASK in sent
    assert all(any(TASK in text_of(m) for m in request.messages) for request in wire)
    for request in wire:
        text = " ".join(text_of(message) for message in request.messages)
        assert "&lt;" not in text and "&amp;" not in text and "&quot;" not in text
    assert "Adds <numbers> & more." in text_of(of(wire, "manager", "plan")[0].messages[-1])
    assert text_of(of(wire, "Analyst")[0].messages[0]) == "Use k€ & <more> & <exact> numbers."


def test_an_agent_hears_others_as_user_and_itself_as_assistant(wire: list[Request]) -> None:
    first, _, third = of(wire, "Analyst")
    assert [m["role"] for m in first.messages] == ["system", "user", "user"]
    assert [m["role"] for m in third.messages] == [
        *("system", "user", "user"),  # instructions, task ledger, the manager's instruction
        *("assistant", "tool", "assistant"),  # its own first turn
        *("user", "user", "user"),  # to the Writer, from the Writer, to itself
    ]
    assert [m["role"] for m in of(wire, "Writer")[0].messages] == ["system", *["user"] * 4]


def test_the_manager_hears_agents_as_user(wire: list[Request]) -> None:
    last = of(wire, "manager", "ledger")[-1].messages
    roles = {text_of(m): m["role"] for m in last}
    assert roles["Five, says the Writer."] == "user" and roles["Still five."] == "user"
    assert roles["Add <2> & 3."] == "assistant"
    assert last[0]["role"] == last[-1]["role"] == "user"


def test_each_text_is_sent_once(wire: list[Request]) -> None:
    for request in wire:
        whole = "\n".join(text_of(message) for message in request.messages)
        for text in ("Let me add.", "The sum is 5.", "Five, says the Writer.", "the facts", "Add <2> & 3."):
            assert whole.count(text) <= 1, (request.who, request.purpose, text)
    assert "Let me add.\n\nThe sum is 5." in [text_of(m) for m in of(wire, "Writer")[0].messages]


def test_only_the_listed_tools_and_options_are_offered(wire: list[Request]) -> None:
    assert [request.tool_names for request in of(wire, "Analyst")] == [["desk-add"]] * 3
    assert all(not request.tools for request in wire if request.who != "Analyst")
    assert {(r.model, r.body.get("temperature")) for r in of(wire, "Analyst")} == {("analyst-model", 0.25)}
    assert {(r.model, r.body.get("temperature")) for r in of(wire, "Writer")} == {("m", None)}
