"""What hosted models take as functions on offer, checked before anything is paid."""

from __future__ import annotations

from collections.abc import Sequence

from magentic_kit.errors import ConfigError, Problem

_MOST, _LONGEST = 128, 64
"""Functions in one request, and characters of a name, by the API references of OpenAI and Azure OpenAI."""

_HOSTS = ("api.openai.com", ".openai.azure.com")


def is_hosted(url: str) -> bool:
    """Whether OpenAI or Azure OpenAI is at the URL."""
    return any(host in url for host in _HOSTS)


def require_offerable(agent: str, functions: Sequence[str], url: str | None) -> None:
    """Raises `ConfigError` if the server at the URL would refuse these functions (`plugin-function`) of an agent."""
    if not is_hosted(url or ""):
        return
    told = []
    if len(functions) > _MOST:
        told.append(f"{len(functions)} functions are offered, and the model takes {_MOST}: list fewer `tools`")
    for name in functions:
        if len(name) > _LONGEST:
            shown = name.replace("-", ".", 1)
            told.append(f"the name of {shown} has {len(name)} characters, and the model takes {_LONGEST}")
    if told:
        raise ConfigError([Problem(f"agent '{agent}'", 0, 0, message) for message in told])
