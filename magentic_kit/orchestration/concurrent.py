"""A team whose members answer the same instruction at once: SK's concurrent orchestration, without a manager."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from semantic_kernel.agents import Agent, ConcurrentOrchestration
from semantic_kernel.agents.orchestration.orchestration_base import OrchestrationResult
from semantic_kernel.agents.runtime import CoreRuntime
from semantic_kernel.contents import ChatMessageContent
from semantic_kernel.contents.utils.author_role import AuthorRole


class ConcurrentTeam:
    """Runs the members of a team side by side; its answer has each member's, in the order of the team."""

    def __init__(self, members: Sequence[Agent], start_plugins: Callable[[], Awaitable[None]], **options: Any) -> None:
        """`options` are those of SK's orchestration, such as `agent_response_callback`."""
        self._order = [member.name for member in members]
        self._start_plugins = start_plugins
        self._orchestration = ConcurrentOrchestration[str, ChatMessageContent](
            members=list(members), output_transform=self._joined, **options
        )

    async def invoke(self, task: Any, runtime: CoreRuntime) -> OrchestrationResult[ChatMessageContent]:
        """Starts what the members need, then the members."""
        await self._start_plugins()
        return await self._orchestration.invoke(task, runtime)

    def _joined(self, replies: Any) -> ChatMessageContent:
        """The replies as one, whichever member was first."""
        messages: list[ChatMessageContent] = list(replies) if isinstance(replies, list) else [replies]
        messages.sort(key=lambda message: self._order.index(message.name or ""))
        text = "\n\n".join(f"{message.name}:\n{message.content}" for message in messages)
        return ChatMessageContent(role=AuthorRole.ASSISTANT, content=text)
