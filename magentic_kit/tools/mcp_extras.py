"""Prompts and resources of an MCP server as functions, for agents that list them by name."""

from __future__ import annotations

from typing import Any

from mcp import ClientSession, types
from pydantic import AnyUrl, ValidationError
from semantic_kernel.exceptions import FunctionExecutionException
from semantic_kernel.functions import KernelPlugin

from magentic_kit.text import one_line
from magentic_kit.tools.function_names import function_name
from magentic_kit.tools.remote_functions import Parameter, remote_function

_TEXT = {"type": "string"}
_MOST = 1_000
"""Prompts or resources of one server that are listed."""


async def add_prompts_and_resources(plugin: KernelPlugin, session: ClientSession) -> None:
    """Adds `prompt-NAME`, `list_resources` and `read_resource`, which no `plugin.*` stands for."""
    has = session.get_server_capabilities()
    if has and has.prompts:
        for prompt in await _prompts(session):
            _add(plugin, f"prompt-{prompt.name}", prompt.description, _parameters(prompt), _GetPrompt(session, prompt))
    if has and has.resources and await _has_resources(session):
        about = "Lists the resources that there are, with their URIs."
        _add(plugin, "list_resources", about, [], _ListResources(session))
        uri = Parameter("uri", {**_TEXT, "description": "URI of the resource."}, is_required=True)
        _add(plugin, "read_resource", "Reads a resource.", [uri], _ReadResource(session))


async def _has_resources(session: ClientSession) -> bool:
    """Whether there are any, or templates of some: most servers say that they might have resources."""
    if (await session.list_resources()).resources:
        return True
    return bool((await session.list_resource_templates()).resourceTemplates)


def _add(plugin: KernelPlugin, name: str, about: str | None, parameters: list[Parameter], call: Any) -> None:
    function = remote_function(plugin.name, function_name(name), about, parameters, call, only_by_name=True)
    plugin.functions.setdefault(function.name, function)


async def _prompts(session: ClientSession) -> list[types.Prompt]:
    prompts: list[types.Prompt] = []
    cursor = None
    while len(prompts) < _MOST:
        page = await session.list_prompts(params=types.PaginatedRequestParams(cursor=cursor))
        prompts += page.prompts
        cursor = page.nextCursor
        if not cursor or not page.prompts:
            break
    return prompts


def _parameters(prompt: types.Prompt) -> list[Parameter]:
    parameters: list[Parameter] = []
    for argument in prompt.arguments or ():
        schema = {**_TEXT, "description": argument.description or ""}
        parameters.append(Parameter(argument.name, schema, bool(argument.required)))
    return parameters


class _GetPrompt:
    """Fills in a prompt."""

    def __init__(self, session: ClientSession, prompt: types.Prompt) -> None:
        self._session, self._prompt = session, prompt

    async def __call__(self, arguments: dict[str, Any]) -> str:
        result = await self._session.get_prompt(self._prompt.name, {name: str(one) for name, one in arguments.items()})
        return "\n\n".join(f"{message.role}: {_text(message.content)}" for message in result.messages)


class _ListResources:
    """Lists resources, and templates of their URIs."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session

    async def __call__(self, arguments: dict[str, Any]) -> str:
        resources = (await self._session.list_resources()).resources
        templates = (await self._session.list_resource_templates()).resourceTemplates
        lines = [f"{one.uri} {one.name}: {one.description or ''}" for one in resources]
        lines += [f"{one.uriTemplate} {one.name}: {one.description or ''}" for one in templates]
        return "\n".join(lines[:_MOST]) or "there are none"


class _ReadResource:
    """Reads a resource; of bytes only what they are."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session

    async def __call__(self, arguments: dict[str, Any]) -> str:
        uri = str(arguments["uri"])
        try:
            url = AnyUrl(uri)
        except ValidationError:
            raise FunctionExecutionException(f"{one_line(uri, 200)!r} is no URI of a resource") from None
        result = await self._session.read_resource(url)
        return "\n".join(_contents(one) for one in result.contents)


def _contents(one: types.TextResourceContents | types.BlobResourceContents) -> str:
    if isinstance(one, types.TextResourceContents):
        return one.text
    return one.model_dump_json(exclude={"blob": True}, exclude_none=True)


def _text(block: types.ContentBlock) -> str:
    if isinstance(block, types.TextContent):
        return block.text
    return block.model_dump_json(exclude={"data": True, "resource": {"blob": True}}, exclude_none=True)
