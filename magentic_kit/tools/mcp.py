"""Plugins that need a connection, MCP servers and OpenAPI services: started once per run, gone afterwards."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

import anyio
from mcp import ClientSession, McpError, StdioServerParameters, stdio_client, types
from semantic_kernel.connectors.mcp import MCPSsePlugin, MCPStreamableHttpPlugin
from semantic_kernel.exceptions import FunctionExecutionException
from semantic_kernel.filters.functions.function_invocation_context import FunctionInvocationContext
from semantic_kernel.functions import KernelFunctionFromMethod, KernelParameterMetadata, KernelPlugin, kernel_function

from magentic_kit.text import one_line
from magentic_kit.tools.openapi import function_name, openapi_plugin, resolved

if TYPE_CHECKING:
    from magentic_kit.team.plugins import MCPPlugin, OpenAPIPlugin

_START, _END = 30.0, 3.0
"""Seconds for a service without `start_timeout` to start, and for any to end before it is killed."""

_IDLE = 86_400.0
"""Seconds for which an HTTP stream of a server may be silent; calls are bounded by their callers."""

_TELL_PID = 'echo $$ >&2; exec "$0" "$@"'


class PluginServers:
    """The plugins of one run that need a connection.

    After `open()`, `plugins` holds those that started and `failures` one line on each that did not.
    """

    def __init__(self, configs: Mapping[str, OpenAPIPlugin | MCPPlugin]) -> None:
        self.plugins: dict[str, KernelPlugin] = {}
        self.failures: dict[str, str] = {}
        self._configs = configs
        self._servers: dict[asyncio.Task[None], _Server] = {}

    async def open(self) -> None:
        """Starts all at once, each within its own time; what fails is an entry in `failures`."""
        if not self._servers:
            servers = [_Server(name, config) for name, config in self._configs.items()]
            self._servers = {asyncio.create_task(server.run()): server for server in servers}
        for server in self._servers.values():
            await server.ready.wait()
            if server.plugin:
                self.plugins[server.name] = server.plugin
            else:
                self.failures[server.name] = server.failure

    async def close(self) -> None:
        """Ends all at once; a child process that is still there after about 3 s is killed."""
        for server in self._servers.values():
            server.end()
        if self._servers:
            with anyio.CancelScope(shield=True):
                await asyncio.wait(self._servers)


class _Server:
    """One connection, held by a task of its own that alone enters and leaves its cancel scopes.

    A task each, since a lost HTTP server cancels the scope it was entered in and all that was entered after it.
    """

    def __init__(self, name: str, config: OpenAPIPlugin | MCPPlugin) -> None:
        self.name = name
        self.plugin: KernelPlugin | None = None
        self.failure = ""
        self.ready, self._stop = asyncio.Event(), asyncio.Event()
        self._config = config
        self._life = anyio.CancelScope()
        self._calls: set[anyio.CancelScope] = set()

    async def run(self) -> None:
        """Starts the plugin, keeps it until `end()`, and ends it. Raises nothing: see `failure`."""
        seconds = getattr(self._config, "start_timeout", _START)
        with tempfile.TemporaryFile("a+", encoding="utf-8", errors="replace") as self._stderr:
            try:
                with self._life:
                    self._life.deadline = anyio.current_time() + seconds
                    async with self._connected() as plugin:
                        self.plugin, self._life.deadline = plugin, math.inf
                        self.ready.set()
                        await self._stop.wait()
                        self._life.deadline = anyio.current_time() + _END
                if not self.plugin:
                    self.failure = self._last_words(f"no answer within {seconds:g} s")
            except Exception as error:
                self.failure = self._last_words(_reason(error))
            finally:
                self.failure = self.failure or "it was closed"
                self.ready.set()
                for scope in self._calls:
                    scope.cancel()

    def end(self) -> None:
        """Lets `run` come to its end; a start that is under way is given up."""
        self._stop.set()
        if not self.plugin:
            self._life.cancel()

    def _connected(self) -> AbstractAsyncContextManager[KernelPlugin]:
        config = self._config
        return openapi_plugin(self.name, config) if config.type == "openapi" else self._mcp(config)

    # Semantic Kernel's MCP plugins make the HTTP transports. The rest is done here, since in SK 1.45 `connect()`
    # waits for ever if a server does not initialize, a child writes its stderr to ours, only the first page of tools
    # is read, failing to read it is ignored, an `isError` result passes as a good one, tools named like a method of
    # the plugin are lost, and so is all that a `$ref` points at.

    @asynccontextmanager
    async def _mcp(self, config: MCPPlugin) -> AsyncIterator[KernelPlugin]:
        try:
            async with _transport(self.name, config, self._stderr) as streams, ClientSession(*streams[:2]) as session:
                await session.initialize()
                functions = [self._function(session, tool) for tool in await _tools(session)]
                yield KernelPlugin(name=self.name, description=config.description, functions=functions)
        finally:
            self._stderr.seek(0)
            if (pid := self._stderr.readline().strip()).isdigit():
                with suppress(OSError):  # what a server started is in its process group and may outlive it
                    os.killpg(int(pid), signal.SIGKILL)

    def _function(self, session: ClientSession, tool: types.Tool) -> KernelFunctionFromMethod:
        async def call(**arguments: Any) -> str:
            if not self.failure:
                with anyio.CancelScope() as scope:
                    self._calls.add(scope)
                    try:
                        return _text(await session.call_tool(tool.name, arguments))
                    except (McpError, anyio.ClosedResourceError, anyio.BrokenResourceError) as error:
                        if isinstance(error, McpError) and error.error.message != "Connection closed":
                            raise
                    finally:
                        self._calls.discard(scope)
            why = self.failure or self._last_words("it closed the connection")
            raise FunctionExecutionException(f"the server of plugin {self.name!r} is gone: {why}")

        schema = tool.inputSchema
        return _AsGiven(  # type: ignore[call-arg]  # pydantic's inherited signature
            method=kernel_function(name=function_name(tool.name), description=tool.description)(call),
            plugin_name=self.name,
            # Not validated, as SK refuses parameter names such as `filter.name`.
            parameters=[
                KernelParameterMetadata.model_construct(
                    name=name, is_required=name in schema.get("required", ()), schema_data=resolved(property, schema)
                )
                for name, property in schema.get("properties", {}).items()
            ],
        )

    def _last_words(self, why: str) -> str:
        """`why`, and the end of what the server wrote to its stderr, without the line that tells its process id."""
        self._stderr.seek(0)
        start = len(self._stderr.readline())
        self._stderr.seek(max(start, self._stderr.seek(0, os.SEEK_END) - 500))
        words = one_line(self._stderr.read())
        return f"{why}; it wrote: {words}" if words else why


class _AsGiven(KernelFunctionFromMethod):
    """A function that gets the model's arguments; SK puts its own for those named kernel, service or arguments."""

    def gather_function_parameters(self, context: FunctionInvocationContext) -> dict[str, Any]:
        names = {parameter.name for parameter in self.parameters}
        return {name: value for name, value in context.arguments.items() if name in names}


def _transport(name: str, config: MCPPlugin, stderr: TextIO) -> AbstractAsyncContextManager[Any]:
    if config.transport == "stdio":
        command, args = config.command, list(config.args)
        if os.name == "posix":
            command, args = "/bin/sh", ["-c", _TELL_PID, command, *args]
        server = StdioServerParameters(
            command=command, args=args, env=config.env, cwd=config.cwd, encoding_error_handler="replace"
        )
        return stdio_client(server, errlog=stderr)
    kind = MCPStreamableHttpPlugin if config.transport == "http" else MCPSsePlugin
    return kind(name, config.url, headers=config.headers, sse_read_timeout=_IDLE).get_mcp_client()


async def _tools(session: ClientSession) -> list[types.Tool]:
    tools: list[types.Tool] = []
    cursor = None
    while True:
        page = await session.list_tools(params=types.PaginatedRequestParams(cursor=cursor))
        tools += page.tools
        if not (cursor := page.nextCursor):
            return tools


def _text(result: types.CallToolResult) -> str:
    """What the model is told; of pictures and other bytes only what they are. Raises if the tool says it failed."""
    blocks = [
        block.text
        if block.type == "text"
        else block.model_dump_json(exclude={"data": True, "resource": {"blob": True}}, exclude_none=True)
        for block in result.content
    ]
    if not blocks and result.structuredContent is not None:
        blocks = [json.dumps(result.structuredContent, ensure_ascii=False)]
    text = "\n".join(blocks)
    if result.isError:
        raise FunctionExecutionException(text or "the tool failed and did not say why")
    return text


def _reason(error: BaseException) -> str:
    while inner := next(iter(getattr(error, "exceptions", ())), error.__cause__):
        error = inner
    return one_line(f"{type(error).__name__}: {error}", 500)
