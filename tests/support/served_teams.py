"""Teams behind an MCP server in this process, by real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

from magentic_kit.serve.guard import Access
from magentic_kit.serve.http import listen, url_of
from magentic_kit.serve.mcp import serve_http, team_server
from magentic_kit.serve.teams import ServerOptions, open_teams

PLUGIN = """
import asyncio
from pathlib import Path
from semantic_kernel.functions import kernel_function

class Desk:
    @kernel_function(description="Waits until somebody lets it go on.")
    async def wait(self) -> str:
        Path("entered").touch()
        while not Path("go").exists():
            await asyncio.sleep(0.01)
        return "waited"
"""
"""A plugin whose function waits for the file `go`."""


def write_teams(folder: Path, **changes: Any) -> list[Path]:
    """Writes two scripted teams: `quick` answers with its task, `slow` waits for the file `go` first."""
    (folder / "desk.py").write_text(PLUGIN)
    paths = []
    for name, turns in (("quick", ["hello"]), ("slow", [{"tool_calls": [{"name": "desk.wait"}]}, "{{tool_result}}"])):
        ledgers = [{"ledger": {"next": "Solo", "instruction": "go"}}, {"ledger": {"satisfied": True}}]
        manager = {"facts": "f", "plan": "p", "ledger": ledgers, "answer": "{{task}}"}
        team = {
            "name": name,
            "services": {"default": {"provider": "scripted", "script": {"manager": manager, "Solo": turns}}},
            "plugins": {"desk": {"type": "python", "target": "desk:Desk"}},
            "agents": [{"name": "Solo", "description": "Helps.", "tools": [{"id": "desk.wait"}]}],
            **changes,
        }
        path = folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(team))
        paths.append(path)
    return paths


@asynccontextmanager
async def teams_over_http(
    teams: list[Path], *, host: str = "127.0.0.1", access: Access | None = None, concurrency: int = 8
) -> AsyncIterator[str]:
    """Serves the teams at any free port of the host; gives the server's URL."""
    stop = asyncio.Event()
    async with open_teams(teams, ServerOptions(out=teams[0].parent / "runs", concurrency=concurrency)) as opened:
        server = team_server(opened)
        listening = listen(host, 0)
        serving = asyncio.ensure_future(serve_http(server, listening, access or Access.of(host), stop))
        try:
            yield url_of(host, listening[0])
        finally:
            stop.set()
            await serving


@asynccontextmanager
async def mcp_session(url: str, token: str = "", **options: Any) -> AsyncIterator[ClientSession]:
    """A client of the server that has introduced itself; `options` are those of the session."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with (
        httpx.AsyncClient(headers=headers, timeout=httpx.Timeout(30, read=None)) as client,
        streamable_http_client(f"{url}/mcp", http_client=client) as (read, write, _),
        ClientSession(read, write, **options) as session,
    ):
        await session.initialize()
        yield session
