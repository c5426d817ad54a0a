"""Placeholders of SK's specs, such as `${OpenAI:ChatModelId}`, and the variables that SK's settings read for them."""

from __future__ import annotations

import re

_PREFIXES = {
    "OpenAI": "OPENAI_",
    "AzureOpenAI": "AZURE_OPENAI_",
    "AzureAI": "AZURE_AI_AGENT_",
    "BedrockAgent": "BEDROCK_AGENT_",
}
"""The sections of placeholders, and how the variables of SK's settings begin."""

SECTIONS = tuple(_PREFIXES)

_NAMES = {
    "OPENAI_KEY": "OPENAI_API_KEY",
    "AZURE_OPENAI_KEY": "AZURE_OPENAI_API_KEY",
    "AZURE_OPENAI_CHAT_MODEL_ID": "AZURE_OPENAI_CHAT_DEPLOYMENT_NAME",
    "AZURE_OPENAI_RESPONSES_MODEL_ID": "AZURE_OPENAI_RESPONSES_DEPLOYMENT_NAME",
    "AZURE_AI_AGENT_CHAT_MODEL_ID": "AZURE_AI_AGENT_MODEL_DEPLOYMENT_NAME",
}
"""Variables that are not called as the placeholder is."""


def variable_of(section: str, key: str, agent_type: str) -> str | None:
    """The variable that `${section:key}` stands for in a spec of that type; None if SK has no such section."""
    prefix = _PREFIXES.get(section)
    if prefix is None:
        return None
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", key).upper()
    words = words.replace("OPEN_AI", "OPENAI")
    if words == "CHAT_MODEL_ID" and agent_type.endswith("_responses"):
        words = "RESPONSES_MODEL_ID"
    return _NAMES.get(prefix + words, prefix + words)
