"""OpenAPI documents as they are: what is sent of each kind of parameter and body, and what is left out in words."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from semantic_kernel import Kernel
from semantic_kernel.functions import KernelArguments

from magentic_kit.team.plugins import OpenAPIPlugin
from magentic_kit.tools.mcp import PluginServers
from magentic_kit.tools.openapi_requests import SentParameter

COLOURS = ["blue", "black"]
POINT = {"R": 100, "G": 200}

# place, style, explode, value -> as OpenAPI's own table of styles has it
STYLES: list[tuple[str, str, bool, Any, str]] = [
    ("path", "simple", False, "blue", "blue"),
    ("path", "simple", False, COLOURS, "blue,black"),
    ("path", "simple", False, POINT, "R,100,G,200"),
    ("path", "simple", True, POINT, "R=100,G=200"),
    ("path", "label", False, "blue", ".blue"),
    ("path", "label", True, COLOURS, ".blue.black"),
    ("path", "label", True, POINT, ".R=100.G=200"),
    ("path", "matrix", False, "blue", ";color=blue"),
    ("path", "matrix", False, COLOURS, ";color=blue,black"),
    ("path", "matrix", True, COLOURS, ";color=blue;color=black"),
    ("path", "matrix", True, POINT, ";R=100;G=200"),
    ("path", "simple", False, "a/b c", "a%2Fb%20c"),
    ("query", "form", True, COLOURS, "color=blue&color=black"),
    ("query", "form", False, COLOURS, "color=blue,black"),
    ("query", "form", True, POINT, "R=100&G=200"),
    ("query", "form", False, POINT, "color=R,100,G,200"),
    ("query", "spaceDelimited", False, COLOURS, "color=blue%20black"),
    ("query", "pipeDelimited", False, COLOURS, "color=blue%7Cblack"),
    ("query", "deepObject", True, POINT, "color[R]=100&color[G]=200"),
    ("query", "form", True, True, "color=true"),
    ("query", "form", True, "a&b=c", "color=a%26b%3Dc"),
    ("header", "simple", False, COLOURS, "blue,black"),
    ("header", "simple", True, POINT, "R=100,G=200"),
    ("header", "simple", False, "a\r\nX-Evil: b", "a X-Evil: b"),
    ("cookie", "form", False, COLOURS, "color=blue,black"),
]


@pytest.mark.parametrize(("place", "style", "explode", "value", "sent"), STYLES)
def test_a_parameter_is_sent_by_its_style(place: str, style: str, explode: bool, value: Any, sent: str) -> None:
    parameter = SentParameter.of("color", {"name": "color", "in": place, "style": style, "explode": explode})
    if place == "path":
        assert parameter.in_path(value) == sent
    elif place == "header":
        assert parameter.in_header(value) == sent
    else:
        assert "&".join(f"{name}={text}" for name, text in parameter.pairs(value)) == sent


def operation(body: dict[str, Any] | None = None, *parameters: dict[str, Any], **more: Any) -> dict[str, Any]:
    content = {} if body is None else {"requestBody": {"required": True, "content": body}}
    return {"post": {"responses": {}, "parameters": list(parameters), **content, **more}}


def fields(**properties: Any) -> dict[str, Any]:
    return {"schema": {"type": "object", "properties": properties, "required": [*properties][:1]}}


TEXT = {"type": "string"}
A, B = fields(a=TEXT)["schema"], fields(b=TEXT)["schema"]
PATHS: dict[str, Any] = {
    "/json": operation({"application/json": fields(a=TEXT, b={"type": ["string", "null"]}, c=TEXT)}),
    "/all": operation(
        {"application/json": {"schema": {"allOf": [fields(a=TEXT)["schema"], fields(b=TEXT)["schema"]]}}}
    ),
    "/list": operation({"application/json": {"schema": {"type": "array", "items": TEXT}}}),
    "/either": operation({"application/json": {"schema": {"oneOf": [TEXT, {"type": "integer"}]}}}),
    "/form": operation({"application/x-www-form-urlencoded": fields(a=TEXT, b={"type": "array", "items": TEXT})}),
    "/text": operation({"text/csv": {"schema": TEXT}}),
    "/file": operation({"multipart/form-data": fields(a=TEXT, f={"type": "string", "format": "binary"})}),
    "/picture": operation({"image/png": {}}),
    "/places/{id}": operation(
        {"application/json": fields(id=TEXT)},
        {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}},
        {"name": "id", "in": "cookie", "schema": TEXT},
        {"name": "key", "in": "query", "schema": TEXT},
        {"name": "filter", "in": "query", "content": {"application/json": {"schema": {"type": "object"}}}},
    ),
    "/shared": {"$ref": "#/components/pathItems/Shared"},
    "/elsewhere": {"$ref": "other.yaml#/paths/it"},
    "/twice": operation(None, operationId="list"),
    "/again": operation(None, operationId="list"),
    "/strange": operation(None, {"name": "x", "in": "query", "style": "zigzag", "schema": TEXT}),
}
SHARED = {"pathItems": {"Shared": operation(None, operationId="shared")}}

# function, arguments -> path, content type, body
CALLS: list[tuple[str, dict[str, Any], str, str, str]] = [
    ("post-json", {"a": "x", "b": None, "c": None}, "/v1/json", "application/json", '{"a":"x","b":null}'),
    ("post-all", {"a": "x", "b": "y"}, "/v1/all", "application/json", '{"a":"x","b":"y"}'),
    ("post-list", {"body": ["x", "y"]}, "/v1/list", "application/json", '["x","y"]'),
    ("post-either", {"body": 3}, "/v1/either", "application/json", "3"),
    ("post-form", {"a": "x y", "b": ["1", "&"]}, "/v1/form", "application/x-www-form-urlencoded", "a=x%20y&b=1&b=%26"),
    ("post-text", {"body": "a;b"}, "/v1/text", "text/csv", "a;b"),
    ("shared", {}, "/v1/shared", "", ""),
    ("list", {}, "/v1/twice", "", ""),
    ("post-again", {}, "/v1/again", "", ""),
]


@pytest_asyncio.fixture
async def service() -> AsyncIterator[str]:
    """A service on loopback that answers with what it was sent; its URL."""

    async def echo(request: web.Request) -> web.Response:
        kind = request.headers.get("Content-Type", "")
        text = await request.text()
        return web.json_response([request.raw_path, kind, text, request.headers.get("Cookie", "")])

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", echo)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[union-attr]
    await runner.cleanup()


def document(folder: Path, service: str, **more: Any) -> str:
    servers = [{"url": service + "/{version}", "variables": {"version": {"default": "v1"}}}]
    head = {"openapi": "3.1.0", "info": {"title": "t", "version": "1"}, "servers": servers, "components": SHARED}
    (folder / "api.json").write_text(json.dumps({**head, "paths": PATHS, **more}))
    return str(folder / "api.json")


async def opened(config: OpenAPIPlugin) -> PluginServers:
    servers = PluginServers({"it": config})
    await servers.open()
    return servers


async def call(servers: PluginServers, name: str, **arguments: Any) -> Any:
    function = servers.plugins["it"].functions[name]
    return json.loads(str(await function.invoke(Kernel(), KernelArguments(**arguments))))


async def test_every_kind_of_body_arrives(service: str, tmp_path: Path) -> None:
    servers = await opened(OpenAPIPlugin(type="openapi", spec=document(tmp_path, service)))
    try:
        for name, arguments, *sent in CALLS:
            assert (await call(servers, name, **arguments))[:3] == sent, name
        _, kind, text, _ = await call(servers, "post-file", a="x", f="hello")
        assert kind.startswith("multipart/form-data; boundary=")
        assert 'name="f"; filename="f.txt"' in text and "hello" in text and 'name="a"\r\n' in text
    finally:
        await servers.close()


async def test_one_name_in_several_places_is_several_arguments(service: str, tmp_path: Path) -> None:
    spec = document(tmp_path, service)
    servers = await opened(OpenAPIPlugin(type="openapi", spec=spec, query={"key": "k"}, cookies={"c": "1"}))
    try:
        function = servers.plugins["it"].functions["post-places-id"]
        assert [one.name for one in function.parameters] == ["id", "id_cookie", "filter", "id_body"]
        given = {"id": 7, "id_cookie": "x y", "filter": {"a": [1]}, "id_body": "z"}
        path, _, body, cookie = await call(servers, "post-places-id", **given)
        assert path == "/v1/places/7?key=k&filter=%7B%22a%22%3A%20%5B1%5D%7D"
        assert body == '{"id":"z"}'
        assert cookie in ("id=x%20y; c=1", "c=1; id=x%20y")
    finally:
        await servers.close()


async def test_what_is_left_out_is_said(service: str, tmp_path: Path) -> None:
    servers = await opened(OpenAPIPlugin(type="openapi", spec=document(tmp_path, service)))
    await servers.close()
    assert servers.left_out["it"] == (
        "POST /picture: its body is image/png, which a model cannot write",
        "/elsewhere: it stands elsewhere, at other.yaml#/paths/it",
        "POST /strange: its parameter 'x' has the style 'zigzag'",
    )


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "nothing is left": ({"paths": {"/a": PATHS["/picture"]}}, "no operation of .* can be called: POST /a: its body is"),
    "webhooks alone": ({"paths": {}, "webhooks": {"new": PATHS["/text"]}}, "describes webhooks alone"),
    "Swagger 2.0": ({"openapi": None, "swagger": "2.0"}, "is a Swagger 2.0 document; convert it to OpenAPI 3"),
    "no paths": ({"paths": {}}, "has no paths"),
    "open variable": ({"servers": [{"url": "https://${host}/v1"}]}, "leaves open .*; set `server`"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_document_without_anything_to_call_is_a_failed_plugin(case: str, tmp_path: Path) -> None:
    changes, reason = REFUSED[case]
    servers = await opened(OpenAPIPlugin(type="openapi", spec=document(tmp_path, "http://127.0.0.1:9", **changes)))
    await servers.close()
    assert servers.plugins == {}
    assert re.search(reason, servers.failures["it"])


async def test_no_argument_leaves_the_path_of_the_server(service: str, tmp_path: Path) -> None:
    servers = await opened(OpenAPIPlugin(type="openapi", spec=document(tmp_path, service)))
    try:
        with pytest.raises(Exception, match="post /places") as caught:
            await call(servers, "post-places-id", id="..", id_body="x")
        assert "would leave" in str(caught.value.__cause__)
    finally:
        await servers.close()
