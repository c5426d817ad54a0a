"""A person as a team member: to the rest of the run, a chat service that takes its time."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from pydantic import PrivateAttr
from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase
from semantic_kernel.connectors.ai.completion_usage import CompletionUsage
from semantic_kernel.connectors.ai.prompt_execution_settings import PromptExecutionSettings
from semantic_kernel.contents import ChatHistory, StreamingChatMessageContent, StreamingTextContent
from semantic_kernel.contents.utils.author_role import AuthorRole
from semantic_kernel.contents.utils.finish_reason import FinishReason

from magentic_kit.people import HumanTurn, Speaker, ask


class HumanChatCompletion(ChatCompletionClientBase):
    """Asks a person for the reply; so a person's turn is logged, cancelled and resumed like a model's."""

    _name: str = PrivateAttr()
    _speaker: Speaker = PrivateAttr()

    def __init__(self, name: str, speaker: Speaker) -> None:
        super().__init__(ai_model_id="human", service_id="human")
        self._name = name
        self._speaker = speaker

    async def _inner_get_streaming_chat_message_contents(
        self, chat_history: ChatHistory, settings: PromptExecutionSettings, function_invoke_attempt: int = 0
    ) -> AsyncGenerator[list[StreamingChatMessageContent], Any]:
        instructions, heard = "", list[tuple[str, str]]()
        for message in chat_history.messages:
            if message.role == AuthorRole.SYSTEM:
                instructions = message.content
            elif message.role == AuthorRole.USER:
                heard.append((message.name or "", message.content))
            else:
                heard.clear()
        text = await ask(self._speaker, HumanTurn(name=self._name, instructions=instructions, heard=tuple(heard)))
        yield [
            StreamingChatMessageContent(
                role=AuthorRole.ASSISTANT,
                choice_index=0,
                items=[StreamingTextContent(choice_index=0, text=text)],
                ai_model_id=self.ai_model_id,
                finish_reason=FinishReason.STOP,
                metadata={"usage": CompletionUsage(prompt_tokens=0, completion_tokens=0)},
            )
        ]
