"""Google: reasoning, which Semantic Kernel 1.45 takes for the reply, and answers without a candidate."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from semantic_kernel.connectors.ai.google.google_ai import GoogleAIChatCompletion
from semantic_kernel.connectors.ai.google.shared_utils import (
    collapse_function_call_results_in_chat_history,
    filter_system_message,
)
from semantic_kernel.connectors.ai.prompt_execution_settings import PromptExecutionSettings
from semantic_kernel.contents import ChatHistory, ChatMessageContent, StreamingChatMessageContent
from semantic_kernel.contents.reasoning_content import ReasoningContent
from semantic_kernel.contents.streaming_reasoning_content import StreamingReasoningContent
from semantic_kernel.contents.utils.author_role import AuthorRole

from magentic_kit.services.chat_stream import ErrorInReply
from magentic_kit.services.endings import set_ending

if TYPE_CHECKING:
    from google.genai.types import Candidate, GenerateContentResponse


class GoogleAdapter(GoogleAIChatCompletion):
    """Put before the connector's class. A prompt that is blocked raises `ErrorInReply`."""

    async def _inner_get_streaming_chat_message_contents(
        self, chat_history: ChatHistory, settings: PromptExecutionSettings, function_invoke_attempt: int = 0
    ) -> AsyncGenerator[list[StreamingChatMessageContent], None]:
        # The connector's own raises `TypeError` for a chunk without candidates, such as one with the usage alone.
        if self.client is None:  # of a service of the caller's, which makes a client for each call
            async for contents in super()._inner_get_streaming_chat_message_contents(
                chat_history, settings, function_invoke_attempt
            ):
                yield contents
            return
        if not isinstance(settings, self.get_prompt_execution_settings_class()):
            settings = self.get_prompt_execution_settings_from_settings(settings)
        collapse_function_call_results_in_chat_history(chat_history)
        client: Any = self.client
        config = settings.prepare_settings_dict()
        config["system_instruction"] = filter_system_message(chat_history)
        contents = self._prepare_chat_history_for_request(chat_history)
        chunks = await client.aio.models.generate_content_stream(
            model=self.ai_model_id, contents=contents, config=config
        )
        async for chunk in chunks:
            _require_unblocked(chunk)
            if not chunk.candidates:
                metadata = self._get_metadata_from_response(chunk)
                yield [StreamingChatMessageContent(AuthorRole.ASSISTANT, items=[], choice_index=0, metadata=metadata)]
            for candidate in chunk.candidates or ():
                yield [self._create_streaming_chat_message_content(chunk, candidate, function_invoke_attempt)]

    def _create_streaming_chat_message_content(
        self, chunk: GenerateContentResponse, candidate: Candidate, function_invoke_attempt: int = 0
    ) -> StreamingChatMessageContent:
        said, thought = _without_thoughts(candidate)
        content = super()._create_streaming_chat_message_content(chunk, said, function_invoke_attempt)
        if thought:
            content.items.append(StreamingReasoningContent(text=thought, choice_index=0))
        set_ending(content, _reason(candidate))
        return content

    def _create_chat_message_content(
        self, response: GenerateContentResponse, candidate: Candidate
    ) -> ChatMessageContent:
        said, thought = _without_thoughts(candidate)
        content = super()._create_chat_message_content(response, said)
        if thought:
            content.items.append(ReasoningContent(text=thought))
        set_ending(content, _reason(candidate))
        return content


def _require_unblocked(chunk: GenerateContentResponse) -> None:
    feedback = chunk.prompt_feedback
    if feedback and feedback.block_reason:
        reason = getattr(feedback.block_reason, "value", feedback.block_reason)
        message = f"the prompt was blocked by the content filter: {feedback.block_reason_message or reason}"
        raise ErrorInReply({"code": 400, "message": message})


def _reason(candidate: Candidate) -> str | None:
    """Why the candidate ended; None if it has not."""
    reason: str | None = getattr(candidate.finish_reason, "value", candidate.finish_reason)
    return reason


def _without_thoughts(candidate: Candidate) -> tuple[Candidate, str]:
    """The candidate without its parts of reasoning, and their text."""
    if not candidate.content or not candidate.content.parts:
        return candidate, ""
    thoughts = [part.text or "" for part in candidate.content.parts if part.thought]
    rest = [part for part in candidate.content.parts if not part.thought]
    content = candidate.content.model_copy(update={"parts": rest})
    return candidate.model_copy(update={"content": content}), "".join(thoughts)
