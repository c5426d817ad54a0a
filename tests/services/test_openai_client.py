"""OpenAI's client as this package makes it: fewer events for the same words, and no complaint when left open."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from importlib.util import find_spec
from typing import Any

import openai
import pytest
from support.openai_server import OpenAIServer, TeamBrain

from magentic_kit.errors import ConfigError
from magentic_kit.services.connectors import build_service
from magentic_kit.services.openai_client import azure_client, openai_client
from magentic_kit.team.models import TeamConfig

MAKE: dict[str, Any] = {
    "openai": lambda: openai_client(api_key="k"),
    "azure": lambda: azure_client(api_key="k", azure_endpoint="https://x.openai.azure.com", api_version="v"),
}


def chunk(text: str | None, *, finish: str | None = None, usage: Any = None, **beside: Any) -> str:
    more = {name: beside.pop(name) for name in ("tool_calls", "reasoning_content") if name in beside}
    choice = {"index": 0, "delta": {"content": text, **more}, "finish_reason": finish, **beside}
    return json.dumps({"id": "c", "choices": [choice], "usage": usage})


def stream(*events: str, end: str = "\n") -> bytes:
    return b"".join(f"data: {event}{end}{end}".encode() for event in events)


async def decoded(client: Any, parts: Sequence[bytes]) -> list[str]:
    """The data of the events that the client makes of what the network brings, read by read."""

    async def network() -> AsyncIterator[bytes]:
        for part in parts:
            yield part

    return [event.data async for event in client._make_sse_decoder().aiter_bytes(network())]


async def read(parts: Sequence[bytes]) -> list[str]:
    async with openai_client(api_key="k") as client:
        return await decoded(client, parts)


def texts(events: list[str]) -> list[str]:
    return [json.loads(event)["choices"][0]["delta"]["content"] for event in events]


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
async def test_the_words_of_one_read_are_one_event_wherever_it_ends(name: str, end: str) -> None:
    whole = stream(*map(chunk, ("", "one ", "twö ", "three")), end=end)
    async with MAKE[name]() as client:
        assert texts(await decoded(client, [whole])) == ["one twö three"]
        for at in range(1, len(whole)):
            assert "".join(texts(await decoded(client, [whole[:at], whole[at:]]))) == "one twö three"
        twice = await decoded(client, [whole, whole])
    assert texts(twice) == ["one twö three"] * 2, "nothing waits for what comes later"


KEPT = {
    "the finish": chunk("", finish="stop"),
    "the usage": chunk("", usage={"prompt_tokens": 1}),
    "a piece of a function call": chunk("x", tool_calls=[{"index": 0, "function": {"arguments": "{"}}]),
    "a thought": chunk("x", reasoning_content="hm"),
    "another choice": chunk("x").replace('"index": 0', '"index": 1'),
    "a filter's finding": chunk("x", content_filter_results={"hate": {"filtered": True}}),
    "an error": json.dumps({"error": {"message": "overloaded"}}),
    "the end": "[DONE]",
    "rubbish": "<html>",
}


@pytest.mark.parametrize("name", KEPT)
async def test_whatever_is_not_text_alone_stays_as_it_came_and_where_it_was(name: str) -> None:
    events = await read([stream(chunk("a "), chunk("b "), KEPT[name], chunk("c "), chunk("d "))])
    assert events[1] == KEPT[name]
    assert texts([events[0], *events[2:]]) == ["a b ", "c d "]


async def test_a_stream_that_breaks_gives_what_came_before() -> None:
    async def network() -> AsyncIterator[bytes]:
        yield stream(chunk("a "), chunk("b ")) + b"data: {"
        raise ConnectionResetError

    seen = []
    async with openai_client(api_key="k") as made:
        with pytest.raises(ConnectionResetError):
            async for event in made._make_sse_decoder().aiter_bytes(network()):
                seen.append(event.data)
    assert texts(seen) == ["a b "]


TWO_LOOPS = """
import asyncio, sys

from magentic_kit import TeamFactory

service = {"provider": "openai", "model": "m", "base_url": sys.argv[1]}
agent = {"name": "Solo", "description": "d", "instructions": "i"}
factory = TeamFactory.from_dict({"name": "t", "services": {"default": service}, "agents": [agent]})
for _ in range(2):
    print(asyncio.run(factory.run("t", out=None)).outcome)
"""


def test_a_factory_of_two_event_loops_that_nobody_closes_leaves_without_a_word() -> None:
    quicker_transport()
    brain = TeamBrain(rounds=[("Solo", "go")], agents={"Solo": "x"})
    with OpenAIServer(brain) as server:
        command = [sys.executable, "-c", TWO_LOOPS, server.base_url]
        env = {**os.environ, "OPENAI_API_KEY": "sk-test-0123456789abcdef"}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("satisfied\nsatisfied\n", "")


def quicker_transport() -> Any:
    try:
        return openai.DefaultAioHttpClient()
    except RuntimeError:
        pytest.skip("openai 2 without its extra")


async def test_a_client_behind_a_proxy_leaves_without_a_word_too(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with OpenAIServer("x") as server:  # any HTTP server will do for a proxy
        monkeypatch.setenv("HTTP_PROXY", server.base_url.removesuffix("/v1"))
        client = openai_client(api_key="k", base_url="http://model.example/v1", max_retries=0)
        with pytest.raises(openai.NotFoundError, match="no such route"):
            await client.models.list()
        del client
        gc.collect()
    assert not caplog.records


async def test_a_socks_proxy_is_left_to_openais_own_transport_which_says_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")
    config = TeamConfig(
        name="t",
        services={"default": {"provider": "openai", "model": "m"}},
        agents=[{"name": "Solo", "description": "d"}],
    )
    if find_spec("socksio"):
        pytest.skip("nothing is lacking")
    with pytest.raises(ConfigError, match="'socksio' package is not installed"):
        build_service("default", config.services["default"])


async def test_the_quicker_transport_is_taken_where_openai_has_it() -> None:
    quick = quicker_transport()
    async with openai_client(api_key="k") as made:
        assert isinstance(made._client, type(quick))
    await quick.aclose()
