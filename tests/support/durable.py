"""A run to be killed: its team, its server's replies as a pure function of the request, and the child process."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import re
import signal
from pathlib import Path
from typing import Any

import yaml
from support.openai_server import Reply, Request, ToolCall, ledger, text_of

PLUGIN = """
import asyncio, pathlib
from semantic_kernel.functions import kernel_function

class Notes:
    def __init__(self, file: str):
        self.file = pathlib.Path(file)

    @kernel_function(description="Writes a note.")
    async def add(self, text: str) -> str:
        await asyncio.sleep(0.005 if text == "one" else 0)
        with self.file.open("a") as file:
            file.write(text + "\\n")
        return "noted " + text
"""
ROUNDS = [("Analyst", "look"), ("Writer", "draft"), ("Analyst", "check")]
MODEL_CALLS, TOOL_CALLS = 12, 3


def brain(request: Request) -> Any:
    """Replies by what was asked alone, so that a request that is made again gets the same reply."""
    said = [text_of(message) for message in request.messages]
    if request.purpose == "summary":  # what the others of these replies depend on
        return "\n".join(re.findall("Transferred to|noted one", said[0]))
    if request.purpose == "ledger":
        done = "".join(said).count("Transferred to")
        return ledger(*ROUNDS[done]) if done < len(ROUNDS) else ledger(satisfied=True)
    if request.purpose == "answer":
        return f"done: {said[-2]}"
    if request.purpose != "turn":
        return f"the {request.purpose} " * 20
    results = request.last_tool_results
    if request.who == "Writer":
        return f"a draft on {results}" if results else Reply("Noting.", tool_calls=[note("three")])
    if results:
        return f"found {sorted(results)}"
    first = not any("noted one" in text for text in said)
    return Reply("Noting.", tool_calls=[note("one"), note("two")]) if first else "all checked"


def note(text: str) -> ToolCall:
    return ToolCall("notes-add", {"text": text})


def write_team(folder: Path, base_url: str, **changes: Any) -> Path:
    (folder / "notes.py").write_text(PLUGIN)
    tools = [{"id": "notes.add"}]
    window = {"context": changes.pop("context")} if "context" in changes else {}
    data = {
        "name": "durable",
        "task": "Do it.",
        "services": {"default": {"provider": "openai", "model": "m", "base_url": base_url}},
        "plugins": {"notes": {"type": "python", "target": "notes:Notes", "args": {"file": str(folder / "effects")}}},
        "agents": [
            {"name": "Analyst", "description": "Looks.", "instructions": "Look.", "tools": tools, **window},
            {"name": "Writer", "description": "Writes.", "instructions": "Write.", "tools": tools, **window},
        ],
        "manager": window,
        "report": {"formats": ["md", "json"]},
        **changes,
    }
    (folder / "team.yaml").write_text(yaml.safe_dump(data))
    return folder / "team.yaml"


def play(folder: str, kill_at: int | None, kill_in_stream: int | None, resume: bool, options: dict[str, Any]) -> None:
    """In the child: runs or resumes, kills itself right after log line `kill_at`, or after so many words of text."""
    from magentic_kit import ConfigError, TeamFactory

    words: list[str] = []

    def sink(event: Any) -> None:
        words.extend(event.text.split() if event.type == "text_delta" else [])
        if event.seq == kill_at or (kill_in_stream and len(words) >= kill_in_stream):
            os.kill(os.getpid(), signal.SIGKILL)

    async def whole() -> dict[str, Any]:
        path = Path(folder)
        async with TeamFactory.from_yaml(path / "team.yaml") as factory:
            if resume:
                (run_dir,) = (path / "runs").iterdir()
                result = await factory.resume(run_dir, sinks=[sink], **options).result()
            else:
                result = await factory.run(sinks=[sink], out=path / "runs", **options)
        return {"outcome": result.outcome, "answer": result.answer}

    os.environ["OPENAI_API_KEY"] = "sk-test-0123456789abcdef"
    try:
        told = asyncio.run(whole())
    except ConfigError as error:
        told = {"error": str(error)}
    (Path(folder) / "told.json").write_text(json.dumps(told))


_CHILDREN = multiprocessing.get_context("forkserver")
_CHILDREN.set_forkserver_preload(["tests.support.preloaded"])  # from the checkout, where tests are run


def child(
    folder: Path, *, kill_at: int | None = None, kill_in_stream: int | None = None, resume: bool = False, **options: Any
) -> dict[str, Any] | None:
    """What the run told in the end; None if it was killed."""
    (folder / "told.json").unlink(missing_ok=True)
    process = _CHILDREN.Process(target=play, args=(str(folder), kill_at, kill_in_stream, resume, options))
    process.start()
    process.join(30)
    if process.exitcode == -signal.SIGKILL:
        return None
    assert process.exitcode == 0, process.exitcode
    told: dict[str, Any] = json.loads((folder / "told.json").read_text())
    return told


def effects(folder: Path) -> list[str]:
    path = folder / "effects"
    return sorted(path.read_text().split()) if path.exists() else []
