"""A real MCP server for the tests: `python mcp_server.py stdio|http|sse PORT FAULT MARK`; MARK finds the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal

import anyio
from bombs import SCHEMAS
from mcp import types
from mcp.server.fastmcp import Context, FastMCP, Image
from mcp.server.lowlevel import Server
from pydantic import BaseModel, Field


class Address(BaseModel):
    city: str = Field(description="Town or city.")
    zip: str | None = None


class Person(BaseModel):
    name: str
    home: Address
    friends: list[Person] = []


def server(port: int) -> FastMCP:
    app = FastMCP("test", host="127.0.0.1", port=port, log_level="WARNING")

    @app.tool()
    def add(a: int, b: int = 2) -> int:
        """Adds two numbers."""
        return a + b

    @app.tool()
    def restart(service: str, kernel: str, arguments: list[str]) -> str:
        """Takes arguments whose names Semantic Kernel keeps for itself."""
        return f"{service} {kernel} {arguments}"

    @app.tool()
    def enrol(
        person: Person,
        level: Literal["basic", "gold"] = "basic",
        tags: list[str] = Field(default=[], description="Any words."),
    ) -> str:
        """Enrols a person."""
        return f"{person.name} of {person.home.city}: {level} {tags}"

    @app.tool(name="close.door")
    def close() -> str:
        """Has a name that no model service accepts."""
        return "closed"

    @app.tool()
    def session() -> str:
        """Is named like an attribute of SK's plugin."""
        return "mine"

    @app.tool()
    def fail() -> str:
        raise ValueError("no such thing")

    @app.tool()
    def big(size: int) -> str:
        return "x" * size

    @app.tool(structured_output=False)
    def picture() -> list[Any]:
        return ["a dot", Image(data=b"\x00" * 100_000, format="png")]

    @app.tool()
    def die() -> str:
        print("about to die", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        return "never"

    @app.tool()
    async def hang() -> str:
        await anyio.sleep(3600)
        return "never"

    @app.tool()
    def header(context: Context[Any, Any, Any]) -> str:
        """What the caller's X-Token header says."""
        return str(context.request_context.request.headers.get("x-token"))  # type: ignore[union-attr]

    @app.tool()
    def variable(name: str) -> str:
        return os.environ.get(name, "unset")

    return app


def many_pages() -> Server[Any, Any]:
    """A server that lists 25 tools, ten a page."""
    app: Server[Any, Any] = Server("pages")

    async def listed(request: types.ListToolsRequest) -> types.ServerResult:
        start = int(request.params.cursor or 0) if request.params else 0
        tools = [
            types.Tool(name=f"t{i}", inputSchema={"type": "object", "properties": {"filter.name": {"type": "string"}}})
            for i in range(start, min(start + 10, 25))
        ]
        return types.ServerResult(
            types.ListToolsResult(tools=tools, nextCursor=str(start + 10) if start < 20 else None)
        )

    app.request_handlers[types.ListToolsRequest] = listed
    return app


def hostile(fault: str) -> Server[Any, Any]:
    """A server whose list of tools never ends, or whose tools have schemas that expand or are none."""
    app: Server[Any, Any] = Server("hostile")

    async def listed(request: types.ListToolsRequest) -> types.ServerResult:
        schema: dict[str, Any] = {"type": "object", "properties": {"it": "text"}}
        if fault in SCHEMAS:
            schema = {"$defs": SCHEMAS[fault]("#/$defs"), "properties": {"it": {"$ref": "#/$defs/L0"}}}
        tools = [types.Tool(name=f"t{i}", inputSchema=schema) for i in range(2)]
        cursor = "again" if fault == "endless" else None
        return types.ServerResult(types.ListToolsResult(tools=tools, nextCursor=cursor))

    app.request_handlers[types.ListToolsRequest] = listed
    return app


async def serve(app: Server[Any, Any]) -> None:
    from mcp.server.stdio import stdio_server

    async with stdio_server() as (read, write):
        await app.run(read, write, app.create_initialization_options())


def main() -> None:
    transport, port, fault, mark = sys.argv[1:]
    match fault:
        case "mute":
            print("still loading", file=sys.stderr, flush=True)
            if "ASKED" in os.environ:  # a file that is there once somebody has asked
                sys.stdin.readline()
                Path(os.environ["ASKED"]).touch()
            time.sleep(3600)
        case "garbage":
            while True:
                print("I am no MCP server {]", flush=True)
                time.sleep(0.01)
        case "bytes":
            os.write(1, b"\xff\xfe\x00 not text\n")
        case "banner":
            print("*** welcome ***", flush=True)
        case "exits":
            sys.exit("the database is not there")
        case "pages":
            return anyio.run(serve, many_pages())
        case "endless" | "no schema":
            return anyio.run(serve, hostile(fault))
        case _ if fault in SCHEMAS:
            return anyio.run(serve, hostile(fault))
        case "family":
            subprocess.Popen(
                [sys.executable, "-c", "import time; time.sleep(3600)", mark], stdin=subprocess.DEVNULL, stdout=2
            )
        case "stubborn":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
    app = server(int(port))
    app.run({"stdio": "stdio", "http": "streamable-http", "sse": "sse"}[transport])  # type: ignore[arg-type]
    if fault == "stubborn":  # stdin has ended
        time.sleep(3600)


if __name__ == "__main__":
    main()
