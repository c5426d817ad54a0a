"""From an OpenAPI document to a plugin, with Semantic Kernel's importer and past what it trips over."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import httpx
from semantic_kernel.connectors.openapi_plugin import OpenAPIFunctionExecutionParameters
from semantic_kernel.connectors.openapi_plugin.openapi_manager import create_functions_from_openapi
from semantic_kernel.functions.kernel_plugin import KernelPlugin

from magentic_kit.team.bounded_yaml import load_yaml
from magentic_kit.text import one_line
from magentic_kit.tools.function_names import function_name
from magentic_kit.tools.schemas import SchemaReferences
from magentic_kit.tools.threads import in_daemon_thread, in_stoppable_thread

if TYPE_CHECKING:
    from magentic_kit.team.plugins import OpenAPIPlugin

MAX_BYTES = 16_000_000
"""Size of a document."""

_METHODS = ("get", "put", "post", "delete", "options", "head", "patch")


@asynccontextmanager
async def openapi_plugin(name: str, config: OpenAPIPlugin) -> AsyncIterator[KernelPlugin]:
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
) -> Generator[None, None, KernelPlugin]:
    """Makes the plugin of the document in `raw`, a function with each step."""
    document = _loaded(raw, config.spec)
    del raw
    server = _server(document, config)
    trusted = [] if "{" in server["url"] else [server["url"]]  # the team file chose it, on whichever network it is
    settings = OpenAPIFunctionExecutionParameters.model_validate(
        {"http_client": client, "server_url_validation_allowed_base_urls": trusted}
    )
    plugin = KernelPlugin(name=name, description=config.description or None)
    operations: deque[tuple[str, dict[str, Any]]] = deque()
    for operation in _operations(document):
        yield
        operations.append(operation)
    del document  # large ones would double the memory that the functions take
    while operations:
        yield
        path, by_method = operations.popleft()
        part = {"openapi": "3.0.0", "servers": [server], "paths": {path: by_method}}
        for function in create_functions_from_openapi(name, openapi_parsed_spec=part, execution_settings=settings):
            function.metadata.additional_properties = None  # the operation as a whole, which every copy would copy
            for parameter in function.parameters:
                parameter.schema_data = (parameter.schema_data or {}).get("x-whole", parameter.schema_data)
            plugin.functions[function.name] = function  # where `KernelPlugin(functions=…)` copies all
    return plugin


async def _raise_with_body(response: httpx.Response) -> None:
    if not response.is_success:
        await response.aread()
        said = f"{response.status_code} {response.reason_phrase}: {one_line(response.text, 500)}"
        raise httpx.HTTPStatusError(said, request=response.request, response=response)


def _loaded(raw: bytes, source: str) -> dict[str, Any]:
    """The OpenAPI document in `raw`, as JSON has it. Raises `ValueError` or `yaml.YAMLError`."""
    if len(raw) > MAX_BYTES:
        raise ValueError(f"{source} is larger than {MAX_BYTES:,} bytes")
    try:
        root = json.loads(raw) if raw.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{" else load_yaml(raw)
    except RecursionError:
        raise ValueError(f"{source} is nested too deep") from None
    if not isinstance(root, dict) or not str(root.get("openapi")).startswith("3") or not root.get("paths"):
        raise ValueError(f"{source} is not an OpenAPI 3 document")
    return root


def _server(root: dict[str, Any], config: OpenAPIPlugin) -> dict[str, Any]:
    """The server to ask, as the document describes it. Raises `ValueError` if there is none."""
    first: dict[str, Any] = (root.get("servers") or [{"url": "/"}])[0]
    url = config.server
    if not url:
        url = first["url"] if "://" in first["url"] else urljoin(config.spec, first["url"])
    if "://" not in url:
        raise ValueError(f"{config.spec} names no server; set `server`")
    return first | {"url": url}


def _operations(root: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each path with one of its operations, by method, as far as SK's importer can use it."""
    references = SchemaReferences()
    for path, item in root["paths"].items():
        for method in _METHODS:
            if method in item and (operation := _operation(method, path, item, root, references)):
                yield path, {method: operation}


def _operation(
    method: str, path: str, item: dict[str, Any], root: dict[str, Any], references: SchemaReferences
) -> dict[str, Any] | None:
    """One operation, its path's parameters included; None if its body is no JSON object, as SK would send `{}`."""
    operation = item[method]
    given = references.inlined([*item.get("parameters", ()), *operation.get("parameters", ())], root)
    body = references.inlined(operation.get("requestBody") or {}, root)
    schema = body.get("content", {}).get("application/json", {}).get("schema", {})
    if body and not schema.get("properties"):
        return None
    for key, property in schema.get("properties", {}).items():
        schema["properties"][key] = _whole(property)
    for parameter in given:  # SK shows the model its schema only
        told = {key: parameter[key] for key in ("description",) if key in parameter}
        parameter["schema"] = _whole(told | parameter.get("schema", {"type": "string"}))
    return {
        "operationId": function_name(operation.get("operationId") or f"{method}{path}"),
        "summary": "\n\n".join(filter(None, (operation.get("summary"), operation.get("description")))),
        "parameters": list({(one["name"], one["in"]): one for one in given}.values()),
        "requestBody": body or None,
        "responses": {},  # SK would take from them the type of what it sends
    }


def _whole(schema: dict[str, Any]) -> dict[str, Any]:
    # SK would make an object's properties parameters of their own, and refuses a list of types.
    plain = isinstance(schema.get("type"), str) and schema["type"] != "object" and "properties" not in schema
    if plain:
        return schema
    return {"x-whole": schema}
