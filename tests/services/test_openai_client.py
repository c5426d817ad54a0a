"""OpenAI's client as this package makes it: the quicker transport, and no complaint when left open."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import openai
import pytest
from semantic_kernel.connectors.ai.open_ai import OpenAIChatCompletion, OpenAIChatPromptExecutionSettings
from semantic_kernel.contents import AuthorRole, ChatHistory, ChatMessageContent
from support.fixed_server import answering
from support.openai_server import OpenAIServer, TeamBrain

from magentic_kit.errors import ConfigError
from magentic_kit.services.connectors import build_service
from magentic_kit.services.mixins import adapted
from magentic_kit.services.openai_client import azure_client, http_client, openai_client
from magentic_kit.services.pool import Pool
from magentic_kit.team.models import TeamConfig


def chunk(text: str) -> str:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return json.dumps({"id": "c", "choices": [choice], "usage": None})


def stream(*events: str) -> bytes:
    return b"".join(f"data: {event}\n\n".encode() for event in events)


CLIENTS: dict[str, Any] = {
    "openai": lambda url: openai_client(api_key="k", base_url=url),
    "azure": lambda url: azure_client(api_key="k", azure_endpoint=url, api_version="v"),
}


@pytest.mark.parametrize("name", CLIENTS)
@pytest.mark.parametrize("transport", ["aiohttp", "httpx"])
async def test_the_words_of_one_read_are_one_piece(name: str, transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if transport == "aiohttp":
        quicker_transport()
    else:
        monkeypatch.setattr(openai, "DefaultAioHttpClient", no_aiohttp)
    events = stream(*map(chunk, ("one ", "two ", "three")), "[DONE]")
    with answering(lambda _: ("text/event-stream", events)) as url:
        async with CLIENTS[name](url) as client:
            service = adapted(OpenAIChatCompletion(ai_model_id="m", async_client=client))
            history = ChatHistory(messages=[ChatMessageContent(AuthorRole.USER, content="go")])
            chunks = service.get_streaming_chat_message_contents(history, OpenAIChatPromptExecutionSettings())
            assert [str(chunk) async for [chunk] in chunks if str(chunk)] == ["one two three"]


def no_aiohttp(**_: Any) -> None:
    raise RuntimeError("as openai 2 without its extra says")


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
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=180)
    assert (done.stdout, done.stderr) == ("satisfied\nsatisfied\n", "")


def quicker_transport() -> Any:
    try:
        return openai.DefaultAioHttpClient()
    except RuntimeError:
        pytest.skip("openai 2 without its extra")


async def test_a_client_behind_a_proxy_leaves_without_a_word_too(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TeamConfig(
        name="t",
        services={"s": {"provider": "openai", "model": "m", "base_url": "http://model.example/v1"}},
        agents=[{"name": "Solo", "description": "d"}],
    ).services["s"]
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")
    with OpenAIServer("x") as server:  # any HTTP server will do for a proxy
        monkeypatch.setenv("HTTP_PROXY", server.base_url.removesuffix("/v1"))
        pool = Pool()
        service: Any = pool.service("s", config, None, Path())
        with pytest.raises(openai.NotFoundError, match="no such route"):
            await service.client.models.list()
        gc.collect()  # of tests before this one
        caplog.clear()
        del pool, service
        gc.collect()
    assert [record.getMessage() for record in caplog.records] == []


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
    async with http_client() as made:
        assert isinstance(made, type(quick))
    await quick.aclose()
