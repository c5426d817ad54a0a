"""What the commands that serve have in common."""

from __future__ import annotations

import os

from magentic_kit.errors import ConfigError
from magentic_kit.team.secrets import names_secret


def token_of(variable: str | None) -> str | None:
    """Returns the token that the variable holds. Raises `ConfigError` if it is not set, or would not be masked."""
    if variable is None:
        return None
    if not names_secret(variable):
        message = f"'{variable}' should be named like a secret, such as MCP_TOKEN: then its value is masked everywhere"
        raise ConfigError.one(message, file="--token-env")
    token = os.environ.get(variable)
    if not token:
        raise ConfigError.one(f"the variable '{variable}' is not set", file="--token-env")
    return token
