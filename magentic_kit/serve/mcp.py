"""Teams as tools of an MCP server, by Semantic Kernel's own, over stdio or streamable HTTP."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semantic_kernel.connectors.mcp import create_mcp_server_from_functions

from magentic_kit import events as ev
from magentic_kit.embed import as_function, progress_of
from magentic_kit.errors import ConfigError
from magentic_kit.factory import TeamFactory
from magentic_kit.run import embedded_team
from magentic_kit.tools.openapi import function_name

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server


@asynccontextmanager
async def team_server(teams: Sequence[Path], *, out: Path) -> AsyncIterator[Server[Any, Any]]:
    """Opens a server that has a tool for each team file; run directories are created under `out`.

    Raises `ConfigError`.
    """
    async with AsyncExitStack() as stack:
        functions: dict[str, Any] = {}
        for team in teams:
            factory = await stack.enter_async_context(TeamFactory.from_yaml(team))
            name = function_name(factory.blueprint.config.name)
            if name in functions:
                raise ConfigError.one(f"two teams are called '{name}': a tool's name is its team's", file=str(team))
            functions[name] = as_function(embedded_team(factory.blueprint, {"out": out}, _send_progress), name)
        yield create_mcp_server_from_functions(list(functions.values()), server_name="magentic-kit")


async def serve_stdio(server: Server[Any, Any]) -> None:
    """Serves on standard input and output until the client leaves."""
    import anyio
    from mcp.server.stdio import stdio_server

    protocol = anyio.wrap_file(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)  # where plugins, their child processes and Semantic Kernel 1.41 print
    async with stdio_server(stdout=protocol) as (read, write):
        await server.run(read, write, server.create_initialization_options())


async def serve_http(server: Server[Any, Any], host: str, port: int) -> None:
    """Serves streamable HTTP on `/mcp` until the process is asked to end."""
    import uvicorn
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
    from mcp.server.transport_security import TransportSecuritySettings
    from starlette.applications import Starlette
    from starlette.routing import Mount

    # A page in a browser may not reach a server on loopback by a name of its own for it (DNS rebinding).
    local = host in ("127.0.0.1", "localhost")
    allowed = [f"{host}:{port}", f"localhost:{port}"]
    guard = TransportSecuritySettings(enable_dns_rebinding_protection=local, allowed_hosts=allowed)
    manager = StreamableHTTPSessionManager(server, security_settings=guard)
    app = Starlette(routes=[Mount("/", manager.handle_request)], lifespan=lambda _: manager.run())
    config = uvicorn.Config(app, host, port, log_level="warning", timeout_graceful_shutdown=1)
    await uvicorn.Server(config).serve()


async def _send_progress(event: ev.AnyEvent) -> None:
    """Sends progress to the client whose request this run is for; each event's number is higher than the last."""
    from mcp.server.lowlevel.server import request_ctx

    request = request_ctx.get()
    message = progress_of(event)
    if not message or not request.meta:
        return
    token = request.meta.progressToken
    if token is not None:
        await request.session.send_progress_notification(token, event.seq, None, message, str(request.request_id))
