"""From an OpenAPI document to a plugin, with Semantic Kernel's importer and past what it trips over."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import httpx
import yaml
from semantic_kernel.connectors.openapi_plugin import OpenAPIFunctionExecutionParameters
from semantic_kernel.functions.kernel_plugin import KernelPlugin

from magentic_kit.text import one_line

if TYPE_CHECKING:
    from magentic_kit.team.plugins import OpenAPIPlugin

_METHODS = ("get", "put", "post", "delete", "options", "head", "patch")


@asynccontextmanager
async def openapi_plugin(name: str, config: OpenAPIPlugin) -> AsyncIterator[KernelPlugin]:
    """The operations of a service while its HTTP client is open; calls are bounded by their callers.

    An answer that is no success raises `httpx.HTTPStatusError` with its status and the start of its body.
    """
    hooks = {"response": [_raise_with_body]}
    async with httpx.AsyncClient(headers=config.headers, timeout=None, event_hooks=hooks) as client:
        if urlsplit(config.spec).scheme in ("http", "https"):
            # Headers hold secrets: where the server is stated, no other host is told.
            known = not config.server or urlsplit(config.server).netloc == urlsplit(config.spec).netloc
            request = httpx.Request("GET", config.spec, headers=config.headers if known else None)
            text = (await client.send(request)).text
        else:
            text = await asyncio.to_thread(Path(config.spec).read_text, "utf-8")
        document = await asyncio.to_thread(_document, text, config.spec, config.server)
        server = document["servers"][0]["url"]  # the team file chose it, on whichever network it is
        trusted = [] if "{" in server else [server]
        settings = {"http_client": client, "server_url_validation_allowed_base_urls": trusted}
        plugin = KernelPlugin.from_openapi(
            name,
            openapi_parsed_spec=document,
            execution_settings=OpenAPIFunctionExecutionParameters.model_validate(settings),
            description=config.description,
        )
        for function in plugin.functions.values():
            for parameter in function.parameters:
                parameter.schema_data = (parameter.schema_data or {}).get("x-whole", parameter.schema_data)
        yield plugin


def resolved(schema: Any, root: Mapping[str, Any], within: tuple[str, ...] = ()) -> Any:
    """`schema` with what its `$ref`s point at, as SK sends no `$defs`; one inside itself or elsewhere is left open."""
    if isinstance(schema, list):
        return [resolved(item, root, within) for item in schema]
    if not isinstance(schema, dict):
        return schema
    rest = {key: resolved(value, root, within) for key, value in schema.items() if key != "$ref"}
    ref = schema.get("$ref")
    if not isinstance(ref, str) or not ref.startswith("#") or ref in within:
        return rest
    keys = (key.replace("~1", "/").replace("~0", "~") for key in ref.split("/")[1:])
    target: Any = reduce(lambda node, key: node[key], keys, root)
    return resolved(target, root, (*within, ref)) | rest


def function_name(name: str) -> str:
    """`name` as Semantic Kernel and the model services accept it."""
    return re.sub(r"[^0-9A-Za-z_-]+", "-", name).strip("-")


async def _raise_with_body(response: httpx.Response) -> None:
    if not response.is_success:
        await response.aread()
        said = f"{response.status_code} {response.reason_phrase}: {one_line(response.text, 500)}"
        raise httpx.HTTPStatusError(said, request=response.request, response=response)


def _document(text: str, source: str, server: str | None) -> dict[str, Any]:
    """The part of an OpenAPI document that SK's importer can use. Raises `ValueError`."""
    loaded = json.loads(text) if text.lstrip().startswith("{") else yaml.safe_load(text)
    if not isinstance(loaded, dict) or not str(loaded.get("openapi")).startswith("3") or not loaded.get("paths"):
        raise ValueError(f"{source} is not an OpenAPI 3 document")
    root = json.loads(json.dumps(loaded, default=str))  # YAML has dates, and numbers as keys
    first = (root.get("servers") or [{"url": "/"}])[0]
    url = server or (first["url"] if "://" in first["url"] else urljoin(source, first["url"]))
    if "://" not in url:
        raise ValueError(f"{source} names no server; set `server`")
    paths: dict[str, dict[str, Any]] = {path: {} for path in root["paths"]}
    for path, item in root["paths"].items():
        for method in _METHODS:
            if method in item and (operation := _operation(method, path, item, root)):
                paths[path][method] = operation
    return {"openapi": root["openapi"], "info": root.get("info"), "servers": [first | {"url": url}], "paths": paths}


def _operation(method: str, path: str, item: dict[str, Any], root: dict[str, Any]) -> dict[str, Any] | None:
    """One operation, its path's parameters included; None if its body is no JSON object, as SK would send `{}`."""
    operation = item[method]
    given = resolved([*item.get("parameters", ()), *operation.get("parameters", ())], root)
    body = resolved(operation.get("requestBody") or {}, root)
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
    plain = isinstance(schema.get("type"), str) and schema["type"] != "object"
    return schema if plain else {"x-whole": schema}
