"""OpenAI's own client, made for many runs at once; the rest of the package only sees a client."""

from __future__ import annotations

from typing import Any
from urllib.request import getproxies

import openai


def openai_client(**arguments: Any) -> openai.AsyncOpenAI:
    """`openai.AsyncOpenAI`, quicker."""
    return openai.AsyncOpenAI(**arguments, http_client=http_client())


def azure_client(**arguments: Any) -> openai.AsyncAzureOpenAI:
    """`openai.AsyncAzureOpenAI`, quicker."""
    return openai.AsyncAzureOpenAI(**arguments, http_client=http_client())


def http_client() -> Any:
    """openai's HTTP client, on aiohttp's transport, the quicker one, where openai can use it.

    openai 3 brings what it needs, and aiohttp comes with Semantic Kernel; openai 2 wants the extra `fast`.
    """
    if not any(proxy.startswith("socks") for proxy in getproxies().values()):  # aiohttp would speak HTTP to it
        try:
            return openai.DefaultAioHttpClient()
        except RuntimeError:
            pass
    return openai.DefaultAsyncHttpxClient()
