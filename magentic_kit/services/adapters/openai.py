"""Sends chat completions by OpenAI's protocol in the dialect that a server takes, and reads whatever it answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, cast

import openai
from openai import AsyncStream
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import PrivateAttr
from semantic_kernel.connectors.ai.open_ai import OpenAIChatPromptExecutionSettings
from semantic_kernel.connectors.ai.open_ai.services.open_ai_chat_completion_base import OpenAIChatCompletionBase
from semantic_kernel.contents import StreamingChatMessageContent
from semantic_kernel.contents.streaming_reasoning_content import StreamingReasoningContent

from magentic_kit.services.chat_stream import ErrorInReply, Piece, ReplyReader
from magentic_kit.services.definitions import WithDefinitions
from magentic_kit.services.dialects import Dialect, Request, adapt, refused
from magentic_kit.services.endings import set_ending
from magentic_kit.services.offers import is_hosted

_REFUSALS = (400, 403, 404, 405, 422, 500, 501)
"""Statuses that say why a request was refused; servers of local models say 500 where a chat template raises."""


class ChunkStream(AsyncStream[ChatCompletionChunk]):
    """A reply as the stream that Semantic Kernel reads, one chunk for each read of the network."""

    def __init__(self, response: Any) -> None:
        self.response = response
        self._pieces = ReplyReader().pieces(response.aiter_bytes())
        self._first: list[Piece] = []

    async def begin(self) -> None:
        """Waits for the first piece, so that an error in its place is seen before anybody has begun to read."""
        async for piece in self._pieces:
            self._first.append(piece)
            break

    async def __anext__(self) -> ChatCompletionChunk:
        if self._first:
            return _chunk(self._first.pop())
        return _chunk(await self._pieces.__anext__())

    def __aiter__(self) -> AsyncIterator[ChatCompletionChunk]:
        return self

    async def close(self) -> None:
        """Closes the response and releases its connection."""
        await self.response.aclose()


class OpenAIAdapter(WithDefinitions, OpenAIChatCompletionBase):
    """Put before the class of a connector that speaks OpenAI's protocol; `_dialect` is what is known of its server."""

    _dialect: Dialect = PrivateAttr(default_factory=Dialect)

    @staticmethod
    def begin(service: Any) -> None:
        """Lets a service that was made as another class remember its dialect."""
        private = dict(service.__pydantic_private__ or {})
        private["_dialect"] = Dialect()
        object.__setattr__(service, "__pydantic_private__", private)

    def follows_references(self) -> bool:
        """Whether it is OpenAI's or Azure's server: others with the same protocol lose or refuse references."""
        return isinstance(self.client, openai.AsyncAzureOpenAI) or is_hosted(str(self.client.base_url))

    async def _send_completion_request(self, settings: Any) -> Any:
        response = await self._send_in_dialect(_request(self, settings))
        if settings.stream:
            return response
        return await _completion(response)

    async def _send_in_dialect(self, request: Request) -> ChunkStream:
        """The answer, once a refusal has told which dialect it takes. Raises what cannot be cured so."""
        dialect = self._dialect
        found: list[tuple[str, str]] = []  # what may cure a refusal, and the refusal
        tried: set[str] = set()
        while True:
            names = {*dialect.names, *(name for name, _ in found)}
            try:
                response = await self._open(adapt(request, names))
                break
            except (openai.APIStatusError, ErrorInReply) as error:
                text = _said(error)
                if found and found[-1][1] == text:  # which was no cure
                    names.discard(found.pop()[0])
                name = refused(text, request, names, tried=tried) if _is_refusal(error) else None
                if name is None:
                    self._found(dialect, found)
                    raise
                tried.add(name)
                found.append((name, text))
        self._found(dialect, found)
        return response

    async def _open(self, request: Request) -> ChunkStream:
        create: Any = self.client.chat.completions.with_raw_response.create
        raw = await create(**_sent_as_it_is(request))
        stream = ChunkStream(raw.http_response)
        try:
            await stream.begin()
        except BaseException:
            await stream.close()
            raise
        return stream

    def _found(self, dialect: Dialect, found: list[tuple[str, str]]) -> None:
        for name, text in found:
            dialect.add(name)
            self._learned(name, text)

    def _learned(self, name: str, refusal: str) -> None:
        """Hears what of the server's dialect was found out."""

    def _create_streaming_chat_message_content(
        self, chunk: Any, choice: Any, *args: Any
    ) -> StreamingChatMessageContent:
        content = super()._create_streaming_chat_message_content(chunk, choice, *args)
        if reasoning := getattr(choice.delta, "reasoning_content", None):
            content.items.append(StreamingReasoningContent(text=reasoning, choice_index=0))
        set_ending(content, getattr(choice, "ended", ""))
        return content


def _request(service: OpenAIChatCompletionBase, settings: Any) -> Request:
    """The request as Semantic Kernel makes it."""
    request: Request = settings.prepare_settings_dict()
    if isinstance(settings, OpenAIChatPromptExecutionSettings):
        service._handle_structured_output(settings, request)
        if settings.tools is None:
            request.pop("parallel_tool_calls", None)
    return request


def _sent_as_it_is(request: Request) -> Request:
    """The same request with its long fields in `extra_body`, which openai's client sends without a walk through them.

    They are plain JSON already. The empty fields in their places keep the order of the body.
    """
    long = {field: request[field] for field in ("messages", "tools") if request.get(field)}
    extra = long | dict(request.get("extra_body") or {})
    return request | {field: [] for field in long} | {"extra_body": extra}


def _is_refusal(error: openai.APIStatusError | ErrorInReply) -> bool:
    return isinstance(error, ErrorInReply) or error.status_code in _REFUSALS


def _said(error: openai.APIStatusError | ErrorInReply) -> str:
    body = error.body
    if isinstance(body, str):
        return body
    return json.dumps(body, ensure_ascii=False, default=str) + str(error)


async def _completion(stream: ChunkStream) -> ChatCompletion:
    whole: dict[str, Any] = {"content": "", "tool_calls": None}
    finish, usage = "stop", None
    try:
        async for chunk in stream:
            delta = chunk.choices[0].delta
            whole["content"] += delta.content or ""
            calls = delta.tool_calls or ()
            whole["tool_calls"] = [call.model_dump(exclude={"index"}) for call in calls] or whole["tool_calls"]
            finish, usage = chunk.choices[0].finish_reason or finish, chunk.usage or usage
    finally:
        await stream.close()
    choice = {"index": 0, "message": {"role": "assistant", **whole}, "finish_reason": finish, "logprobs": None}
    head = {"id": "", "object": "chat.completion", "created": 0, "model": "", "choices": [choice]}
    return ChatCompletion.model_validate(head | {"usage": usage and usage.model_dump()})


def _chunk(piece: Piece) -> ChatCompletionChunk:
    calls = [
        {"index": index, "id": call["id"], "type": "function", "function": {k: call[k] for k in ("name", "arguments")}}
        for index, call in enumerate(piece.calls)
    ]
    delta = {
        "role": "assistant",
        "content": piece.text + piece.refusal,
        "reasoning_content": piece.reasoning,
        "tool_calls": calls or None,
    }
    finish = {"refusal": "content_filter"}.get(piece.finish_reason, piece.finish_reason) or None
    choice = {"index": 0, "delta": delta, "finish_reason": finish, "ended": piece.finish_reason}
    head = {"id": "", "object": "chat.completion.chunk", "created": 0, "model": ""}
    usage = piece.usage and {
        "prompt_tokens": piece.usage["prompt_tokens"],
        "completion_tokens": piece.usage["completion_tokens"],
        "total_tokens": piece.usage["prompt_tokens"] + piece.usage["completion_tokens"],
    }
    return ChatCompletionChunk.model_validate(cast(Any, {**head, "choices": [choice], "usage": usage}))
