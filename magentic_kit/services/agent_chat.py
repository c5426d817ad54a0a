"""Any SK agent as a team member: to the rest of the run, a chat service that takes its time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from typing import Any

import anyio
from pydantic import PrivateAttr
from semantic_kernel.agents import Agent, AgentThread
from semantic_kernel.connectors.ai.prompt_execution_settings import PromptExecutionSettings
from semantic_kernel.contents import ChatHistory, ChatMessageContent, FunctionCallContent, FunctionResultContent
from semantic_kernel.contents.utils.author_role import AuthorRole
from semantic_kernel.functions.kernel_arguments import KernelArguments

from magentic_kit import events as ev
from magentic_kit.errors import KitError, ServiceError
from magentic_kit.runlog.call_names import call_name
from magentic_kit.runlog.emitter import RunEmitter
from magentic_kit.services.errors import as_service_error
from magentic_kit.services.messages import plain
from magentic_kit.services.reply import Answer, InProcessChatCompletion, contents_of
from magentic_kit.services.usage import usage_of

_CLOSING = 3.0
"""Seconds that a provider gets to delete what a run has made there."""

MakeAgent = Callable[[], Awaitable[Agent]]
Clean = Callable[[Agent], Awaitable[object]]


class AgentConversation:
    """One SK agent in one run: made when it is first asked, with a thread that lives as long as the run.

    The thread gets what is new since the agent's last turn, or all of the conversation if it is new itself, as after a
    resume, a failure or a new plan.
    """

    def __init__(self, make: MakeAgent, arguments: KernelArguments, *, clean: Clean | None = None) -> None:
        self._make, self._arguments, self._clean = make, arguments, clean
        self._agent: Agent | None = None
        self._thread: AgentThread | None = None
        self._known: list[dict[str, Any]] = []  # what the thread has, as plain data

    async def agent(self) -> Agent:
        """The agent itself."""
        if self._agent is None:
            self._agent = await self._make()
        return self._agent

    async def turn(
        self, history: ChatHistory, report: Callable[[ChatMessageContent], Awaitable[None]]
    ) -> AsyncGenerator[ChatMessageContent, None]:
        """The agent's messages of one turn, in pieces if it streams; `report` gets those between."""
        agent = await self.agent()
        messages, known = history.messages, plain(history.messages)
        if self._thread is None or known[: len(self._known)] != self._known:
            await self._forget()
            new = list(messages)
        else:
            new = [message for message in messages[len(self._known) :] if message.role != AuthorRole.ASSISTANT]
        thread, self._thread = self._thread, None  # a failed turn leaves nobody knows what in it
        sent: list[str | ChatMessageContent] = []
        for message in new:
            sent.append(ChatMessageContent(role=message.role, content=message.content))
        async with aclosing(self._items(agent, sent, thread, report)) as items:
            async for item in items:
                thread = item.thread
                yield item.message
        self._thread, self._known = thread, known

    async def _items(
        self,
        agent: Agent,
        messages: list[str | ChatMessageContent],
        thread: AgentThread | None,
        report: Callable[[ChatMessageContent], Awaitable[None]],
    ) -> AsyncGenerator[Any, None]:
        common: dict[str, Any] = {"thread": thread, "on_intermediate_message": report, "arguments": self._arguments}
        try:
            stream = agent.invoke_stream(messages, **common)
            try:
                async for item in stream:
                    yield item
            finally:
                if isinstance(stream, AsyncGenerator):  # so that an agent whose caller stops listening can clean up
                    await stream.aclose()
        except NotImplementedError:  # by agents that do not stream, before anything is sent
            async for whole in agent.invoke(messages, **common):
                yield whole

    async def _forget(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            with suppress(Exception):  # it is of no more use, whether its provider keeps it or not
                await thread.delete()

    async def close(self) -> None:
        """Deletes the thread, and the agent if its provider keeps it for this run alone."""
        with anyio.move_on_after(_CLOSING, shield=True), suppress(Exception):
            await self._forget()
            if self._clean is not None and self._agent is not None:
                await self._clean(self._agent)


class AgentChatCompletion(InProcessChatCompletion):
    """Asks an SK agent for the reply; so its turn is logged, cancelled and resumed like a model's."""

    _conversation: AgentConversation = PrivateAttr()
    _emitter: RunEmitter | None = PrivateAttr()
    _has_called: Callable[[str], bool] = PrivateAttr()
    _about: str = PrivateAttr()

    def __init__(
        self,
        kind: str,
        conversation: AgentConversation,
        emitter: RunEmitter | None,
        has_called: Callable[[str], bool] = lambda turn: False,
        *,
        about: str = "an SK agent",
    ) -> None:
        """`emitter` gets the function calls that the agent reports; None if they are logged where they are made.

        `has_called` says whether a call was made there in a turn; `about` what the agent is, in errors.
        """
        super().__init__(ai_model_id=kind, service_id=kind)
        self._conversation, self._emitter, self._has_called = conversation, emitter, has_called
        self._about = about

    async def _inner_get_streaming_chat_message_contents(
        self, chat_history: ChatHistory, settings: PromptExecutionSettings, function_invoke_attempt: int = 0
    ) -> AsyncGenerator[list[Any], None]:
        """The text of the agent's messages as they come, then what of the reply is left."""
        turn = self._call.name if self._call else ""
        calls = _ReportedCalls(turn, self._call.who if self._call else "")
        usage, attempt = ev.Usage(), function_invoke_attempt

        async def report(message: ChatMessageContent) -> None:
            for event in calls.take(message.items):
                if self._emitter is not None:
                    self._emitter.emit(event)

        try:
            async with aclosing(self._conversation.turn(chat_history, report)) as messages:
                async for message in messages:
                    prompt, completion = usage_of(message.metadata or {})
                    if completion is not None:
                        usage = ev.Usage(prompt_tokens=prompt, completion_tokens=completion)
                    if message.content:
                        piece = Answer(text=message.content, usage=ev.Usage())
                        yield contents_of(piece, self.ai_model_id, attempt=attempt)[:1]
        except KitError:
            raise
        except Exception as error:
            raise self._failure(error, has_called=calls.any or self._has_called(turn)) from error
        for content in contents_of(Answer(text="", usage=usage), self.ai_model_id, attempt=attempt):
            yield [content]

    def _failure(self, error: Exception, *, has_called: bool) -> ServiceError:
        """The failure; one after a function call is not to be retried, as that would make the call again."""
        failure = as_service_error(error, service=self.ai_model_id, describe=self._about)
        if has_called:
            failure.retryable = False
        return failure


class _ReportedCalls:
    """The function calls that an agent reports, each an event pair when its result is there.

    Their names come of what is called, so that a turn that is made again after a crash gives the same names.
    """

    def __init__(self, call: str, who: str) -> None:
        self._call, self._who = call, who
        self._made: dict[str, int] = {}
        self._waiting: dict[str, FunctionCallContent] = {}
        self.any = False

    def take(self, items: Sequence[object]) -> list[ev.AnyEvent]:
        """The events of an agent's message."""
        found: list[ev.AnyEvent] = []
        for item in items:
            if isinstance(item, FunctionCallContent):
                self.any = True
                self._waiting[str(item.id)] = item
            elif isinstance(item, FunctionResultContent) and (call := self._waiting.pop(str(item.id), None)):
                found += self._events(call, str(item.result))
        return found

    def _events(self, call: FunctionCallContent, result: str) -> list[ev.AnyEvent]:
        arguments: dict[str, Any] = {}
        with suppress(Exception):  # what a model wrote may be no JSON
            arguments = dict(call.parse_arguments() or {})
        function = (call.name or "").replace("-", ".", 1)
        name = call_name(self._call, function, call.arguments, self._made)
        return [
            ev.ToolCallStarted(call=name, who=self._who, function=function, arguments=arguments),
            ev.ToolCallFinished(call=name, who=self._who, function=function, seconds=0.0, result=result),
        ]
