"""A team as a model: of the `openai` package, and of Semantic Kernel's own connector."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI
from semantic_kernel.connectors.ai.open_ai import OpenAIChatCompletion, OpenAIChatPromptExecutionSettings
from semantic_kernel.contents import ChatHistory
from support.openai_server import Reply, error
from support.served_app import PLAN_REVIEW, TOOL_REVIEW, WRITES, Served, brain, served, sse

ASK: Any = [{"role": "user", "content": "What is new?"}]


def client(to: Served, key: str = "any") -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{to.url}/v1", api_key=key)


async def test_each_team_is_a_model(tmp_path: Path) -> None:
    async with served(tmp_path) as to, client(to) as ai:
        assert [model.id async for model in ai.models.list()] == ["desk-team"]
        assert (await ai.models.retrieve("desk-team")).owned_by == "magentic-kit"
        with pytest.raises(openai.NotFoundError, match="did you mean 'desk-team'"):
            await ai.chat.completions.create(model="desk-taem", messages=ASK)
        assert not to.out.exists()


async def test_the_conversation_so_far_is_the_task(tmp_path: Path) -> None:
    async with served(tmp_path, brain(answer=lambda request: request.task)) as to, client(to) as ai:
        said: Any = [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "name": "Ada", "content": [{"type": "text", "text": "Who led?"}]},
            {"role": "assistant", "content": "East."},
            {"role": "user", "content": "And then?"},
        ]
        done = await ai.chat.completions.create(model="desk-team", messages=said, temperature=0.2)
        (choice,) = done.choices
        assert choice.finish_reason == "stop" and done.id in [path.name for path in to.out.iterdir()]
        before = "system: Be brief.\n\nAda: Who led?\n\nassistant: East."
        assert choice.message.content == f"And then?\n\nThis was said before:\n\n{before}"
        assert done.usage and done.usage.total_tokens == done.usage.prompt_tokens + done.usage.completion_tokens > 0
        assert to.outcomes == ["satisfied"]


async def test_the_answer_streams_and_progress_is_reasoning(tmp_path: Path) -> None:
    async with served(tmp_path, brain(answer=Reply("All is well.", chunk_delay=0.02))) as to, client(to) as ai:
        stream = await ai.chat.completions.create(
            model="desk-team", messages=ASK, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
        pieces = [delta.content for delta in deltas if delta.content]
        assert "".join(pieces) == "All is well." and len(pieces) > 1
        thoughts = [delta.model_extra["reasoning_content"] for delta in deltas if delta.model_extra]
        assert thoughts == ["the plan is made\n", "round 1: Solo: go on\n"]
        assert deltas[0].role == "assistant" and chunks[-2].choices[0].finish_reason == "stop"
        assert chunks[-1].usage and chunks[-1].usage.total_tokens > 0


@pytest.mark.parametrize("stream", [False, True])
async def test_semantic_kernels_own_connector_uses_a_team(stream: bool, tmp_path: Path) -> None:
    async with served(tmp_path, brain(answer="All is well.")) as to, client(to) as ai:
        service = OpenAIChatCompletion(ai_model_id="desk-team", async_client=ai)
        history = ChatHistory()
        history.add_user_message("What is new?")
        settings = OpenAIChatPromptExecutionSettings()
        if stream:
            pieces = [piece async for piece in service.get_streaming_chat_message_content(history, settings)]
            assert "".join(str(piece) for piece in pieces) == "All is well."
        else:
            message = await service.get_chat_message_content(history, settings)
            assert message is not None and str(message) == "All is well."
            assert message.metadata["usage"].prompt_tokens > 0


@pytest.mark.parametrize("stream", [False, True])
async def test_a_limit_is_told_in_words_and_by_the_finish_reason(stream: bool, tmp_path: Path) -> None:
    async with served(tmp_path, brain(answer="Half of it."), manager={"max_rounds": 1}) as to, client(to) as ai:
        to.models._brain.rounds = [("Solo", "go on")] * 3  # type: ignore[union-attr]
        done = await ai.chat.completions.create(model="desk-team", messages=ASK, stream=stream)
        if stream:
            chunks = [chunk async for chunk in done]
            text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
            reason, extra = chunks[-1].choices[0].finish_reason, chunks[-1].model_extra
        else:
            text, reason, extra = done.choices[0].message.content, done.choices[0].finish_reason, done.model_extra
        assert text == "The team had to stop early (max_rounds). The best answer it has:\n\nHalf of it."
        assert reason == "length"
        assert extra["magentic-kit"] == {"outcome": "limited", "reason": "max_rounds"}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_failed_run_is_an_error_that_starts_no_other_run(stream: bool, tmp_path: Path) -> None:
    models = brain().on("manager", "plan", None, error(400, "no such thing"))
    async with served(tmp_path, models) as to, client(to) as ai:
        with pytest.raises(openai.APIError) as raised:
            done = await ai.chat.completions.create(model="desk-team", messages=ASK, stream=stream)
            [chunk async for chunk in done]
        assert "The team failed; there is no answer" in raised.value.message and raised.value.code == "failed"
        assert to.outcomes == ["failed"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("hang", ["before", "in_stream"])
async def test_a_run_ends_when_its_client_leaves(stream: bool, hang: Any, tmp_path: Path) -> None:
    async with served(tmp_path, brain(Reply("a b c d", hang=hang))) as to, client(to) as ai:

        async def ask() -> None:
            done = await ai.chat.completions.create(model="desk-team", messages=ASK, stream=stream)
            [chunk async for chunk in done]

        asking = asyncio.ensure_future(ask())
        await to.models.reached(lambda models: models.hanging)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await to.asks_no_more()
        await to.ended("cancelled")
        assert len(to.models.requests) == 4  # facts, plan, ledger, the turn that was left


async def test_a_client_that_leaves_while_it_waits_for_its_turn_starts_nothing(tmp_path: Path) -> None:
    models = brain(Reply("a b c d", hang="in_stream"))
    async with served(tmp_path, models, options={"concurrency": 1}) as to, client(to) as ai, client(to) as other:
        first = asyncio.ensure_future(ai.chat.completions.create(model="desk-team", messages=ASK))
        await to.models.reached(lambda models: models.hanging)
        with pytest.raises(openai.APITimeoutError):
            waiting: Any = other.with_options(timeout=0.3, max_retries=0).chat.completions
            await waiting.create(model="desk-team", messages=ASK)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await to.ended("cancelled")
        assert len(to.outcomes) == 1


async def test_what_the_server_approves_is_done_and_nobody_is_asked(tmp_path: Path) -> None:
    options = {"approve": ["desk.*"], "approve_plan": True}
    for more, notes in (({}, []), ({"options": options}, ["hello"])):
        async with served(tmp_path, brain(*WRITES), review=TOOL_REVIEW, **more) as to, client(to) as ai:
            await ai.chat.completions.create(model="desk-team", messages=ASK)
            assert to.desk.notes == notes
    async with served(tmp_path / "plans", review=PLAN_REVIEW) as to, client(to) as ai:
        with pytest.raises(openai.BadRequestError, match=r"`review.plan` asks for a person"):
            await ai.chat.completions.create(model="desk-team", messages=ASK)
        assert not to.models.requests
    async with served(tmp_path / "plans", review=PLAN_REVIEW, options=options) as to, client(to) as ai:
        await ai.chat.completions.create(model="desk-team", messages=ASK)


IMAGE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}]}]


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"garbage", 400, "is not JSON"),
        (b"\xff", 400, "is not JSON"),
        (b"", 400, "is not JSON"),
        (b"[" * 100_000, 400, "is not JSON"),
        (b"[]", 400, "the body: "),
        ({"messages": ASK}, 400, "model: "),
        ({"model": "desk-team"}, 400, "messages: "),
        ({"model": "desk-team", "messages": []}, 400, "messages: "),
        ({"model": "desk-team", "messages": [{"role": "user", "content": " "}]}, 400, "task"),
        ({"model": "desk-team", "messages": [{"role": "king", "content": "t"}]}, 400, "messages.0.role: "),
        ({"model": "desk-team", "messages": IMAGE}, 400, "messages.0.content"),
        ({"model": "desk-team", "messages": ASK, "n": 2}, 400, "n: "),
        ({"model": "desk-team", "messages": ASK, "response_format": {"type": "json_object"}}, 400, "response_format"),
        ({"model": "desk-team", "messages": ASK, "tool_choice": "required"}, 400, "tool_choice: "),
        ({"model": "desk-team", "messages": ASK, "inputs": []}, 400, "inputs: "),
        ({"model": "desk-team", "messages": ASK, "inputs": {"yer": 1}}, 400, "yer"),
        ({"model": "nobody", "messages": ASK}, 404, "there is no model"),
        (b'"' + b"a" * 2**24 + b'"', 413, "bytes"),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_what_a_team_cannot_do_is_refused_and_starts_nothing(
    content: Any, status: int, words: str, to_refuse: Served
) -> None:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    async with httpx.AsyncClient(base_url=to_refuse.url, timeout=60) as web:
        answer = await web.post("/v1/chat/completions", content=body, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.headers["x-should-retry"]) == (status, "false")
        assert words in answer.json()["error"]["message"]
        assert not to_refuse.out.exists() and not to_refuse.models.requests


@pytest.fixture
async def to_refuse(tmp_path: Path) -> Any:
    async with served(tmp_path, inputs={"year": 2025}) as to:
        yield to


async def test_inputs_are_given_beside_the_messages(tmp_path: Path) -> None:
    agents = [{"name": "Solo", "description": "Helps.", "instructions": "It is {{$year}}."}]
    async with served(tmp_path, inputs={"year": 2025}, agents=agents) as to, client(to) as ai:
        await ai.chat.completions.create(model="desk-team", messages=ASK, extra_body={"inputs": {"year": 1999}})
        (turn,) = [request for request in to.models.requests if request.who == "Solo"]
        assert turn.messages[0]["content"] == "It is 1999."


async def test_a_stream_ends_as_openais_does(tmp_path: Path) -> None:
    body = {"model": "desk-team", "messages": ASK, "stream": True}
    async with served(tmp_path) as to, httpx.AsyncClient(base_url=to.url, timeout=60) as web:
        async with web.stream("POST", "/v1/chat/completions", json=body) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            events = [data async for data in sse(response)]
        assert events[-1] == "[DONE]" and all(json.loads(data)["object"] for data in events[:-1])
