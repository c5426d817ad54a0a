"""One model's reply: collected piece by piece, told in an event, and made again from it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any

from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase
from semantic_kernel.connectors.ai.completion_usage import CompletionUsage
from semantic_kernel.connectors.ai.open_ai.services.open_ai_handler import OpenAIHandler
from semantic_kernel.connectors.ai.prompt_execution_settings import PromptExecutionSettings
from semantic_kernel.contents import (
    ChatHistory,
    ChatMessageContent,
    FunctionCallContent,
    StreamingChatMessageContent,
    StreamingTextContent,
    TextContent,
)
from semantic_kernel.contents.utils.author_role import AuthorRole
from semantic_kernel.contents.utils.finish_reason import FinishReason

from magentic_kit import events as ev
from magentic_kit.errors import ServiceError
from magentic_kit.services.connectors import usage_of
from magentic_kit.text import sendable


class Reply:
    """What one call has brought so far."""

    def __init__(self) -> None:
        self.text = ""
        self.finish_reason = ""
        self._pieces = 0
        self._calls: list[FunctionCallContent] = []
        self.usage = ev.Usage()
        """The tokens as the provider counted them."""

    @property
    def shown(self) -> bool:
        """Whether a part of the reply has been passed on, so that it cannot be taken back."""
        return bool(self.text or self._calls)

    def apart(self, content: ChatMessageContent, name: str) -> list[ChatMessageContent]:
        """The piece as a replay would bring it: text before function calls, whole calls without an id named.

        SK's agent passes no text on that comes with calls, and merges calls that have no id into one.
        """
        for item in content.items:
            if isinstance(item, TextContent):
                item.text = sendable(item.text or "")
            elif isinstance(item, FunctionCallContent) and isinstance(item.arguments, str):
                item.arguments = sendable(item.arguments)
        calls = [item for item in content.items if isinstance(item, FunctionCallContent)]
        for index, call in enumerate(calls, len(self._calls)):
            if not call.id and isinstance(call.arguments, Mapping):
                call.id, call.index = f"{name}.{index}", index
        rest = [item for item in content.items if not isinstance(item, FunctionCallContent)]
        if not calls or not rest or not isinstance(content, StreamingChatMessageContent):
            return [content]
        first = content.model_copy(update={"items": rest, "finish_reason": None, "metadata": {}})
        return [first, content.model_copy(update={"items": calls})]

    def add(self, content: ChatMessageContent) -> None:
        """Takes in the next piece."""
        self._pieces += 1
        self.text += content.content
        self._calls += [item for item in content.items if isinstance(item, FunctionCallContent)]
        if content.finish_reason:
            self.finish_reason = str(content.finish_reason.value)
        # A connector may count the prompt in the first piece and the completion in the last.
        prompt, completion = usage_of(content.metadata)
        self.usage = ev.Usage(
            prompt_tokens=_larger(self.usage.prompt_tokens, prompt),
            completion_tokens=_larger(self.usage.completion_tokens, completion),
        )

    def require_whole(self, service: ChatCompletionClientBase, name: str) -> None:
        """Raises `ServiceError` when the stream ended before the reply did, which connectors take for its end."""
        if not self._pieces:
            told = "answered with something that is not a chat completion; check base_url"
        elif isinstance(service, OpenAIHandler) and not self.finish_reason:
            told = f"the reply was cut off after {len(self.text)} characters"
        else:
            return
        raise ServiceError(f"service '{name}': {told}", service=name, retryable=bool(self._pieces))

    def tool_calls(self) -> list[dict[str, Any]]:
        """The function calls, whole, as events tell them."""
        merged: list[FunctionCallContent] = []
        for piece in self._calls:
            if merged and (not piece.id or piece.id == merged[-1].id) and piece.index == merged[-1].index:
                merged[-1] = merged[-1] + piece
            else:
                merged.append(piece)
        return [{"id": c.id, "index": c.index, "name": c.name, "arguments": c.arguments} for c in merged]


def tokens(reply: ev.ModelCallFinished) -> int:
    """What counts against `max_tokens`: an unknown completion is taken as four characters a token."""
    completion = reply.usage.completion_tokens
    return (reply.usage.prompt_tokens or 0) + (len(reply.text) // 4 if completion is None else completion)


def _larger(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else max(one, other)


_REASONS = {reason.value for reason in FinishReason}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A whole reply that no model has made; its fields are those of `ModelCallFinished`."""

    text: str
    usage: ev.Usage
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    finish_reason: str = "stop"


def contents_of(reply: ev.ModelCallFinished | Answer, model: str, *, attempt: int | None) -> list[ChatMessageContent]:
    """The reply in pieces, as if the connector had brought it; `attempt` as in `Lane.exchange`."""
    usage = reply.usage
    counted = CompletionUsage(prompt_tokens=usage.prompt_tokens, completion_tokens=usage.completion_tokens)
    common: dict[str, Any] = {"role": AuthorRole.ASSISTANT, "ai_model_id": model}
    end: dict[str, Any] = {
        "finish_reason": FinishReason(reply.finish_reason) if reply.finish_reason in _REASONS else None,
        "metadata": {"usage": counted},
    }
    calls: list[Any] = [FunctionCallContent(**call) for call in reply.tool_calls]
    if attempt is None:
        text = [TextContent(text=reply.text)] if reply.text else []
        return [ChatMessageContent(items=[*calls, *text], **common, **end)]
    common |= {"choice_index": 0, "function_invoke_attempt": attempt}
    # Apart, since SK's agent passes no text on that comes in one piece with function calls.
    said: list[Any] = [StreamingTextContent(choice_index=0, text=reply.text)]
    return [
        StreamingChatMessageContent(items=said, **common),
        StreamingChatMessageContent(items=calls, **common, **end),
    ]


class OwnChatCompletion(ChatCompletionClientBase):
    """A chat service of this package, which has each reply whole: a person, a team, a script or a log."""

    async def _reply(self, history: ChatHistory) -> ev.ModelCallFinished | Answer:
        raise NotImplementedError

    async def _inner_get_chat_message_contents(
        self, chat_history: ChatHistory, settings: PromptExecutionSettings
    ) -> list[ChatMessageContent]:
        return contents_of(await self._reply(chat_history), self.ai_model_id, attempt=None)

    async def _inner_get_streaming_chat_message_contents(
        self, chat_history: ChatHistory, settings: PromptExecutionSettings, function_invoke_attempt: int = 0
    ) -> AsyncGenerator[list[Any], None]:
        reply = await self._reply(chat_history)
        for content in contents_of(reply, self.ai_model_id, attempt=function_invoke_attempt):
            yield [content]
