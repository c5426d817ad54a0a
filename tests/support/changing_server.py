"""An MCP server over stdio whose tools change when one of them is called: `python changing_server.py`."""

from __future__ import annotations

from typing import Any

from mcp.server.fastmcp import Context, FastMCP

app = FastMCP("changing", log_level="WARNING")


def inside(what: str) -> str:
    """Is there when the door is open."""
    return f"took {what}"


@app.tool()
async def enter(context: Context[Any, Any, Any]) -> str:
    """Opens the door, for good."""
    app.add_tool(inside)
    app.remove_tool("enter")
    await context.session.send_tool_list_changed()
    return "you are in"


app.run()
