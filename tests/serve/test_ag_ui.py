"""A team for front ends: its events by AG-UI's own types, over server-sent events."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from ag_ui.core import Event, EventType, ResumeEntry, RunAgentInput, RunFinishedInterruptOutcome, UserMessage
from pydantic import TypeAdapter
from support.openai_server import Reply, error
from support.served_app import PLAN_REVIEW, TOOL_REVIEW, WRITES, Served, brain, served, sse

EVENT: TypeAdapter[Any] = TypeAdapter(Event)


def asked(text: str = "What is new?", **more: Any) -> RunAgentInput:
    said = [UserMessage(id="1", content=text)]
    return RunAgentInput(**{"thread_id": "t1", "run_id": "r1", "messages": said, **more})


async def post(to: Served, asks: RunAgentInput) -> list[Any]:
    """The events of one request, each valid by AG-UI's types and in an order that its clients accept."""
    async with httpx.AsyncClient(base_url=to.url, timeout=60) as web:
        body = asks.model_dump(by_alias=True, mode="json")
        async with web.stream("POST", "/ag-ui/desk-team", json=body) as response:
            if response.status_code != 200:
                await response.aread()
                return [response.status_code, response.json()["error"]]
            assert response.headers["content-type"].startswith("text/event-stream")
            events = [EVENT.validate_json(data) async for data in sse(response)]
    check_order(events)
    return events


def check_order(events: list[Any]) -> None:
    """What starts ends, once and before the run does, and nothing stands outside the run."""
    assert events[0].type == EventType.RUN_STARTED
    assert events[-1].type in (EventType.RUN_FINISHED, EventType.RUN_ERROR)
    open_parts: list[tuple[str, str]] = []
    for event in events:
        kind, _, what = event.type.value.rpartition("_")
        name = getattr(event, "message_id", None) or getattr(event, "tool_call_id", None) or event_step(event)
        if what in ("START", "STARTED") and kind != "RUN":
            assert (kind, name) not in open_parts
            open_parts.append((kind, name))
        elif what in ("CONTENT", "ARGS"):
            assert (kind, name) in open_parts
        elif what in ("END", "FINISHED") and kind != "RUN":
            open_parts.remove((kind, name))
    assert open_parts == []


def event_step(event: Any) -> str:
    return getattr(event, "step_name", "")


def texts(events: list[Any]) -> list[tuple[str, str]]:
    """Who said what."""
    said: dict[str, list[str]] = {}
    for event in events:
        if event.type == EventType.TEXT_MESSAGE_START:
            said[event.message_id] = [event.name, ""]
        elif event.type == EventType.TEXT_MESSAGE_CONTENT:
            said[event.message_id][1] += event.delta
    return [(who, text) for who, text in said.values()]


def of(events: list[Any], kind: EventType) -> list[Any]:
    return [event for event in events if event.type == kind]


async def test_a_run_is_shown_as_it_goes(tmp_path: Path) -> None:
    async with served(tmp_path, brain(*WRITES, answer="All is well.")) as to:
        events = await post(to, asked())
        assert (events[0].thread_id, events[0].run_id) == ("t1", "r1")
        assert texts(events) == [("Solo", "written: hello"), ("manager", "All is well.")]
        assert [event.step_name for event in of(events, EventType.STEP_STARTED)] == ["round 1: Solo"]
        (call,), (arguments,) = of(events, EventType.TOOL_CALL_START), of(events, EventType.TOOL_CALL_ARGS)
        assert (call.tool_call_name, arguments.delta) == ("desk.write", '{"text": "hello"}')
        assert [result.content for result in of(events, EventType.TOOL_CALL_RESULT)] == ["written: hello"]
        state = of(events, EventType.STATE_SNAPSHOT)[-1].snapshot
        assert (state["plan"], state["round"]) == ("- Ask each team member once.", 2)
        assert [event.name for event in of(events, EventType.CUSTOM)] == ["progress_ledger"] * 2
        end = events[-1]
        assert (end.type, end.outcome, end.result) == (EventType.RUN_FINISHED, None, {"answer": "All is well."})
        assert end.metadata == {"magentic-kit": {"outcome": "satisfied"}} and end.usage[0].total_tokens > 0


async def test_the_conversation_and_the_inputs_are_taken(tmp_path: Path) -> None:
    agents = [{"name": "Solo", "description": "Helps.", "instructions": "It is {{$year}}."}]
    models = brain(answer=lambda request: request.task)
    said = [
        {"id": "1", "role": "user", "content": [{"type": "text", "text": "Who led?"}]},
        {"id": "2", "role": "assistant", "name": "Solo", "content": "East."},
        {"id": "3", "role": "reasoning", "content": "Hm."},
        {"id": "4", "role": "user", "content": "And then?"},
    ]
    async with served(tmp_path, models, inputs={"year": 1}, agents=agents) as to:
        events = await post(to, asked(messages=said, forwarded_props={"inputs": {"year": 1999}}))
        assert texts(events)[-1][1] == "And then?\n\nThis was said before:\n\nuser: Who led?\n\nSolo: East."
        assert any(request.messages[0]["content"] == "It is 1999." for request in to.models.requests)


def interrupt(events: list[Any]) -> Any:
    """What the run waits for."""
    outcome = events[-1].outcome
    assert isinstance(outcome, RunFinishedInterruptOutcome)
    (one,) = outcome.interrupts
    return one


def resume(one: Any, payload: Any = None, status: str = "resolved", run_id: str = "r2") -> RunAgentInput:
    return asked(run_id=run_id, resume=[ResumeEntry(interrupt_id=one.id, status=status, payload=payload)])


async def test_a_review_interrupts_the_run_and_the_answer_resumes_it(tmp_path: Path) -> None:
    review = {**PLAN_REVIEW, **TOOL_REVIEW}
    async with served(tmp_path, brain(*WRITES), review=review) as to:
        plan = interrupt(await post(to, asked()))
        assert plan.reason == "plan_review" and plan.message.startswith("The plan is to be approved.")
        assert plan.response_schema["properties"]["decision"]["enum"] == ["approve", "revise", "reject"]
        assert await post(to, resume(plan, {"decision": "maybe"})) == [
            422,
            "the answer should be 'approve', 'revise: why' or 'reject: why'",
        ]
        revised = interrupt(await post(to, resume(plan, {"decision": "revise", "feedback": "in one step"})))
        assert (await post(to, resume(plan, {"decision": "approve"})))[0] == 409
        call = interrupt(await post(to, resume(revised, "approve", run_id="r3")))
        assert call.reason == "tool_review" and '"text": "hello"' in call.message and to.desk.notes == []
        events = await post(to, resume(call, {"decision": "approve"}, run_id="r4"))
        assert events[0].run_id == "r4" and events[-1].metadata["magentic-kit"]["outcome"] == "satisfied"
        assert to.desk.notes == ["hello"] and to.outcomes == ["satisfied"]
        assert (await post(to, resume(call, {"decision": "approve"})))[0] == 409


@pytest.mark.parametrize(
    ("review", "notes"), [(PLAN_REVIEW, "rejected"), (TOOL_REVIEW, "satisfied")], ids=["plan", "call"]
)
async def test_an_abandoned_review_is_no_approval(review: Any, notes: str, tmp_path: Path) -> None:
    async with served(tmp_path, brain(*WRITES), review=review) as to:
        events = await post(to, resume(interrupt(await post(to, asked())), status="cancelled"))
        assert to.desk.notes == [] and to.outcomes == [notes]
        if notes == "rejected":
            assert (events[-1].type, events[-1].code) == (EventType.RUN_ERROR, "rejected")
        else:
            (result,) = of(events, EventType.TOOL_CALL_RESULT)
            assert result.content == "Denied: the person gave no answer"


async def test_another_message_in_the_thread_takes_the_place_of_a_run_that_waits(tmp_path: Path) -> None:
    async with served(tmp_path, review=PLAN_REVIEW, options={"concurrency": 1}) as to:
        first = interrupt(await post(to, asked()))
        second = interrupt(await post(to, asked("Rather this")))
        assert sorted(to.outcomes) == ["", "cancelled"]
        assert (await post(to, resume(first, "approve")))[0] == 409
        assert (await post(to, resume(second, "approve")))[-1].type == EventType.RUN_FINISHED


async def test_a_run_that_nobody_answers_is_cancelled(tmp_path: Path) -> None:
    async with served(tmp_path, review=PLAN_REVIEW, options={"patience": 0.1}) as to:
        one = interrupt(await post(to, asked()))
        await to.ended("cancelled")
        assert (await post(to, resume(one, "approve")))[0] == 409


@pytest.mark.parametrize("hang", ["before", "in_stream"])
async def test_a_run_ends_when_its_client_leaves(hang: Any, tmp_path: Path) -> None:
    async with served(tmp_path, brain(Reply("a b c d", hang=hang))) as to:
        following = asyncio.ensure_future(post(to, asked()))
        await to.models.reached(lambda models: models.hanging)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await to.asks_no_more()
        await to.ended("cancelled")
        assert len(to.models.requests) == 4


async def test_limits_and_failures_are_errors_beside_the_answer(tmp_path: Path) -> None:
    async with served(tmp_path, brain(answer="Half."), manager={"max_rounds": 1}) as to:
        to.models._brain.rounds = [("Solo", "go on")] * 3  # type: ignore[union-attr]
        events = await post(to, asked())
        words = "The team had to stop early (max_rounds). The best answer it has:"
        assert texts(events)[-1] == ("manager", f"{words}\n\nHalf.")
        assert (events[-1].type, events[-1].code, events[-1].message) == (EventType.RUN_ERROR, "limited", words)
    models = brain().on("manager", "plan", None, error(400, "no such thing"))
    async with served(tmp_path / "failed", models) as to:
        end = (await post(to, asked()))[-1]
        assert (end.type, end.code) == (EventType.RUN_ERROR, "failed") and end.message.startswith("The team failed")


IMAGE = {"type": "image", "source": {"type": "data", "value": "", "mimeType": "image/png"}}


@pytest.mark.parametrize(
    ("more", "status", "words"),
    [
        ({"messages": [{"id": "1", "role": "king", "content": "t"}]}, 400, "messages"),
        ({"messages": []}, 422, "task"),
        ({"forwardedProps": {"inputs": {"yer": 1}}}, 422, "yer"),
        ({"forwardedProps": {"inputs": []}}, 422, "forwardedProps.inputs: should be an object"),
        ({"resume": [{"interruptId": "x", "status": "resolved"}]}, 409, "no run of this thread waits"),
        ({"messages": [{"id": "1", "role": "user", "content": [IMAGE]}]}, 422, "a team is given text alone"),
    ],
)
async def test_what_a_team_cannot_do_is_refused_and_starts_nothing(
    more: dict[str, Any], status: int, words: str, tmp_path: Path
) -> None:
    async with served(tmp_path, inputs={"year": 1}) as to, httpx.AsyncClient(base_url=to.url, timeout=60) as web:
        body = asked().model_dump(by_alias=True, mode="json") | more
        answer = await web.post("/ag-ui/desk-team", json=body)
        assert answer.status_code == status and words in answer.json()["error"]
        assert not to.out.exists() and not to.models.requests
