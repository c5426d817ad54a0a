"""Options of commands that serve others: who may send requests, and how many runs go on at a time."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from magentic_kit.cli.options import POSITIVE, option_group
from magentic_kit.errors import ConfigError
from magentic_kit.team.secrets import names_secret

if TYPE_CHECKING:
    from magentic_kit.serve.guard import Access


@dataclass(frozen=True, kw_only=True)
class ListenOptions:
    """Who may send requests, and how many runs go on at a time."""

    token_env: str | None
    hosts: tuple[str, ...]
    concurrency: int

    def access(self, host: str) -> Access:
        """Returns the access to a server that listens at that host. Raises `ConfigError`."""
        from magentic_kit.serve.guard import Access

        return Access.of(host, allow_hosts=self.hosts, token=token_of(self.token_env))


listen_options = option_group(
    "listening",
    ListenOptions,
    click.option(
        "--token-env", metavar="NAME", help="Variable with the bearer token to ask for; needed beyond loopback."
    ),
    click.option(
        "--allow-host", "hosts", multiple=True, metavar="HOST", help="Another host name that clients may use."
    ),
    click.option(
        "--concurrency", type=POSITIVE, default=8, metavar="N", show_default=True, help="Runs at once; more calls wait."
    ),
)


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
