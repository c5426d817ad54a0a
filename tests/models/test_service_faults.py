"""A service that stays down, a context that is full, a provider that asks for more time than there is."""

# ruff: noqa: E501  # tables of what servers send

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.openai_server import OpenAIServer, Reply, Request, ToolCall, error
from support.real_servers import RealServer, brain, delta, events, llamacpp_words, openai_words, team, vllm_words, when
from support.waits import no_wait_of

from magentic_kit import TeamFactory
from magentic_kit import events as ev
from magentic_kit.errors import ConfigError
from magentic_kit.runlog.reader import read_log


def two(first: str, second: str, **changes: Any) -> dict[str, Any]:
    made = team(first, **changes)
    made["services"]["default"]["fallback"] = ["spare"]
    made["services"]["spare"] = {"provider": "openai", "model": "m2", "base_url": second}
    made["manager"] = {"service": "default"}
    for agent in made["agents"]:
        agent["model"] = {"connection": {"service_id": "default"}}
    return made


# -- a service that stays down

DOWN: dict[str, Any] = {
    "status 503 at every try": error(503, "overloaded"),
    "status 500 at every try": error(500, "boom"),
    "a rate limit that does not end": error(429, "slow down", retry_after=0),
    "OpenAI: no quota left": openai_words(429, "You exceeded your current quota", code="insufficient_quota"),
    "DeepSeek: no balance left, status 402": openai_words(402, "Insufficient Balance"),
    "Anthropic by a gateway: no credit left, status 400": openai_words(400, "Your credit balance is too low"),
    "a connection that breaks at every try": Reply("never", cut_after=0),
    "a model that was taken away": openai_words(404, "The model `m` does not exist", code="model_not_found"),
}


@pytest.mark.parametrize("name", DOWN)
async def test_the_next_service_answers_for_the_rest_of_the_run(name: str, tmp_path: Path) -> None:
    answering = brain()
    dead: list[Request] = []

    def dies(request: Request) -> Any:
        if request.purpose in ("facts", "plan"):
            return answering(request)
        dead.append(request)
        return DOWN[name]

    with RealServer(dies) as first, RealServer(answering) as second:
        async with TeamFactory.from_dict(two(first.base_url, second.base_url)) as factory:
            result = await factory.run("t", out=tmp_path)
        assert result.outcome == "satisfied" and result.answer == "The final answer.", result.error
        assert {request.purpose for request in dead} == {"ledger"}, "asked no more once it is known to be down"
        replaced = [fault for fault in result.record.errors if fault.kind == "fallback"]
        assert len(replaced) == 1 and "'spare' answers in place of 'default'" in replaced[0].message
        assert "'spare' answers in place of" in (result.run_dir / "report.md").read_text("utf-8").replace("\\", "")
        calls = [event for event in read_log(result.run_dir)[0] if isinstance(event, ev.ModelCallStarted)]
        assert calls[-1].service == "spare" and calls[0].service == "default"


async def test_a_resumed_run_goes_on_with_the_service_that_answered(tmp_path: Path) -> None:
    answering = brain()

    def dies(request: Request) -> Any:
        return answering(request) if request.purpose == "facts" else error(503, "overloaded")

    with RealServer(dies) as first, RealServer(answering) as second:
        async with TeamFactory.from_dict(two(first.base_url, second.base_url, manager={"max_rounds": 1})) as factory:
            begun = await factory.run("t", out=tmp_path)
        assert begun.outcome == "satisfied" or begun.outcome == "limited"
        asked_first, asked_second = len(first.requests), len(second.requests)
        async with TeamFactory.from_run(begun.run_dir, overrides={"manager.max_rounds": 9}) as factory:
            again = await factory.resume(begun.run_dir).result()
        assert again.outcome == "satisfied", again.error
        assert len(first.requests) == asked_first, "the service that was down is not asked again"
        assert len(second.requests) > asked_second or begun.outcome == "satisfied"


NO_FALLBACK = {
    "a wrong key": error(401, "Incorrect API key"),
    "a bad request": error(400, "bad"),
    "a refused content of the manager": openai_words(400, "filtered", code="content_filter"),
}


@pytest.mark.parametrize("name", NO_FALLBACK)
async def test_what_another_service_would_not_cure_or_should_not_hide_ends_the_run(name: str) -> None:
    with RealServer(lambda request: NO_FALLBACK[name]) as first, RealServer(brain()) as second:
        async with TeamFactory.from_dict(two(first.base_url, second.base_url)) as factory:
            result = await factory.run("t", out=None)
        assert result.outcome == "failed" and not second.requests


async def test_a_run_whose_services_are_all_down_fails_by_the_last_ones_words() -> None:
    with (
        RealServer(lambda request: error(503, "first")) as first,
        RealServer(lambda request: error(503, "second")) as second,
    ):
        async with TeamFactory.from_dict(two(first.base_url, second.base_url, limits={"retries": 0})) as factory:
            result = await factory.run("t", out=None)
    assert result.outcome == "failed" and "second" in result.error["message"]


@pytest.mark.parametrize("name", ["unknown", "default"])
def test_a_fallback_has_to_be_another_service_of_the_team(name: str) -> None:
    made = team("http://127.0.0.1:9/v1")
    made["services"]["default"]["fallback"] = [name]
    with pytest.raises(ConfigError, match="fallback"):
        TeamFactory.from_dict(made)


# -- a context that is full

FULL: dict[str, Reply] = {
    "OpenAI": openai_words(
        400, "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
        code="context_length_exceeded",
    ),
    "vLLM": vllm_words(400, "This model's maximum context length is 4096 tokens. Please reduce the length of the messages."),
    "llama.cpp": Reply(
        status=400,
        body='{"error":{"code":400,"message":"the request exceeds the available context size. try increasing it",'
        '"type":"exceed_context_size_error","n_prompt_tokens":5000,"n_ctx":4096}}',
    ),
    "llama.cpp, older, status 500": llamacpp_words("the request exceeds the available context size"),
    "Mistral": vllm_words(400, "Prompt contains 40000 tokens, too large for model with 32768 maximum context length"),
    "Anthropic by a gateway": openai_words(400, "prompt is too long: 210000 tokens > 200000 maximum"),
    "Gemini": openai_words(400, "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).", code=400),
    "Bedrock by a gateway": openai_words(400, "Input is too long for requested model."),
    "Groq, status 413": openai_words(413, "Request too large for model, please reduce your message size", code="request_too_large"),
    "OpenRouter": openai_words(400, "This endpoint's maximum context length is 16384 tokens.", code=400),
}  # fmt: skip


@pytest.mark.parametrize("name", FULL)
async def test_a_conversation_that_is_too_long_is_cut_and_asked_again(name: str) -> None:
    long = "word " * 400
    answering = brain()
    answering.agents = {"Ada": long, "Bob": long}
    log: list[ev.AnyEvent] = []
    full = when(lambda request: len(str(request.messages)) > 9_000, FULL[name])
    with RealServer(answering, full) as server:
        async with TeamFactory.from_dict(team(server.base_url)) as factory:
            result = await factory.run("t", out=None, sinks=[log.append])
        assert result.outcome == "satisfied", result.error
        assert server.refused
    shortened = [event for event in log if isinstance(event, ev.ContextShortened)]
    assert shortened and all(event.left_out > 0 for event in shortened)
    assert any("set `context:`" in fault.message for fault in result.record.errors)


@pytest.mark.parametrize("name", ["OpenAI", "vLLM", "Gemini"])
async def test_what_does_not_fit_even_so_fails_naming_context(name: str) -> None:
    with RealServer(brain().on("manager", "ledger", None, FULL[name])) as server:
        async with TeamFactory.from_dict(team(server.base_url)) as factory:
            result = await factory.run("t", out=None)
    assert result.outcome == "failed" and "`context:`" in result.error["message"]


async def test_a_turn_that_does_not_fit_is_a_note() -> None:
    with RealServer(brain().on("Ada", "turn", None, FULL["OpenAI"])) as server:
        async with TeamFactory.from_dict(team(server.base_url)) as factory:
            result = await factory.run("t", out=None)
    assert result.outcome == "satisfied", result.error
    assert "was refused" in result.record.turns[0].note and "context" in result.record.turns[0].note


async def test_a_run_with_a_full_context_replays_alike(tmp_path: Path) -> None:
    long = "word " * 400
    answering = brain()
    answering.agents = {"Ada": long, "Bob": long}
    full = when(lambda request: len(str(request.messages)) > 9_000, FULL["OpenAI"])
    with RealServer(answering, full) as server:
        async with TeamFactory.from_dict(team(server.base_url, manager={"max_rounds": 3})) as factory:
            first = await factory.run("t", out=tmp_path)
        assert first.outcome == "limited", first.error
        paid = len(server.requests)
        async with TeamFactory.from_run(first.run_dir, overrides={"manager.max_rounds": 9}) as factory:
            again = await factory.resume(first.run_dir).result()
        assert again.outcome == "satisfied", again.error
        assert len(server.requests) - paid <= 4, "one turn, its ledger, the answer, and a refusal at most"


# -- more time than there is


WAITS = {
    "a rate limit": error(429, "Please try again in 20m.", retry_after=1200),
    "an overloaded server": error(503, "overloaded, come back later", retry_after=600),
    "a rate limit that names a date": error(429, "come back tomorrow", retry_after="Fri, 31 Dec 2999 23:59:59 GMT"),
}


@pytest.mark.parametrize("name", WAITS)
@pytest.mark.parametrize("who", ["Ada", "manager"])
async def test_a_wait_beyond_the_deadline_ends_the_run_now(name: str, who: str) -> None:
    answering = brain().on(who, "turn" if who == "Ada" else "ledger", None, WAITS[name])
    with OpenAIServer(answering) as server:
        async with TeamFactory.from_dict(team(server.base_url, limits={"deadline": 120})) as factory:
            with no_wait_of(60):  # for neither the deadline nor the service
                result = await factory.run("t", out=None)
    assert (result.outcome, result.reason) == ("limited", "deadline")
    assert (
        "asks to wait" in result.record.limit[1]
        and str(WAITS[name].body).split('"message": "')[1][:12] in result.record.limit[1]
    )


async def test_the_end_with_its_answer_is_inside_the_deadline_and_its_grace() -> None:
    hang = Reply("a b c", hang="in_stream")
    with OpenAIServer(brain().on("Ada", "turn", 0, hang).on("manager", "answer", None, hang)) as server:
        async with TeamFactory.from_dict(team(server.base_url, limits={"deadline": 4})) as factory:
            result = await factory.run("t", out=None)
    assert (result.outcome, result.reason) == ("limited", "deadline")
    assert result.seconds <= 6


SLOW_TO_END: dict[str, tuple[str, bool]] = {
    "an MCP server that does not end by itself": ("stubborn", False),
    "an MCP server that starts others": ("family", False),
    "an MCP server that never answers": ("mute", False),
    "an MCP server and a model that hangs in the answer": ("stubborn", True),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW_TO_END)
async def test_what_is_slow_to_end_is_ended_inside_the_grace_too(name: str) -> None:
    fault, hangs = SLOW_TO_END[name]
    hang = Reply("a b c", hang="in_stream")
    answering = brain().on("Ada", "turn", None, hang)
    if hangs:
        answering.on("manager", "answer", None, hang)
    with OpenAIServer(answering) as server:
        made = team(server.base_url, limits={"deadline": 6})
        command = [str(Path(__file__).parents[1] / "support/mcp_server.py"), "stdio", "0", fault, "slow-to-end"]
        made["plugins"] = {"it": {"type": "mcp", "transport": "stdio", "command": sys.executable, "args": command}}
        made["agents"][0]["tools"] = [{"id": "it.*"}]
        async with TeamFactory.from_dict(made) as factory:
            result = await factory.run("t", out=None)
    assert (result.outcome, result.reason) == ("limited", "deadline")
    assert result.seconds <= 8


_SLOWLY = [delta(content="word ")] * 400
_THOUGHTS = [delta(reasoning_content="hm ")] * 400
_PROCESSING: list[Any] = [": OPENROUTER PROCESSING"] * 400

TOO_SLOW: dict[str, tuple[Reply, str]] = {
    "words that go on and on": (replace(events(*_SLOWLY), chunk_delay=0.02), "model_timeout"),
    "thoughts that go on and on": (replace(events(*_THOUGHTS), chunk_delay=0.02), "model_timeout"),
    "comments that keep the connection open": (replace(events(*_PROCESSING), chunk_delay=0.02), "model_timeout"),
    "no answer within the call's own time": (Reply(hang="before"), "model_timeout"),
    "silence after some words": (Reply("a b c", hang="in_stream"), "stream_idle_timeout"),
    "silence after some thoughts": (replace(events(*_THOUGHTS[:4]), hang="in_stream"), "stream_idle_timeout"),
    "silence inside of a call": (
        Reply(tool_calls=[ToolCall("weather-look", {"city": "x" * 40})], hang="in_stream"),
        "stream_idle_timeout",
    ),
}


@pytest.mark.parametrize("has_deadline", [False, True])
@pytest.mark.parametrize("name", TOO_SLOW)
async def test_a_call_is_bounded_as_a_whole_and_its_silence_apart(name: str, has_deadline: bool) -> None:
    reply, limit = TOO_SLOW[name]
    times = {"model_timeout": "60s", "stream_idle_timeout": "60s", limit: "400ms"}
    deadline = "10m" if has_deadline else None
    with OpenAIServer(brain().on("Ada", "turn", None, reply)) as server:
        made = team(server.base_url, limits={**times, "retries": 0, "deadline": deadline})
        async with TeamFactory.from_dict(made) as factory:
            result = await factory.run("t", out=None)
    assert result.outcome == "failed" and f"limits.{limit}" in result.failure
