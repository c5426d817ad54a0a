"""A live page in this process, by real HTTP, and a team in which a person decides."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml
from support.waits import HANG

from magentic_kit.serve.guard import Access
from magentic_kit.serve.http import listen, serve_app, url_of
from magentic_kit.serve.page.app import create_page
from magentic_kit.serve.page.registry import Runs
from magentic_kit.serve.page.rendering import Site
from magentic_kit.serve.page.security import Keys

PLUGIN = """
import asyncio
from pathlib import Path
from semantic_kernel.functions import kernel_function

class Desk:
    @kernel_function(description="Writes a note.")
    async def note(self, text: str) -> str:
        with Path("notes.txt").open("a") as file:
            file.write(text + chr(10))
        return f"noted {len(text)} characters"

    @kernel_function(description="Waits until somebody lets it go on.")
    async def wait(self) -> str:
        Path("entered").touch()
        while not Path("go").exists():
            await asyncio.sleep(0.01)
        return "waited"
"""
LONG = "long " * 1_000 + "the last word"
"""A text that no question may cut."""


def charge_team(folder: Path, **changes: Any) -> Path:
    """Writes a team whose plan, calls and one member are a person's to decide, and which waits for the file `go`."""
    (folder / "page_desk.py").write_text(PLUGIN)
    clerk = [
        {"tool_calls": [{"name": "desk.note", "arguments": {"text": "one"}}]},
        {"tool_calls": [{"name": "desk.note", "arguments": {"text": LONG}}]},
        {"tool_calls": [{"name": "desk.wait"}]},
        "The clerk is **done**: {{tool_result}}.",
    ]
    ledgers = [
        {"ledger": {"next": "Clerk", "instruction": "Take notes.", "reason": "Nobody has noted anything."}},
        {"ledger": {"next": "Boss", "instruction": "Say yes or no.", "reason": "The notes are there."}},
        {"ledger": {"satisfied": True, "reason": "The boss has spoken."}},
    ]
    manager = {"facts": "Given: nothing.", "plan": ["- Clerk notes.", "- Clerk notes twice."], "ledger": ledgers}
    script = {"manager": {**manager, "answer": "All is **noted**."}, "Clerk": clerk}
    team = {
        "name": "charge",
        "description": "Takes notes for a boss.",
        "task": "Take notes in {{$year}}.",
        "inputs": {"year": 2025},
        "services": {"default": {"provider": "scripted", "script": script}},
        "plugins": {"desk": {"type": "python", "target": "page_desk:Desk"}},
        "agents": [
            {
                "name": "Clerk",
                "description": "Writes notes.",
                "instructions": "You write notes.",
                "tools": [{"id": "desk.note"}, {"id": "desk.wait"}],
            },
            {"name": "Boss", "description": "Decides.", "type": "human", "instructions": "Say yes or no."},
        ],
        "review": {"plan": True, "tools": ["desk.note"]},
        **changes,
    }
    path = folder / "charge.yaml"
    path.write_text(yaml.safe_dump(team))
    return path


def quick_team(folder: Path, **changes: Any) -> Path:
    """Writes a team that answers at once."""
    ledgers = [{"ledger": {"next": "Solo", "instruction": "go"}}, {"ledger": {"satisfied": True}}]
    manager = {"facts": "f", "plan": "p", "ledger": ledgers, "answer": "{{task}}"}
    team = {
        "name": "quick",
        "services": {"default": {"provider": "scripted", "script": {"manager": manager, "Solo": ["hello"]}}},
        "agents": [{"name": "Solo", "description": "Helps."}],
        **changes,
    }
    path = folder / "quick.yaml"
    path.write_text(yaml.safe_dump(team))
    return path


@dataclass
class Page:
    """A page that is served: its address, its keys, and a client that has the cookie."""

    url: str
    keys: Keys
    client: httpx.AsyncClient

    async def post(
        self, path: str, files: Sequence[tuple[str, tuple[str, bytes]]] = (), **fields: str
    ) -> httpx.Response:
        """Sends a form as a browser does."""
        headers = {"Origin": self.url, "Sec-Fetch-Site": "same-origin"}
        data = {"csrf": self.keys.csrf, **fields}
        return await self.client.post(path, data=data, files=list(files) or None, headers=headers)

    @asynccontextmanager
    async def parts(self, path: str, last: str = "") -> AsyncIterator[AsyncIterator[tuple[str, str, str]]]:
        """Reads a page's events: (id of the event, name of the part, HTML), or (``, `text`, what is written)."""
        headers = {"Last-Event-ID": last} if last else {}
        async with self.client.stream("GET", path, headers=headers) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            yield _read_parts(response)


async def _read_parts(response: httpx.Response) -> AsyncIterator[tuple[str, str, str]]:
    fields: dict[str, str] = {}
    async for line in response.aiter_lines():
        name, _, value = line.partition(": ")
        if name in ("id", "event", "data"):
            fields[name] = value
        elif not line and fields:
            data = json.loads(fields["data"])
            if fields["event"] == "parts":
                for name, html in data:
                    yield fields["id"], name, html
            else:
                yield "", "text", data[3]
            fields = {}


@asynccontextmanager
async def opened(url: str, keys: Keys, path: str = "") -> AsyncIterator[Page]:
    """Opens a page that is served, below `path`."""
    # No connection is used again: the server may close one in the moment in which it is taken.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=url + path, timeout=HANG, limits=limits) as client:
        await client.get("/", params={"token": keys.token})
        yield Page(url, keys, client)


@asynccontextmanager
async def page_over_http(
    teams: Sequence[Path], out: Path, *, host: str = "127.0.0.1", database: Any = None
) -> AsyncIterator[Page]:
    """Serves the page at any free port."""
    stop, keys = asyncio.Event(), Keys()
    site, queue = Site("", keys.csrf), None
    if database is not None:
        from magentic_kit.serve.page.queued import QueuedRuns

        queue = QueuedRuns(database, site)
    app = create_page(teams, Runs(out, site, queue), access=Access.of(host), keys=keys)
    async with app.router.lifespan_context(app):
        listening = listen(host, 0)
        serving = asyncio.ensure_future(serve_app(app, listening, stop))
        url = url_of(host, listening[0])
        try:
            async with opened(url, keys) as page:
                yield page
        finally:
            stop.set()
            await serving
