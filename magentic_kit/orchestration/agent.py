"""SK's agent as a member of a team in one run: its turns are events, and none of them breaks the run."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from typing import Any

from pydantic import PrivateAttr
from semantic_kernel.agents import AgentResponseItem, AgentThread, ChatCompletionAgent, ChatHistoryAgentThread
from semantic_kernel.connectors.ai.function_calling_utils import kernel_function_metadata_to_function_call_format
from semantic_kernel.contents import ChatMessageContent, StreamingChatMessageContent, StreamingTextContent
from semantic_kernel.contents.utils.author_role import AuthorRole
from semantic_kernel.functions.kernel_plugin import KernelPlugin

from magentic_kit import events as ev
from magentic_kit.errors import LimitReached
from magentic_kit.orchestration.model_calls import Lane

Message = str | ChatMessageContent
Item = AgentResponseItem[StreamingChatMessageContent]


class TeamAgent(ChatCompletionAgent):
    """SK's `ChatCompletionAgent`, in one run of a team."""

    _lane: Lane = PrivateAttr()
    _turn: Callable[[], tuple[int, str]] = PrivateAttr()
    _missing: list[str] = PrivateAttr(default_factory=list)

    def join(self, lane: Lane, turn: Callable[[], tuple[int, str]]) -> None:
        """Binds the agent to its run; `turn` gives the round and the instruction of the turn that begins."""
        self._lane = lane
        self._turn = turn

    def equip(self, plugins: Iterable[KernelPlugin], *, missing: Iterable[str] = ()) -> None:
        """Gives the agent its functions; of those `missing`, each of its turns tells the manager."""
        for plugin in plugins:
            self.kernel.add_plugin(plugin)
        functions = [f for plugin in self.kernel.plugins.values() for f in plugin.functions.values()]
        self._lane.tools = [kernel_function_metadata_to_function_call_format(f.metadata) for f in functions]
        self._missing += missing

    async def invoke_stream(
        self,
        messages: Message | list[Message] | None = None,
        *,
        thread: AgentThread | None = None,
        on_intermediate_message: Callable[[ChatMessageContent], Awaitable[None]] | None = None,
        **kwargs: Any,
    ) -> AsyncIterable[Item]:
        """One turn. An empty or cut reply becomes a note that the manager hears (DESIGN.md, defect 10)."""
        context = self._lane.context
        thread = thread or ChatHistoryAgentThread()
        number, instruction = self._turn()
        context.emit(ev.AgentStarted(agent=self.name, round=number, instruction=instruction))
        text, notes, attempt = "", list(self._missing), 0
        last: Item | None = None
        try:
            async for item in super().invoke_stream(
                messages, thread=thread, on_intermediate_message=on_intermediate_message, **kwargs
            ):
                if (item.message.function_invoke_attempt or 0) != attempt:
                    attempt = item.message.function_invoke_attempt or 0
                    if text and not text.endswith("\n"):  # what was said before a tool call stands apart
                        text += "\n\n"
                        yield self._say("\n\n", thread, last)
                last = item
                text += item.message.content
                yield item
        except LimitReached as limit:
            notes.append(f"The turn was cut short: {limit}.")
        else:
            notes += [] if text.strip() else ["The reply was empty."]
        note = " ".join(notes)
        if note:
            yield self._say(f"\n\n({note})" if text else f"({note})", thread, last)
        context.emit(ev.AgentMessage(agent=self.name, round=number, text=text, note=note))

    def _say(self, text: str, thread: AgentThread, after: Item | None) -> Item:
        """A piece of text that SK can add to the pieces before it, which have to be of the same model."""
        message = StreamingChatMessageContent(
            role=AuthorRole.ASSISTANT,
            choice_index=0,
            items=[StreamingTextContent(choice_index=0, text=text)],
            ai_model_id=after.message.ai_model_id if after else None,
            name=self.name,
        )
        return AgentResponseItem(message=message, thread=thread)
