"""`mcp`: teams as tools of an MCP server, by Semantic Kernel's own, over stdio or streamable HTTP."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from magentic_kit import events as ev
from magentic_kit.cli.arguments import argument, command
from magentic_kit.cli.common import ENV_FILE, OUT, load_environment, quiet_logs, say
from magentic_kit.errors import ConfigError


@command(
    argument("teams", nargs="+", type=Path, metavar="TEAM..."),
    argument("--http", default="", metavar="HOST:PORT", help="Serve streamable HTTP here; default: stdio."),
    OUT,
    ENV_FILE,
)
def mcp(teams: tuple[Path, ...], http: str, out: Path, env_file: Path | None) -> None:
    """Serve each TEAM as a tool of an MCP server, with progress for each round; a cancelled request ends its run."""
    host, _, port = http.rpartition(":")
    if http and not (host and port.isdecimal()):
        raise ConfigError.one(f"'{http}' should be HOST:PORT, such as 127.0.0.1:8765", file="--http")
    for team in teams:
        load_environment(env_file, beside=team)
    quiet_logs()
    asyncio.run(_serve(teams, out, host, port))


async def _serve(teams: tuple[Path, ...], out: Path, host: str, port: str) -> None:
    from semantic_kernel.connectors.mcp import create_mcp_server_from_functions

    from magentic_kit.embed import as_function
    from magentic_kit.factory import TeamFactory
    from magentic_kit.run import embedded_team
    from magentic_kit.tools.openapi import function_name

    async with AsyncExitStack() as stack:
        functions: dict[str, Any] = {}
        for team in teams:
            factory = await stack.enter_async_context(TeamFactory.from_yaml(team))
            name = function_name(factory.blueprint.config.name)
            if name in functions:
                raise ConfigError.one(f"two teams are called '{name}': a tool's name is its team's", file=str(team))
            functions[name] = as_function(embedded_team(factory.blueprint, {"out": out}, _tell), name)
        server = create_mcp_server_from_functions(list(functions.values()), server_name="magentic-kit")
        await (_http(server, host, int(port)) if host else _stdio(server))


async def _tell(event: ev.AnyEvent) -> None:
    """Sends progress to whoever made the request that this run is for; each event's number is higher than the last."""
    from mcp.server.lowlevel.server import request_ctx

    from magentic_kit.embed import progress_of

    request = request_ctx.get()
    if (told := progress_of(event)) and request.meta and (token := request.meta.progressToken) is not None:
        await request.session.send_progress_notification(token, event.seq, None, told, str(request.request_id))


async def _stdio(server: Any) -> None:
    import anyio
    from mcp.server.stdio import stdio_server

    protocol = anyio.wrap_file(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)  # where plugins, their child processes and Semantic Kernel 1.41 print
    async with stdio_server(stdout=protocol) as (read, write):
        await server.run(read, write, server.create_initialization_options())


async def _http(server: Any, host: str, port: int) -> None:
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
    say(f"serving on http://{host}:{port}/mcp", aside=True)
    config = uvicorn.Config(app, host, port, log_level="warning", timeout_graceful_shutdown=1)
    await uvicorn.Server(config).serve()
