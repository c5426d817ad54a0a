"""Starts well-known MCP servers by npx and uvx, and calls each of their functions within a run.

`python tests/bench/mcp_servers.py [SERVER…]`
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from semantic_kernel.functions import KernelFunction

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.openai_server import OpenAIServer, Reply, Request, TeamBrain, ToolCall
from support.ports import free_port, listens
from support.waits import until

from magentic_kit import TeamFactory
from magentic_kit import events as ev
from magentic_kit.team.plugins import MCPHttpPlugin, MCPPlugin, MCPStdioPlugin
from magentic_kit.tools.mcp import PluginServers
from magentic_kit.tools.mcp_client import SamplingRequest, ServerHost

OPTIONAL: dict[str, dict[str, Any]] = {
    "gzip-file-as-resource": {"data": "data:text/plain,hello"},
    "simulate-research-query": {"ambiguous": True},
    "trigger-long-running-operation": {"duration": 1},
}
"""Arguments that a function might do without."""
NEEDED = re.compile("(?i)^(PATH|HOME|UV_|PIP_|NPM_)|PROXY|CERT|CA_")
"""Variables that npx and uvx may need."""
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
    given = dict(OPTIONAL.get(function.name, {}))
    for parameter in function.parameters:
        schema = parameter.schema_data or {}
        if parameter.is_required:
            guess = schema.get("enum", [GUESSES.get(str(schema.get("type")), "hello")])[0]
            given[str(parameter.name)] = known.get(str(parameter.name), guess)
    return given


def config(command: list[str]) -> MCPPlugin:
    """The plugin of a server over stdio; its environment says where the package registries are."""
    env = {name: value for name, value in os.environ.items() if NEEDED.search(name)}
    return MCPStdioPlugin(
        type="mcp",
        transport="stdio",
        command=command[0],
        args=tuple(command[1:]),
        start_timeout=120,
        env=env,
        sampling=5,
    )


@contextmanager
def over_http(command: list[str]) -> Iterator[MCPPlugin]:
    """Starts server-everything on a port of loopback, and ends it."""
    port = free_port()
    env = os.environ | {"PORT": str(port)}
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(
        [*command, "streamableHttp"], env=env, stdout=quiet, stderr=quiet, start_new_session=True
    )
    try:
        until(lambda: listens(port))
        yield MCPHttpPlugin(type="mcp", transport="http", url=f"http://127.0.0.1:{port}/mcp", sampling=5)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


async def functions(plugin: MCPPlugin, folder: Path) -> list[KernelFunction]:
    """All that a server offers to a client that lets it sample and ask."""

    async def sample(plugin: str, request: SamplingRequest) -> str:
        return ""

    async def ask(plugin: str, question: str) -> str:
        return ""

    opened = PluginServers({"it": plugin}, ServerHost(root=folder, sample=sample, ask=ask))
    await opened.open()
    try:
        if opened.failures:
            sys.exit(opened.failures["it"])
        for reason in opened.left_out["it"]:
            print(f"left out: {reason}")
        return list(opened.plugins["it"].functions.values())
    finally:
        await opened.close()


def person(question: str) -> str:
    """The first choice of each field that a server asks for, or a guess by what it takes."""
    lines = []
    for line in question.splitlines():
        asked = re.match(r"(\w+) \((?:any of )?([^),]*)", line)
        if asked:
            name, takes = asked.groups()
            guesses = {"string": "hello", "integer": "2", "number": "2", "boolean": "yes"}
            known = {"email": "a@example.org", "homepage": "https://example.org/", "birthdate": "2000-01-01"}
            lines.append(f"{name}: {known.get(name) or guesses.get(takes) or takes.split(' for ')[0]}")
    return "\n".join(lines)


def show(server: str, function: str, end: str) -> None:
    """Prints how a call ended."""
    print(f"{server}: {function.partition('.')[2]}: {' '.join(end.split())[:150]}", flush=True)


async def call_all(folder: Path, name: str, plugin: MCPPlugin) -> None:
    """Lets an agent call each function of one server, and prints how each call ended."""
    offered = await functions(plugin, folder)
    calls = [Reply(tool_calls=[ToolCall(f"it-{one.name}", arguments(folder, name, one))]) for one in offered]
    script = TeamBrain(rounds=[("One", "go")], agents={"One": [*calls, "done"]}, answer="done")

    def brain(request: Request) -> Reply | None:
        return script(request) if request.purpose else Reply("a sampled reply")

    data = plugin.model_dump(exclude_unset=True)
    if plugin.transport == "stdio":
        data["env"] = {one: f"${{{one}}}" for one in data["env"]}  # values in a team may be secrets
    with OpenAIServer(brain) as server:
        tools = [{"id": f"it.{one.name}"} for one in offered]
        team = {
            "name": "bench",
            "services": {"default": {"provider": "openai", "model": "m", "base_url": server.base_url}},
            "plugins": {"it": data},
            "agents": [{"name": "One", "description": "d", "instructions": "i", "tools": tools}],
            "limits": {"tool_rounds": len(calls) + 1},
            "report": {"formats": []},
        }
        people: Any = {"humans": {"*": lambda turn: person(turn.instructions)}}
        async with TeamFactory.from_dict(team, base_dir=folder) as factory:
            async for event in factory.stream("t", out=folder.with_name("runs"), **people):
                if isinstance(event, ev.ToolCallFinished):
                    show(name, event.function, event.result)
                if isinstance(event, ev.ToolCallFailed):
                    show(name, event.function, f"FAILED: {event.error}")
                if isinstance(event, ev.RunFinished):
                    print(f"{name}: {len(calls)} functions, {event.outcome}", flush=True)


def main() -> None:
    """All servers, or those named on the command line."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve() / "work"
        folder.mkdir()
        (folder / "a.txt").write_text("one\n")
        identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
        for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "t"]):
            subprocess.run(["git", *command], cwd=folder, check=True)
        wanted = sys.argv[1:]
        for server, command in servers(folder).items():
            if not wanted or server in wanted:
                asyncio.run(call_all(folder, server, config(command)))
        if not wanted or "http" in wanted:
            with over_http(servers(folder)["everything"]) as plugin:
                asyncio.run(call_all(folder, "http", plugin))


main()
