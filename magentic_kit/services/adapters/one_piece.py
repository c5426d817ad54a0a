"""Streams the whole reply as one piece, for connectors whose streaming cannot be used."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from semantic_kernel.connectors.ai.prompt_execution_settings import PromptExecutionSettings
from semantic_kernel.contents import ChatHistory, FunctionCallContent, StreamingChatMessageContent
from semantic_kernel.contents.reasoning_content import ReasoningContent
from semantic_kernel.contents.streaming_reasoning_content import StreamingReasoningContent


class InOnePiece:
    """Put before the class of a connector whose streaming cannot be used: streams the reply as one piece.

    In Semantic Kernel 1.45 Mistral's expects a stream of a type that its client does not give, and says nothing;
    Bedrock's reads it in the event loop, stopping all other tasks.
    """

    async def _inner_get_streaming_chat_message_contents(
        self, chat_history: ChatHistory, settings: PromptExecutionSettings, function_invoke_attempt: int = 0
    ) -> AsyncGenerator[list[StreamingChatMessageContent], None]:
        for content in await super()._inner_get_chat_message_contents(chat_history, settings):  # type: ignore[misc]
            items: list[Any] = [item for item in content.items if isinstance(item, FunctionCallContent)]
            for item in content.items:
                if isinstance(item, ReasoningContent):
                    items.append(StreamingReasoningContent(text=item.text, choice_index=0))
            kept = {name: getattr(content, name) for name in ("role", "ai_model_id", "finish_reason", "metadata")}
            piece: dict[str, Any] = {**kept, "content": content.content or None, "items": items}
            attempt = function_invoke_attempt
            yield [StreamingChatMessageContent(choice_index=0, function_invoke_attempt=attempt, **piece)]
