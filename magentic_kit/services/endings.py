"""How a reply ended: the words of providers, and those of this package."""

from __future__ import annotations

from semantic_kernel.contents import ChatMessageContent

FINISH_REASONS = {
    **dict.fromkeys(("length", "max_tokens", "model_length", "max_output_tokens", "max_length"), "length"),
    "model_context_window_exceeded": "length",
    **dict.fromkeys(("content_filter", "safety", "recitation", "prohibited_content", "blocklist"), "content_filter"),
    **dict.fromkeys(("content_filtered", "guardrail_intervened", "sensitive", "spii"), "content_filter"),
    **dict.fromkeys(("image_safety", "image_prohibited_content", "image_recitation"), "content_filter"),
    **dict.fromkeys(("tool_calls", "tool_use", "function_call", "tool_call"), "tool_calls"),
    "refusal": "refusal",
}
"""How servers say that a reply ended -> how this package does; whatever else they say is `stop`."""

_KEY = "magentic_kit.ending"
"""Where a message's metadata has how the reply ended."""


def set_ending(content: ChatMessageContent, reason: str | None) -> None:
    """Stores in a message how the reply ended, by the provider's own word; none if it has not ended."""
    if reason:
        content.metadata[_KEY] = FINISH_REASONS.get(reason.lower(), "stop")


def ending_of(content: ChatMessageContent) -> str:
    """How the reply ended, as `ModelCallFinished.finish_reason`; "" if it has not."""
    ending = content.metadata.get(_KEY)
    if ending:
        return str(ending)
    if content.finish_reason:
        return content.finish_reason.value
    return ""
