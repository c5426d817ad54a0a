"""A team as a part of something else: a function of a plugin, an SK agent, a member of another team."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol

import anyio
from pydantic import PrivateAttr
from semantic_kernel.agents import ChatCompletionAgent
from semantic_kernel.connectors.ai.prompt_execution_settings import PromptExecutionSettings
from semantic_kernel.contents import ChatHistory
from semantic_kernel.functions import KernelFunctionFromMethod, KernelParameterMetadata, KernelPlugin, kernel_function

from magentic_kit import events as ev
from magentic_kit.errors import ConfigError, ReplayError, UnknownToolError
from magentic_kit.events import AnyEvent
from magentic_kit.orchestration.callbacks import isolated
from magentic_kit.orchestration.options import OnEvent, RunArguments, Task
from magentic_kit.runlog.directory import RunLog
from magentic_kit.runlog.emitter import PARENT_CALL, ParentCall, RunEmitter
from magentic_kit.runlog.replay import RecordedSteps
from magentic_kit.runlog.result import RunResult
from magentic_kit.runlog.settle import within
from magentic_kit.services.reply import Answer, InProcessChatCompletion, contents_of
from magentic_kit.team.models import TeamConfig
from magentic_kit.tools.function_names import function_name
from magentic_kit.views.progress import progress_of
from magentic_kit.views.reply import ReplyStream, reply_of

_RESERVED = {"arguments", "execution_settings", "kernel", "metadata", "self", "server", "service", "settings", "task"}
"""Names that Semantic Kernel hands to a function, or to what calls it, beside the arguments; and the task's own."""
_JSON = {bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}


class RunUnderWay(Protocol):
    """A run that was started; `magentic_kit.run.Run` is one."""

    def events(self) -> AsyncIterator[AnyEvent]:
        """Every event as it comes."""

    async def result(self) -> RunResult:
        """Waits for the end."""

    def cancel(self) -> None:
        """Ends the run."""


class StartRun(Protocol):
    """Starts a run of a team, or goes on with the one that a log has."""

    def __call__(self, task: Task | None, options: RunArguments, log: RunLog | None = None) -> RunUnderWay:
        """Raises `ConfigError` if the run cannot begin or go on."""


@dataclass(frozen=True, kw_only=True)
class EmbeddedTeam:
    """A team that others call: its config, how its runs start and with which options, and who follows them."""

    config: TeamConfig
    start: StartRun
    options: RunArguments
    on_event: OnEvent | None = None

    @property
    def description(self) -> str:
        """What the team is for, or what its agents are for."""
        return description_of(self.config)

    async def call(self, task: Task | None, options: RunArguments) -> RunResult:
        """Runs the team to its end, which comes at once when whoever waits here is cancelled."""
        async for step in self.stream(task, options):
            if isinstance(step, RunResult):
                return step
        raise AssertionError("a run has a result")

    async def stream(self, task: Task | None, options: RunArguments) -> AsyncGenerator[AnyEvent | RunResult, None]:
        """The events of a run of the team as they come, then its result. Leaving the loop cancels the run."""
        follow = isolated(self.on_event)
        parent = PARENT_CALL.get()
        name = parent.next_run() if parent else ""
        run = self._start_inside(parent, name, task, options) if parent else self.start(task, options)
        try:
            async for event in run.events():
                if parent and (text := progress_of(event)):
                    progress = ev.TeamProgress(call=name, team=self.config.name, at=event.seq, text=text)
                    parent.emitter.emit(progress)
                if follow is not None:
                    await follow(event)
                yield event
            yield await run.result()
        except BaseException:
            run.cancel()
            with anyio.CancelScope(shield=True), suppress(ReplayError):
                await run.result()
            raise

    def _start_inside(self, parent: ParentCall, name: str, task: Task | None, options: RunArguments) -> RunUnderWay:
        """Starts a run inside the log of the run whose call this is.

        If that run is resumed and this call was under way when it stopped, the run that the call had begun goes on.
        """
        outer = parent.emitter.log
        if outer is None:
            return self.start(task, replace(options, out=None))
        answers = within(parent.steps.unknown_tools, name)
        if answers:
            options = replace(options, unknown_tools=answers)
        log = outer.inside(name, self.config.name)
        has_begun = bool(log.read())
        try:
            return self.start(task, options, log)
        except UnknownToolError as error:
            raise UnknownToolError({f"{name}/{call}": what for call, what in error.calls.items()}) from error
        except ConfigError as error:
            if not has_begun or not log.directory:
                raise
            raise ConfigError.one(f"resume this run first: {error}", file=str(log.directory)) from error


def description_of(config: TeamConfig) -> str:
    """What a team is for, or what its agents are for."""
    if config.description:
        return config.description
    return "A team of agents: " + " ".join(f"{agent.name}: {agent.description}" for agent in config.agents)


def as_plugin(team: EmbeddedTeam, name: str | None) -> KernelPlugin:
    """See `TeamFactory.as_plugin`."""
    function = as_function(team, "run")
    name = name or function_name(team.config.name).replace("-", "_")
    return KernelPlugin(name=name, description=function.description, functions=[function])


def as_agent(team: EmbeddedTeam, name: str | None) -> ChatCompletionAgent:
    """See `TeamFactory.as_agent`."""
    name = name or function_name(team.config.name)
    return ChatCompletionAgent(name=name, description=team.description, service=TeamChatCompletion(team))


def as_function(team: EmbeddedTeam, name: str) -> KernelFunctionFromMethod:
    """The team as one kernel function: its parameters are the task and those inputs that its options leave open."""
    given = team.options.inputs

    @kernel_function(name=name, description=team.description)
    async def run(task: str | None = None, **inputs: Any) -> str:
        inputs.update(given)
        return reply_of(await team.call(task, replace(team.options, inputs=inputs)))

    config = team.config
    about = "What the team is to do, with all it has to know."
    parameters = [_parameter("task", about, config.task or None, is_required=not config.task)]
    for key, spec in config.inputs.items():
        if key not in given:
            if key in _RESERVED:
                message = f"the input '{key}' cannot be an argument of a function: the name is taken; rename the input"
                raise ConfigError.one(message, file=config.name)
            parameters.append(_parameter(key, spec.description, spec.default, is_required=spec.required))
    return KernelFunctionFromMethod(run, parameters=parameters)


class TeamChatCompletion(InProcessChatCompletion):
    """Answers a conversation by a team's run; so a team's turn is logged, cancelled and resumed like a model's.

    As a member of another team, its runs are parts of the run with this emitter and these recorded steps.
    """

    _team: EmbeddedTeam = PrivateAttr()
    _emitter: RunEmitter | None = PrivateAttr()
    _steps: RecordedSteps | None = PrivateAttr()

    def __init__(
        self, team: EmbeddedTeam, emitter: RunEmitter | None = None, steps: RecordedSteps | None = None
    ) -> None:
        super().__init__(ai_model_id=team.config.name, service_id="team")
        self._team, self._emitter, self._steps = team, emitter, steps

    async def _reply(self, history: ChatHistory) -> Answer:
        self._enter_call()
        result = await self._team.call([*history.messages], self._team.options)
        return Answer(text=reply_of(result), usage=_usage(result), cost=result.cost)

    async def _inner_get_streaming_chat_message_contents(
        self, chat_history: ChatHistory, settings: PromptExecutionSettings, function_invoke_attempt: int = 0
    ) -> AsyncGenerator[list[Any], None]:
        """The pieces of the reply as they come, and with the last of them what the run used."""
        self._enter_call()
        reply = ReplyStream()
        async for step in self._team.stream([*chat_history.messages], self._team.options):
            text = reply.piece(step)
            if isinstance(step, RunResult):
                answer = Answer(text=text, usage=_usage(step), cost=step.cost)
                for content in contents_of(answer, self.ai_model_id, attempt=function_invoke_attempt):
                    yield [content]
            elif text:
                piece = Answer(text=text, usage=ev.Usage())
                yield contents_of(piece, self.ai_model_id, attempt=function_invoke_attempt)[:1]

    def _enter_call(self) -> None:
        if self._call and self._emitter and self._steps:
            PARENT_CALL.set(ParentCall(self._emitter, self._steps, self._call.name))


def _usage(result: RunResult) -> ev.Usage:
    return ev.Usage(
        prompt_tokens=result.prompt_tokens,
        completion_tokens=result.completion_tokens,
        cached_tokens=result.record.totals["cached_tokens"],
    )


def task_of(messages: Sequence[tuple[str, str]]) -> str:
    """What a conversation of (speaker, text) asks for: its last message, and all that was said before it."""
    said = [(speaker, text) for speaker, text in messages if text.strip()]
    if len(said) < 2:
        return "".join(text for _, text in said)
    before = "\n\n".join(f"{speaker}: {text}" for speaker, text in said[:-1])
    return f"{said[-1][1]}\n\nThis was said before:\n\n{before}"


def _parameter(name: str, about: str | None, default: Any, *, is_required: bool) -> KernelParameterMetadata:
    parts = [about] if about else []
    if default is not None:
        parts.append(f"Default: {default}")
    schema = {"type": _JSON.get(type(default), "string"), "description": " ".join(parts)}
    return KernelParameterMetadata(
        name=name, description=schema["description"], is_required=is_required, schema_data=schema
    )
