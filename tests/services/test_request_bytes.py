"""What goes over the network is what Semantic Kernel and openai's client alone would send, byte for byte."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import openai
import pytest
from semantic_kernel.connectors.ai.function_choice_behavior import FunctionChoiceBehavior
from semantic_kernel.connectors.ai.open_ai import OpenAIChatCompletion, OpenAIChatPromptExecutionSettings
from semantic_kernel.contents import (
    AuthorRole,
    ChatHistory,
    ChatMessageContent,
    FunctionCallContent,
    FunctionResultContent,
    ImageContent,
    TextContent,
)
from semantic_kernel.functions import kernel_function
from semantic_kernel.kernel import Kernel
from support.fixed_server import answering

from magentic_kit.services.mixins import adapted

PIXEL = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA="
HEAD = {"id": "c", "created": 0, "model": "m"}
MESSAGE = {"role": "assistant", "content": "ok"}


def completion(kind: str, field: str) -> bytes:
    choice = {"index": 0, field: MESSAGE, "finish_reason": "stop"}
    return json.dumps({**HEAD, "object": kind, "choices": [choice]}).encode()


REPLY = completion("chat.completion", "message")
STREAM = b"data: " + completion("chat.completion.chunk", "delta") + b"\n\ndata: [DONE]\n\n"


@contextmanager
def recording() -> Iterator[tuple[str, list[bytes]]]:
    """The URL of a server that answers every request, and the bodies that it was sent."""
    bodies: list[bytes] = []

    def answer(body: bytes) -> tuple[str, bytes]:
        bodies.append(body)
        if b'"stream":true' in body:
            return "text/event-stream", STREAM
        return "application/json", REPLY

    with answering(answer) as url:
        yield url, bodies


class Weather:
    @kernel_function(description="The weather of a place.")
    def look(self, place: str, days: int = 1) -> str:
        return f"{place} {days}"


def texts() -> ChatHistory:
    history = ChatHistory(system_message="Be brief: a<b & 'ö' \u2028")
    history.add_message(ChatMessageContent(AuthorRole.USER, content="Hello", name="Reader"))
    history.add_assistant_message("Hi")
    return history


def with_calls() -> ChatHistory:
    history = texts()
    call = FunctionCallContent(id="c1", name="weather-look", arguments='{"place": "Zürich"}')
    history.add_message(ChatMessageContent(AuthorRole.ASSISTANT, items=[call]))
    history.add_message(
        FunctionResultContent.from_function_call_content_and_result(call, "rain").to_chat_message_content()
    )
    return history


def with_image() -> ChatHistory:
    history = texts()
    items = [TextContent(text="What is this?"), ImageContent(data_uri=PIXEL)]
    history.add_message(ChatMessageContent(AuthorRole.USER, items=items))
    return history


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("tools", [False, True])
@pytest.mark.parametrize("history", [texts, with_calls, with_image])
async def test_a_request_has_the_same_bytes(history: Any, tools: bool, streamed: bool) -> None:
    options: dict[str, Any] = {
        "temperature": 0.5,
        "response_format": {"type": "json_object"},
        "extra_body": {"top_k": 3},
    }
    kernel = Kernel()
    if tools:
        kernel.add_plugin(Weather(), "weather")
        options["function_choice_behavior"] = FunctionChoiceBehavior.Auto()
    with recording() as (url, bodies):
        async with openai.AsyncOpenAI(api_key="k", base_url=url) as client:
            plain = OpenAIChatCompletion(ai_model_id="m", async_client=client)
            for service in (plain, adapted(plain.model_copy())):
                settings = OpenAIChatPromptExecutionSettings(**options)
                if streamed:
                    async for _ in service.get_streaming_chat_message_contents(history(), settings, kernel=kernel):
                        pass
                else:
                    await service.get_chat_message_contents(history(), settings, kernel=kernel)
    assert len(bodies) == 2
    assert bodies[0] == bodies[1]
    assert b'"messages":[{' in bodies[0]
