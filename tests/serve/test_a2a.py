"""A team as an A2A agent, driven by the client of `a2a-sdk`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from a2a.client import Client, ClientConfig, create_client
from a2a.helpers import get_artifact_text, get_message_text, new_data_part, new_message, new_text_message
from a2a.types import CancelTaskRequest, GetTaskRequest, Role, SendMessageRequest, StreamResponse, Task, TaskState
from a2a.utils.errors import TaskNotCancelableError
from support.openai_server import Reply, error
from support.served_app import PLAN_REVIEW, TOOL_REVIEW, WRITES, Served, brain, served

from magentic_kit.serve.guard import Access

TOKEN = "a-token-of-this-test"


@asynccontextmanager
async def client(to: Served, *, streaming: bool = True, token: str = "") -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with httpx.AsyncClient(headers=headers, timeout=60) as web:
        config = ClientConfig(streaming=streaming, httpx_client=web)
        kwargs = {"headers": headers}
        yield await create_client(f"{to.url}/a2a/desk-team", config, resolver_http_kwargs=kwargs)


def message(text: str, *, data: Any = None, metadata: Any = None, **ids: str) -> SendMessageRequest:
    """A message of the user; with `data`, that in place of the text."""
    if data is None:
        said = new_text_message(text, role=Role.ROLE_USER, **ids)
    else:
        said = new_message([new_data_part(data)], role=Role.ROLE_USER, **ids)
    if metadata:
        said.metadata.update(metadata)
    return SendMessageRequest(message=said)


async def last(events: AsyncIterator[StreamResponse], seen: list[StreamResponse] | None = None) -> tuple[str, str]:
    """The ids of the task and its context, when its stream has ended."""
    ids = ("", "")
    async for event in events:
        if seen is not None:
            seen.append(event)
        if event.HasField("task"):
            ids = (event.task.id, event.task.context_id)
    return ids


async def task(ai: Client, task_id: str) -> Task:
    return await ai.get_task(GetTaskRequest(id=task_id))


def state(task: Task) -> str:
    return TaskState.Name(task.status.state).removeprefix("TASK_STATE_").lower()


async def test_the_card_is_made_from_the_team_file(tmp_path: Path) -> None:
    more: Any = {"task": "What is new?", "inputs": {"year": 2025}, "access": Access.of("127.0.0.1", token=TOKEN)}
    async with served(tmp_path, **more) as to, client(to, token=TOKEN) as ai:
        card = ai._card  # type: ignore[attr-defined]
        assert (card.name, card.capabilities.streaming) == ("desk team", True)
        assert card.description == "Keeps notes. Inputs, in the message's metadata under 'inputs': year."
        assert (card.skills[0].examples, card.skills[0].tags) == (["What is new?"], ["Solo"])
        assert {interface.url for interface in card.supported_interfaces} == {f"{to.url}/a2a/desk-team"}
        assert card.security_schemes["token"].http_auth_security_scheme.scheme == "bearer"
        async with httpx.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}) as web:
            root = await web.get(f"{to.url}/.well-known/agent-card.json")
        assert root.json()["name"] == "desk team"


@pytest.mark.parametrize("streaming", [True, False])
async def test_a_task_is_a_run_and_its_answer_an_artifact(streaming: bool, tmp_path: Path) -> None:
    agents = [{"name": "Solo", "description": "Helps.", "instructions": "It is {{$year}}."}]
    models = brain("I looked.", answer=lambda request: request.task)
    async with served(tmp_path, models, inputs={"year": 1}, agents=agents) as to, client(to, streaming=streaming) as ai:
        seen: list[StreamResponse] = []
        first = message("What is new?", metadata={"inputs": {"year": 1999}})
        task_id, context_id = await last(ai.send_message(first), seen)
        done = await task(ai, task_id)
        assert state(done) == "completed" and [get_artifact_text(a) for a in done.artifacts] == ["What is new?"]
        assert any(request.messages[0]["content"] == "It is 1999." for request in to.models.requests)
        if streaming:
            updates = [event.status_update.status.message for event in seen if event.HasField("status_update")]
            assert [get_message_text(update) for update in updates if update.parts] == [
                "the plan is made",
                "round 1: Solo: go on",
                "Solo: I looked.",
            ]
        task_id, _ = await last(ai.send_message(message("And then?", context_id=context_id)))
        (answer,) = (await task(ai, task_id)).artifacts
        said = "user: What is new?\n\nagent: What is new?"
        assert get_artifact_text(answer) == f"And then?\n\nThis was said before:\n\n{said}"
        assert to.outcomes == ["satisfied"] * 2


async def test_a_review_is_input_that_the_task_requires(tmp_path: Path) -> None:
    review = {**PLAN_REVIEW, **TOOL_REVIEW}
    async with served(tmp_path, brain(*WRITES), review=review) as to, client(to) as ai:
        task_id, _ = await last(ai.send_message(message("What is new?")))
        waiting = await task(ai, task_id)
        asked = get_message_text(waiting.status.message)
        assert state(waiting) == "input_required" and asked.startswith("The plan is to be approved.")
        for words in ("perhaps", "approve, but hurry"):  # is no decision: asked again
            await last(ai.send_message(message(words, task_id=task_id)))
            asked = get_message_text((await task(ai, task_id)).status.message)
            assert asked.startswith("the answer should be 'approve', 'revise: why' or 'reject: why'")
        await last(ai.send_message(message("revise: in one step", task_id=task_id)))
        assert any("in one step" in str(request.messages) for request in to.models.requests)
        await last(ai.send_message(message("Approve.", task_id=task_id)))
        asked = get_message_text((await task(ai, task_id)).status.message)
        assert asked == 'Solo wants to call desk.write with these arguments:\n{\n  "text": "hello"\n}'
        assert to.desk.notes == []
        await last(ai.send_message(message("", data={"decision": "approve"}, task_id=task_id)))
        assert state(await task(ai, task_id)) == "completed" and to.desk.notes == ["hello"]


async def test_a_rejected_plan_is_a_rejected_task(tmp_path: Path) -> None:
    async with served(tmp_path, review=PLAN_REVIEW) as to, client(to) as ai:
        task_id, _ = await last(ai.send_message(message("What is new?")))
        await last(ai.send_message(message("reject: too dear", task_id=task_id)))
        done = await task(ai, task_id)
        assert (state(done), to.outcomes) == ("rejected", ["rejected"])
        assert get_message_text(done.status.message).endswith("there is no answer. too dear")


async def test_a_person_of_the_team_is_the_client(tmp_path: Path) -> None:
    agents = [{"name": "Solo", "type": "human", "description": "Knows."}]
    async with served(tmp_path, brain(answer="Asked."), agents=agents) as to, client(to) as ai:
        task_id, _ = await last(ai.send_message(message("What is new?")))
        assert get_message_text((await task(ai, task_id)).status.message).endswith("Solo, it is your turn.")
        await last(ai.send_message(message("Nothing much.", task_id=task_id)))
        assert state(await task(ai, task_id)) == "completed"
        assert any("Nothing much." in str(request.messages) for request in to.models.requests)


@pytest.mark.parametrize("hang", ["before", "in_stream"])
async def test_a_cancelled_task_ends_its_run(hang: Any, tmp_path: Path) -> None:
    async with served(tmp_path, brain(Reply("a b c d", hang=hang))) as to, client(to) as ai:
        events = ai.send_message(message("What is new?"))
        first = await anext(events)
        following = asyncio.ensure_future(last(events))
        await to.models.reached(lambda models: models.hanging)
        assert state(await ai.cancel_task(CancelTaskRequest(id=first.task.id))) == "canceled"
        await following
        await to.asks_no_more()
        assert to.outcomes == ["cancelled"] and len(to.models.requests) == 4
        assert state(await task(ai, first.task.id)) == "canceled"
        with pytest.raises(TaskNotCancelableError):
            await ai.cancel_task(CancelTaskRequest(id=first.task.id))


async def test_a_task_that_waits_for_input_is_cancelled_by_request_or_in_time(tmp_path: Path) -> None:
    async with served(tmp_path, review=PLAN_REVIEW, options={"concurrency": 1}) as to, client(to) as ai:
        task_id, _ = await last(ai.send_message(message("What is new?")))
        assert state(await ai.cancel_task(CancelTaskRequest(id=task_id))) == "canceled"
        assert to.outcomes == ["cancelled"]
    options = {"concurrency": 1, "patience": 0.1}
    async with served(tmp_path / "late", review=PLAN_REVIEW, options=options) as to, client(to) as ai:
        task_id, _ = await last(ai.send_message(message("What is new?")))
        await to.ended("cancelled")
        await last(ai.send_message(message("approve", task_id=task_id)))
        done = await task(ai, task_id)
        assert state(done) == "canceled" and "nobody had answered in time" in get_message_text(done.status.message)
        task_id, _ = await last(ai.send_message(message("Once more")))  # its turn comes
        assert state(await task(ai, task_id)) == "input_required"


async def test_a_task_goes_on_when_its_client_leaves(tmp_path: Path) -> None:
    models = brain(Reply("a b c d", chunk_delay=0.05))
    async with served(tmp_path, models) as to:
        async with client(to) as ai:
            first = await anext(ai.send_message(message("What is new?")))
        await to.ended("satisfied")
        async with client(to) as ai:
            assert state(await task(ai, first.task.id)) == "completed"


async def test_limits_and_failures_are_no_completed_tasks(tmp_path: Path) -> None:
    async with served(tmp_path, brain(answer="Half."), manager={"max_rounds": 1}) as to, client(to) as ai:
        to.models._brain.rounds = [("Solo", "go on")] * 3  # type: ignore[union-attr]
        task_id, _ = await last(ai.send_message(message("What is new?")))
        done = await task(ai, task_id)
        assert (state(done), get_artifact_text(done.artifacts[0])) == ("failed", "Half.")
        assert get_message_text(done.status.message).startswith("The team had to stop early (max_rounds)")
    models = brain().on("manager", "plan", None, error(400, "no such thing"))
    async with served(tmp_path / "failed", models) as to, client(to) as ai:
        task_id, _ = await last(ai.send_message(message("What is new?")))
        done = await task(ai, task_id)
        assert state(done) == "failed" and get_message_text(done.status.message).startswith("The team failed")


async def test_what_a_team_cannot_do_is_rejected_and_starts_nothing(tmp_path: Path) -> None:
    async with served(tmp_path, inputs={"year": 1}) as to, client(to) as ai:
        for asked, words in (
            (message("t", metadata={"inputs": {"yer": 1}}), "yer"),
            (message("t", metadata={"inputs": [1]}), "metadata.inputs: should be an object"),
            (message(" "), "task"),
            (message("", data={"image": "x"}), "a team is given text alone"),
        ):
            task_id, _ = await last(ai.send_message(asked))
            done = await task(ai, task_id)
            assert state(done) == "rejected" and words in get_message_text(done.status.message)
        assert not to.out.exists() and not to.models.requests
