"""The keys that services hold which a caller brings along: what a run shows must not have them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import SecretStr
from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase

from magentic_kit.team.secrets import names_secret, worth_masking

_INSIDE = {"client", "async_client", "_api_client", "_client", "_config", "credential", "_custom_headers", "headers"}
"""Fields of connectors, and of the clients in them, inside which keys are kept."""

_DEPTH = 4


def keys_of(service: ChatCompletionClientBase) -> Iterator[str]:
    """The keys and tokens of a service and of the clients within it."""
    yield from _keys(service, _DEPTH)


def _keys(holder: Any, depth: int) -> Iterator[str]:
    fields = dict(holder) if isinstance(holder, Mapping) else getattr(holder, "__dict__", {})
    for name, value in fields.items():
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if isinstance(text, str):
            if names_secret(str(name)) and worth_masking(text):
                yield text.rpartition(" ")[2]  # behind `Bearer`
        elif name in _INSIDE and depth:
            yield from _keys(value, depth - 1)
