"""Fetch, OpenAPI and MCP over https: whom they trust, and what is said where they do not."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator

import pytest
import trustme
import uvicorn
from mcp.server.fastmcp import FastMCP
from semantic_kernel import Kernel
from semantic_kernel.functions import KernelArguments
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from support.ports import free_port
from support.waits import until

from magentic_kit.team.plugins import MCPHttpPlugin, OpenAPIPlugin
from magentic_kit.tools.builtin.fetch import FetchPlugin
from magentic_kit.tools.mcp import PluginServers

DOCUMENT = {
    "openapi": "3.0.0",
    "info": {"title": "t", "version": "1"},
    "servers": [{"url": "/"}],
    "paths": {"/text": {"get": {"operationId": "text", "responses": {}}}},
}


def application() -> FastMCP:
    app = FastMCP("tls", stateless_http=True, json_response=True)
    app.tool("text")(lambda: "over TLS")

    @app.custom_route("/text", methods=["GET"])
    async def text(_: Request) -> Response:
        return PlainTextResponse("over TLS")

    @app.custom_route("/openapi.json", methods=["GET"])
    async def document(_: Request) -> Response:
        return JSONResponse(DOCUMENT)

    return app


@pytest.fixture(scope="module")
def served(authority: trustme.CA) -> Iterator[Callable[[str], str]]:
    """The URL of a server with a certificate of a kind."""
    servers: dict[str, uvicorn.Server] = {}

    def start(kind: str) -> str:
        if kind not in servers:
            signer = trustme.CA() if kind == "unknown" else authority
            certificate = signer.issue_cert("example.org" if kind == "another host" else "localhost")
            config = uvicorn.Config(application().streamable_http_app(), port=free_port(), log_config=None)
            config.load()
            config.ssl = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            certificate.configure_cert(config.ssl)
            servers[kind] = uvicorn.Server(config)
            threading.Thread(target=servers[kind].run, daemon=True).start()
            until(lambda: servers[kind].started)
        return f"https://localhost:{servers[kind].config.port}"

    yield start
    for server in servers.values():
        server.should_exit = True


async def fetched(url: str) -> str:
    try:
        return await FetchPlugin("localhost", private=True).get(f"{url}/text")
    except OSError as error:
        return str(error)


async def called(config: OpenAPIPlugin | MCPHttpPlugin) -> str:
    servers = PluginServers({"it": config})
    await servers.open()
    try:
        if servers.failures:
            return servers.failures["it"]
        result = await servers.plugins["it"].functions["text"].invoke(Kernel(), KernelArguments())
        return str(result.value if result else None)
    finally:
        await servers.close()


CLIENTS = {
    "fetch": fetched,
    "openapi": lambda url: called(OpenAPIPlugin(type="openapi", spec=f"{url}/openapi.json")),
    "mcp": lambda url: called(MCPHttpPlugin(type="mcp", transport="http", url=f"{url}/mcp")),
}


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_server_is_trusted_whose_authority_is_in_ssl_cert_file(
    served: Callable[[str], str], client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await CLIENTS[client](served("known")) == "over TLS"
    monkeypatch.delenv("SSL_CERT_FILE")
    assert ADVICE["unknown"] in await CLIENTS[client](served("known"))


ADVICE = {
    "another host": "the server's certificate is for another host (",
    "unknown": "give its authority's certificate in SSL_CERT_FILE",
}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("kind", ADVICE)
async def test_a_certificate_that_is_refused_is_one_line_that_says_what_to_do(
    served: Callable[[str], str], client: str, kind: str
) -> None:
    said = await CLIENTS[client](served(kind))
    assert ADVICE[kind] in said and "\n" not in said and "over TLS" not in said
