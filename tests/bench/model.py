"""A lean model server for benchmarks, in a process of its own: answers in 50 ms, and counts what it is sent."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from cases import AGENTS, TASK
from support.openai_server import PURPOSES, ledger, text_of

SECONDS = 0.05
"""How long an answer takes; a streamed one comes in pieces over this time, a whole one at the end."""

_WORDS = " ".join(["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "and"] * 12)  # 120 words


class Model:
    """What each task has asked so far decides what it is answered."""

    def __init__(self) -> None:
        self.judged: Counter[str] = Counter()
        self.sent: dict[str, Counter[str]] = {}

    def reply(self, body: dict[str, Any]) -> tuple[str, int]:
        """The text for this request, and its pieces if it is streamed; a ledger names one agent after the other."""
        texts = [text_of(message) for message in body["messages"]]
        name, rounds, pieces = next(found.groups() for text in texts if (found := TASK.search(text)))
        self.sent.setdefault(name, Counter()).update(calls=1, chars=sum(map(len, texts)))
        last = texts[-1].lstrip()
        purpose = next((purpose for purpose, start in PURPOSES.items() if last.startswith(start)), "turn")
        if purpose != "ledger":
            return f"{purpose} {len(texts)} {_WORDS}", int(pieces)
        done = self.judged[name]
        self.judged[name] += 1
        if done < int(rounds):
            return ledger(AGENTS[done % len(AGENTS)], f"Do step {done}."), int(pieces)
        return ledger(AGENTS[0], "Nothing more.", satisfied=True), int(pieces)


@lru_cache(maxsize=4096)
def _stream(text: str, pieces: int) -> list[bytes]:
    """The reply as server-sent events, each of which is written on its own."""
    words = re.findall(r"\S+\s*", text)
    step = -(-len(words) // pieces)
    deltas = ["".join(words[at : at + step]) for at in range(0, len(words), step)]
    choices: list[list[dict[str, Any]]] = [
        [{"index": 0, "delta": {"role": "assistant", "content": delta}, "finish_reason": None}] for delta in deltas
    ]
    choices[-1][0]["finish_reason"] = "stop"
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1735689600, "model": "m"}
    usage = {"prompt_tokens": 100, "completion_tokens": len(words), "total_tokens": 100 + len(words)}
    chunks = [{**head, "choices": choice, "usage": None} for choice in choices]
    chunks.append({**head, "choices": [], "usage": usage})
    parts = [f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks]
    parts[-1] += b"data: [DONE]\n\n"
    return [b"%x\r\n%b\r\n" % (len(part), part) for part in parts]


def _whole(text: str) -> bytes:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 100, "completion_tokens": 100, "total_tokens": 200}
    head = {"id": "c", "object": "chat.completion", "created": 1735689600, "model": "m"}
    return json.dumps({**head, "choices": [choice], "usage": usage}).encode()


def _head(kind: str, length: int | None) -> bytes:
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{size}\r\n\r\n".encode()


async def _serve(model: Model, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection, a request after the other; `GET` tells what was sent, by task."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            if head.startswith("get"):
                data = json.dumps(model.sent).encode()
                writer.write(_head("application/json", len(data)) + data)
                continue
            length = int(head.split("content-length:")[1].split("\r\n")[0])
            body = json.loads(await reader.readexactly(length))
            text, pieces = model.reply(body)
            if body.get("stream"):
                writer.write(_head("text/event-stream", None))
                parts = _stream(text, pieces)
                for part in parts:
                    await asyncio.sleep(SECONDS / len(parts))
                    writer.write(part)
                writer.write(b"0\r\n\r\n")
            else:
                await asyncio.sleep(SECONDS)
                data = _whole(text)
                writer.write(_head("application/json", len(data)) + data)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main() -> None:
    """Serves until the process that started it closes the pipe."""
    model = Model()
    server = await asyncio.start_server(
        lambda reader, writer: _serve(model, reader, writer), "127.0.0.1", 0, limit=2**26, backlog=1024
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


@contextmanager
def serving() -> Iterator[str]:
    """A server process for the block; gives its base URL."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, __file__], text=True, **pipes) as process:  # type: ignore[call-overload]
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}/v1"
        finally:
            process.kill()


if __name__ == "__main__":
    asyncio.run(main())
