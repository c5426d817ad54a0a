"""A remote agent that speaks A2A, as an SK agent: a turn is a task there, a thread is a context."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Any
from uuid import uuid4

import anyio
import httpx
from a2a.client import A2ACardResolver, Client, ClientConfig, ClientFactory
from a2a.client.errors import A2AClientError
from a2a.helpers import new_text_message
from a2a.types import AgentCard, CancelTaskRequest, GetTaskRequest, Role, SendMessageRequest, Task
from a2a.utils.errors import A2AError
from pydantic import PrivateAttr
from semantic_kernel.agents import Agent, AgentResponseItem, AgentThread
from semantic_kernel.contents import ChatMessageContent, StreamingChatMessageContent
from semantic_kernel.contents.utils.author_role import AuthorRole

from magentic_kit.errors import ServiceError
from magentic_kit.services.a2a_reply import TaskReply
from magentic_kit.text import one_line

_CANCELLING = 2.0
"""Seconds that the remote agent gets to take a cancel request."""
_POLL, _LONGEST_POLL = 0.25, 5.0
"""Seconds between two looks at a task, doubled each time from the first to the longest."""
_LOOKS = 6
"""Looks at a task that may fail in a row before the task counts as lost."""

Message = str | ChatMessageContent


class A2AThread(AgentThread):
    """A context that the remote agent keeps. A task that waits for input there gets the next message."""

    def __init__(self, client: Client) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._client = client
        self._waiting = ""  # the task that waits for input

    async def send(self, texts: Sequence[str]) -> AsyncGenerator[str, None]:
        """Sends a message and yields the reply in pieces; cancels the task there if the caller stops listening.

        A task that waits for input gets the last text alone, which is the manager's instruction. Raises
        `ServiceError` if a task has begun and cannot be followed any more, else what the client raises.
        """
        reply = TaskReply()
        if self._waiting:
            texts = texts[-1:]
        try:
            async with aclosing(self._events("\n\n".join(texts), reply)) as pieces:
                async for piece in pieces:
                    if piece:
                        yield piece
        except BaseException as error:
            if reply.is_running:
                await self._cancel(reply.task.id)
            if isinstance(error, A2AError) and reply.task.id:  # another try would be another task
                message = f"the task {reply.task.id} cannot be followed any more: {one_line(str(error), 300)}"
                raise ServiceError(message, fault="down") from error
            raise
        self._id = reply.context_id or self._id
        self._waiting = reply.task.id if reply.needs_input else ""

    async def _events(self, text: str, reply: TaskReply) -> AsyncGenerator[str, None]:
        message = new_text_message(text, role=Role.ROLE_USER, context_id=self.id, task_id=self._waiting or None)
        try:
            async for event in self._client.send_message(SendMessageRequest(message=message)):
                yield reply.take(event)
        except A2AError as error:
            if not reply.is_running:
                raise
            if not isinstance(error, A2AClientError):  # it comes from the agent: how has its task ended?
                yield reply.take_task(await self._look(reply.task.id))
                if not reply.is_over:
                    raise
        wait = _POLL
        while not reply.is_over:  # the connection is lost, or the server does not stream
            await anyio.sleep(wait)
            yield reply.take_task(await self._look(reply.task.id))
            wait = min(2 * wait, _LONGEST_POLL)
        yield reply.rest()

    async def _look(self, task_id: str) -> Task:
        for failures in range(_LOOKS - 1):
            with suppress(A2AClientError):
                return await self._client.get_task(GetTaskRequest(id=task_id))
            await anyio.sleep(_POLL * 2**failures)
        return await self._client.get_task(GetTaskRequest(id=task_id))

    async def _cancel(self, task_id: str) -> None:
        with anyio.move_on_after(_CANCELLING, shield=True), suppress(Exception):  # whatever its server makes of it
            await self._client.cancel_task(CancelTaskRequest(id=task_id))

    async def _create(self) -> str:
        return uuid4().hex

    async def _delete(self) -> None:
        """Cancels a task that nobody will give its input any more; of contexts, A2A has no deletion."""
        if self._waiting:
            await self._cancel(self._waiting)

    async def _on_new_message(self, new_message: ChatMessageContent) -> None:
        pass


class A2AAgent(Agent):
    """A remote agent. Its card is read, and a connection made, when it is first asked."""

    _url: str = PrivateAttr()
    _has_headers: bool = PrivateAttr()
    _web: httpx.AsyncClient = PrivateAttr()
    _client: Client | None = PrivateAttr(default=None)

    def __init__(self, *, name: str, description: str, url: str, headers: Mapping[str, str] | None = None) -> None:
        """`url` is that of the agent or of its card; `headers` go with every request."""
        super().__init__(name=name, description=description)
        self._url, self._has_headers = url, bool(headers)
        # How long a reply may take is up to whoever waits for it.
        self._web = httpx.AsyncClient(headers=dict(headers or {}), timeout=httpx.Timeout(30, read=None))

    async def close(self) -> None:
        """Closes the connections."""
        await self._web.aclose()

    async def invoke_stream(
        self, messages: Message | list[Message] | None = None, *, thread: AgentThread | None = None, **kwargs: Any
    ) -> AsyncIterator[AgentResponseItem[StreamingChatMessageContent]]:
        """One turn, in pieces. Raises what A2A's client raises."""
        if not isinstance(thread, A2AThread):
            thread = A2AThread(await self._connected())
        async with aclosing(thread.send(_texts_of(messages))) as pieces:
            async for piece in pieces:
                yield AgentResponseItem(
                    message=StreamingChatMessageContent(
                        role=AuthorRole.ASSISTANT, choice_index=0, content=piece, name=self.name
                    ),
                    thread=thread,
                )

    async def invoke(
        self, messages: Message | list[Message] | None = None, *, thread: AgentThread | None = None, **kwargs: Any
    ) -> AsyncIterator[AgentResponseItem[ChatMessageContent]]:
        """One turn, as one message."""
        yield await self.get_response(messages, thread=thread)

    async def get_response(
        self, messages: Message | list[Message] | None = None, *, thread: AgentThread | None = None, **kwargs: Any
    ) -> AgentResponseItem[ChatMessageContent]:
        """The whole reply of one turn."""
        if not isinstance(thread, A2AThread):
            thread = A2AThread(await self._connected())
        text = "".join([piece async for piece in thread.send(_texts_of(messages))])
        message = ChatMessageContent(role=AuthorRole.ASSISTANT, content=text, name=self.name)
        return AgentResponseItem(message=message, thread=thread)

    async def _connected(self) -> Client:
        """The client of the agent that its card describes."""
        if self._client is None:
            card = await self._card()
            # A server that does not stream tells of its task at once, so that the task can be cancelled.
            config = ClientConfig(httpx_client=self._web, polling=not card.capabilities.streaming)
            self._client = ClientFactory(config).create(card)
        return self._client

    async def _card(self) -> AgentCard:
        resolver = A2ACardResolver(self._web, self._url)
        path = "/" if self._url.endswith(".json") else None
        card = await resolver.get_agent_card(path)
        here = httpx.URL(self._url)
        for interface in card.supported_interfaces:
            there = httpx.URL(interface.url)
            if self._has_headers and (there.scheme, there.netloc) != (here.scheme, here.netloc):
                message = f"its card leads to {interface.url}, which the headers for {self._url} are not sent to"
                raise ServiceError(f"agent '{self.name}': {message}; give that address as its url")
        return card


def _texts_of(messages: Message | list[Message] | None) -> list[str]:
    if not isinstance(messages, list):
        messages = [messages] if messages else []
    return [message if isinstance(message, str) else message.content for message in messages]
