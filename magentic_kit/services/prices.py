"""What model calls cost: by the price in the team file, else by the published one that `genai-prices` knows."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from importlib.util import find_spec
from typing import Any, TypeAlias

from magentic_kit import events as ev
from magentic_kit.team.services import BaseService, Price

Pricing: TypeAlias = Callable[[ev.Usage], float | None]
"""Returns the cost of a call in US dollars, None if its tokens are not known."""

_FREE = ("scripted", "replay")
_PROVIDERS = {
    "openai": "openai",
    "azure_openai": "azure",
    "azure_ai_inference": "azure",
    "anthropic": "anthropic",
    "mistral": "mistral",
    "google": "google",
    "bedrock": "aws",
}
"""Provider in a team file -> provider in genai-prices; models of others are known by an own price alone."""


def pricing_of(service: BaseService, model: str) -> Pricing | None:
    """What a model of the service costs; None if its price is unknown."""
    if service.price is not None:
        return partial(_by_price, service.price)
    provider: str = getattr(service, "provider", "")
    if provider in _FREE:
        return free
    return _published(provider, getattr(service, "base_url", None), model)


def free(usage: ev.Usage) -> float:
    """The cost of what nobody is paid for."""
    return 0.0


def estimate(pricing: Pricing, usage: ev.Usage, *, sent: int, text: str) -> float:
    """The cost of a call whose tokens are not all known, taken as four characters a token.

    `sent` counts the characters of the request, `text` is the reply.
    """
    prompt, completion = usage.prompt_tokens, usage.completion_tokens
    guess = ev.Usage(
        prompt_tokens=sent // 4 if prompt is None else prompt,
        completion_tokens=len(text) // 4 if completion is None else completion,
        cached_tokens=usage.cached_tokens,
    )
    return pricing(guess) or 0.0


def _by_price(price: Price, usage: ev.Usage) -> float | None:
    if usage.prompt_tokens is None or usage.completion_tokens is None:
        return None
    cached = min(usage.cached_tokens or 0, usage.prompt_tokens)
    of_cached = price.prompt if price.cached is None else price.cached
    dear = (usage.prompt_tokens - cached) * price.prompt + usage.completion_tokens * price.completion
    return (dear + cached * of_cached) / 1_000_000


@cache
def _published(provider: str, base_url: str | None, model: str) -> Pricing | None:
    """The price that genai-prices knows; None if it is not installed, or does not know the model there."""
    if find_spec("genai_prices") is None or (provider not in _PROVIDERS and base_url is None):
        return None
    from genai_prices import Usage, calc_price

    where: dict[str, Any] = {"provider_api_url": base_url} if base_url else {"provider_id": _PROVIDERS[provider]}

    def pricing(usage: ev.Usage) -> float | None:
        if usage.prompt_tokens is None or usage.completion_tokens is None:
            return None
        tokens = Usage(
            input_tokens=usage.prompt_tokens,
            cache_read_tokens=min(usage.cached_tokens or 0, usage.prompt_tokens),
            output_tokens=usage.completion_tokens,
        )
        return float(calc_price(tokens, model, **where).total_price)

    try:
        pricing(ev.Usage(prompt_tokens=0, completion_tokens=0))
    except LookupError:
        return None
    return pricing
