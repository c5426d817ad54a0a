"""The tools of an MCP server as functions for Semantic Kernel, and their results as text."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import Any

from mcp import ClientSession, types
from semantic_kernel.exceptions import FunctionExecutionException
from semantic_kernel.filters.functions.function_invocation_context import FunctionInvocationContext
from semantic_kernel.functions import KernelFunctionFromMethod, KernelParameterMetadata, KernelPlugin, kernel_function

from magentic_kit.tools.function_names import function_name
from magentic_kit.tools.schemas import SchemaReferences

MAX_TOOLS = 1_000
"""Tools of one server, and pages that they are listed on. A list that never ends would keep a run from starting."""

CallTool = Callable[[str, dict[str, Any]], Awaitable[str]]
"""Calls a tool by its name with its arguments, and returns its result as text."""


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
) -> Generator[None, None, KernelPlugin]:
    """Makes a plugin of tools, a function with each step. Raises `ValueError` for one whose schema is none."""
    references = SchemaReferences()
    plugin = KernelPlugin(name=name, description=description)
    for tool in tools:
        yield
        # All at once, so that they have one budget; what `$defs` beside them hold is not sent otherwise.
        properties = references.inlined(tool.inputSchema.get("properties", {}), tool.inputSchema)
        required = tool.inputSchema.get("required", [])
        if not isinstance(required, list) or not _are_schemas(properties):
            raise ValueError(f"the input schema of the tool {tool.name} is not valid")
        function = _function(name, tool, properties, required, call)
        plugin.functions[function.name] = function
    return plugin


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


def _function(
    plugin: str, tool: types.Tool, properties: Mapping[str, Any], required: list[Any], call: CallTool
) -> KernelFunctionFromMethod:
    async def call_tool(**arguments: Any) -> str:
        return await call(tool.name, arguments)

    return _ModelArguments(  # type: ignore[call-arg]  # pydantic's inherited signature
        method=kernel_function(name=function_name(tool.name), description=tool.description)(call_tool),
        plugin_name=plugin,
        # Not validated, as SK refuses parameter names such as `filter.name`.
        parameters=[
            KernelParameterMetadata.model_construct(name=name, is_required=name in required, schema_data=schema)
            for name, schema in properties.items()
        ],
    )


class _ModelArguments(KernelFunctionFromMethod):
    """A function that gets the model's arguments; SK puts its own for those named kernel, service or arguments."""

    def gather_function_parameters(self, context: FunctionInvocationContext) -> dict[str, Any]:
        names = {parameter.name for parameter in self.parameters}
        return {name: value for name, value in context.arguments.items() if name in names}


def _are_schemas(properties: Any) -> bool:
    return isinstance(properties, dict) and all(isinstance(schema, dict | bool) for schema in properties.values())
