"""Azure AI Inference: ledgers by a JSON Schema, endings and reasoning, where Semantic Kernel 1.45 fails."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from semantic_kernel.connectors.ai.azure_ai_inference import (
    AzureAIInferenceChatCompletion,
    AzureAIInferenceChatPromptExecutionSettings,
)
from semantic_kernel.contents import ChatMessageContent, StreamingChatMessageContent
from semantic_kernel.contents.reasoning_content import ReasoningContent
from semantic_kernel.contents.streaming_reasoning_content import StreamingReasoningContent

from magentic_kit.services.endings import set_ending

if TYPE_CHECKING:
    from azure.ai.inference.models import (
        ChatChoice,
        ChatCompletions,
        StreamingChatChoiceUpdate,
        StreamingChatCompletionsUpdate,
    )


class AzureInferenceAdapter(AzureAIInferenceChatCompletion):
    """Put before the connector's class."""

    def _handle_structured_output(
        self, request_settings: AzureAIInferenceChatPromptExecutionSettings, settings: dict[str, Any]
    ) -> None:
        # The connector hands OpenAI's form of it to a class and a client that want another.
        form = settings.get("response_format")
        if not isinstance(form, dict):
            super()._handle_structured_output(request_settings, settings)
        elif form.get("type") == "json_schema":
            settings["response_format"] = resolve_name("azure.ai.inference.models:JsonSchemaFormat")(
                **form["json_schema"]
            )
        else:
            settings["response_format"] = form.get("type")

    def _create_streaming_chat_message_content(
        self,
        chunk: StreamingChatCompletionsUpdate,
        choice: StreamingChatChoiceUpdate,
        metadata: dict[str, Any],
        function_invoke_attempt: int,
    ) -> StreamingChatMessageContent:
        reason, thought = _take_ending(choice), choice.delta.get("reasoning_content")
        content = super()._create_streaming_chat_message_content(chunk, choice, metadata, function_invoke_attempt)
        if thought:
            content.items.append(StreamingReasoningContent(text=thought, choice_index=0))
        set_ending(content, reason)
        return content

    def _create_chat_message_content(
        self, response: ChatCompletions, choice: ChatChoice, metadata: dict[str, Any]
    ) -> ChatMessageContent:
        reason, thought = _take_ending(choice), choice.message.get("reasoning_content")
        content = super()._create_chat_message_content(response, choice, metadata)
        if thought:
            content.items.append(ReasoningContent(text=thought))
        set_ending(content, reason)
        return content


def _take_ending(choice: ChatChoice | StreamingChatChoiceUpdate) -> str | None:
    """Why the choice ended, which is taken out of it, since the connector raises `ValueError` for words of its own."""
    reason, choice.finish_reason = choice.finish_reason, None
    ending: str | None = getattr(reason, "value", reason)
    return ending
