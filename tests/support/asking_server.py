"""An MCP server over stdio that asks its client for all that MCP lets it ask: `python asking_server.py`."""

from __future__ import annotations

from typing import Any

from mcp import types
from mcp.server.fastmcp import Context, FastMCP, Image
from pydantic import BaseModel

app = FastMCP("asking", log_level="WARNING")
Asked = Context[Any, Any, Any]


class Booking(BaseModel):
    seats: int
    window: bool


class Total(BaseModel):
    sum: int


@app.tool()
async def roots(context: Asked) -> str:
    """Where the client lets it work."""
    return " ".join(str(root.uri) for root in (await context.session.list_roots()).roots)


@app.tool()
async def sample(question: str, context: Asked) -> str:
    """Lets the client's model answer."""
    message = types.SamplingMessage(role="user", content=types.TextContent(type="text", text=question))
    try:
        result = await context.session.create_message([message], max_tokens=20, system_prompt="Be short.")
    except Exception as error:
        return f"refused: {error}"
    return f"the model said: {getattr(result.content, 'text', result.content)}"


@app.tool()
async def book(context: Asked) -> str:
    """Asks the person."""
    result = await context.elicit("How many seats?", Booking)
    return f"{result.action}: {getattr(result, 'data', None)}"


@app.tool()
async def work(context: Asked) -> str:
    """Reports what it does."""
    await context.info("beginning")
    await context.report_progress(1, 2, "half way")
    return "done"


@app.tool()
def total(numbers: list[int]) -> Total:
    """Has structured output."""
    return Total(sum=sum(numbers))


@app.tool(structured_output=False)
def picture() -> list[Any]:
    return ["a dot", Image(data=b"\x00" * 10, format="png")]


@app.prompt()
def greet(name: str) -> str:
    """Greets."""
    return f"Say hello to {name}."


@app.resource("notes://today")
def today() -> str:
    """The note of today."""
    return "buy tea"


app.run()
