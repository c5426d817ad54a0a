"""Starts well-known MCP servers by npx and uvx, and calls each of their tools: `python tests/bench/mcp_servers.py`."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from semantic_kernel import Kernel
from semantic_kernel.functions import KernelArguments, KernelFunction

from magentic_kit.team.plugins import MCPStdioPlugin
from magentic_kit.tools.mcp import PluginServers
from magentic_kit.tools.mcp_client import SamplingRequest, ServerHost

SECONDS = 60
"""For one call."""
GUESSES = {"string": "hello", "number": 2, "integer": 2, "boolean": True, "array": [], "object": {}}


def servers(folder: Path) -> dict[str, list[str]]:
    """The command of each server by its name."""
    npx = ["npx", "-y"]
    return {
        "everything": [*npx, "@modelcontextprotocol/server-everything"],
        "filesystem": [*npx, "@modelcontextprotocol/server-filesystem", str(folder)],
        "memory": [*npx, "@modelcontextprotocol/server-memory"],
        "time": ["uvx", "mcp-server-time"],
        "git": ["uvx", "mcp-server-git"],
    }


def arguments(folder: Path, server: str, function: KernelFunction) -> dict[str, Any]:
    """Arguments for a call: what is known of the function, else a guess by the schema."""
    known: dict[str, Any] = {
        "path": str(folder / "a.txt"),
        "paths": [str(folder / "a.txt")],
        "source": str(folder / "a.txt"),
        "destination": str(folder / "b.txt"),
        "repo_path": str(folder),
        "pattern": "*.txt",
        "timezone": "Europe/Berlin",
        "source_timezone": "Europe/Berlin",
        "target_timezone": "Asia/Tokyo",
        "time": "12:00",
        "revision": "HEAD",
        "target": "HEAD",
        "files": ["a.txt"],
        "duration": 1,
        "messageType": "success",
        "resourceType": "Text",
        "resourceId": "1",
        "url": "https://example.org/",
        "uri": {"memory": "memory://knowledge-graph"}.get(server, "demo://resource/dynamic/text/1"),
    }
    if function.name.startswith(("list_", "directory_", "create_directory", "search_")):
        known["path"] = str(folder)
    given: dict[str, Any] = {}
    for parameter in function.parameters:
        schema = parameter.schema_data or {}
        if parameter.is_required:
            guess = schema.get("enum", [GUESSES.get(str(schema.get("type")), "hello")])[0]
            given[str(parameter.name)] = known.get(str(parameter.name), guess)
    return given


async def call_all(folder: Path, name: str, command: list[str]) -> None:
    """Calls each function of one server and prints how each call ended."""

    async def sample(plugin: str, request: SamplingRequest) -> str:
        return "a sampled reply"

    async def ask(plugin: str, question: str) -> str:
        return ""

    config = MCPStdioPlugin(
        type="mcp",
        transport="stdio",
        command=command[0],
        args=tuple(command[1:]),
        sampling=5,
        start_timeout=120,
        env=dict(os.environ),  # where the package registries are
    )
    opened = PluginServers({name: config}, ServerHost(root=folder, sample=sample, ask=ask))
    await opened.open()
    try:
        if name in opened.failures:
            print(f"{name}: {opened.failures[name]}")
            return
        for reason in opened.left_out[name]:
            print(f"{name}: left out: {reason}")
        for function in list(opened.plugins[name].functions.values()):
            try:
                given = KernelArguments(**arguments(folder, name, function))
                ended = str(await asyncio.wait_for(function.invoke(Kernel(), given), SECONDS))
            except Exception as error:
                while error.__cause__ is not None:
                    error = error.__cause__  # type: ignore[assignment]
                ended = f"{type(error).__name__}: {error}"
            print(f"{name}.{function.name}: {' '.join(ended.split())[:150]}", flush=True)
    finally:
        await opened.close()


def main() -> None:
    """All servers, or those named on the command line."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        (folder / "a.txt").write_text("one\n")
        identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
        for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "t"]):
            subprocess.run(["git", *command], cwd=folder, check=True)
        for server, command in servers(folder).items():
            if server in sys.argv[1:] or not sys.argv[1:]:
                asyncio.run(call_all(folder, server, command))


main()
