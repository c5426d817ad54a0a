"""The tokens of a model call, as providers count them each in their own words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from magentic_kit import events as ev


def tokens(reply: ev.ModelCallFinished) -> int:
    """What counts against `max_tokens`: an unknown completion is taken as four characters a token."""
    completion = reply.usage.completion_tokens
    return (reply.usage.prompt_tokens or 0) + (len(reply.text) // 4 if completion is None else completion)


def usage_of(metadata: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """The tokens of prompt and completion in a message's metadata; None where the provider gave none."""
    counts = _counts(metadata)
    prompt = counts.get("prompt_tokens")
    if prompt is None and counts.get("input_tokens") is not None:  # Anthropic counts what it cached apart
        cached = (counts.get("cache_read_input_tokens"), counts.get("cache_creation_input_tokens"))
        prompt = counts["input_tokens"] + sum(number or 0 for number in cached)
    return prompt, counts.get("completion_tokens", counts.get("output_tokens"))


def cached_of(metadata: Mapping[str, Any]) -> int | None:
    """The tokens of the prompt that the provider had in its cache; None where it did not say."""
    counts = _counts(metadata)
    for details in (counts.get("prompt_tokens_details"), counts.get("input_tokens_details")):
        if details is not None:
            cached: int | None = _mapping(details).get("cached_tokens")
            return cached
    read: int | None = counts.get("cache_read_input_tokens", counts.get("prompt_cache_hit_tokens"))
    return read


def _counts(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    usage = metadata.get("usage")
    if isinstance(usage, tuple):  # Semantic Kernel 1.45, Mistral: a comma too many
        usage = usage[0]
    return _mapping(usage)


def _mapping(data: object) -> Mapping[str, Any]:
    if isinstance(data, Mapping):
        return data
    return getattr(data, "__dict__", {})


def larger(one: int | None, other: int | None) -> int | None:
    """The larger of two counts; None if neither is known."""
    known = [count for count in (one, other) if count is not None]
    return max(known, default=None)
