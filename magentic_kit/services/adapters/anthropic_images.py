"""Images for Anthropic: Semantic Kernel's connector leaves out all of a user's message but its first text."""

from __future__ import annotations

from typing import Any

from semantic_kernel.contents import ChatHistory, ImageContent
from semantic_kernel.contents.utils.author_role import AuthorRole


class WithImages:
    """Put before the class of the connector: a user's message has its images, before the text that is about them."""

    def _prepare_chat_history_for_request(self, chat_history: ChatHistory, *args: Any, **kwargs: Any) -> Any:
        prepared = super()._prepare_chat_history_for_request(chat_history, *args, **kwargs)  # type: ignore[misc]
        # The results of functions are a user's too there, but as a list.
        spoken = [message for message in prepared[0] if isinstance(message["content"], str)]
        users = [message for message in spoken if message["role"] == "user"]
        asked = [message for message in chat_history.messages if message.role == AuthorRole.USER]
        for message, formatted in zip(asked, users, strict=True):
            blocks = [_block(item) for item in message.items if isinstance(item, ImageContent)]
            if blocks:
                text = [{"type": "text", "text": message.content}] if message.content else []
                formatted["content"] = [*blocks, *text]
        return prepared


def _block(image: ImageContent) -> dict[str, Any]:
    source: dict[str, Any] = {"type": "url", "url": str(image.uri)}
    if image.data_uri:
        source = {"type": "base64", "media_type": image.mime_type, "data": image.data_string}
    return {"type": "image", "source": source}
