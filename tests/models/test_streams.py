"""Streams as real servers send them: what is whole is read, what is broken is asked for again or named."""

# tables of what servers send

from __future__ import annotations

import json
from typing import Any

import pytest
from support.openai_server import Reply
from support.real_servers import RealServer, brain, chunk, completion, delta, events, team

from magentic_kit import TeamFactory
from magentic_kit import events as ev


async def run(server: RealServer, **changes: Any) -> Any:
    async with TeamFactory.from_dict(team(server.base_url, **changes)) as factory:
        return await factory.run("t", out=None)


TWO_WORDS = (delta(role="assistant", content="Hello "), delta(content="world."))
USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}

COPES: dict[str, Reply] = {
    "no finish_reason before [DONE]": events(*TWO_WORDS),
    "finish_reason null in the last chunk": events(*TWO_WORDS, delta(None)),
    "finish_reason an empty text": events(*TWO_WORDS, delta("")),
    "finish_reason `eos`": events(*TWO_WORDS, delta("eos")),
    "finish_reason `end_turn`": events(*TWO_WORDS, delta("end_turn")),
    "finish_reason in capitals": events(*TWO_WORDS, delta("STOP")),
    "no [DONE] after the finish_reason": events(*TWO_WORDS, delta("stop"), done=False),
    "choices null": events(chunk(None), *TWO_WORDS, chunk(None, usage=USAGE), delta("stop")),
    "choices absent": events({"id": "x", "object": "ping"}, *TWO_WORDS, delta("stop")),
    "empty choices first (Azure's filter results)": events(
        chunk([], prompt_filter_results=[{"prompt_index": 0}]), *TWO_WORDS, delta("stop")
    ),
    "a choice that is null": events(chunk([None]), *TWO_WORDS, delta("stop")),
    "a delta that is null": events(chunk([{"index": 0, "delta": None}]), *TWO_WORDS, delta("stop")),
    "a delta that is absent": events(chunk([{"index": 0, "finish_reason": None}]), *TWO_WORDS, delta("stop")),
    "an empty role": events(delta(role="", content="Hello "), delta(role="", content="world."), delta("stop")),
    "role `model` (Gemini)": events(delta(role="model", content="Hello "), delta(content="world."), delta("stop")),
    "role absent": events(delta(content="Hello "), delta(content="world."), delta("stop")),
    "content as a list of parts": events(
        delta(content=[{"type": "text", "text": "Hello "}]), delta(content=[{"type": "text", "text": "world."}])
    ),
    "content as a list of texts": events(delta(content=["Hello ", "world."])),
    "content as one part": events(delta(content={"type": "text", "text": "Hello world."})),
    "content null": events(delta(role="assistant", content=None), *TWO_WORDS, delta("stop", content=None)),
    "comments of a stream (OpenRouter)": events(": OPENROUTER PROCESSING", *TWO_WORDS, ": ping", delta("stop")),
    "named events and ids": events(
        *(f"event: message\nid: {n}\ndata: {json.dumps(one)}" for n, one in enumerate([*TWO_WORDS, delta("stop")]))
    ),
    "lines ending in CR LF": Reply(
        body=str(events(*TWO_WORDS, delta("stop")).body).replace("\n", "\r\n"),
        headers={"Content-Type": "text/event-stream"},
    ),
    "no blank after `data:`": Reply(
        body=str(events(*TWO_WORDS, delta("stop")).body).replace("data: ", "data:"),
        headers={"Content-Type": "text/event-stream"},
    ),
    "usage null in each chunk": events(*({**one, "usage": None} for one in TWO_WORDS), delta("stop")),
    "usage in each chunk": events(*({**one, "usage": USAGE} for one in TWO_WORDS), delta("stop")),
    "usage without completion_tokens": events(*TWO_WORDS, chunk([], usage={"prompt_tokens": 5}), delta("stop")),
    "one chunk with everything": events(chunk([delta("stop", content="Hello world.")["choices"][0]], usage=USAGE)),
    "a whole message in place of a delta": events(
        chunk([{"index": 0, "message": {"role": "assistant", "content": "Hello world."}, "finish_reason": "stop"}])
    ),
    "ids, model and time absent": events(
        {"choices": [{"delta": {"content": "Hello world."}}]}, {"choices": [{"finish_reason": "stop"}]}
    ),
    "a choice without an index": events(chunk([{"delta": {"content": "Hello world."}, "finish_reason": "stop"}])),
    "one JSON body in place of a stream": completion("Hello world."),
    "one JSON body without a finish_reason": completion("Hello world.", None),
}


@pytest.mark.parametrize("name", COPES)
async def test_a_whole_reply_is_read(name: str) -> None:
    with RealServer(brain().on("Ada", "turn", 0, COPES[name])) as server:
        result = await run(server)
    assert result.outcome == "satisfied", result.error
    assert result.record.turns[0].text == "Hello world." and not result.record.turns[0].note
    assert result.record.retries == 0


RETRIED: dict[str, Reply] = {
    "OpenRouter: an error 502 as the first event": events({"error": {"code": 502, "message": "Provider error"}}),
    "a code in text": events({"error": {"code": "502", "message": "Provider error"}}),
    "a code in text, of a rate limit": events({"error": {"code": "429", "message": "slow down"}}),
    "LiteLLM: an error 503 as text": events({"error": {"message": "overloaded", "type": None, "code": "503"}}),
    "an error after comments and empty chunks": events(": ping", chunk([]), {"error": {"code": 500, "message": "x"}}),
    "an error after the role": events(delta(role="assistant", content=""), {"error": {"code": 504, "message": "x"}}),
    "vLLM: an error object of its own": events({"object": "error", "message": "engine died", "code": 500}),
    "Anthropic's gateway: an event named error": events(
        'event: error\ndata: {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}'
    ),
    "an error 502 in one JSON body with status 200": Reply(body='{"error": {"code": 502, "message": "Bad gateway"}}'),
    "a stream that ends before anything": events(delta(role="assistant", content=""), done=False),
    "a connection that breaks before anything": Reply("never seen", cut_after=1),
}


@pytest.mark.parametrize("name", RETRIED)
async def test_a_fault_that_may_pass_before_anything_was_shown_is_asked_again(name: str) -> None:
    retried = []
    with RealServer(brain().on("Ada", "turn", 0, RETRIED[name])) as server:
        async with TeamFactory.from_dict(team(server.base_url)) as factory:
            run = factory.start(
                "t", out=None, sinks=[lambda e: retried.append(e) if e.type == "model_call_retried" else None]
            )
            result = await run.result()
    assert result.outcome == "satisfied", result.error
    assert len(retried) == 1


BROKEN: dict[str, tuple[Reply, str]] = {
    "an error in the middle of a reply": (
        events(*TWO_WORDS, {"error": {"code": 502, "message": "lost it"}}),
        "lost it",
    ),
    "a stream that ends in the middle": (events(*TWO_WORDS, done=False), "cut off after 12 characters"),
    "content that is a number": (events(delta(content=5)), "neither text nor parts with text"),
    "content of parts without text": (events(delta(content=[{"type": "image"}])), "neither text nor parts with text"),
    "an event that is no JSON": (events(*TWO_WORDS, "data: {oops"), "is no JSON"),
    "an event that is a list": (events("data: [1, 2]"), "is no object"),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_reply_that_breaks_is_named_and_no_address_is_blamed(name: str) -> None:
    reply, words = BROKEN[name]
    with RealServer(brain().on("Ada", "turn", None, reply)) as server:
        result = await run(server, limits={"retries": 0})
    assert result.outcome == "failed" and result.error is not None
    assert words in str(result.error) and "base_url" not in str(result.error)


NO_COMPLETION: dict[str, Reply] = {
    "a web page": Reply(body="<html><body>Welcome</body></html>"),
    "some other JSON": Reply(body='{"hello": "world"}'),
    "a JSON list": Reply(body="[1, 2]"),
    "nothing at all": Reply(body="", headers={"Content-Type": "text/event-stream"}),
}


@pytest.mark.parametrize("name", NO_COMPLETION)
async def test_what_is_no_chat_completion_is_said_to_be_none(name: str) -> None:
    with RealServer(brain().on("Ada", "turn", None, NO_COMPLETION[name])) as server:
        result = await run(server, limits={"retries": 0})
    assert result.outcome == "failed"
    assert "not a chat completion; check base_url" in str(result.error)


async def test_a_reply_is_shown_as_it_comes_whatever_its_bytes_are_cut_into() -> None:
    shown: list[str] = []

    def sink(event: ev.AnyEvent) -> None:
        if isinstance(event, ev.TextDelta) and event.who == "Ada":
            shown.append(event.text)

    with RealServer(brain().on("Ada", "turn", 0, Reply("twö wörds — ✓ done", chunk_delay=0.001))) as server:
        async with TeamFactory.from_dict(team(server.base_url)) as factory:
            await factory.run("t", out=None, sinks=[sink])
    assert "".join(shown).startswith("twö wörds — ✓ done")
