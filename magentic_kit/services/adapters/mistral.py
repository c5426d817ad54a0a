"""Mistral AI: replies in parts and endings that Semantic Kernel 1.45 fails at, and ledgers by a JSON Schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from semantic_kernel.connectors.ai.mistral_ai import MistralAIChatCompletion, MistralAIChatPromptExecutionSettings
from semantic_kernel.contents import ChatMessageContent
from semantic_kernel.contents.reasoning_content import ReasoningContent

from magentic_kit.services.adapters.one_piece import InOnePiece
from magentic_kit.services.chat_stream import content_text
from magentic_kit.services.endings import set_ending

if TYPE_CHECKING:
    from mistralai.models import AssistantMessageContent, ChatCompletionChoice, ChatCompletionResponse


class MistralSettings(MistralAIChatPromptExecutionSettings):
    """Semantic Kernel's settings, with any form of `response_format` that Mistral's API takes."""

    response_format: dict[str, Any] | None = None  # type: ignore[assignment]


class MistralAdapter(InOnePiece, MistralAIChatCompletion):
    """Put before the connector's class."""

    def get_prompt_execution_settings_class(self) -> type[MistralSettings]:
        """The settings that the service takes."""
        return MistralSettings

    def _create_chat_message_content(
        self, response: ChatCompletionResponse, choice: ChatCompletionChoice, response_metadata: dict[str, Any]
    ) -> ChatMessageContent:
        text, thought = _texts(choice.message.content)
        message = choice.message.model_copy(update={"content": text})
        known = choice.model_copy(update={"message": message, "finish_reason": "stop"})
        content = super()._create_chat_message_content(response, known, response_metadata)
        if thought:
            content.items.append(ReasoningContent(text=thought))
        set_ending(content, choice.finish_reason)
        return content


def _texts(content: AssistantMessageContent | None) -> tuple[str, str]:
    """Text and reasoning of a message's content, which is a text or parts; parts of other kinds are passed over."""
    if not isinstance(content, list):
        return content or "", ""
    parts = [part.model_dump() for part in content if part.type in ("text", "thinking")]
    return content_text(parts)
