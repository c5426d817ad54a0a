"""A whole team with every kind of plugin at once: what is offered, what fails, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
import yaml
from support.openai_server import OpenAIServer, Reply, TeamBrain, ToolCall, error
from support.ports import free_port, listens
from support.waits import until

from magentic_kit import TeamFactory
from magentic_kit import events as ev

SERVER = str(Path(__file__).parents[1] / "support" / "mcp_server.py")
MARK = uuid.uuid4().hex

SPEC: dict[str, Any] = {
    "openapi": "3.0.0",
    "info": {"title": "shop", "version": "1"},
    "paths": {
        f"/{name}": {
            "get": {
                "operationId": name,
                "summary": f"The {name} of an item.",
                "parameters": [{"name": "item", "in": "query", "required": True, "schema": {"type": "string"}}],
                "responses": {"200": {"description": "ok"}},
            }
        }
        for name in ("price", "broken", "silent")
    },
}

PLUGIN = """
from semantic_kernel.functions import kernel_function

class Desk:
    @kernel_function(description="Adds.")
    def add(self, a: int, b: int) -> int:
        return a + b

    @kernel_function(description="Is not listed.")
    def hidden(self) -> str:
        return "hidden"
"""


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")


@pytest.fixture(autouse=True)
def no_child_is_left() -> Iterator[None]:
    yield
    until(lambda: not children())  # a killed process takes its time to go


def children() -> list[str]:
    listing = subprocess.run(["ps", "-axww", "-o", "stat,args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listing.splitlines() if MARK in line and not line.startswith("Z")]


@pytest.fixture
def shop() -> Iterator[str]:
    """A real HTTP service on loopback that an OpenAPI document describes."""
    leave = Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/silent"):
                leave.wait(30)
            self.send_response(500 if self.path.startswith("/broken") else 200)
            self.end_headers()
            self.wfile.write(b'{"price": 12, "token": "%s"}' % self.headers.get("X-Token", "").encode())

        def log_message(self, *_: Any) -> None:
            pass

    service = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=service.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{service.server_port}"
    leave.set()
    service.shutdown()
    service.server_close()


@pytest.fixture
def mcp_over_http() -> Iterator[str]:
    port = free_port()
    process = subprocess.Popen([sys.executable, SERVER, "http", str(port), "", "http"], stderr=subprocess.DEVNULL)
    until(lambda: listens(port))
    yield f"http://127.0.0.1:{port}/mcp"
    process.kill()
    process.wait()


def stdio(fault: str = "", **more: Any) -> dict[str, Any]:
    args = [SERVER, "stdio", "0", fault, MARK]
    return {"type": "mcp", "transport": "stdio", "command": sys.executable, "args": args, **more}


MUTE, MISSING = stdio("mute", start_timeout="1s"), stdio() | {"command": "no-such-program"}
GARBAGE = stdio("garbage", start_timeout="1s")


def write_team(folder: Path, base_url: str, shop: str, *tools: str, **plugins: Any) -> Path:
    (folder / "desk.py").write_text(PLUGIN)
    (folder / "shop.json").write_text(json.dumps(SPEC))
    data = {
        "name": "plugged",
        "services": {"default": {"provider": "openai", "model": "m", "base_url": base_url}},
        "plugins": {
            "desk": {"type": "python", "target": "desk:Desk"},
            "shop": {
                "type": "openapi",
                "spec": "shop.json",
                "server": shop,
                "headers": {"X-Token": "${SHOP_TOKEN:-t}"},
            },
            **plugins,
        },
        "agents": [
            {"name": "One", "description": "d", "instructions": "i", "tools": [{"id": tool} for tool in tools]},
            {"name": "Two", "description": "d", "instructions": "i", "tools": [{"id": "desk.add"}]},
        ],
        "limits": {"tool_timeout": "1s", "retries": 0},
        "report": {"formats": ["json"]},
    }
    (folder / "team.yaml").write_text(yaml.safe_dump(data))
    return folder / "team.yaml"


def calling(*calls: ToolCall) -> TeamBrain:
    turn = [Reply(tool_calls=list(calls)), lambda request: " | ".join(request.last_tool_results)[:500]]
    return TeamBrain(rounds=[("One", "go"), ("Two", "go")], agents={"One": turn, "Two": ["two"]}, answer="done")


async def test_every_kind_of_plugin_at_once(tmp_path: Path, shop: str, mcp_over_http: str) -> None:
    calls = [
        ToolCall("desk-add", {"a": 1, "b": 2}),
        ToolCall("shop-price", {"item": "lamp"}),
        ToolCall("local-add", {"a": 3, "b": 4}),
        ToolCall("remote-add", {"a": 5, "b": 6}),
        ToolCall("local-enrol", {"person": {"name": "x", "home": {"city": "y"}}}),
    ]
    with OpenAIServer(calling(*calls)) as server:
        remote = {"type": "mcp", "transport": "http", "url": mcp_over_http}
        tools = ("desk.add", "shop.price", "local.add", "remote.add")
        team = write_team(tmp_path, server.base_url, shop, *tools, local=stdio(), remote=remote)
        async with TeamFactory.from_yaml(team) as factory:
            result = await factory.run("t", out=tmp_path / "runs")
        assert result.outcome == "satisfied", result.error
        offered = {r.who: sorted(r.tool_names) for r in server.requests if r.purpose == "turn"}
        assert offered == {"One": ["desk-add", "local-add", "remote-add", "shop-price"], "Two": ["desk-add"]}
        told = result.record.turns[0].text.split(" | ")
        assert {"3", "7", "11", '{"price": 12, "token": "t"}'} < set(told)
        assert any("not part of the provided tools" in text for text in told), "local.enrol is not on the list"


@pytest.mark.parametrize(
    ("tool", "call", "told", "plugins"),
    [
        ("shop.broken", ToolCall("shop-broken", {"item": "x"}), "500", {}),
        ("shop.silent", ToolCall("shop-silent", {"item": "x"}), "no answer within 1 s", {}),
        ("local.fail", ToolCall("local-fail", {}), "no such thing", {"local": stdio()}),
        ("local.die", ToolCall("local-die", {}), "Error: ", {"local": stdio()}),
        ("local.big", ToolCall("local-big", {"size": 5_000_000}), "", {"local": stdio()}),
        ("local.add", ToolCall("local-add", {"a": 1}), "local.add are not there", {"local": MUTE}),
        ("local.add", ToolCall("local-add", {"a": 1}), "local.add are not there", {"local": GARBAGE}),
        ("local.add", ToolCall("local-add", {"a": 1}), "local.add are not there", {"local": MISSING}),
        ("desk.add", ToolCall("desk-add", {"a": 1, "b": 2, "settings": "x"}), "", {}),
    ],
)  # fmt: skip
async def test_what_fails_is_heard_in_time_and_the_run_goes_on(
    tool: str, call: ToolCall, told: str, plugins: dict[str, Any], tmp_path: Path, shop: str
) -> None:
    with OpenAIServer(calling(call)) as server:
        team = write_team(tmp_path, server.base_url, shop, tool, **plugins)
        async with TeamFactory.from_yaml(team) as factory:
            result = await factory.run("t", out=tmp_path / "runs")
        assert result.outcome == "satisfied", result.error
        heard = "".join(str(r.messages) for r in server.requests if r.purpose == "ledger")
        assert told in heard


@pytest.mark.parametrize("ending", ["failure", "cancel"])
async def test_no_child_is_left_however_the_run_ends(ending: str, tmp_path: Path, shop: str) -> None:
    brain = calling(ToolCall("local-add", {"a": 1}))
    fault = error(401) if ending == "failure" else Reply("a b c", hang="in_stream")
    with OpenAIServer(brain.on("Two", "turn", 0, fault)) as server:
        team = write_team(tmp_path, server.base_url, shop, "local.*", local=stdio(), second=stdio())
        async with TeamFactory.from_yaml(team) as factory:
            run = factory.start("t", out=tmp_path / "runs")
            if ending == "cancel":
                await server.reached(lambda s: s.hanging, 20)
                assert len(children()) == 2
                run.cancel()
            result = await run.result()
    assert result.outcome == ("failed" if ending == "failure" else "cancelled")
    until(lambda: not children())


def test_no_child_is_left_after_kill_term(tmp_path: Path, shop: str) -> None:
    brain = calling(ToolCall("local-add", {"a": 1})).on("Two", "turn", 0, Reply("a b c", hang="in_stream"))
    with OpenAIServer(brain) as server:
        team = write_team(tmp_path, server.base_url, shop, "local.*", local=stdio(), second=stdio())
        command = [sys.executable, "-m", "magentic_kit", "run", str(team), "t", "--quiet"]
        process = subprocess.Popen(command, cwd=tmp_path, env={**os.environ})
        server.wait_for(lambda s: s.hanging, 20)
        assert len(children()) == 2
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 130
    until(lambda: not children())


async def test_an_orchestration_has_its_servers_until_the_factory_closes(tmp_path: Path, shop: str) -> None:
    from semantic_kernel.agents.runtime import InProcessRuntime

    seen: list[ev.AnyEvent] = []
    with OpenAIServer(calling(ToolCall("local-add", {"a": 1}))) as server:
        team = write_team(tmp_path, server.base_url, shop, "local.*", local=stdio())
        async with TeamFactory.from_yaml(team) as factory:
            orchestration = factory.create_orchestration(on_event=seen.append)
            runtime = InProcessRuntime()
            runtime.start()
            answer = await (await orchestration.invoke("t", runtime)).get(20)
            await runtime.stop_when_idle()
            assert answer.content == "done" and len(children()) == 1
    await asyncio.sleep(0)
    assert [event.result for event in seen if isinstance(event, ev.ToolCallFinished)] == ["3"]
