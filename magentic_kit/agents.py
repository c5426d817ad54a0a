"""From SK's declarative spec to an agent whose turns are events and never break the run."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Any

from pydantic import PrivateAttr
from semantic_kernel.agents import AgentResponseItem, AgentThread, ChatCompletionAgent, ChatHistoryAgentThread
from semantic_kernel.contents import (
    ChatMessageContent,
    StreamingChatMessageContent,
    StreamingTextContent,
)
from semantic_kernel.contents.utils.author_role import AuthorRole

from magentic_kit import events as ev
from magentic_kit.context import RunContext
from magentic_kit.errors import LimitReached

Message = str | ChatMessageContent


class TeamAgent(ChatCompletionAgent):
    """SK's `ChatCompletionAgent`, in one run of a team."""

    _context: RunContext = PrivateAttr()
    _turn: Callable[[], tuple[int, str]] = PrivateAttr()

    def join(self, context: RunContext, turn: Callable[[], tuple[int, str]]) -> None:
        """Binds the agent to its run; `turn` gives the round and the instruction of the turn that begins."""
        self._context = context
        self._turn = turn

    async def invoke_stream(
        self,
        messages: Message | list[Message] | None = None,
        *,
        thread: AgentThread | None = None,
        on_intermediate_message: Callable[[ChatMessageContent], Awaitable[None]] | None = None,
        **kwargs: Any,
    ) -> AsyncIterable[AgentResponseItem[StreamingChatMessageContent]]:
        """One turn. An empty or cut reply becomes a note that the manager hears (DESIGN.md, defect 10)."""
        thread = thread or ChatHistoryAgentThread()
        number, instruction = self._turn()
        self._context.emit(ev.AgentStarted(agent=self.name, round=number, instruction=instruction))
        text, note, attempt = "", "", 0
        last: AgentResponseItem[StreamingChatMessageContent] | None = None
        try:
            async for item in super().invoke_stream(
                messages, thread=thread, on_intermediate_message=on_intermediate_message, **kwargs
            ):
                last = item
                if (item.message.function_invoke_attempt or 0) != attempt:
                    attempt = item.message.function_invoke_attempt or 0
                    if text and not text.endswith("\n"):  # what was said before a tool call stands apart
                        text += "\n\n"
                        yield self._say("\n\n", thread, last)
                text += item.message.content
                yield item
        except LimitReached as limit:
            note = f"The turn was cut short: {limit}."
        if not text.strip() and not note:
            note = "The reply was empty."
        if note:
            yield self._say(f"({note})", thread, last)
        self._context.emit(ev.AgentMessage(agent=self.name, round=number, text=text, note=note))

    def _say(
        self,
        text: str,
        thread: AgentThread,
        after: AgentResponseItem[StreamingChatMessageContent] | None,
    ) -> AgentResponseItem[StreamingChatMessageContent]:
        """A piece of text that SK can add to the pieces before it, which have to be of the same model."""
        message = StreamingChatMessageContent(
            role=AuthorRole.ASSISTANT,
            choice_index=0,
            items=[StreamingTextContent(choice_index=0, text=text)],
            ai_model_id=after.message.ai_model_id if after else None,
            name=self.name,
        )
        return AgentResponseItem(message=message, thread=thread)
