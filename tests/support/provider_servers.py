"""Providers with protocols of their own on loopback, each by its own wire format.

`ProviderServer` plays an `Answer` as the provider would send it: text, reasoning, function calls and how it ended.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from support.openai_server import Answer, Reply, Request, resolve
from support.real_servers import identify

SDK = {
    "ollama": "ollama",
    "anthropic": "anthropic",
    "google": "google.genai",
    "mistral": "mistralai",
    "bedrock": "boto3",
    "azure_ai_inference": "azure.ai.inference",
    "nvidia": "openai",
}
"""Provider -> the package that its connector needs."""

ENVIRONMENT = {
    **dict.fromkeys(("ANTHROPIC_API_KEY", "GOOGLE_AI_API_KEY", "MISTRALAI_API_KEY"), "k"),
    **dict.fromkeys(("AZURE_AI_INFERENCE_API_KEY", "NVIDIA_API_KEY"), "k"),
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "AKIAAAAAAAAAAAAAAAAA",
    "AWS_SECRET_ACCESS_KEY": "secret",
}
ADDRESSES = ("ANTHROPIC_BASE_URL", "GOOGLE_GEMINI_BASE_URL", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME")
"""Variables by which the SDKs themselves find their servers."""


@dataclass(frozen=True)
class Thoughtful(Reply):
    """A reply with reasoning in the field that the provider has for it."""

    reasoning: str = ""


@dataclass(frozen=True)
class Raw:
    """An answer as it goes over the wire."""

    status: int
    body: Any


Refuse = Callable[[dict[str, Any], str], Raw | None]
"""What a server answers at once to a request, by its body and by its texts; None to let it pass."""


class ProviderServer:
    """`with ProviderServer(provider, brain) as server:` answers at `server.url`; `bodies` has what was asked."""

    def __init__(self, provider: str, answers: Answer, refuse: Refuse = lambda body, said: None) -> None:
        self.bodies: list[dict[str, Any]] = []
        self._provider, self._answers, self._refuse = provider, answers, refuse
        self._turns: Counter[tuple[str, str]] = Counter()

    @property
    def asked(self) -> list[str]:
        """The texts of each request."""
        return ["\n".join(_said(body)) for body in self.bodies]

    def service(self) -> dict[str, Any]:
        """What the team file says of the service."""
        where = {
            "ollama": {"host": self.url},
            "azure_ai_inference": {"endpoint": self.url},
            "nvidia": {"base_url": f"{self.url}/v1"},
        }
        model = {"bedrock": "amazon.nova"}.get(self._provider, "m")
        return {"provider": self._provider, "model": model, **where.get(self._provider, {})}

    def prepare(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Sets what the SDKs read from the environment."""
        for name, value in ENVIRONMENT.items():
            monkeypatch.setenv(name, value)
        for name in ADDRESSES:
            monkeypatch.setenv(name, self.url)

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, str, str]:
        """Status, content type and text of the answer."""
        self.bodies.append(body)
        said = _said(body)
        raw = self._refuse(body, "\n".join(said))
        if raw is None:
            messages = [{"role": "user", "content": text} for text in said]
            bare = Request(body=body, headers={}, who="", purpose="", task="", turn=0, messages=messages, model="m")
            who, purpose = identify(bare)
            turn = self._turns[who, purpose]
            self._turns[who, purpose] += 1
            known = Request(
                body=body, headers={}, who=who, purpose=purpose, task="", turn=turn, messages=messages, model="m"
            )
            reply = resolve(self._answers, known, turn) or Reply()
            streamed = bool(body.get("stream")) or "stream" in path.lower()
            if reply.body is None:
                return 200, *FORMATS[self._provider](reply, streamed)
            raw = Raw(reply.status, json.loads(reply.body))
            if self._provider == "google" and raw.status == 200 and streamed:
                return 200, *_events(raw.body)
        return raw.status, "application/json", json.dumps(raw.body)

    def __enter__(self) -> ProviderServer:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                status, kind, text = server.answer(self.path, body)
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


def tier_of(body: Mapping[str, Any]) -> str:
    """How a request asks for a progress ledger: `json_schema`, `json_object` or `prompt`."""
    config = body.get("generationConfig") or {}
    asked = body.get("response_format") or body.get("format") or {}
    if config.get("responseSchema") or config.get("responseJsonSchema") or "schema" in json.dumps(asked):
        return "json_schema"
    if isinstance(asked, dict) and "properties" in asked:
        return "json_schema"
    if asked or config.get("responseMimeType") == "application/json":
        return "json_object"
    return "prompt"


def _said(body: Mapping[str, Any]) -> list[str]:
    places = ("messages", "contents", "system", "systemInstruction")
    return [*_texts({key: value for key, value in body.items() if key in places})]


def _texts(value: Any) -> Iterator[str]:
    """Every text in a request, in order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


# -- how each provider sends a reply: content type and text


def _events(*events: Mapping[str, Any]) -> tuple[str, str]:
    named = (f"event: {event['type']}\n" if "type" in event else "" for event in events)
    return "text/event-stream", "".join(f"{n}data: {json.dumps(e)}\n\n" for n, e in zip(named, events, strict=True))


def _reasoning(reply: Reply) -> str:
    return reply.reasoning if isinstance(reply, Thoughtful) else ""


def _calls(reply: Reply) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Id, name and arguments of each call."""
    calls = []
    for number, call in enumerate(reply.tool_calls):
        assert not isinstance(call.arguments, str)
        calls.append((f"call{number:05}", call.name, call.arguments))
    return calls


def ollama(reply: Reply, streamed: bool) -> tuple[str, str]:
    message: dict[str, Any] = {"role": "assistant", "content": reply.text}
    if _reasoning(reply):
        message["thinking"] = _reasoning(reply)
    if reply.tool_calls:
        message["tool_calls"] = [{"function": {"name": name, "arguments": args}} for _, name, args in _calls(reply)]
    head = {"model": "m", "created_at": "2026-01-01T00:00:00Z"}
    end = {"done": True, "done_reason": reply.finish_reason or "stop", "prompt_eval_count": 1, "eval_count": 1}
    if not streamed:
        return "application/json", json.dumps({**head, "message": message, **end})
    lines = [
        {**head, "message": message, "done": False},
        {**head, "message": {"role": "assistant", "content": ""}, **end},
    ]
    return "application/x-ndjson", "".join(json.dumps(line) + "\n" for line in lines)


def anthropic(reply: Reply, streamed: bool) -> tuple[str, str]:
    blocks: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []  # the block at its start, and its deltas
    if thought := _reasoning(reply):
        deltas = [{"type": "thinking_delta", "thinking": thought}, {"type": "signature_delta", "signature": "s"}]
        blocks.append(({"type": "thinking", "thinking": "", "signature": ""}, deltas))
    if reply.text:
        blocks.append(({"type": "text", "text": ""}, [{"type": "text_delta", "text": reply.text}]))
    for id, name, args in _calls(reply):
        delta = {"type": "input_json_delta", "partial_json": json.dumps(args)}
        blocks.append(({"type": "tool_use", "id": id, "name": name, "input": {}}, [delta]))
    stop = reply.finish_reason or ("tool_use" if reply.tool_calls else "end_turn")
    usage = {"input_tokens": 1, "output_tokens": 1}
    message: dict[str, Any] = {"id": "x", "type": "message", "role": "assistant", "model": "m", "stop_sequence": None}
    if not streamed:
        content: list[dict[str, Any]] = []
        if _reasoning(reply):
            content.append({"type": "thinking", "thinking": _reasoning(reply), "signature": "s"})
        if reply.text:
            content.append({"type": "text", "text": reply.text})
        content += [{"type": "tool_use", "id": id, "name": name, "input": args} for id, name, args in _calls(reply)]
        return "application/json", json.dumps({**message, "content": content, "stop_reason": stop, "usage": usage})
    sent: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**message, "content": [], "stop_reason": None, "usage": usage}}
    ]
    for index, (start, deltas) in enumerate(blocks):
        sent.append({"type": "content_block_start", "index": index, "content_block": start})
        sent += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        sent.append({"type": "content_block_stop", "index": index})
    sent.append({"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": 1}})
    return _events(*sent, {"type": "message_stop"})


def google(reply: Reply, streamed: bool) -> tuple[str, str]:
    parts: list[dict[str, Any]] = []
    if _reasoning(reply):
        parts.append({"text": _reasoning(reply), "thought": True})
    if reply.text:
        parts.append({"text": reply.text})
    parts += [{"functionCall": {"name": name, "args": args}} for _, name, args in _calls(reply)]
    usage = {"promptTokenCount": 1, "candidatesTokenCount": 1}
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
    end = {"finishReason": reply.finish_reason or "STOP"}
    if not streamed:
        return "application/json", json.dumps({"candidates": [{**candidate, **end}], "usageMetadata": usage})
    # Gemini ends some streams with a chunk that has the usage alone.
    return _events({"candidates": [{**candidate, **end}]}, {"usageMetadata": usage})


def mistral(reply: Reply, streamed: bool) -> tuple[str, str]:
    content: Any = reply.text
    if _reasoning(reply):
        thinking = [{"type": "text", "text": _reasoning(reply)}]
        content = [{"type": "thinking", "thinking": thinking}, {"type": "text", "text": reply.text}]
    return _openai_shaped(reply, {"content": content}, streamed)


def openai(reply: Reply, streamed: bool) -> tuple[str, str]:
    message: dict[str, Any] = {"content": reply.text}
    if _reasoning(reply):
        message["reasoning_content"] = _reasoning(reply)
    return _openai_shaped(reply, message, streamed)


def _openai_shaped(reply: Reply, message: dict[str, Any], streamed: bool) -> tuple[str, str]:
    calls = [
        {"index": n, "id": id, "type": "function", "function": {"name": name, "arguments": json.dumps(args)}}
        for n, (id, name, args) in enumerate(_calls(reply))
    ]
    whole = {"role": "assistant", **message}
    if calls:
        whole["tool_calls"] = calls
    finish = reply.finish_reason or ("tool_calls" if calls else "stop")
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    head: dict[str, Any] = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "usage": usage}
    if not streamed:
        return "application/json", json.dumps(
            {**head, "choices": [{"index": 0, "finish_reason": finish, "message": whole}]}
        )
    head["object"] = "chat.completion.chunk"
    kind, text = _events(
        {**head, "usage": None, "choices": [{"index": 0, "finish_reason": None, "delta": whole}]},
        {**head, "choices": [{"index": 0, "finish_reason": finish, "delta": {}}]},
    )
    return kind, text + "data: [DONE]\n\n"


def bedrock(reply: Reply, streamed: bool) -> tuple[str, str]:
    content: list[dict[str, Any]] = []
    if _reasoning(reply):
        content.append({"reasoningContent": {"reasoningText": {"text": _reasoning(reply), "signature": "s"}}})
    if reply.text:
        content.append({"text": reply.text})
    content += [{"toolUse": {"toolUseId": id, "name": name, "input": args}} for id, name, args in _calls(reply)]
    stop = reply.finish_reason or ("tool_use" if reply.tool_calls else "end_turn")
    usage = {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}
    output = {"message": {"role": "assistant", "content": content}}
    return "application/json", json.dumps(
        {"output": output, "stopReason": stop, "usage": usage, "metrics": {"latencyMs": 1}}
    )


FORMATS: Mapping[str, Callable[[Reply, bool], tuple[str, str]]] = {
    "ollama": ollama,
    "anthropic": anthropic,
    "google": google,
    "mistral": mistral,
    "bedrock": bedrock,
    "azure_ai_inference": openai,
    "nvidia": openai,
}
