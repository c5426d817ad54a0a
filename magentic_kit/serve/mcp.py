"""Teams as tools of an MCP server, by Semantic Kernel's own, over stdio or streamable HTTP."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import anyio
from mcp import types
from semantic_kernel.connectors.mcp import create_mcp_server_from_functions
from semantic_kernel.functions import KernelFunctionFromMethod

from magentic_kit import events as ev
from magentic_kit.embed import as_function
from magentic_kit.errors import ConfigError
from magentic_kit.factory import TeamFactory
from magentic_kit.orchestration.options import RunArguments
from magentic_kit.run import embedded_team
from magentic_kit.serve.guard import Access, RequestGuard
from magentic_kit.serve.http import serve_app
from magentic_kit.tools.function_names import function_name
from magentic_kit.tools.threads import in_daemon_thread
from magentic_kit.views.progress import progress_of

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server


@asynccontextmanager
async def team_server(teams: Sequence[Path], *, out: Path, concurrency: int) -> AsyncIterator[Server[Any, Any]]:
    """Opens a server that has a tool for each team file; run directories are created under `out`.

    At most `concurrency` runs go on at a time. Raises `ConfigError`.
    """
    async with AsyncExitStack() as stack:
        functions: dict[str, KernelFunctionFromMethod] = {}
        for team in teams:
            factory = await stack.enter_async_context(TeamFactory.from_yaml(team))
            name = function_name(factory.blueprint.config.name)
            if name in functions:
                raise ConfigError.one(f"two teams are called '{name}': a tool's name is its team's", file=str(team))
            functions[name] = as_function(embedded_team(factory.blueprint, RunArguments(out=out), _send_progress), name)
        server = create_mcp_server_from_functions(list(functions.values()), server_name="magentic-kit")
        parameters = {name: [p.name for p in function.parameters if p.name] for name, function in functions.items()}
        _check_calls(server, parameters, concurrency)
        yield server


def _check_calls(server: Server[Any, Any], parameters: Mapping[str, Collection[str]], concurrency: int) -> None:
    """Puts checks before the server's handler of calls: their arguments are known, and so many run at a time.

    Semantic Kernel hands on arguments by keyword, beside its own: one called `self` or `kernel` would break the call.
    Further calls wait for their turn, since a model that is refused asks again and again.
    """
    handle = server.request_handlers[types.CallToolRequest]
    free = anyio.Semaphore(concurrency)

    async def checked(request: types.CallToolRequest) -> types.ServerResult:
        known = parameters.get(request.params.name)
        unknown = sorted(set(request.params.arguments or {}) - set(known or ()))
        if known is not None and unknown:
            message = f"'{request.params.name}' has no argument '{unknown[0]}'; it has {', '.join(known)}"
            content = [types.TextContent(type="text", text=message)]
            return types.ServerResult(types.CallToolResult(content=list(content), isError=True))
        if free.value == 0:
            await _notify(0, f"waiting for one of {concurrency} runs to end")
        async with free:
            return await handle(request)

    server.request_handlers[types.CallToolRequest] = checked


async def serve_stdio(server: Server[Any, Any], stop: asyncio.Event) -> None:
    """Serves on standard input and output until the client leaves or `stop` is set."""
    from mcp.server.stdio import stdio_server

    requests = cast("anyio.AsyncFile[str]", _lines(os.dup(0)))
    replies = anyio.wrap_file(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)  # where plugins, their child processes and Semantic Kernel 1.41 print

    async def serve() -> None:
        async with stdio_server(requests, replies) as (read, write):
            await server.run(read, write, server.create_initialization_options())

    serving, stopped = asyncio.ensure_future(serve()), asyncio.ensure_future(stop.wait())
    await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if stop.is_set():
        serving.cancel()
        await asyncio.wait({serving})
    else:
        await serving


async def serve_http(
    server: Server[Any, Any], listening: list[socket.socket], access: Access, stop: asyncio.Event
) -> None:
    """Serves streamable HTTP on `/mcp` to whoever `access` allows, until `stop` is set."""
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    manager = StreamableHTTPSessionManager(server)
    sessions_ended = asyncio.Event()
    app = RequestGuard(manager.handle_request, access)
    serving = asyncio.ensure_future(serve_app(app, listening, sessions_ended))
    stopped = asyncio.ensure_future(stop.wait())
    async with manager.run():  # its end is that of all sessions and their runs, and so of every open response
        await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    sessions_ended.set()
    await serving


async def _lines(file: int) -> AsyncIterator[str]:
    """Yields the lines of a file; a read that waits for more keeps neither a cancel nor the process's end.

    Such a read has the file locked: only the end of the file closes it.
    """
    lines = os.fdopen(file, encoding="utf-8", errors="replace")
    while line := await in_daemon_thread(lines.readline):
        yield line
    lines.close()


async def _send_progress(event: ev.AnyEvent) -> None:
    """Sends progress to the client whose request this run is for; each event's number is higher than the last."""
    message = progress_of(event)
    if message:
        await _notify(event.seq, message)


async def _notify(number: int, message: str) -> None:
    """Sends progress to the client whose request is handled here, if it asked for that."""
    from mcp.server.lowlevel.server import request_ctx

    request = request_ctx.get()
    if request.meta is None or request.meta.progressToken is None:
        return
    token = request.meta.progressToken
    await request.session.send_progress_notification(token, number, None, message, str(request.request_id))
