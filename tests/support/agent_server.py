"""The scripted server of `openai_server`, which also speaks OpenAI's Responses and Assistants APIs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from aiohttp import web
from support.openai_server import Answer, OpenAIServer, ToolCall, text_of

Said = str | ToolCall
AgentBrain = Callable[["Turn"], Said]


CLIENTS: list[Any] = []
"""Clients that callables of a test have made; the test closes them."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One request for an agent's reply: by which API, what the thread has been sent in all, and function results."""

    api: str
    texts: list[str]
    instructions: str
    results: list[str] = field(default_factory=list)
    tools: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class _Thread:
    texts: list[str] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    instructions: str = ""
    tools: list[dict[str, Any]] = field(default_factory=list)


class AgentServer(OpenAIServer):
    """`brain` answers chat completions, `agents` the turns of both kinds of agents; as a pure function of the turn."""

    def __init__(self, brain: Answer, agents: AgentBrain) -> None:
        super().__init__(brain)
        self._agents = agents
        self.turns: list[Turn] = []
        """The turns that were asked for, in order."""
        self.created: list[str] = []
        self.deleted: list[str] = []
        self._threads: dict[str, _Thread] = {}
        self._ids = count(1)

    async def _handle(self, http: web.BaseRequest) -> web.StreamResponse:
        path = http.path.removeprefix("/v1")
        if path == "/chat/completions":
            return await super()._handle(http)
        body = await http.json() if http.can_read_body else {}
        parts = path.strip("/").split("/")
        try:
            if path == "/responses":
                return await self._stream(http, self._response(body))
            if http.method == "DELETE":
                self.deleted.append(parts[-1])
                return web.json_response({"id": parts[-1], "object": "deleted", "deleted": True})
            match parts:
                case ["assistants"]:
                    return web.json_response(self._assistant(body))
                case ["assistants", name]:
                    return web.json_response(self._assistant({"id": name, "model": "m"}))
                case ["threads"]:
                    return web.json_response(self._new_thread())
                case ["threads", thread, "messages"]:
                    self._threads[thread].texts.append(text_of(body))
                    return web.json_response(_message(thread, self._id("msg"), text_of(body), body["role"]))
                case ["threads", thread, "runs"]:
                    of = self._threads[thread]
                    of.instructions, of.tools, of.results = body.get("instructions") or "", body.get("tools") or [], []
                    return await self._stream(http, self._run(thread, self._id("run")))
                case ["threads", thread, "runs", run, "submit_tool_outputs"]:
                    self._threads[thread].results += [one["output"] for one in body["tool_outputs"]]
                    return await self._stream(http, self._run(thread, run))
        except Exception as broken:
            self._broken.append(broken)
            raise
        return web.json_response({"error": {"message": f"no such route: {http.method} {http.path}"}}, status=404)

    def _id(self, kind: str) -> str:
        return f"{kind}_{next(self._ids)}"

    def _say(self, api: str, thread: _Thread) -> Said:
        turn = Turn(
            api=api,
            texts=list(thread.texts),
            instructions=thread.instructions,
            results=list(thread.results),
            tools=thread.tools,
        )
        self.turns.append(turn)
        return self._agents(turn)

    async def _stream(self, http: web.BaseRequest, events: Iterator[tuple[str, Any]]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(http)
        for name, data in events:
            await response.write(f"event: {name}\ndata: {json.dumps(data)}\n\n".encode())
        await response.write(b"event: done\ndata: [DONE]\n\n")
        return response

    # -- Responses

    def _response(self, body: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        before = self._threads.get(body.get("previous_response_id") or "", _Thread())
        thread = _Thread(texts=list(before.texts), instructions=body.get("instructions") or "")
        thread.tools = body.get("tools") or []
        given = body["input"] if isinstance(body["input"], list) else [{"content": body["input"]}]
        for item in given:
            if item.get("type") == "function_call_output":
                thread.results.append(item["output"])
            elif "content" in item:
                thread.texts.append(text_of(item))
        ident, item_id = self._id("resp"), self._id("item")
        self._threads[ident] = thread
        said = self._say("responses", thread)
        response: dict[str, Any] = {
            "id": ident,
            "object": "response",
            "created_at": 1,
            "model": "m",
            "output": [],
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "status": "in_progress",
        }
        numbers = count()

        def event(kind: str, **data: Any) -> tuple[str, Any]:
            return kind, {"type": kind, "sequence_number": next(numbers), "output_index": 0, **data}

        yield event("response.created", response=response)
        if isinstance(said, ToolCall):
            arguments = json.dumps(said.arguments)
            call = {"type": "function_call", "id": item_id, "call_id": f"call_{item_id}", "name": said.name}
            yield event("response.output_item.added", item={**call, "arguments": "", "status": "in_progress"})
            yield event("response.function_call_arguments.delta", item_id=item_id, delta=arguments)
            item = {**call, "arguments": arguments, "status": "completed"}
        else:
            part = {"item_id": item_id, "content_index": 0}
            message = {"type": "message", "id": item_id, "role": "assistant"}
            yield event("response.output_item.added", item={**message, "content": [], "status": "in_progress"})
            for word in said.split(" "):
                yield event("response.output_text.delta", delta=word + " ", logprobs=[], **part)
            content = [{"type": "output_text", "text": said, "annotations": []}]
            item = {**message, "content": content, "status": "completed"}
        yield event("response.output_item.done", item=item)
        yield event("response.completed", response={**response, "status": "completed", "output": [item]})

    # -- Assistants

    def _assistant(self, body: dict[str, Any]) -> dict[str, Any]:
        ident = body.get("id") or self._id("asst")
        if "id" not in body:
            self.created.append(ident)
        given = {key: body.get(key) for key in ("name", "description", "instructions")}
        usual = {"object": "assistant", "created_at": 1, "tools": [], "metadata": {}}
        return {"id": ident, "model": body["model"], **usual, **given}

    def _new_thread(self) -> dict[str, Any]:
        ident = self._id("thread")
        self._threads[ident] = _Thread()
        self.created.append(ident)
        return {"id": ident, "object": "thread", "created_at": 1, "metadata": {}, "tool_resources": None}

    def _run(self, thread: str, run: str) -> Iterator[tuple[str, Any]]:
        data: dict[str, Any] = {
            "id": run,
            "object": "thread.run",
            "created_at": 1,
            "thread_id": thread,
            "assistant_id": "a",
            "status": "in_progress",
            "model": "m",
            "instructions": "",
            "tools": [],
            "metadata": {},
            "parallel_tool_calls": True,
        }
        yield "thread.run.created", data
        said = self._say("assistants", self._threads[thread])
        if isinstance(said, ToolCall):
            function = {"name": said.name, "arguments": json.dumps(said.arguments)}
            calls = [{"id": self._id("call"), "type": "function", "function": function}]
            action = {"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": calls}}
            yield "thread.run.requires_action", {**data, "status": "requires_action", "required_action": action}
            return
        message = _message(thread, "msg", "", "assistant")
        yield "thread.message.created", {**message, "content": [], "status": "in_progress"}
        for word in said.split(" "):
            content = [{"index": 0, "type": "text", "text": {"value": word + " "}}]
            delta = {"role": "assistant", "content": content}
            yield "thread.message.delta", {"id": "msg", "object": "thread.message.delta", "delta": delta}
        self._threads[thread].texts.append(said)
        yield "thread.run.completed", {**data, "status": "completed"}


def _message(thread: str, ident: str, text: str, role: str) -> dict[str, Any]:
    content = [{"type": "text", "text": {"value": text, "annotations": []}}]
    usual = {"object": "thread.message", "created_at": 1, "status": "completed", "metadata": {}}
    return {"id": ident, "thread_id": thread, "role": role, "content": content, **usual}
