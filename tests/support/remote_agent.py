"""A small A2A agent of `a2a-sdk` in a thread of its own: what it does with a task, the task says."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from a2a.helpers import get_message_text, new_task_from_user_message, new_text_message, new_text_part
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import AgentCapabilities, AgentCard, AgentInterface, AgentSkill, TaskState
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from magentic_kit.serve.http import listen, serve_app

_ENDINGS = {
    "fail": TaskState.TASK_STATE_FAILED,
    "reject": TaskState.TASK_STATE_REJECTED,
    "ask": TaskState.TASK_STATE_INPUT_REQUIRED,
}


@dataclass
class RemoteAgent(AgentExecutor):
    """Does what the last line of a message says, and keeps what it was sent."""

    url: str = ""
    received: list[tuple[str, str]] = field(default_factory=list)
    """The context and the text of each message."""
    cancelled: list[str] = field(default_factory=list)
    authorization: set[str] = field(default_factory=set)

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        assert context.message is not None
        text = get_message_text(context.message)
        self.received.append((str(context.context_id), text))
        wish = text.strip().splitlines()[-1]
        updater = TaskUpdater(event_queue, str(context.task_id), str(context.context_id))
        if "only talk" in wish:
            await event_queue.enqueue_event(new_text_message("just words", context_id=context.context_id))
            return
        if context.current_task is None:
            await event_queue.enqueue_event(new_task_from_user_message(context.message))
        await updater.start_work()
        if "never end" in wish:
            await updater.add_artifact([new_text_part("begun ")], artifact_id="a")
            await asyncio.Event().wait()
        if "break" in wish:
            raise RuntimeError("it broke")
        ending = next((state for word, state in _ENDINGS.items() if word in wish), None)
        if ending is None or "after words" in wish:
            for number, piece in enumerate(("found ", "so ", f"much ({len(self.received)})")):
                await updater.add_artifact([new_text_part(piece)], artifact_id="a", append=number > 0)
        if ending is None:
            await updater.complete()
        else:
            await updater.update_status(ending, updater.new_agent_message([new_text_part("which year?")]))

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        self.cancelled.append(str(context.task_id))
        await TaskUpdater(event_queue, str(context.task_id), str(context.context_id)).cancel()


class _Headers:
    """Notes the header of each request; without the right one there is no answer."""

    def __init__(self, app: Any, agent: RemoteAgent, token: str) -> None:
        self.app, self.agent, self.token = app, agent, token

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            given = Request(scope).headers.get("authorization", "")
            self.agent.authorization.add(given)
            if self.token and given != f"Bearer {self.token}":
                await PlainTextResponse("no", status_code=401)(scope, receive, send)
                return
        await self.app(scope, receive, send)


@contextmanager
def remote_agent(*, streaming: bool = True, token: str = "", elsewhere: str = "") -> Iterator[RemoteAgent]:
    """An agent on loopback; its card leads `elsewhere` if that is given."""
    agent = RemoteAgent()
    (listening,) = listen("127.0.0.1", 0)
    agent.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    interface = AgentInterface(url=elsewhere or f"{agent.url}/rpc", protocol_binding="JSONRPC", protocol_version="1.0")
    card = AgentCard(
        name="remote",
        description="Does as it is told.",
        version="1",
        capabilities=AgentCapabilities(streaming=streaming),
        supported_interfaces=[interface],
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[AgentSkill(id="any", name="any", description="Anything.", tags=["any"])],
    )
    handler = DefaultRequestHandler(agent, InMemoryTaskStore(), card)
    routes = [*create_agent_card_routes(card), *create_jsonrpc_routes(handler, "/rpc")]
    app = Starlette(routes=routes, middleware=[Middleware(_Headers, agent=agent, token=token)])
    loops: list[asyncio.AbstractEventLoop] = []
    ended = asyncio.Event()

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        await serve_app(app, [listening], ended)
        await handler.aclose()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        yield agent
    finally:
        while not loops:
            threading.Event().wait(0.01)
        loops[0].call_soon_threadsafe(ended.set)
        thread.join()
