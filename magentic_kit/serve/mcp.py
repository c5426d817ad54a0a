"""Teams as tools of an MCP server, by Semantic Kernel's own, over stdio or streamable HTTP."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import anyio
from mcp import McpError, types
from semantic_kernel.connectors.mcp import create_mcp_server_from_functions
from starlette.types import Receive, Scope, Send

from magentic_kit import events as ev
from magentic_kit.embed import EmbeddedTeam, as_function
from magentic_kit.factory import TeamFactory
from magentic_kit.orchestration.options import RunArguments, Task
from magentic_kit.run import Run, start_run
from magentic_kit.runlog.directory import RunLog
from magentic_kit.serve.guard import Access, RequestGuard
from magentic_kit.serve.http import serve_while
from magentic_kit.serve.questions import Answer, Question, Request
from magentic_kit.serve.teams import Asker, ServedTeams
from magentic_kit.tools.threads import in_daemon_thread
from magentic_kit.views.progress import progress_of
from magentic_kit.views.reply import ending_data

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server


def team_server(teams: ServedTeams) -> Server[Any, Any]:
    """Makes a server that has a tool for each team. Raises `ConfigError`."""
    functions = [as_function(_called_by_clients(teams, factory), name) for name, factory in teams.by_name.items()]
    server = create_mcp_server_from_functions([*functions], server_name="magentic-kit")
    _check_calls(
        server, {function.name: [p.name for p in function.parameters if p.name] for function in functions}, teams
    )
    return server


def _called_by_clients(teams: ServedTeams, factory: TeamFactory) -> EmbeddedTeam:
    """The team, whose runs ask the user of the client that calls it, if that client can."""

    def start(task: Task | None, options: RunArguments, log: RunLog | None = None) -> Run:
        people = teams.options.people(_asker(factory.blueprint.redactor(options.inputs).text))
        return start_run(factory.blueprint, task, replace(options, **people), log)

    return EmbeddedTeam(
        config=factory.blueprint.config,
        start=start,
        options=RunArguments(out=teams.options.out),
        on_event=_follow,
    )


def _asker(redact: Callable[[str], str]) -> Asker | None:
    """Asks the user of the client whose request is handled here; None if that client has no elicitation."""
    from mcp.server.lowlevel.server import request_ctx

    request = request_ctx.get()
    capability = types.ClientCapabilities(elicitation=types.ElicitationCapability())
    if not request.session.check_client_capability(capability):
        return None

    async def ask(asked: Request) -> Answer:
        question = Question.of(asked, redact)
        try:
            form = await request.session.elicit_form(question.text, question.schema, request.request_id)
            if form.action == "accept":
                return question.read(form.content or {})
            return question.unanswered(f"the person chose to {form.action}")
        except (McpError, ValueError) as error:
            return question.unanswered(f"the client has not answered: {error}")

    return ask


_ENDINGS: ContextVar[list[ev.RunFinished]] = ContextVar("endings")
"""Has the end of the run whose call is handled here."""


def _check_calls(server: Server[Any, Any], parameters: Mapping[str, Collection[str]], teams: ServedTeams) -> None:
    """Puts checks around the server's handler of calls: known arguments, so many runs at a time, honest results.

    Semantic Kernel hands on arguments by keyword, beside its own: one called `self` or `kernel` would break the call.
    Further calls wait for their turn, since a model that is refused asks again and again. A run that was not
    satisfied is an error, whose text has the answer if there is one.
    """
    handle = server.request_handlers[types.CallToolRequest]

    async def checked(request: types.CallToolRequest) -> types.ServerResult:
        known = parameters.get(request.params.name)
        unknown = sorted(set(request.params.arguments or {}) - set(known or ()))
        if known is not None and unknown:
            message = f"'{request.params.name}' has no argument '{unknown[0]}'; it has {', '.join(known)}"
            content = [types.TextContent(type="text", text=message)]
            return types.ServerResult(types.CallToolResult(content=list(content), isError=True))
        if teams.free.value == 0:
            await _notify(0, f"waiting for one of {teams.options.concurrency} runs to end")
        async with teams.free:
            endings: list[ev.RunFinished] = []
            _ENDINGS.set(endings)
            result = await handle(request)
        if endings and isinstance(result.root, types.CallToolResult):
            result.root.isError = endings[-1].outcome != "satisfied"
            result.root.meta = ending_data(endings[-1])
        return result

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


class McpEndpoint:
    """Streamable HTTP as an ASGI app, while `run` is open; its end is that of all sessions and their runs."""

    def __init__(self, server: Server[Any, Any]) -> None:
        from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

        self._manager = StreamableHTTPSessionManager(server)
        self.run = self._manager.run

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        await self._manager.handle_request(scope, receive, send)


async def serve_http(
    server: Server[Any, Any], listening: list[socket.socket], access: Access, stop: asyncio.Event
) -> None:
    """Serves streamable HTTP on `/mcp` to whoever `access` allows, until `stop` is set."""
    endpoint = McpEndpoint(server)
    await serve_while(RequestGuard(endpoint, access), endpoint.run(), listening, stop)


async def _lines(file: int) -> AsyncIterator[str]:
    """Yields the lines of a file; a read that waits for more keeps neither a cancel nor the process's end.

    Such a read has the file locked: only the end of the file closes it.
    """
    lines = os.fdopen(file, encoding="utf-8", errors="replace")
    while line := await in_daemon_thread(lines.readline):
        yield line
    lines.close()


async def _follow(event: ev.AnyEvent) -> None:
    """Sends progress to the client whose request this run is for; each event's number is higher than the last."""
    if isinstance(event, ev.RunFinished):
        _ENDINGS.get([]).append(event)
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
