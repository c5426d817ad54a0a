"""Plugins that need a connection, MCP servers and OpenAPI services: started once per run, gone afterwards."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

import anyio
from mcp import ClientSession, McpError, StdioServerParameters, stdio_client, types
from semantic_kernel.connectors.mcp import MCPSsePlugin, MCPStreamableHttpPlugin
from semantic_kernel.exceptions import FunctionExecutionException
from semantic_kernel.functions import KernelPlugin

from magentic_kit.text import one_line
from magentic_kit.tools.certificates import certificate_problem
from magentic_kit.tools.mcp_client import ClientSide, ServerHost
from magentic_kit.tools.mcp_extras import add_prompts_and_resources
from magentic_kit.tools.mcp_tools import listed_tools, returned, tools_plugin
from magentic_kit.tools.openapi import openapi_plugin
from magentic_kit.tools.remote_functions import ConnectedPlugin
from magentic_kit.tools.stderr import telling_line
from magentic_kit.tools.threads import in_stoppable_thread

if TYPE_CHECKING:
    from magentic_kit.team.plugins import MCPPlugin, OpenAPIPlugin

_IDLE = 86_400.0
"""Seconds for which an HTTP stream of a server may be silent; calls are bounded by their callers."""

_STDERR = 20_000
"""Characters at the end of a server's stderr that are searched for the reason of its failure."""

_WRITE_PID = 'echo $$ >&2; exec "$0" "$@"'


class PluginServers:
    """The plugins of one run that need a connection.

    After `open()`, `plugins` holds those that started and `failures` one line on each that did not.
    """

    TIME_TO_END = 3.0
    """Seconds for all to end before they are killed."""

    def __init__(self, configs: Mapping[str, OpenAPIPlugin | MCPPlugin], host: ServerHost | None = None) -> None:
        """`host` is what MCP servers may ask of their client; by default roots alone, in the current folder."""
        self.plugins: dict[str, KernelPlugin] = {}
        self.failures: dict[str, str] = {}
        self.left_out: dict[str, tuple[str, ...]] = {}
        """In words what of a plugin that started cannot be offered."""
        self._configs = configs
        self._host = host or ServerHost(root=Path())
        self._servers: dict[asyncio.Task[None], _Server] = {}

    async def open(self) -> None:
        """Starts all at once, each within its own time; what fails is an entry in `failures`."""
        if not self._servers:
            servers = [_Server(name, config, self._host) for name, config in self._configs.items()]
            self._servers = {asyncio.create_task(server.run()): server for server in servers}
        for server in self._servers.values():
            await server.ready.wait()
            if server.plugin:
                self.plugins[server.name] = server.plugin
                self.left_out[server.name] = server.left_out
            else:
                self.failures[server.name] = server.failure

    async def refresh(self) -> list[ChangedTools]:
        """Lists the tools again of servers that have said that theirs have changed; returns what is different."""
        changes: list[ChangedTools] = []
        for server in self._servers.values():
            before = server.plugin
            if before is not None and await server.refresh() and server.plugin is not None:
                self.plugins[server.name] = server.plugin
                changes.append(ChangedTools(server.name, before.functions.keys(), server.plugin.functions.keys()))
        return changes

    async def close(self, *, seconds: float = TIME_TO_END) -> None:
        """Ends all at once; a child process that is still there after so many seconds is killed."""
        for server in self._servers.values():
            server.end(seconds)
        if self._servers:
            with anyio.CancelScope(shield=True):
                await asyncio.wait(self._servers)


class ChangedTools(NamedTuple):
    """The names of a plugin's functions before and after its server has changed them."""

    plugin: str
    before: Collection[str]
    after: Collection[str]


class _Server:
    """One connection, held by a task of its own that alone enters and leaves its cancel scopes.

    A task each, since a lost HTTP server cancels the scope it was entered in and all that was entered after it.
    """

    def __init__(self, name: str, config: OpenAPIPlugin | MCPPlugin, host: ServerHost) -> None:
        self.name = name
        self.plugin: KernelPlugin | None = None
        self.left_out: tuple[str, ...] = ()
        self.failure = ""
        self.ready, self._stop = asyncio.Event(), asyncio.Event()
        self._config, self._host = config, host
        self._client: ClientSide | None = None
        self._session: ClientSession | None = None
        self._life = anyio.CancelScope()
        self._time_to_end = PluginServers.TIME_TO_END
        self._calls: set[anyio.CancelScope] = set()

    async def run(self) -> None:
        """Starts the plugin, keeps it until `end()`, and ends it. Raises nothing: see `failure`."""
        seconds = self._config.start_timeout
        with tempfile.TemporaryFile("a+", encoding="utf-8", errors="replace") as self._stderr:
            try:
                with self._life:
                    self._life.deadline = anyio.current_time() + seconds
                    async with self._connected() as connected:
                        self.plugin, self.left_out = connected
                        self._life.deadline = math.inf
                        self.ready.set()
                        await self._stop.wait()
                        self._life.deadline = anyio.current_time() + self._time_to_end
                if not self.plugin:
                    self.failure = self._with_stderr(f"no answer within {seconds:g} s")
            except Exception as error:
                self.failure = self._with_stderr(_reason(error))
            finally:
                self.failure = self.failure or "it was closed"
                self.ready.set()
                for scope in self._calls:
                    scope.cancel()

    def end(self, seconds: float) -> None:
        """Lets `run` come to its end within so many seconds; a start that is under way is given up."""
        self._time_to_end = seconds
        self._stop.set()
        if not self.plugin:
            self._life.cancel()

    async def refresh(self) -> bool:
        """Makes the plugin anew if the server has said that its tools have changed. Returns whether it has."""
        if self.failure or self._client is None or self._session is None or not self._client.has_other_tools:
            return False
        self._client.has_other_tools = False
        try:
            with anyio.fail_after(self._config.start_timeout):
                self.plugin, self.left_out = await self._listed(self._client, self._session)
        except Exception as error:  # the tools that were listed before may still be there
            self._host.report(self.name, "error", f"its tools cannot be listed again: {_reason(error)}")
            return False
        return True

    def _connected(self) -> AbstractAsyncContextManager[ConnectedPlugin]:
        config = self._config
        if config.type == "openapi":
            return openapi_plugin(self.name, config)
        return self._mcp(config)

    # Semantic Kernel's MCP plugins make the HTTP transports. The rest is done here, since in SK 1.45 `connect()`
    # waits for ever if a server does not initialize, a child writes its stderr to ours, only the first page of tools
    # is read, failing to read it is ignored, an `isError` result passes as a good one, tools named like a method of
    # the plugin are lost, and so is all that a `$ref` points at.

    @asynccontextmanager
    async def _mcp(self, config: MCPPlugin) -> AsyncIterator[ConnectedPlugin]:
        client = ClientSide(self.name, config, self._host)
        try:
            async with (
                _transport(self.name, config, self._stderr) as streams,
                client.session(*streams[:2]) as session,
            ):
                await session.initialize()
                connected = await self._listed(client, session)
                self._client, self._session = client, session
                yield connected
        finally:
            self._stderr.seek(0)
            if (pid := self._stderr.readline().strip()).isdigit():
                with suppress(OSError):  # what a server started is in its process group and may outlive it
                    os.killpg(int(pid), signal.SIGKILL)

    async def _listed(self, client: ClientSide, session: ClientSession) -> ConnectedPlugin:
        tools: list[types.Tool] = []
        capabilities = session.get_server_capabilities()
        if capabilities is None or capabilities.tools:
            tools = await listed_tools(session)
        call = partial(self._call, client, session)
        # In a thread, which stops after a tool if the start is given up: schemas are of any size.
        connected = await in_stoppable_thread(tools_plugin(self.name, self._config.description, tools, call))
        await add_prompts_and_resources(connected.plugin, session)
        return connected

    async def _call(
        self, client: ClientSide, session: ClientSession, tool: types.Tool, arguments: dict[str, Any]
    ) -> str:
        if not self.failure:
            with anyio.CancelScope() as scope:
                self._calls.add(scope)
                try:
                    return returned(await client.call(session, tool, arguments))
                except (McpError, anyio.ClosedResourceError, anyio.BrokenResourceError) as error:
                    if isinstance(error, McpError) and error.error.message != "Connection closed":
                        raise
                finally:
                    self._calls.discard(scope)
        reason = self.failure or self._with_stderr("it closed the connection")
        raise FunctionExecutionException(f"the server of plugin {self.name!r} is gone: {reason}")

    def _with_stderr(self, reason: str) -> str:
        """`reason`, and the line of the server's stderr that explains it."""
        self._stderr.seek(0)
        start = len(self._stderr.readline())  # our shell has written its process id there
        self._stderr.seek(max(start, self._stderr.seek(0, os.SEEK_END) - _STDERR))
        line = telling_line(self._stderr.read())
        if line:
            return f"{reason}; it wrote: {line}"
        return reason


def _transport(name: str, config: MCPPlugin, stderr: TextIO) -> AbstractAsyncContextManager[Any]:
    if config.transport == "stdio":
        command, args = config.command, list(config.args)
        if os.name == "posix":
            command, args = "/bin/sh", ["-c", _WRITE_PID, command, *args]
        server = StdioServerParameters(
            command=command, args=args, env=config.env, cwd=config.cwd, encoding_error_handler="replace"
        )
        return stdio_client(server, errlog=stderr)
    kind = MCPStreamableHttpPlugin if config.transport == "http" else MCPSsePlugin
    return kind(name, config.url, headers=config.headers, sse_read_timeout=_IDLE).get_mcp_client()


def _reason(error: BaseException) -> str:
    while inner := next(iter(getattr(error, "exceptions", ())), error.__cause__):
        error = inner
    return one_line(certificate_problem(error) or f"{type(error).__name__}: {error}", 500)
