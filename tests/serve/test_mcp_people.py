"""A team over MCP asks the user of its client, by elicitation; and says how it ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mcp import types
from support.openai_server import error
from support.served_app import PLAN_REVIEW, TOOL_REVIEW, WRITES, brain, served
from support.served_teams import mcp_session

BOTH = {**PLAN_REVIEW, **TOOL_REVIEW}


def user(asked: list[tuple[str, Any]], *answers: dict[str, Any] | str) -> Any:
    """Answers forms one after another, with an object or by an action."""
    left = list(answers)

    async def answer(context: object, params: types.ElicitRequestFormParams) -> types.ElicitResult:
        asked.append((params.message, params.requestedSchema["properties"]))
        given = left.pop(0)
        if isinstance(given, str):
            return types.ElicitResult(action=given)  # type: ignore[arg-type]
        return types.ElicitResult(action="accept", content=given)

    return answer


async def test_plans_and_calls_are_asked_of_the_clients_user(tmp_path: Path) -> None:
    asked: list[tuple[str, Any]] = []
    revise = {"decision": "revise", "feedback": "in one step"}
    answer = user(asked, revise, {"decision": "approve"}, {"decision": "approve_for_run"})
    async with (
        served(tmp_path, brain(*WRITES, answer="All is well."), review=BOTH) as to,
        mcp_session(to.url, elicitation_callback=answer) as session,
    ):
        result = await session.call_tool("desk-team", {"task": "t"})
        assert (result.isError, result.content[0].text) == (False, "All is well.")
        assert result.meta == {"magentic-kit": {"outcome": "satisfied"}}
        assert to.desk.notes == ["hello"]
    plan, revised, call = [message for message, _ in asked]
    assert plan.startswith("The plan is to be approved.") and revised.startswith("The plan is to be approved.")
    assert call == 'Solo wants to call desk.write with these arguments:\n{\n  "text": "hello"\n}'
    assert asked[2][1]["decision"]["enum"] == ["approve", "approve_for_run", "deny"]


@pytest.mark.parametrize("no", ["decline", "cancel", {"decision": "perhaps"}, {}], ids=str)
async def test_whoever_gives_no_answer_approves_nothing(no: Any, tmp_path: Path) -> None:
    asked: list[tuple[str, Any]] = []
    async with (
        served(tmp_path, brain(*WRITES), review=BOTH) as to,
        mcp_session(to.url, elicitation_callback=user(asked, {"decision": "approve"}, no, no)) as session,
    ):
        result = await session.call_tool("desk-team", {"task": "t"})
        assert not result.isError and to.desk.notes == [] and len(asked) == 2
        result = await session.call_tool("desk-team", {"task": "t"})
        assert result.isError and result.meta["magentic-kit"]["outcome"] == "rejected"


async def test_a_person_of_the_team_is_the_clients_user(tmp_path: Path) -> None:
    agents = [{"name": "Solo", "type": "human", "description": "Knows."}]
    asked: list[tuple[str, Any]] = []
    async with (
        served(tmp_path, agents=agents) as to,
        mcp_session(to.url, elicitation_callback=user(asked, {"text": "Nothing much."})) as session,
    ):
        assert not (await session.call_tool("desk-team", {"task": "t"})).isError
        assert any("Nothing much." in str(request.messages) for request in to.models.requests)


async def test_without_elicitation_a_call_is_denied_and_a_plan_is_not_made(tmp_path: Path) -> None:
    async with served(tmp_path, brain(*WRITES), review=TOOL_REVIEW) as to, mcp_session(to.url) as session:
        assert not (await session.call_tool("desk-team", {"task": "t"})).isError
        assert to.desk.notes == []
    async with served(tmp_path, brain(*WRITES), review=PLAN_REVIEW) as to, mcp_session(to.url) as session:
        result = await session.call_tool("desk-team", {"task": "t"})
        assert result.isError and "`review.plan` asks for a person" in result.content[0].text
        assert not to.models.requests


async def test_a_run_that_was_not_satisfied_is_an_error_with_the_answer_it_has(tmp_path: Path) -> None:
    async with (
        served(tmp_path, brain(answer="Half."), manager={"max_rounds": 1}) as to,
        mcp_session(to.url) as session,
    ):
        to.models._brain.rounds = [("Solo", "go on")] * 3  # type: ignore[union-attr]
        result = await session.call_tool("desk-team", {"task": "t"})
        words = "The team had to stop early (max_rounds). The best answer it has:\n\nHalf."
        assert (result.isError, result.content[0].text) == (True, words)
        assert result.meta == {"magentic-kit": {"outcome": "limited", "reason": "max_rounds"}}
    models = brain().on("manager", "plan", None, error(400, "no such thing"))
    async with served(tmp_path / "failed", models) as to, mcp_session(to.url) as session:
        result = await session.call_tool("desk-team", {"task": "t"})
        assert result.isError and result.content[0].text.startswith("The team failed; there is no answer")
