"""An MCP server over stdio whose tool runs as a task alone, and asks a person in it: `python task_server.py`."""

from __future__ import annotations

from typing import Any

import anyio
from mcp import types
from mcp.server.experimental.task_context import ServerTaskContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

app: Server[Any, Any] = Server("tasks")
app.experimental.enable_tasks()
FORM = {
    "type": "object",
    "properties": {
        "shelf": {"type": "string", "oneOf": [{"const": "a", "title": "Atlases"}, {"const": "b", "title": "Books"}]},
        "years": {"type": "array", "items": {"type": "string", "enum": ["2023", "2024", "2025"]}},
    },
}


@app.list_tools()
async def listed() -> list[types.Tool]:
    execution = types.ToolExecution(taskSupport="required")
    return [types.Tool(name="look-up", inputSchema={"type": "object", "properties": {}}, execution=execution)]


@app.call_tool()
async def called(name: str, arguments: dict[str, Any]) -> types.CreateTaskResult:
    async def work(task: ServerTaskContext) -> types.CallToolResult:
        await task.update_status("looking")
        answer = await task.elicit("Where, and of when?", FORM)
        text = f"{answer.action}: {answer.content}"
        return types.CallToolResult(content=[types.TextContent(type="text", text=text)])

    return await app.request_context.experimental.run_task(work)


async def serve() -> None:
    async with stdio_server() as (read, write):
        await app.run(read, write, app.create_initialization_options())


anyio.run(serve)
