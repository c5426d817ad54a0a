"""What an MCP server may ask of its client, and what it reports: roots, sampling, elicitation, progress, logs."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from mcp import ClientSession, types

from magentic_kit.runlog.emitter import PARENT_CALL, ParentCall
from magentic_kit.text import one_line

if TYPE_CHECKING:
    from magentic_kit.team.plugins import MCPPlugin

_LONGEST = 500
"""Characters of a message that are shown."""

_TASK_KEPT = 86_400_000
"""Milliseconds for which a server is to keep a task; the call itself is bounded by its caller."""

Answers: TypeAlias = dict[str, str | int | float | bool | list[str] | None]
"""Values of an elicitation's fields."""


@dataclass(frozen=True, kw_only=True)
class SamplingRequest:
    """A reply that a server wants of a model: in whose function call, from whom what was said, and how long at most."""

    call: str
    system: str
    messages: Sequence[tuple[str, str]]
    """`user` or `assistant`, and the text."""
    max_tokens: int


@dataclass(frozen=True, kw_only=True)
class ServerHost:
    """What a run offers its MCP servers, and where it hears of them; `root` is the team's folder."""

    root: Path
    report: Callable[[str, str, str], None] = lambda plugin, level, text: None
    """Is told the plugin, `progress` or the level of a log message, and the text."""
    sample: Callable[[str, SamplingRequest], Awaitable[str]] | None = None
    """Lets a model answer for the plugin. Raises what the server is to be told."""
    ask: Callable[[str, str], Awaitable[str]] | None = None
    """Asks a person for the plugin; an empty answer declines."""


class ClientSide:
    """The client's side of one session, whose requests come while a function is called."""

    def __init__(self, name: str, config: MCPPlugin, host: ServerHost) -> None:
        self._name, self._config, self._host = name, config, host
        self._samples = 0
        self.has_other_tools = False
        """Whether the server has said that its tools have changed."""
        self._calls: list[ParentCall] = []

    def session(self, read: Any, write: Any) -> ClientSession:
        """The session over these streams, which tells the server what it may ask for."""
        sampling = elicitation = None
        if self._config.sampling and self._host.sample:
            sampling = self._sample
        if self._host.ask:
            elicitation = self._elicit
        return ClientSession(
            read,
            write,
            sampling_callback=sampling,
            elicitation_callback=elicitation,
            list_roots_callback=self._roots,
            logging_callback=self._log,
            message_handler=self._take,
        )

    async def call(self, session: ClientSession, tool: types.Tool, arguments: dict[str, Any]) -> types.CallToolResult:
        """The result of a tool."""
        parent = PARENT_CALL.get()
        if parent is not None:
            self._calls.append(parent)
        try:
            if _is_task(session, tool):
                return await _task_result(session, tool, arguments)
            return await session.call_tool(tool.name, arguments, progress_callback=self._progress)
        finally:
            if parent is not None:
                self._calls.remove(parent)

    async def _take(self, message: object) -> None:
        if isinstance(message, types.ServerNotification) and isinstance(
            message.root, types.ToolListChangedNotification
        ):
            self.has_other_tools = True  # they cannot be listed here, where the session reads what the server sends

    async def _progress(self, progress: float, total: float | None, message: str | None) -> None:
        done = f"{progress:g}"
        if total is not None:
            done += f" of {total:g}"
        self._report("progress", f"{done} {message or ''}")

    async def _log(self, params: types.LoggingMessageNotificationParams) -> None:
        text = params.data
        if not isinstance(text, str):
            text = json.dumps(text, ensure_ascii=False, default=str)
        self._report(params.level, text)

    def _report(self, level: str, text: str) -> None:
        self._host.report(self._name, level, one_line(text, _LONGEST))

    async def _roots(self, context: object) -> types.ListRootsResult:
        folders = [self._host.root]
        if self._config.roots is not None:
            folders = [self._host.root / folder for folder in self._config.roots]
        roots = [types.Root.model_validate({"uri": one.resolve().as_uri(), "name": one.name}) for one in folders]
        return types.ListRootsResult(roots=roots)

    async def _sample(
        self, context: object, params: types.CreateMessageRequestParams
    ) -> types.CreateMessageResult | types.ErrorData:
        if self._samples >= self._config.sampling:
            limit = f"plugins.{self._name}.sampling allows {self._config.sampling} model calls in a run"
            return types.ErrorData(code=types.INVALID_REQUEST, message=limit)
        if self._host.sample is None or not self._calls:
            return types.ErrorData(code=types.INVALID_REQUEST, message="no function is being called")
        self._samples += 1
        said: list[tuple[str, str]] = []
        for message in params.messages:
            said += [(message.role, block.text) for block in message.content_as_list if block.type == "text"]
        request = SamplingRequest(
            call=self._calls[-1].name,
            system=params.systemPrompt or "",
            messages=said,
            max_tokens=params.maxTokens,
        )
        try:
            text = await self._host.sample(self._name, request)
        except Exception as error:  # what stops the run, its calls find out by themselves
            return types.ErrorData(code=types.INTERNAL_ERROR, message=one_line(str(error), _LONGEST))
        content = types.TextContent(type="text", text=text)
        return types.CreateMessageResult(role="assistant", content=content, model="unknown", stopReason="endTurn")

    async def _elicit(self, context: object, params: types.ElicitRequestParams) -> types.ElicitResult:
        if self._host.ask is None or isinstance(params, types.ElicitRequestURLParams):
            return types.ElicitResult(action="decline")
        fields: Mapping[str, Any] = params.requestedSchema.get("properties", {})
        text = await self._host.ask(self._name, _question(params.message, fields))
        answers = _answers(text, fields)
        if answers is None:
            return types.ElicitResult(action="decline")
        return types.ElicitResult(action="accept", content=answers)


def _is_task(session: ClientSession, tool: types.Tool) -> bool:
    """Whether the tool can be called as a task only; what it says counts if its server has tasks."""
    if tool.execution is None or tool.execution.taskSupport != "required":
        return False
    has = session.get_server_capabilities()
    requests = has.tasks.requests if has and has.tasks else None
    return bool(requests and requests.tools and requests.tools.call is not None)


async def _task_result(session: ClientSession, tool: types.Tool, arguments: dict[str, Any]) -> types.CallToolResult:
    """Starts a task and waits for its result; until then the server may ask for something."""
    # By requests, since the session's methods for tasks are deprecated.
    call = types.CallToolRequestParams(name=tool.name, arguments=arguments, task=types.TaskMetadata(ttl=_TASK_KEPT))
    started = await session.send_request(
        types.ClientRequest(types.CallToolRequest(params=call)), types.CreateTaskResult
    )
    wanted = types.GetTaskPayloadRequestParams(taskId=started.task.taskId)
    return await session.send_request(
        types.ClientRequest(types.GetTaskPayloadRequest(params=wanted)), types.CallToolResult
    )


def _question(message: str, fields: Mapping[str, Any]) -> str:
    """The message, and how to answer it."""
    lines = [message]
    for name, schema in fields.items():
        about = schema.get("description") or schema.get("title") or ""
        lines.append(f"{name} ({_kind(schema)}): {about}")
    if len(fields) > 1:
        lines.append("Answer each on a line of its own, as name: value; nothing declines.")
    return "\n".join(lines)


def _kind(schema: Mapping[str, Any]) -> str:
    """What a field takes: its choices, or its type."""
    if schema.get("type") == "array":
        return f"any of {_kind(schema.get('items', {}))}, with commas between"
    choices = [str(one) for one in schema.get("enum", ())]
    for one in schema.get("oneOf") or schema.get("anyOf") or ():
        choices.append(f"{one.get('const')} for {one.get('title')}")
    return ", ".join(choices) or schema.get("type", "text")


def _answers(text: str, fields: Mapping[str, Any]) -> Answers | None:
    """The values that a person gave, as the fields want them; None for none, or for what cannot be read."""
    if not text.strip():
        return None
    given: dict[str, str] = {}
    if len(fields) == 1:
        name = next(iter(fields))
        given[name] = text.strip().removeprefix(f"{name}:").strip()
    else:
        for line in text.splitlines():
            name, _, value = line.partition(":")
            given[name.strip()] = value.strip()
    try:
        return {name: _value(given[name], fields[name]) for name in fields if name in given}
    except ValueError:
        return None


def _value(text: str, schema: Mapping[str, Any]) -> str | int | float | bool | list[str]:
    match schema.get("type"):
        case "boolean":
            return text.casefold() in ("true", "yes", "y", "1")
        case "integer":
            return int(text)
        case "number":
            return float(text)
        case "array":
            return [one.strip() for one in text.split(",") if one.strip()]
    return text
