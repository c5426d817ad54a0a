"""A team as a part of something else: a function of a plugin, an SK agent, a member of another team."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
from pydantic import PrivateAttr
from semantic_kernel.agents import ChatCompletionAgent
from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase
from semantic_kernel.connectors.ai.completion_usage import CompletionUsage
from semantic_kernel.connectors.ai.prompt_execution_settings import PromptExecutionSettings
from semantic_kernel.contents import (
    ChatHistory,
    ChatMessageContent,
    StreamingChatMessageContent,
    StreamingTextContent,
    TextContent,
)
from semantic_kernel.contents.utils.author_role import AuthorRole
from semantic_kernel.contents.utils.finish_reason import FinishReason
from semantic_kernel.functions import KernelFunctionFromMethod, KernelParameterMetadata, KernelPlugin, kernel_function

from magentic_kit.context import CALL
from magentic_kit.errors import ConfigError, ReplayError
from magentic_kit.events import AnyEvent
from magentic_kit.journal import read_log
from magentic_kit.openapi import function_name

if TYPE_CHECKING:
    from magentic_kit.config import InputSpec
    from magentic_kit.factory import TeamFactory
    from magentic_kit.options import RunOptions
    from magentic_kit.run import Run, RunResult

logger = logging.getLogger(__name__)

OnEvent = Callable[[AnyEvent], Awaitable[None] | None]
"""Is told every event of a team's run, in order; one that raises is logged and never harms the run."""

_SAYS = {
    "satisfied": "{answer}",
    "limited": "The team had to stop early ({reason}). The best answer it has:\n\n{answer}",
    "rejected": "A person rejected the team's plan; there is no answer. {reason}",
    "cancelled": "The team was cancelled; there is no answer.",
    "failed": "The team failed; there is no answer: {error}",
}
_CALLER = "caller"
"""File in the directory of a run that another run began: the call that began it."""

_JSON = {bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}


def as_plugin(factory: TeamFactory, name: str | None, on_event: OnEvent | None, options: RunOptions) -> KernelPlugin:
    """See `TeamFactory.as_plugin`."""
    function = as_function(factory, "run", on_event, options)
    name = name or function_name(factory.team.config.name).replace("-", "_")
    return KernelPlugin(name=name, description=function.description, functions=[function])


def as_agent(
    factory: TeamFactory, name: str | None, on_event: OnEvent | None, options: RunOptions
) -> ChatCompletionAgent:
    """See `TeamFactory.as_agent`."""
    name = name or function_name(factory.team.config.name)
    service = TeamChatCompletion(factory, on_event, options)
    return ChatCompletionAgent(name=name, description=_description(factory), service=service)


def as_function(
    factory: TeamFactory, name: str, on_event: OnEvent | None, options: RunOptions
) -> KernelFunctionFromMethod:
    """The team as one kernel function: its parameters are the task and those inputs that `options` leaves open."""
    given = options.get("inputs", {})

    @kernel_function(name=name, description=_description(factory))
    async def run(task: str | None = None, **inputs: Any) -> str:
        ended = await _call(factory, task, {**options, "inputs": {**inputs, **given}}, on_event)
        return _says(ended)

    config = factory.team.config
    usual = f" Default: {config.task}" if config.task else ""
    parameters = [
        _parameter("task", f"What the team is to do, with all it has to know.{usual}", "string", not config.task),
        *(
            _parameter(key, _about(spec), _JSON.get(type(spec.default), "string"), spec.required)
            for key, spec in config.inputs.items()
            if key not in given
        ),
    ]
    return KernelFunctionFromMethod(run, parameters=parameters)


class TeamChatCompletion(ChatCompletionClientBase):
    """Answers a conversation by a team's run; so a team's turn is logged, cancelled and resumed like a model's."""

    _factory: TeamFactory = PrivateAttr()
    _on_event: OnEvent | None = PrivateAttr()
    _options: RunOptions = PrivateAttr()

    def __init__(self, factory: TeamFactory, on_event: OnEvent | None, options: RunOptions) -> None:
        super().__init__(ai_model_id=factory.team.config.name, service_id="team")
        self._factory, self._on_event, self._options = factory, on_event, options

    async def _reply(self, history: ChatHistory) -> tuple[str, dict[str, Any]]:
        if lane := getattr(self, "_lane", None):
            lane.context.enter(lane.call)
        ended = await _call(self._factory, _task(history), self._options, self._on_event)
        usage = CompletionUsage(prompt_tokens=ended.prompt_tokens, completion_tokens=ended.completion_tokens)
        more = {"metadata": {"usage": usage}, "finish_reason": FinishReason.STOP, "ai_model_id": self.ai_model_id}
        return _says(ended), more

    async def _inner_get_chat_message_contents(
        self, chat_history: ChatHistory, settings: PromptExecutionSettings
    ) -> list[ChatMessageContent]:
        text, more = await self._reply(chat_history)
        return [ChatMessageContent(role=AuthorRole.ASSISTANT, items=[TextContent(text=text)], **more)]

    async def _inner_get_streaming_chat_message_contents(
        self, chat_history: ChatHistory, settings: PromptExecutionSettings, function_invoke_attempt: int = 0
    ) -> AsyncGenerator[list[StreamingChatMessageContent], Any]:
        text, more = await self._reply(chat_history)
        items: list[Any] = [StreamingTextContent(choice_index=0, text=text)]
        yield [StreamingChatMessageContent(role=AuthorRole.ASSISTANT, choice_index=0, items=items, **more)]


async def _call(factory: TeamFactory, task: str | None, options: RunOptions, on_event: OnEvent | None) -> RunResult:
    """Runs the team to its end, which comes at once when whoever waits here is cancelled."""
    run = _begin(factory, task, options)
    try:
        async for event in run.events():
            try:
                if on_event and inspect.isawaitable(told := on_event(event)):
                    await told
            except Exception:
                logger.warning("%r raised; the run goes on", on_event, exc_info=True)
        return await run.result()
    except BaseException:
        run.cancel()
        with anyio.CancelScope(shield=True), suppress(ReplayError):
            await run.result()
        raise


def _begin(factory: TeamFactory, task: str | None, options: RunOptions) -> Run:
    """Begins a run, inside the directory of the run whose call this is.

    If that run is resumed and this call was under way when it stopped, the run that the call had begun goes on.
    """
    if (call := CALL.get()) is None:
        return factory.start(task, **options)
    parent, names = call
    inside: RunOptions = {**options, "out": parent and parent / "teams"}
    if parent is None:
        return factory.start(task, **inside)
    name = next(names)
    for caller in (parent / "teams").glob(f"*/{_CALLER}"):
        if caller.read_text(encoding="utf-8") == name and read_log(caller.parent)[0]:
            try:
                return factory.resume(caller.parent, **options)
            except ConfigError as error:
                raise ConfigError.one(f"resume this run first: {error}", file=str(caller.parent)) from error
    run = factory.start(task, **inside)
    if run.run_dir is not None:
        (run.run_dir / _CALLER).write_text(name, encoding="utf-8")
    return run


def _says(ended: RunResult) -> str:
    error = (ended.error or {}).get("message", "")
    return _SAYS[ended.outcome].format(answer=ended.answer, reason=ended.reason, error=error).rstrip()


def _task(history: ChatHistory) -> str:
    """What a conversation asks for: its last message, and all that was said before it."""
    said = [message for message in history.messages if message.content.strip()]
    if len(said) < 2:
        return "".join(message.content for message in said)
    before = "\n\n".join(f"{message.name or message.role.value}: {message.content}" for message in said[:-1])
    return f"{said[-1].content}\n\nThis was said before:\n\n{before}"


def _description(factory: TeamFactory) -> str:
    config = factory.team.config
    return config.description or "A team of agents: " + " ".join(f"{a.name}: {a.description}" for a in config.agents)


def _about(spec: InputSpec) -> str:
    usual = "" if spec.default is None else f"Default: {spec.default}"
    return " ".join(filter(None, (spec.description, usual)))


def _parameter(name: str, description: str, kind: str, is_required: bool) -> KernelParameterMetadata:
    schema = {"type": kind, "description": description}
    return KernelParameterMetadata(name=name, description=description, is_required=is_required, schema_data=schema)
