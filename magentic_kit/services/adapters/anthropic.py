"""Anthropic: endings that Semantic Kernel 1.45 fails at, and the model's reasoning, which it passes over."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from semantic_kernel.connectors.ai.anthropic import AnthropicChatCompletion, AnthropicChatPromptExecutionSettings
from semantic_kernel.contents import ChatMessageContent, StreamingChatMessageContent
from semantic_kernel.contents.reasoning_content import ReasoningContent
from semantic_kernel.contents.streaming_reasoning_content import StreamingReasoningContent
from semantic_kernel.contents.utils.author_role import AuthorRole

from magentic_kit.services.adapters.anthropic_images import WithImages
from magentic_kit.services.definitions import WithDefinitions
from magentic_kit.services.endings import set_ending

if TYPE_CHECKING:
    from anthropic.lib.streaming import MessageStreamEvent
    from anthropic.types import Message

_KNOWN = "end_turn"
"""A reason to stop that the connector's table has; it raises `KeyError` for some of the others."""


class AnthropicAdapter(WithImages, WithDefinitions, AnthropicChatCompletion):
    """Put before the connector's class."""

    async def _send_chat_stream_request(
        self, settings: AnthropicChatPromptExecutionSettings, function_invoke_attempt: int = 0
    ) -> AsyncGenerator[list[StreamingChatMessageContent], None]:
        metadata: dict[str, Any] = {}
        async with self.async_client.messages.stream(**settings.prepare_settings_dict()) as stream:
            async for event in stream:
                if event.type == "message_start":
                    usage = event.message.usage.model_dump(exclude_none=True)
                    metadata = {"id": event.message.id, "usage": usage}
                elif event.type == "thinking":
                    yield [_thought(event.thinking, function_invoke_attempt)]
                elif event.type in ("text", "message_delta") or _ends_call(event):
                    yield [self._create_streaming_chat_message_content(event, metadata, function_invoke_attempt)]

    def _create_streaming_chat_message_content(
        self, stream_event: MessageStreamEvent, metadata: dict[str, Any] | None = None, function_invoke_attempt: int = 0
    ) -> StreamingChatMessageContent:
        reason = None
        if stream_event.type == "message_delta":
            reason = stream_event.delta.stop_reason
            delta = stream_event.delta.model_copy(update={"stop_reason": _KNOWN})
            stream_event = stream_event.model_copy(update={"delta": delta})
        content = super()._create_streaming_chat_message_content(stream_event, metadata, function_invoke_attempt)
        set_ending(content, reason)
        return content

    def _create_chat_message_content(self, response: Message, response_metadata: dict[str, Any]) -> ChatMessageContent:
        known = response.model_copy(update={"stop_reason": _KNOWN})
        content = super()._create_chat_message_content(known, response_metadata)
        thoughts = [block.thinking for block in response.content if block.type == "thinking"]
        if thoughts:
            content.items.append(ReasoningContent(text="".join(thoughts)))
        set_ending(content, response.stop_reason)
        return content


def _ends_call(event: MessageStreamEvent) -> bool:
    return bool(event.type == "content_block_stop" and event.content_block.type == "tool_use")


def _thought(text: str, attempt: int) -> StreamingChatMessageContent:
    reasoning: Any = StreamingReasoningContent(text=text, choice_index=0)
    return StreamingChatMessageContent(
        role=AuthorRole.ASSISTANT, choice_index=0, items=[reasoning], function_invoke_attempt=attempt
    )
