"""What real servers refuse and how real models write, each behaviour named after what it imitates.

`RealServer` is the loopback server of `openai_server`, put behind refusals: functions of a request that answer
what the server answers if the request has a shape that it does not take, else None.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, TypeAlias

from support.openai_server import MANAGER, PURPOSES, Answer, OpenAIServer, Reply, Request, TeamBrain, resolve, text_of

Refusal: TypeAlias = Callable[[Request], Reply | None]


def team(base_url: str, *, names: Sequence[str] = ("Ada", "Bob"), **changes: Any) -> dict[str, Any]:
    """A team whose agents say who they are in their instructions, so that it shows in a request of any shape."""
    service = {"provider": "openai", "model": "m", "base_url": base_url}
    agents = [{"name": n, "description": f"{n} works.", "instructions": f"You are {n}."} for n in names]
    data = {"name": "real", "services": {"default": service}, "agents": agents, "limits": {"retries": 1}}
    return {**data, **changes}


def brain(names: Sequence[str] = ("Ada", "Bob"), **changes: Any) -> TeamBrain:
    """A run in which each speaks twice."""
    rounds = [(name, f"Your turn, {name}.") for name in (*names, *names)]
    return TeamBrain(rounds=rounds, agents={name: f"{name} has looked." for name in names}, **changes)


class RealServer(OpenAIServer):
    """The server with its refusals; `refused` has the requests it did not take."""

    def __init__(self, answers: Answer, *refusals: Refusal) -> None:
        self.refused: list[Request] = []
        self._answers, self._refusals = answers, refusals
        super().__init__(self._judge)

    def _judge(self, request: Request) -> Reply | None:
        for refusal in self._refusals:
            if (refused := refusal(request)) is not None:
                self.refused.append(request)
                return refused
        who, purpose = identify(request)
        known = replace(request, who=who, purpose=purpose)
        return resolve(self._answers, known, request.turn)


def identify(request: Request) -> tuple[str, str]:
    """Who asks and what for, wherever in the messages it stands."""
    texts = [text_of(message) for message in request.messages if message["role"] != "assistant"]
    for text in texts:
        if match := re.search(r"You are (\w+)\.", text):
            return match[1], "turn"
    for text in reversed(texts):
        places = {purpose: text.rfind(beginning) for purpose, beginning in PURPOSES.items()}
        last = max(places, key=lambda purpose: places[purpose])
        if places[last] >= 0:
            return MANAGER, last
    return request.who, request.purpose


# -- how each server words a refusal


def openai_words(status: int, message: str, **more: Any) -> Reply:
    """OpenAI, Azure, DeepSeek, OpenRouter, LM Studio."""
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None, **more}
    return Reply(status=status, body=json.dumps({"error": error}))


def vllm_words(status: int, message: str) -> Reply:
    """vLLM before its version 0.10, SGLang."""
    body = {"object": "error", "message": message, "type": "BadRequestError", "param": None, "code": status}
    return Reply(status=status, body=json.dumps(body))


def fastapi_words(*loc: Any, message: str = "Extra inputs are not permitted") -> Reply:
    """Mistral, NIM, and whatever else checks requests by pydantic behind FastAPI."""
    detail = [{"type": "extra_forbidden", "loc": ["body", *loc], "msg": message, "input": "x"}]
    return Reply(status=422, body=json.dumps({"detail": detail}))


def llamacpp_words(message: str) -> Reply:
    """llama.cpp, whose chat templates raise with status 500."""
    return Reply(status=500, body=json.dumps({"error": {"code": 500, "message": message, "type": "server_error"}}))


# -- what each server refuses


def roles_out_of_order(request: Request) -> bool:
    """Whether a chat template of Mistral's or Gemma's raises: behind the instructions, user and assistant alternate."""
    roles = [message["role"] for message in request.messages]
    if roles[0] in ("system", "developer"):
        roles = roles[1:]
    spoken = [role for role in roles if role != "tool"]
    plain = [
        message["role"]
        for message in request.messages
        if message["role"] in ("user", "assistant") and not message.get("tool_calls")
    ]
    alternating = all(one != other for one, other in pairwise(plain))
    return "system" in roles or "developer" in roles or not spoken or spoken[0] != "user" or not alternating


def when(wrong: Callable[[Request], object], reply: Reply) -> Refusal:
    """Refuses with `reply` what is `wrong`."""
    return lambda request: reply if wrong(request) else None


def has(*fields: str) -> Callable[[Request], bool]:
    """Whether the request has one of the fields."""
    return lambda request: any(request.body.get(field) is not None for field in fields)


def has_role(role: str) -> Callable[[Request], bool]:
    """Whether a message has the role."""
    return lambda request: any(message["role"] == role for message in request.messages)


def has_names(request: Request) -> bool:
    """Whether a message has a name."""
    return any("name" in message for message in request.messages)


def agents_only(wrong: Callable[[Request], object]) -> Callable[[Request], bool]:
    """The same for requests that offer functions."""
    return lambda request: bool(request.tools) and bool(wrong(request))


# -- streams as real servers send them


def events(*chunks: Mapping[str, Any] | str, done: bool = True) -> Reply:
    """A stream with these chunks as they are."""
    lines = [chunk if isinstance(chunk, str) else f"data: {json.dumps(chunk)}" for chunk in chunks]
    body = "\n\n".join([*lines, "data: [DONE]"] if done else lines) + "\n\n"
    return Reply(body=body, headers={"Content-Type": "text/event-stream"})


def delta(finish: str | None = None, **fields: Any) -> dict[str, Any]:
    """A chunk with one delta."""
    return chunk([{"index": 0, "delta": fields, "finish_reason": finish}])


def chunk(choices: Any, **more: Any) -> dict[str, Any]:
    """A chunk with these choices."""
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, **more}


def call_delta(name: str | None = None, arguments: Any = None, **more: Any) -> dict[str, Any]:
    """A chunk with a piece of a function call."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return delta(tool_calls=[{"type": "function", "function": function, **more}])


def completion(text: str | None, finish: str | None = "stop", **message: Any) -> Reply:
    """A reply in one JSON body, whatever was asked for."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}
    return Reply(body=json.dumps(chunk([choice], usage=None)))
