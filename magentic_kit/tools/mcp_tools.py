"""The tools of an MCP server as functions for Semantic Kernel, and their results as text."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from typing import Any

from mcp import ClientSession, types
from semantic_kernel.contents import ImageContent
from semantic_kernel.exceptions import FunctionExecutionException
from semantic_kernel.functions import KernelPlugin

from magentic_kit.tools.function_names import function_name
from magentic_kit.tools.remote_functions import ConnectedPlugin, Parameter, are_schemas, remote_function
from magentic_kit.tools.results import TextWithContents
from magentic_kit.tools.schemas import SchemaReferences, with_definitions

MAX_TOOLS = 1_000
"""Tools of one server, and pages that they are listed on. A list that never ends would keep a run from starting."""

CallTool = Callable[[types.Tool, dict[str, Any]], Awaitable[str]]
"""Calls a tool with its arguments, and returns its result as text, which may have images besides."""


async def listed_tools(session: ClientSession) -> list[types.Tool]:
    """All tools of a server, page by page. Raises `ValueError` if there are too many."""
    tools: list[types.Tool] = []
    cursor = None
    for _ in range(MAX_TOOLS):
        page = await session.list_tools(params=types.PaginatedRequestParams(cursor=cursor))
        tools += page.tools
        cursor = page.nextCursor
        if len(tools) > MAX_TOOLS:
            break
        if not cursor:
            return tools
    raise ValueError(f"the server lists more than {MAX_TOOLS:,} tools or pages of tools")


def tools_plugin(
    name: str, description: str, tools: list[types.Tool], call: CallTool
) -> Generator[None, None, ConnectedPlugin]:
    """Makes a plugin of tools, a function with each step. Raises `ValueError` for one whose schema is none."""
    references = SchemaReferences()
    plugin = KernelPlugin(name=name, description=description)
    for tool in tools:
        yield
        # All at once, so that they have one budget; what `$defs` beside them hold few models are sent.
        properties = references.inlined(tool.inputSchema.get("properties", {}), tool.inputSchema)
        required = tool.inputSchema.get("required", [])
        if not isinstance(required, list) or not are_schemas(properties):
            raise ValueError(f"the input schema of the tool {tool.name} is not valid")
        parameters = [Parameter(one, schema, one in required) for one, schema in properties.items()]
        function = remote_function(
            name,
            function_name(tool.name),
            tool.description,
            parameters,
            partial(call, tool),
            written=with_definitions(tool.inputSchema),
        )
        plugin.functions[function.name] = function
    return ConnectedPlugin(plugin)


def result_text(result: types.CallToolResult) -> str:
    """A tool's result for the model; of pictures and other bytes only what they are.

    Raises `FunctionExecutionException` if the tool reports that it failed.
    """
    blocks = []
    for block in result.content:
        if block.type == "text":
            blocks.append(block.text)
        else:
            blocks.append(block.model_dump_json(exclude={"data": True, "resource": {"blob": True}}, exclude_none=True))
    if not blocks and result.structuredContent is not None:
        blocks.append(json.dumps(result.structuredContent, ensure_ascii=False))
    text = "\n".join(blocks)
    if result.isError:
        raise FunctionExecutionException(text or "the tool failed and did not say why")
    return text


def returned(result: types.CallToolResult) -> TextWithContents:
    """A tool's result: its text, and the images that it has besides. Raises as `result_text`."""
    text = TextWithContents(result_text(result))
    images = [block for block in result.content if isinstance(block, types.ImageContent)]
    text.contents = tuple(
        ImageContent(data=image.data, data_format="base64", mime_type=image.mimeType) for image in images
    )
    return text
