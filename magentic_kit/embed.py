"""A team as a part of something else: a function of a plugin, an SK agent, a member of another team."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
from pydantic import PrivateAttr
from semantic_kernel.agents import ChatCompletionAgent
from semantic_kernel.contents import ChatHistory
from semantic_kernel.functions import KernelFunctionFromMethod, KernelParameterMetadata, KernelPlugin, kernel_function

from magentic_kit import events as ev
from magentic_kit.errors import ConfigError, ReplayError, UnknownToolError
from magentic_kit.events import AnyEvent
from magentic_kit.runlog.context import CALL, RunContext
from magentic_kit.runlog.directory import new_run_id
from magentic_kit.runlog.settle import within
from magentic_kit.services.reply import Answer, OwnChatCompletion
from magentic_kit.text import one_line
from magentic_kit.tools.openapi import function_name

if TYPE_CHECKING:
    from magentic_kit.factory import TeamFactory
    from magentic_kit.orchestration.options import RunOptions
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
_RESERVED = {"arguments", "execution_settings", "kernel", "metadata", "self", "server", "service", "settings", "task"}
"""Names that Semantic Kernel hands to a function, or to what calls it, beside the arguments; and the task's own."""
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
    about = "What the team is to do, with all it has to know."
    parameters = [_parameter("task", about, config.task or None, is_required=not config.task)]
    for key, spec in config.inputs.items():
        if key not in given:
            if key in _RESERVED:
                message = f"the input '{key}' cannot be an argument of a function: the name is taken; rename the input"
                raise ConfigError.one(message, file=config.name)
            parameters.append(_parameter(key, spec.description, spec.default, is_required=spec.required))
    return KernelFunctionFromMethod(run, parameters=parameters)


class TeamChatCompletion(OwnChatCompletion):
    """Answers a conversation by a team's run; so a team's turn is logged, cancelled and resumed like a model's."""

    _factory: TeamFactory = PrivateAttr()
    _on_event: OnEvent | None = PrivateAttr()
    _options: RunOptions = PrivateAttr()

    def __init__(self, factory: TeamFactory, on_event: OnEvent | None, options: RunOptions) -> None:
        super().__init__(ai_model_id=factory.team.config.name, service_id="team")
        self._factory, self._on_event, self._options = factory, on_event, options

    async def _reply(self, history: ChatHistory) -> Answer:
        if lane := getattr(self, "_lane", None):
            lane.context.enter(lane.call)
        ended = await _call(self._factory, _task(history), self._options, self._on_event)
        usage = ev.Usage(prompt_tokens=ended.prompt_tokens, completion_tokens=ended.completion_tokens)
        return Answer(text=_says(ended), usage=usage)


async def _call(factory: TeamFactory, task: str | None, options: RunOptions, on_event: OnEvent | None) -> RunResult:
    """Runs the team to its end, which comes at once when whoever waits here is cancelled."""
    outer, name = (call[0], next(call[1])) if (call := CALL.get()) else (None, "")
    run = _begin(factory, task, options, outer, name)
    try:
        async for event in run.events():
            if outer and (told := progress_of(event)):
                outer.emit(ev.TeamProgress(call=name, team=factory.team.config.name, at=event.seq, text=told))
            try:
                if on_event and inspect.isawaitable(waiting := on_event(event)):
                    await waiting
            except Exception:
                logger.warning("%r raised; the run goes on", on_event, exc_info=True)
        return await run.result()
    except BaseException:
        run.cancel()
        with anyio.CancelScope(shield=True), suppress(ReplayError):
            await run.result()
        raise


def _begin(factory: TeamFactory, task: str | None, options: RunOptions, outer: RunContext | None, name: str) -> Run:
    """Begins a run, inside the log of the run whose call this is.

    If that run is resumed and this call was under way when it stopped, the run that the call had begun goes on.
    """
    if outer is None:
        return factory.start(task, **options)
    if outer.log is None:
        outside: RunOptions = {**options, "out": None}
        return factory.start(task, **outside)
    from magentic_kit.run import Run  # which is made of parts that import this

    if words := within(outer.unknown_tools, name):
        options = {**options, "unknown_tools": words}
    log = outer.log.inside(name, factory.team.config.name)
    has_begun = bool(log.read())
    try:
        return Run.over(factory, log, task, options, new_run_id(factory.team.config.name))
    except UnknownToolError as error:
        raise UnknownToolError({f"{name}/{call}": what for call, what in error.calls.items()}) from error
    except ConfigError as error:
        if not has_begun or not log.directory:
            raise
        raise ConfigError.one(f"resume this run first: {error}", file=str(log.directory)) from error


def progress_of(event: AnyEvent) -> str:
    """A short line for whoever waits for a team, or none."""
    match event:
        case ev.PlanCreated():
            return "the plan is made"
        case ev.Replanned():
            return "a new plan is made"
        case ev.AgentStarted():
            return f"round {event.round}: {event.agent}: {one_line(event.instruction, 100)}"
        case ev.TeamProgress():
            return f"{event.team}: {event.text}"
    return ""


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


def _parameter(name: str, about: str | None, default: Any, *, is_required: bool) -> KernelParameterMetadata:
    description = " ".join(filter(None, (about, "" if default is None else f"Default: {default}")))
    schema = {"type": _JSON.get(type(default), "string"), "description": description}
    return KernelParameterMetadata(name=name, description=description, is_required=is_required, schema_data=schema)
