"""Reads what servers answer by OpenAI's chat-completions protocol: leniently, into pieces that have one shape."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio

from magentic_kit.events import FunctionCall
from magentic_kit.services.call_pieces import CallPieces
from magentic_kit.services.endings import FINISH_REASONS

_DRAIN = 1.0
"""Seconds to wait for the end of an answer whose last event has come."""


class MalformedReply(Exception):
    """A server's answer that no client could read; `str` says what is wrong with it."""


class ErrorInReply(Exception):
    """A server answered 200 and then an error object, which is `body`."""

    def __init__(self, body: Any) -> None:
        self.body = body if isinstance(body, Mapping) else {"message": str(body)}
        super().__init__(str(self.body.get("message") or body))


@dataclass
class Piece:
    """What one read of a stream has brought: texts, whole function calls, and how the reply ended, if it did."""

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    calls: list[FunctionCall] = field(default_factory=list)
    finish_reason: str = ""
    usage: dict[str, Any] | None = None

    def __bool__(self) -> bool:
        return bool(self.text or self.reasoning or self.refusal or self.calls or self.finish_reason or self.usage)


class ReplyReader:
    """Makes pieces of the body of one answer, whether it is a stream of events or one JSON object.

    A reply that ends by `[DONE]`, or as one object, is a whole one whatever its finish reason says; a body that
    ends otherwise leaves the last piece without a finish reason.
    """

    def __init__(self) -> None:
        self._calls = CallPieces()
        self._finish = ""
        self._refused = False
        self._usage: dict[str, Any] | None = None

    async def pieces(self, body: AsyncIterator[bytes]) -> AsyncIterator[Piece]:
        """One piece for each read that brought something. Raises `MalformedReply` and `ErrorInReply`."""
        kept, whole = b"", b""  # a line whose end is yet to come; the body, as long as it may be one object
        first, done = b"", False
        async for part in body:
            if not first:
                kept += part
                first = kept.lstrip(b"\xef\xbb\xbf \r\n\t")[:1]
                part, kept = (kept, b"") if first else (b"", kept)
            if first in (b"{", b"[", b"<"):
                whole += part
                continue
            *lines, kept = (kept + part).replace(b"\r\n", b"\n").split(b"\n")
            piece = Piece()
            for line in lines:
                done |= self._line(line, piece)
            if piece:
                yield piece
            if done:
                with anyio.move_on_after(_DRAIN):  # a connection is used again only if its answer was read to the end
                    async for _ in body:
                        pass
                break
        last = Piece()
        if whole:
            self._object(whole, last)
            done = True
        elif kept:
            done |= self._line(kept, last)
        last.calls = self._calls.take()
        last.finish_reason = self._ending(done, bool(last.calls))
        last.usage = self._usage
        if last or first:
            yield last

    def _ending(self, done: bool, calls: bool) -> str:
        if self._refused and self._finish in ("", "stop"):
            return "refusal"
        if self._finish:
            if calls and self._finish == "stop":
                return "tool_calls"
            return self._finish
        if not done:
            return ""
        if calls:
            return "tool_calls"
        return "stop"

    def _line(self, line: bytes, piece: Piece) -> bool:
        """Takes in one line of a stream of events; true for its end."""
        if line.startswith(b"data:"):
            data = line[5:].strip()
            if data.startswith(b"[DONE]"):
                return True
            if data:
                self._event(data, piece)
        elif line.lstrip().startswith((b"{", b"<")):  # what a gateway has put in place of the rest
            self._event(line.strip(), piece)
        return False

    def _event(self, data: bytes, piece: Piece) -> None:
        try:
            chunk = json.loads(data.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            raise MalformedReply(f"a part of the stream is no JSON: {_shown(data)}") from None
        if not isinstance(chunk, dict):
            raise MalformedReply(f"a part of the stream is no object: {_shown(data)}")
        self._chunk(chunk, piece)

    def _object(self, data: bytes, piece: Piece) -> None:
        try:
            answer = json.loads(data.decode("utf-8", "replace"))
            choices = isinstance(answer, dict) and (answer.get("choices") or answer.get("error"))
        except (ValueError, RecursionError):
            choices = None
        if not choices:
            raise ValueError(_shown(data))  # no chat completion at all
        self._chunk(answer, piece)

    def _chunk(self, chunk: dict[str, Any], piece: Piece) -> None:
        error = chunk.get("error")
        if error or chunk.get("object") == "error" or chunk.get("type") == "error":
            raise ErrorInReply(error or chunk)
        usage = chunk.get("usage")
        if isinstance(usage, dict) and isinstance(usage.get("prompt_tokens"), int):
            self._usage = {**usage, "completion_tokens": usage.get("completion_tokens") or 0}
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if not isinstance(choice, dict) or choice.get("index"):
                continue
            delta = choice.get("delta") or choice.get("message") or {}
            if isinstance(delta, dict):
                self._delta(delta, piece)
            finish = choice.get("finish_reason")
            if finish:
                self._finish = FINISH_REASONS.get(str(finish).lower(), "stop")

    def _delta(self, delta: dict[str, Any], piece: Piece) -> None:
        content = delta.get("content")
        text, reasoning = content_text(content)
        piece.text += text
        for name in ("reasoning_content", "reasoning", "thinking"):
            if isinstance(thought := delta.get(name), str) and thought:
                reasoning += thought
                break
        piece.reasoning += reasoning
        refusal = delta.get("refusal")
        if not isinstance(content, str):
            self._refused |= _has_refusal(content)
        if isinstance(refusal, str) and refusal:
            self._refused = True
            piece.refusal += refusal
        calls = delta.get("tool_calls")
        for call in calls if isinstance(calls, list) else [calls] if isinstance(calls, dict) else ():
            if isinstance(call, dict):
                self._calls.add(call)
        if isinstance(legacy := delta.get("function_call"), dict):
            self._calls.add({"function": legacy})


def _has_refusal(content: object) -> bool:
    """Whether a message's content is a refusal, by parts of that kind."""
    parts = content if isinstance(content, list) else [content]
    return any(isinstance(part, dict) and part.get("refusal") for part in parts)


def content_text(content: object) -> tuple[str, str]:
    """Text and reasoning of a message's content: a string, or parts. Raises `MalformedReply` for anything else."""
    if content is None or isinstance(content, str):
        return content or "", ""
    text, reasoning = "", ""
    for part in content if isinstance(content, list) else [content]:
        match part:
            case str():
                text += part
            case {"type": "thinking" | "reasoning", **rest}:
                inner = next((rest[key] for key in ("thinking", "reasoning", "text") if rest.get(key)), "")
                reasoning += content_text(inner)[0]
            case {"text": str(said)}:
                text += said
            case {"refusal": str(said)}:
                text += said
            case None:
                continue
            case _:
                raise MalformedReply(f"its content is neither text nor parts with text: {_shown(content)}")
    return text, reasoning


def _shown(data: object) -> str:
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else json.dumps(data, default=str)
    return text[:100]
