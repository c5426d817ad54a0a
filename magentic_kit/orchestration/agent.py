"""SK's agent as a member of a team in one run: its turns are events, and none of them breaks the run."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from dataclasses import replace
from itertools import takewhile
from typing import Any

from pydantic import PrivateAttr
from semantic_kernel.agents import AgentResponseItem, AgentThread, ChatCompletionAgent, ChatHistoryAgentThread
from semantic_kernel.contents import (
    ChatMessageContent,
    FunctionResultContent,
    StreamingChatMessageContent,
    StreamingTextContent,
)
from semantic_kernel.contents.utils.author_role import AuthorRole
from semantic_kernel.functions.kernel_plugin import KernelPlugin

from magentic_kit import events as ev
from magentic_kit.errors import LimitReached, ServiceError
from magentic_kit.orchestration.model_calls import ParticipantCalls
from magentic_kit.orchestration.sources import Source
from magentic_kit.services.offers import require_offerable
from magentic_kit.services.reply import ENDINGS
from magentic_kit.text import one_line

Message = str | ChatMessageContent
Item = AgentResponseItem[StreamingChatMessageContent]

_LONGEST_WORDS = 1000
"""Characters of what a note repeats."""


class TeamAgent(ChatCompletionAgent):
    """SK's `ChatCompletionAgent`, in one run of a team."""

    _calls: ParticipantCalls = PrivateAttr()
    _source: Source = PrivateAttr()
    _turn: Callable[[], tuple[int, str]] = PrivateAttr()
    _missing: list[str] = PrivateAttr(default_factory=list)

    def join(self, source: Source, turn: Callable[[], tuple[int, str]]) -> None:
        """Binds the agent to its run; `turn` gives the round and the instruction of the turn that begins."""
        self._calls, self._source = source.calls, source
        self._turn = turn

    def offer(
        self, plugins: Iterable[KernelPlugin], *, missing: Iterable[str] = (), instead_of: Iterable[str] = ()
    ) -> None:
        """Offers these functions to the model; each turn tells the manager of those that are `missing`.

        They take the place of the plugins `instead_of`.

        Raises `ConfigError` if the model's server is known to refuse so many, or such names.
        """
        model = self._source.service
        kernel = self._source.kernel or self.kernel
        for name in instead_of:
            kernel.plugins.pop(name, None)
        for plugin in plugins:
            kernel.add_plugin(plugin)
        functions = self.kernel.get_full_list_of_function_metadata()
        require_offerable(self.name, [one.fully_qualified_name for one in functions], model.service_url())
        call = replace(self._source.call, functions=functions)
        self.kernel.add_service(self._calls.connect(model, call), overwrite=True)
        self._missing += missing

    async def invoke_stream(
        self,
        messages: Message | list[Message] | None = None,
        *,
        thread: AgentThread | None = None,
        on_intermediate_message: Callable[[ChatMessageContent], Awaitable[None]] | None = None,
        **kwargs: Any,
    ) -> AsyncIterable[Item]:
        """One turn. An empty or cut reply becomes a note for the manager (DESIGN.md, defect 10)."""
        emitter = self._calls.emitter
        thread = thread or ChatHistoryAgentThread()
        number, instruction = self._turn()
        emitter.emit(ev.AgentStarted(agent=self._calls.who, round=number, instruction=instruction))
        text, notes, attempt = "", list(self._missing), 0
        last: Item | None = None
        try:
            async for item in super().invoke_stream(
                messages, thread=thread, on_intermediate_message=on_intermediate_message, **kwargs
            ):
                if (item.message.function_invoke_attempt or 0) != attempt:
                    attempt = item.message.function_invoke_attempt or 0
                    if text and not text.endswith("\n"):  # the text before a tool call stands apart
                        text += "\n\n"
                        yield self._piece("\n\n", thread, last)
                last = item
                text += item.message.content
                yield item
        except LimitReached as limit:
            notes.append(f"The turn was cut short: {limit}.")
        except ServiceError as error:
            if error.fault not in ("content", "context"):
                raise
            notes.append(f"The request of this turn was refused: {error}.")
        else:
            notes += await self._oddities(text, thread)
        note = " ".join(notes)
        if note:
            yield self._piece(f"\n\n({note})" if text else f"({note})", thread, last)
        emitter.emit(ev.AgentMessage(agent=self._calls.who, round=number, text=text, note=note))

    async def _oddities(self, text: str, thread: AgentThread) -> list[str]:
        """What the manager has to know of the last reply besides its text."""
        reply = self._calls.last_reply
        if reply is not None and reply.tool_calls:
            rounds = self._calls.control.limits.tool_rounds
            note = f"All {rounds} rounds of function calls (limits.tool_rounds) were used before the agent replied."
            return [note, *await _last_results(thread)]
        ending = ENDINGS.get(reply.finish_reason) if reply else None
        if ending:
            return [f"The reply {ending}."]
        if text.strip():
            return []
        if reply is not None and reply.reasoning:
            return [f"The reply was reasoning alone: {one_line(reply.reasoning, _LONGEST_WORDS)}"]
        return ["The reply was empty."]

    def _piece(self, text: str, thread: AgentThread, after: Item | None) -> Item:
        """A piece of text that SK can add to the pieces before it, which have to be of the same model."""
        message = StreamingChatMessageContent(
            role=AuthorRole.ASSISTANT,
            choice_index=0,
            items=[StreamingTextContent(choice_index=0, text=text)],
            ai_model_id=after.message.ai_model_id if after else None,
            name=self.name,
        )
        return AgentResponseItem(message=message, thread=thread)


async def _last_results(thread: AgentThread) -> list[str]:
    """What the functions returned that were called last."""
    results: list[str] = []
    if isinstance(thread, ChatHistoryAgentThread):
        messages = [message async for message in thread.get_messages()]
        for message in takewhile(lambda message: message.role == AuthorRole.TOOL, reversed(messages)):
            results += [str(item.result) for item in message.items if isinstance(item, FunctionResultContent)]
    if not results:
        return []
    return [f"The last results: {one_line(' / '.join(reversed(results)), _LONGEST_WORDS)}"]
