"""Ollama: why a reply ended, and the model's reasoning, which Semantic Kernel 1.45 passes over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from semantic_kernel.connectors.ai.ollama import OllamaChatCompletion
from semantic_kernel.contents import ChatMessageContent, StreamingChatMessageContent
from semantic_kernel.contents.reasoning_content import ReasoningContent
from semantic_kernel.contents.streaming_reasoning_content import StreamingReasoningContent

from magentic_kit.services.endings import set_ending

if TYPE_CHECKING:
    from ollama import ChatResponse


class OllamaAdapter(OllamaChatCompletion):
    """Put before the connector's class."""

    def _create_streaming_chat_message_content_from_chat_response(
        self, response: ChatResponse, function_invoke_attempt: int
    ) -> StreamingChatMessageContent:
        content = super()._create_streaming_chat_message_content_from_chat_response(response, function_invoke_attempt)
        if thought := getattr(response.message, "thinking", None):
            content.items.append(StreamingReasoningContent(text=thought, choice_index=0))
        set_ending(content, response.done_reason)
        return content

    def _create_chat_message_content_from_chat_response(self, response: ChatResponse) -> ChatMessageContent:
        content = super()._create_chat_message_content_from_chat_response(response)
        if thought := getattr(response.message, "thinking", None):
            content.items.append(ReasoningContent(text=thought))
        set_ending(content, response.done_reason)
        return content
