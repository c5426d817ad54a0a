"""Amazon Bedrock: the model's reasoning and endings, which Semantic Kernel 1.45 fails at or passes over."""

from __future__ import annotations

from typing import Any

from semantic_kernel.connectors.ai.bedrock import BedrockChatCompletion
from semantic_kernel.contents import ChatMessageContent
from semantic_kernel.contents.reasoning_content import ReasoningContent

from magentic_kit.services.adapters.one_piece import InOnePiece
from magentic_kit.services.endings import set_ending


class BedrockAdapter(InOnePiece, BedrockChatCompletion):
    """Put before the connector's class."""

    def _create_chat_message_content(self, response: dict[str, Any]) -> ChatMessageContent:
        message = response["output"]["message"]
        thoughts = [block["reasoningContent"] for block in message["content"] if "reasoningContent" in block]
        rest = [block for block in message["content"] if "reasoningContent" not in block]
        known = dict(response, output={"message": dict(message, content=rest)})
        content = super()._create_chat_message_content(known)
        text = "".join(thought.get("reasoningText", {}).get("text", "") for thought in thoughts)
        if text:
            content.items.append(ReasoningContent(text=text))
        set_ending(content, response["stopReason"])
        return content
