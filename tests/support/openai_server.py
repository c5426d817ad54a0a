"""A scripted OpenAI-compatible HTTP server on loopback that can misbehave in every way a real one does."""

from __future__ import annotations

import asyncio
import html
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from itertools import takewhile
from threading import Thread
from typing import Any, Literal, TypeAlias

from aiohttp import web

MANAGER = "manager"

PURPOSES = {
    "facts": "Below I will present you a request.",
    "plan": "Fantastic. To address this request we have assembled",
    "facts_update": "As a reminder, we are working to solve the following task:",
    "plan_update": "Please briefly explain what went wrong on this last run",
    "ledger": "Recall we are working on the following request:",
    "answer": "We are working on the following task:",
}
"""How Semantic Kernel's own Magentic prompts begin; a test compares them with the prompts themselves."""

SUMMARY = "Provide a concise and complete summarization"
"""How Semantic Kernel's instructions for a summary begin; who asks for one cannot be told from the request."""

_TASK = re.compile(
    r"(?:Here is the request|the following request|the following user request|the following task):\s*(.*?)\s*"
    r"(?:Here is the pre-survey|And we have assembled|To answer this|It's clear we|We have completed)",
    re.DOTALL,
)


@dataclass(frozen=True)
class ToolCall:
    """A function the model asks for, by its name on the wire (`plugin-function`); text is sent as it is."""

    name: str
    arguments: Mapping[str, Any] | str = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """What the server does with one request; the default is a well-formed, empty assistant message.

    `usage` is `(prompt, completion)` tokens, or `(prompt, completion, cached)`, None to derive them from lengths,
    "unknown" to leave them out.
    `body` replaces the whole payload. `hang` never answers ("before") or stops half-way ("in_stream") until
    the client goes away or the server closes. `cut_after` aborts the TCP connection after so many chunks (a
    body that is no stream has two, its halves). `chunk_delay` is seconds before each chunk.
    `end_without_finish` closes a stream properly, but without finish reason, usage and `[DONE]`.
    """

    text: str = ""
    _: KW_ONLY
    tool_calls: Sequence[ToolCall] = ()
    usage: tuple[int, int] | tuple[int, int, int] | Literal["unknown"] | None = None
    finish_reason: str | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    hang: Literal["before", "in_stream"] | None = None
    cut_after: int | None = None
    chunk_delay: float = 0.0
    end_without_finish: bool = False


def error(status: int, message: str = "scripted", *, code: str | None = None, **headers: object) -> Reply:
    """A refusal in OpenAI's shape; `retry_after=2` becomes the header `retry-after: 2`."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    body = json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}})
    sent = {name.replace("_", "-"): str(value) for name, value in headers.items()}
    return Reply(status=status, body=body, headers=sent)


def ledger(
    next: object = "",
    instruction: object = "",
    *,
    satisfied: object = False,
    loop: object = False,
    progress: object = True,
) -> str:
    """A progress ledger as JSON text. Values go in as given, so that a test can put strings for booleans."""
    answers = {
        "is_request_satisfied": satisfied,
        "is_in_loop": loop,
        "is_progress_being_made": progress,
        "next_speaker": next,
        "instruction_or_question": instruction,
    }
    return json.dumps({key: {"reason": f"scripted {key}", "answer": value} for key, value in answers.items()})


def text_of(message: Mapping[str, Any]) -> str:
    """The text of a chat message, whether its content is a string or a list of parts."""
    content = message.get("content") or ""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


@dataclass(frozen=True, kw_only=True)
class Request:
    """One chat completion request as it came over the wire, and what it is for.

    `who` is "manager" or the agent's name (Semantic Kernel names its system message after the agent) and
    `purpose` a key of `PURPOSES` or "turn"; both are "" outside a Magentic run, and who asks for a "summary"
    is "" too. `task` is the task, found in
    the prompts and HTML-unescaped; it keeps runs apart. `turn` counts the earlier requests of the run with
    the same `who` and `purpose`; a later run of the same task counts from 0 again.
    """

    body: dict[str, Any]
    headers: Mapping[str, str]
    who: str
    purpose: str
    task: str
    turn: int
    messages: list[dict[str, Any]]
    model: str
    stream: bool = False
    tools: Sequence[dict[str, Any]] = ()
    stream_options: Mapping[str, Any] = field(default_factory=dict)
    response_format: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tool_names(self) -> list[str]:
        """Names of the functions on offer."""
        return [tool["function"]["name"] for tool in self.tools]

    @property
    def last_tool_results(self) -> list[str]:
        """What the functions called just before this request returned, in order."""
        trailing = takewhile(lambda message: message["role"] == "tool", reversed(self.messages))
        return [text_of(message) for message in trailing][::-1]


Answer: TypeAlias = "Reply | str | Sequence[Answer] | Callable[[Request], Answer | None]"
"""A reply, its text, a list to go through by turns (the last one repeats), or a function of the request."""


def resolve(answer: Answer | None, request: Request, turn: int) -> Reply | None:
    """The reply that `answer` means at the given turn; None if a function in it has none."""
    if callable(answer):
        return resolve(answer(request), request, turn)
    if isinstance(answer, str):
        return Reply(answer)
    if isinstance(answer, Sequence):
        return resolve(answer[min(turn, len(answer) - 1)], request, turn)
    return answer


class OpenAIServer:
    """`with OpenAIServer(brain) as server:` serves chat completions at `server.base_url` from its own thread.

    `brain` is any `Answer`; functions in it run in the server's thread, one at a time. What a function raises
    is answered with status 500 and raised again at the end of the block: no broken script passes unseen.
    """

    def __init__(self, brain: Answer) -> None:
        self._brain = brain
        self._requests: list[Request] = []
        self._hanging: list[Request] = []
        self._broken: list[Exception] = []
        self._turns: dict[str, Counter[tuple[str, str]]] = {}

    @property
    def requests(self) -> list[Request]:
        """Every request so far, in order of arrival."""
        return list(self._requests)

    @property
    def hanging(self) -> list[Request]:
        """Requests whose answer has stopped (`Reply.hang`) and whose client still waits."""
        return list(self._hanging)

    @property
    def open_connections(self) -> int:
        return len(self._http.connections)

    def wait_for(self, predicate: Callable[[OpenAIServer], object], timeout: float = 60.0) -> None:
        """Return once `predicate(self)` is true; `TimeoutError` after `timeout` seconds. Blocks."""
        deadline = time.monotonic() + timeout
        while not predicate(self):
            if time.monotonic() > deadline:
                state = f"{self.open_connections} connections open, {len(self.hanging)} requests hanging"
                seen = [(request.who, request.purpose, request.turn) for request in self.requests]
                raise TimeoutError(f"not within {timeout} s: {state}, requests {seen}")
            time.sleep(0.005)

    async def reached(self, predicate: Callable[[OpenAIServer], object], timeout: float = 60.0) -> None:
        """`wait_for` for tests that run on an event loop."""
        await asyncio.to_thread(self.wait_for, predicate, timeout)

    def __enter__(self) -> OpenAIServer:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="openai-server", daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(5)
        return self

    def __exit__(self, exc_type: object, *_: object) -> None:
        try:
            asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(5)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5)
            self._loop.close()
        if self._broken and exc_type is None:
            raise self._broken[0]

    async def _start(self) -> None:
        self._http = web.Server(self._handle, handler_cancellation=True, access_log=None)
        self._listener = await self._loop.create_server(self._http, "127.0.0.1", 0)
        self.base_url = f"http://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}/v1"

    async def _stop(self) -> None:
        self._listener.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._http.shutdown(1)

    async def _handle(self, http: web.BaseRequest) -> web.StreamResponse:
        if (http.method, http.path) != ("POST", "/v1/chat/completions"):
            return web.json_response({"error": {"message": f"no such route: {http.path}"}}, status=404)
        request = self._receive(await http.json(), http.headers)
        try:
            reply = _refusal(request.messages) or resolve(self._brain, request, request.turn)
            if reply is None:
                raise LookupError(f"nothing scripted for {request.who} {request.purpose} {request.turn}")
        except Exception as broken:
            self._broken.append(broken)
            reply = error(500, f"the script is broken: {broken!r}")
        return await self._send(http, request, reply)

    def _receive(self, body: dict[str, Any], headers: Mapping[str, str]) -> Request:
        who, purpose, task = _identify(body["messages"])
        turns = self._turns.setdefault(task, Counter())
        if purpose == "facts" and set(turns) - {(who, purpose)}:
            turns.clear()  # a new run of the same task
        run = {"who": who, "purpose": purpose, "task": task, "turn": turns[who, purpose]}
        parsed = {key: body[key] for key in Request.__dataclass_fields__ if body.get(key) is not None}
        request = Request(body=body, headers=headers, **{**parsed, **run})
        turns[who, purpose] += 1
        self._requests.append(request)
        return request

    async def _send(self, http: web.BaseRequest, request: Request, reply: Reply) -> web.StreamResponse:
        if reply.hang == "before":
            await self._hang(request)
        pieces, kind = _payload(request, reply)
        response = web.StreamResponse(status=reply.status, headers={"Content-Type": kind})
        response.headers.update(reply.headers)
        await response.prepare(http)
        for index, piece in enumerate(pieces):
            if reply.hang == "in_stream" and index == (len(pieces) + 1) // 2:
                await self._hang(request)
            if index == reply.cut_after:
                break
            await asyncio.sleep(reply.chunk_delay)
            await response.write(piece)
        if reply.cut_after is not None and http.transport is not None:
            http.transport.abort()
        return response

    async def _hang(self, request: Request) -> None:
        self._hanging.append(request)
        try:
            await self._loop.create_future()
        finally:
            self._hanging.remove(request)


def _identify(messages: list[dict[str, Any]]) -> tuple[str, str, str]:
    """Who asks, what for, and the task of the run."""
    match = next(filter(None, (_TASK.search(text_of(message)) for message in messages)), None)
    task = match[1] if match else ""
    while (plain := html.unescape(task)) != task:  # Semantic Kernel escapes it never, once or twice
        task = plain
    if text_of(messages[0]).startswith(SUMMARY):
        return "", "summary", task
    for message in messages:
        if message["role"] in ("system", "developer"):
            return (message["name"], "turn", task) if message.get("name") else ("", "", task)
    # A re-asked ledger ends in a correction, so the last prompt that is known decides.
    for text in (text_of(message).lstrip() for message in reversed(messages) if message["role"] == "user"):
        for purpose, beginning in PURPOSES.items():
            if text.startswith(beginning):
                return MANAGER, purpose, task
    return "", "", task


def _refusal(messages: list[dict[str, Any]]) -> Reply | None:
    """What OpenAI answers when function calls and their results do not stand together."""
    waiting: set[str] = set()
    for message in [*messages, {"role": "end"}]:
        if message["role"] == "tool":
            if message["tool_call_id"] not in waiting:
                return error(
                    400, "messages with role 'tool' must be a response to a preceding message with 'tool_calls'"
                )
            waiting.remove(message["tool_call_id"])
        elif waiting:
            return error(400, "an assistant message with 'tool_calls' must be followed by tool messages")
        else:
            waiting = {call["id"] for call in message.get("tool_calls") or ()}
    return None


def _payload(request: Request, reply: Reply) -> tuple[list[bytes], str]:
    """The body of the response in the pieces that it is sent in, and its content type."""
    if reply.body is not None:
        whole, kind = reply.body, "text/html" if reply.body.lstrip().startswith("<") else "application/json"
    elif request.stream:
        return [f"data: {event}\n\n".encode() for event in _events(request, reply)], "text/event-stream"
    else:
        message: dict[str, Any] = {"role": "assistant", "content": reply.text or None}
        if reply.tool_calls:
            message["tool_calls"] = _tool_calls(request, reply)
        choice = {"index": 0, "finish_reason": _finish_reason(reply), "message": message}
        whole, kind = _completion(request, [choice], _usage(request, reply)), "application/json"
    data = whole.encode()
    if whole.startswith(("data:", ":")):
        return [event + b"\n\n" for event in data.split(b"\n\n") if event], "text/event-stream"
    return [data[: len(data) // 2], data[len(data) // 2 :]], kind


def _events(request: Request, reply: Reply) -> Iterator[str]:
    """The stream as OpenAI sends it: role, words, tool calls in pieces, finish reason, usage, `[DONE]`."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": word} for word in re.findall(r"\S+\s*|\s+", reply.text)]
    for index, call in enumerate(_tool_calls(request, reply)):
        arguments = call["function"]["arguments"]
        pieces = [arguments[at : at + 8] for at in range(0, len(arguments), 8)]
        head = {**call, "index": index, "function": {**call["function"], "arguments": ""}}
        deltas.append({"tool_calls": [head]})
        deltas += [{"tool_calls": [{"index": index, "function": {"arguments": piece}}]} for piece in pieces]
    for delta in deltas:
        yield _completion(request, [{"index": 0, "delta": delta, "finish_reason": None}])
    if not reply.end_without_finish:
        yield _completion(request, [{"index": 0, "delta": {}, "finish_reason": _finish_reason(reply)}])
        if request.stream_options.get("include_usage") and (usage := _usage(request, reply)):
            yield _completion(request, [], usage)
        yield "[DONE]"


def _completion(request: Request, choices: list[Any], usage: dict[str, Any] | None = None) -> str:
    kind = "chat.completion.chunk" if request.stream else "chat.completion"
    head = {"id": "chatcmpl-scripted", "object": kind, "created": 1735689600, "model": request.model}
    return json.dumps({**head, "choices": choices, "usage": usage})


def _tool_calls(request: Request, reply: Reply) -> list[dict[str, Any]]:
    """The calls in OpenAI's shape, with ids that are the same whenever the same run is played again."""
    calls = []
    for index, call in enumerate(reply.tool_calls):
        arguments = call.arguments if isinstance(call.arguments, str) else json.dumps(call.arguments)
        function = {"name": call.name, "arguments": arguments}
        call_id = f"call_{request.who}_{request.turn}_{index}"
        calls.append({"id": call_id, "type": "function", "function": function})
    return calls


def _finish_reason(reply: Reply) -> str:
    return reply.finish_reason or ("tool_calls" if reply.tool_calls else "stop")


def _usage(request: Request, reply: Reply) -> dict[str, Any] | None:
    if reply.usage == "unknown":
        return None
    length = sum(len(text_of(message)) for message in request.messages)
    prompt, completion, *cached = reply.usage or (length // 4 + 1, len(reply.text) // 4 + 1)
    usage: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": completion}
    usage["total_tokens"] = prompt + completion
    if cached:
        usage["prompt_tokens_details"] = {"cached_tokens": cached[0]}
    return usage


@dataclass(kw_only=True)
class TeamBrain:
    """Plays a whole satisfied Magentic run; `on` puts something else in the place of chosen replies.

    Each ledger sends to the next of `rounds` (speaker, instruction); the one after the last says satisfied.
    Each agent goes through its own answers. What `on` answers uses up none of these, so a request that is
    made again after a fault gets what it would have got. How far a run is, is kept by `Request.task`: one
    brain serves several runs at once if their tasks differ, and runs of one task one after another.
    """

    rounds: Sequence[tuple[str, str]]
    agents: Mapping[str, Answer]
    facts: Answer = "GIVEN OR VERIFIED FACTS: none."
    plan: Answer = "- Ask each team member once."
    answer: Answer = "The final answer."
    summary: Answer = "In short."
    _overrides: dict[tuple[str, str, int | None], Answer] = field(default_factory=dict, init=False)
    _used: Counter[tuple[str, str, str]] = field(default_factory=Counter, init=False)

    def on(self, who: str, purpose: str, turn: int | None, reply: Answer) -> TeamBrain:
        """Answer that request (every turn if None) with `reply`; a function may return None to pass."""
        self._overrides[who, purpose, turn] = reply
        return self

    def __call__(self, request: Request) -> Reply | None:
        who, purpose, task = request.who, request.purpose.removesuffix("_update"), request.task
        if request.purpose == "facts" and request.turn == 0:
            self._used = Counter({key: used for key, used in self._used.items() if key[0] != task})
        for turn in (request.turn, None):
            override = self._overrides.get((who, request.purpose, turn))
            if override is not None and (reply := resolve(override, request, request.turn)):
                return reply
        ledgers = [ledger(*round) for round in self.rounds]
        ledgers.append(ledger(self.rounds[-1][0], "Nothing more.", satisfied=True))
        steps = {"facts": self.facts, "plan": self.plan, "ledger": ledgers, "answer": self.answer}
        steps["summary"] = self.summary
        used = self._used[task, who, purpose]
        self._used[task, who, purpose] += 1
        return resolve(self.agents[who] if purpose == "turn" else steps[purpose], request, used)
