"""What this package puts before the classes of Semantic Kernel's connectors, for what these do not do."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pkgutil import resolve_name
from typing import Any, TypeVar, cast

from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase

_S = TypeVar("_S", bound=ChatCompletionClientBase)

MIXINS: Mapping[str, str] = {
    "openai": "openai_wire:OpenAIWire",
    "azure_openai": "openai_wire:OpenAIWire",
    "anthropic": "anthropic_images:WithImages",
    "mistral": "one_piece:InOnePiece",
    "bedrock": "one_piece:InOnePiece",
    "nvidia": "one_piece:InOnePiece",
}
"""Provider -> what is put before the class of its connector."""


@lru_cache(maxsize=64)
def with_mixin(cls: type[_S], mixin: type) -> type[_S]:
    """`cls` with the methods of `mixin` before its own; it keeps its name, which SK's messages and spans show."""
    metaclass: Any = type(cls)
    return cast("type[_S]", metaclass(cls.__name__, (mixin, cls), {"__module__": cls.__module__}))


def in_dialect(service: _S) -> _S:
    """The service itself, or a copy that finds out a server's dialect if it is Semantic Kernel's own for OpenAI.

    One for Anthropic becomes a copy that sends images.
    """
    ancestors = {cls.__name__ for cls in type(service).__mro__}
    provider = {"OpenAIChatCompletionBase": "openai", "AnthropicChatCompletion": "anthropic"}
    mixin = next((mixin_of(provider[name]) for name in provider if name in ancestors), None)
    if mixin is None or mixin.__name__ in ancestors:
        return service
    copy = service.model_copy()
    copy.__class__ = with_mixin(type(service), mixin)
    if hasattr(mixin, "begin"):
        mixin.begin(copy)
    return copy


def mixin_of(provider: str) -> Any:
    """What is put before the class of the provider's connector, of those in `MIXINS`."""
    return resolve_name(f"magentic_kit.services.{MIXINS[provider]}")
