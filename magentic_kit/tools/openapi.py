"""From an OpenAPI document to a plugin.

Semantic Kernel's importer sends arrays, objects and booleans as Python's `repr`, JSON bodies alone, and no cookies.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import httpx
from semantic_kernel.exceptions import FunctionExecutionException
from semantic_kernel.functions.kernel_plugin import KernelPlugin

from magentic_kit.team.bounded_yaml import MAX_VALUES, yaml_steps
from magentic_kit.text import one_line
from magentic_kit.tools.openapi_operations import Operations
from magentic_kit.tools.openapi_requests import SentOperation
from magentic_kit.tools.remote_functions import ConnectedPlugin, remote_function
from magentic_kit.tools.threads import in_daemon_thread, in_stoppable_thread

if TYPE_CHECKING:
    from magentic_kit.team.plugins import OpenAPIPlugin

MAX_BYTES = 16_000_000
"""Size of a document."""


@asynccontextmanager
async def openapi_plugin(name: str, config: OpenAPIPlugin) -> AsyncIterator[ConnectedPlugin]:
    """The operations of a service while its HTTP client is open; calls are bounded by their callers.

    An answer that is no success raises `httpx.HTTPStatusError` with its status and the start of its body.
    """
    hooks = {"response": [_raise_with_body]}
    async with httpx.AsyncClient(headers=config.headers, timeout=None, event_hooks=hooks) as client:
        # In a thread, which stops after an operation if the start is given up.
        yield await in_stoppable_thread(_plugin(name, config, await _read(client, config), client))


async def _read(client: httpx.AsyncClient, config: OpenAPIPlugin) -> bytes:
    if urlsplit(config.spec).scheme in ("http", "https"):
        return await _downloaded(client, config)
    return await in_daemon_thread(partial(_file, config.spec))


async def _downloaded(client: httpx.AsyncClient, config: OpenAPIPlugin) -> bytes:
    # Headers hold secrets: where the server is stated, no other host gets them.
    known = not config.server or urlsplit(config.server).netloc == urlsplit(config.spec).netloc
    request = httpx.Request("GET", config.spec, headers=config.headers if known else None)
    response = await client.send(request, stream=True)
    try:
        raw = bytearray()
        async for chunk in response.aiter_bytes():
            raw += chunk
            if len(raw) > MAX_BYTES:
                break
        return bytes(raw)
    finally:
        await response.aclose()


def _file(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _plugin(
    name: str, config: OpenAPIPlugin, raw: bytes, client: httpx.AsyncClient
) -> Generator[None, None, ConnectedPlugin]:
    """Makes the plugin of the document in `raw`, a function with each step. Raises `ValueError` if there is none."""
    document = yield from _loaded(raw, config.spec)
    del raw
    client.base_url = httpx.URL(_server(document, config))
    given = {("query", one) for one in config.query} | {("cookie", one) for one in config.cookies}
    given |= {("header", one) for one in config.headers}
    operations = Operations(document, frozenset(given))
    plugin = KernelPlugin(name=name, description=config.description or None)
    for operation in operations:
        yield
        call = partial(_send, client, operation.sent, config)
        function = remote_function(name, operation.name, operation.description, operation.parameters, call)
        plugin.functions[function.name] = function  # where `KernelPlugin(functions=…)` copies all
    if not plugin.functions:
        lacking = f": {operations.left_out[0]}" if operations.left_out else ""
        raise ValueError(f"no operation of {config.spec} can be called{lacking}")
    return ConnectedPlugin(plugin, tuple(operations.left_out))


async def _send(
    client: httpx.AsyncClient, operation: SentOperation, config: OpenAPIPlugin, arguments: dict[str, Any]
) -> str:
    try:
        response = await client.request(**operation.request(arguments, config.query, config.cookies))
    except (httpx.HTTPError, ValueError) as error:
        raise FunctionExecutionException(f"{operation.method} {operation.path} failed") from error
    return response.text


async def _raise_with_body(response: httpx.Response) -> None:
    if not response.is_success:
        await response.aread()
        said = f"{response.status_code} {response.reason_phrase}: {one_line(response.text, 500)}"
        raise httpx.HTTPStatusError(said, request=response.request, response=response)


def _loaded(raw: bytes, source: str) -> Generator[None, None, dict[str, Any]]:
    """The OpenAPI document in `raw`, as JSON has it. Raises `ValueError` or `yaml.YAMLError`."""
    if len(raw) > MAX_BYTES:
        raise ValueError(f"{source} is larger than {MAX_BYTES:,} bytes")
    if raw.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{":
        root = _json(raw, source)
    else:
        root = yield from yaml_steps(raw)
    if isinstance(root, dict) and str(root.get("swagger")).startswith("2"):
        raise ValueError(f"{source} is a Swagger 2.0 document; convert it to OpenAPI 3, as by editor.swagger.io")
    if not isinstance(root, dict) or not str(root.get("openapi")).startswith("3"):
        raise ValueError(f"{source} is not an OpenAPI 3 document")
    if not root.get("paths") and root.get("webhooks"):
        raise ValueError(f"{source} describes webhooks alone, which call you: it has nothing to call")
    if not isinstance(root.get("paths"), dict) or not root["paths"]:
        raise ValueError(f"{source} has no paths, and so nothing to call")
    return root


def _json(raw: bytes, source: str) -> Any:
    # An empty list takes 20 times as much memory as text. Commas in texts count too, which honest documents survive.
    if sum(map(raw.count, (b",", b"[", b"{"))) > 3 * MAX_VALUES:
        raise ValueError(f"{source} has more than {3 * MAX_VALUES:,} values")
    try:
        return json.loads(raw)
    except RecursionError:
        raise ValueError(f"{source} is nested too deep") from None


def _server(root: dict[str, Any], config: OpenAPIPlugin) -> str:
    """The server to ask, its variables filled in. Raises `ValueError` if there is none."""
    first: dict[str, Any] = (root.get("servers") or [{"url": "/"}])[0]
    url = config.server or str(first.get("url", "/"))
    if not config.server:
        for name, variable in (first.get("variables") or {}).items():
            value = str(variable.get("default", ""))
            url = url.replace(f"${{{name}}}", value).replace(f"{{{name}}}", value)
        if "{" in url:
            raise ValueError(f"{config.spec} leaves open what stands in its server {url}; set `server`")
        url = url if "://" in url else urljoin(config.spec, url)
    if "://" not in url:
        raise ValueError(f"{config.spec} names no server; set `server`")
    return url
