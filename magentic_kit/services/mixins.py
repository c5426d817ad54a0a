"""Puts a class of this package before that of a service: for what Semantic Kernel's connectors do not do."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeVar, cast

from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase

from magentic_kit.services.providers import PROVIDERS

_S = TypeVar("_S", bound=ChatCompletionClientBase)


@lru_cache(maxsize=64)
def with_mixin(cls: type[_S], mixin: type) -> type[_S]:
    """`cls` with the methods of `mixin` before its own; it keeps its name, which SK's messages and spans show."""
    metaclass: Any = type(cls)
    return cast("type[_S]", metaclass(cls.__name__, (mixin, cls), {"__module__": cls.__module__}))


def adapted(service: _S) -> _S:
    """A copy with the adapter for its connector, or the service itself if it is none of Semantic Kernel's own."""
    ancestors = {cls.__name__ for cls in type(service).__mro__}
    for provider in PROVIDERS.values():
        if provider.base in ancestors and provider.adapter.partition(":")[2] not in ancestors:
            adapter = provider.adapter_class()
            copy = service.model_copy()
            copy.__class__ = with_mixin(type(service), adapter)
            if provider.base == "OpenAIChatCompletionBase":
                adapter.begin(copy)
            return copy
    return service
