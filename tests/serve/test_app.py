"""All protocols in one app: who is refused, the app inside another, and the command that serves it."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import uvicorn
from openai import AsyncOpenAI
from support.page_server import opened
from support.served_app import served, sse
from support.served_teams import mcp_session, write_teams
from support.waits import reached
from test_ag_ui import asked
from test_mcp_server import outcomes

from magentic_kit.cli.app import run
from magentic_kit.errors import ConfigError
from magentic_kit.serve.guard import Access
from magentic_kit.serve.page.security import Keys

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "magentic_kit", "serve"]
TOKEN = "a-token-of-this-test"
CHAT = {"model": "desk-team", "messages": [{"role": "user", "content": "t"}]}
TASK = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "SendMessage",
    "params": {"message": {"messageId": "1", "role": "ROLE_USER", "parts": [{"text": "t"}]}},
}
CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "desk-team", "arguments": {"task": "t"}}}
STARTS = {  # what would start a run, or reach the way to one
    "/v1/chat/completions": CHAT,
    "/a2a/desk-team": TASK,
    "/ag-ui/desk-team": asked().model_dump(by_alias=True, mode="json"),
    "/mcp": CALL,
}


class Attempt(NamedTuple):
    """Headers that differ from those of a client that is let through, and the status that they get."""

    headers: dict[str, str]
    status: int


ATTEMPTS = {
    "no token": Attempt({"Authorization": ""}, 401),
    "another token": Attempt({"Authorization": "Bearer a-token-of-this-tesT"}, 401),
    "another scheme": Attempt({"Authorization": f"Basic {TOKEN}"}, 401),
    "the token as a cookie": Attempt({"Authorization": "", "Cookie": f"token={TOKEN}"}, 401),
    "another host": Attempt({"Host": "evil.example"}, 421),
    "a host that begins as ours": Attempt({"Host": "127.0.0.1.evil.example"}, 421),
    "no host": Attempt({"Host": ""}, 400),
    "a page elsewhere": Attempt({"Origin": "https://evil.example"}, 403),
    "a page from nowhere": Attempt({"Origin": "null"}, 403),
    "a page of another port": Attempt({"Origin": "http://127.0.0.1:9"}, 403),
    "a form": Attempt({"Content-Type": "application/x-www-form-urlencoded"}, 415),
    "plain text": Attempt({"Content-Type": "text/plain"}, 415),
    "a form with files": Attempt({"Content-Type": "multipart/form-data; boundary=x"}, 415),
    "no media type": Attempt({"Content-Type": ""}, 415),
}


async def test_who_may_not_use_the_server_is_refused_on_every_path(tmp_path: Path) -> None:
    statuses = {}
    async with (
        served(tmp_path, access=Access.of("127.0.0.1", token=TOKEN)) as to,
        httpx.AsyncClient(base_url=to.url, timeout=60) as web,
    ):
        usual = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json", "Accept": "*/*"}
        for what, attempt in ATTEMPTS.items():
            for path, body in STARTS.items():
                answer = await web.post(path, json=body, headers={**usual, **attempt.headers})
                statuses[what, path] = answer.status_code
        for path in ("/v1/models", "/.well-known/agent-card.json", "/a2a/desk-team/.well-known/agent-card.json"):
            assert (await web.get(path)).status_code == 401
            assert (await web.get(path, headers=usual)).status_code == 200
        assert not to.out.exists() and not to.models.requests
        assert (await web.post("/v1/chat/completions", json=CHAT, headers=usual)).status_code == 200
    assert statuses == {(what, path): ATTEMPTS[what].status for what in ATTEMPTS for path in STARTS}


async def test_the_bound_holds_for_all_protocols_together(tmp_path: Path) -> None:
    async with served(tmp_path, options={"concurrency": 1}) as to, httpx.AsyncClient(timeout=60) as web:
        paths = ("/v1/chat/completions", "/ag-ui/desk-team", "/a2a/desk-team")
        headers = {"A2A-Version": "1.0"}
        asking = [web.post(f"{to.url}{path}", json=STARTS[path], headers=headers) for path in paths]
        answers = await asyncio.gather(*asking)
        assert [answer.status_code for answer in answers] == [200] * 3
        assert to.outcomes == ["satisfied"] * 3
        logs = [path.read_text().splitlines() for path in sorted(to.out.glob("*/events.jsonl"))]
        times = sorted([re.findall('"time": ?"(.*?)"', log[0] + log[-1]) for log in logs])
        assert all(ended <= began for (_, ended), (began, _) in pairwise(times))


# -- the example: the app inside another


@pytest.fixture
async def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[[str], httpx.AsyncClient]]:
    """Starts examples/app.py with a team; gives a client of it."""
    monkeypatch.chdir(tmp_path)
    write_teams(tmp_path, inputs={"year": 2025})
    servers: list[tuple[uvicorn.Server, asyncio.Future[None]]] = []

    def start(file: str) -> httpx.AsyncClient:
        monkeypatch.setenv("TEAM", file)
        spec = importlib.util.spec_from_file_location("app", ROOT / "examples" / "app.py")
        assert spec and spec.loader
        spec.loader.exec_module(module := importlib.util.module_from_spec(spec))
        listening = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(module.app, log_level="warning"))
        servers.append((server, asyncio.ensure_future(server.serve(sockets=[listening]))))
        return httpx.AsyncClient(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=60)

    yield start
    for server, serving in servers:
        server.should_exit = True
        await serving


async def test_the_web_app_runs_a_team_per_request(web: Callable[[str], httpx.AsyncClient], tmp_path: Path) -> None:
    async with web("quick.yaml") as client:
        assert "teams/v1" in (await client.get("/")).text
        assert (await client.get("/teams/page/")).status_code == 401
        wrong = asked(forwarded_props={"inputs": {"yer": 1}}).model_dump(by_alias=True, mode="json")
        assert (await client.post("/teams/ag-ui/quick", json=wrong)).status_code == 422
        assert not (tmp_path / "runs").exists()
        for n in range(2):
            body = asked(f"lamps {n}").model_dump(by_alias=True, mode="json")
            async with client.stream("POST", "/teams/ag-ui/quick", json=body) as response:
                events = [event async for event in sse(response)]
            assert '"RUN_STARTED"' in events[0] and '"RUN_FINISHED"' in events[-1] and f"lamps {n}" in events[-1]
        assert len(list((tmp_path / "runs").iterdir())) == 2
        assert (await client.post("/teams/ag-ui/none", json=body)).status_code == 404
        card = (await client.get("/teams/a2a/quick/.well-known/agent-card.json")).json()
        assert card["supportedInterfaces"][0]["url"] == str(client.base_url.join("/teams/a2a/quick"))


async def test_the_web_app_starts_no_run_for_a_page_elsewhere(web: Callable[[str], Any], tmp_path: Path) -> None:
    async with web("quick.yaml") as client:
        for status, headers in (
            (415, {"Content-Type": "text/plain"}),  # what a page may send without asking
            (403, {"Content-Type": "application/json", "Origin": "https://evil.example"}),
            (421, {"Content-Type": "application/json", "Host": "evil.example"}),
        ):
            for path in ("/teams/v1/chat/completions", "/teams/ag-ui/quick", "/teams/a2a/quick", "/teams/mcp"):
                assert (await client.post(path, content=b'{"task": "t"}', headers=headers)).status_code == status
    assert not (tmp_path / "runs").exists()


async def test_the_web_app_cancels_a_run(web: Callable[[str], httpx.AsyncClient], tmp_path: Path) -> None:
    async with web("slow.yaml") as client:
        body = asked().model_dump(by_alias=True, mode="json")
        async with client.stream("POST", "/teams/ag-ui/slow", json=body) as response:
            async for event in sse(response):
                if "TOOL_CALL_START" in event:
                    break
        await reached(lambda: outcomes(tmp_path) == ["cancelled"])


# -- the command


OPEN = ["--http", "0.0.0.0:0"]
WRONG_OPTIONS = [
    (OPEN, "--token-env NAME: '0.0.0.0' is reached from beyond this machine: a token is needed"),
    ([*OPEN, "--token-env", "NO_TOKEN"], "--token-env: the variable 'NO_TOKEN' is not set"),
    ([*OPEN, "--token-env", "ENTRY"], "'ENTRY' should be named like a secret"),
    ([*OPEN, "--token-env", "SHORT_TOKEN"], "16 or more characters"),
    (["--http", "127.0.0.1:0", "--allow-host", "team.example"], "'team.example' is reached from beyond"),
    (["--http", "8765"], "'8765' should be HOST:PORT"),
    (["--http", "::1:8765"], "'::1:8765' should be HOST:PORT"),
]
WITHOUT_HTTP = [
    ("mcp", ["--token-env", "SHORT_TOKEN"], "--token-env and --allow-host go with --http"),
    ("serve", ["--token-env", "SHORT_TOKEN"], "16 or more characters"),
    ("serve", ["--token-env", "NO_TOKEN"], "--token-env: the variable 'NO_TOKEN' is not set"),
    ("serve", ["--allow-host", "team.example"], "'team.example' is reached from beyond"),
]


@pytest.mark.parametrize(
    ("command", "options", "complaint"),
    [*((command, *wrong) for command in ("mcp", "serve") for wrong in WRONG_OPTIONS), *WITHOUT_HTTP],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_is_wrong_with_the_options_is_reported_before_a_team_is_loaded(
    command: str, options: list[str], complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHORT_TOKEN", "abc")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=re.escape(complaint)):
        run([command, "none.yaml", *options])


@pytest.mark.slow
async def test_the_command_serves_every_protocol_until_a_signal(tmp_path: Path) -> None:
    write_teams(tmp_path)
    process = subprocess.Popen(
        [*COMMAND, "quick.yaml", "slow.yaml", "--http", "127.0.0.1:0", "--token-env", "TEST_TOKEN"],
        cwd=tmp_path,
        env={**os.environ, "TEST_TOKEN": TOKEN},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr
        url = process.stderr.readline().split()[-1]
        lines = [process.stderr.readline().split() for _ in range(7)]
        assert lines[0] == ["MCP", f"{url}/mcp"] and lines[1][:2] == ["OpenAI", f"{url}/v1"]
        assert [line[1] for line in lines[2:]] == [
            f"{url}/{path}"
            for path in ("a2a/quick", "a2a/slow", "ag-ui/quick", "ag-ui/slow", "page/?token=$TEST_TOKEN")
        ]
        async with opened(url, Keys(TOKEN), "/page") as page:
            assert "slow.yaml" in (await page.client.get("/")).text
        async with AsyncOpenAI(base_url=f"{url}/v1", api_key=TOKEN) as ai, mcp_session(url, TOKEN) as session:
            assert [model.id async for model in ai.models.list()] == ["quick", "slow"]
            assert [tool.name for tool in (await session.list_tools()).tools] == ["quick", "slow"]
        async with AsyncOpenAI(base_url=f"{url}/v1", api_key=TOKEN) as ai:
            said: Any = [{"role": "user", "content": "t"}]
            stream = await ai.chat.completions.create(model="slow", messages=said, stream=True)
            async for chunk in stream:
                if (tmp_path / "entered").exists():
                    break
                extra = chunk.choices[0].delta.model_extra or {}
                if "round 1" in extra.get("reasoning_content", ""):
                    await reached((tmp_path / "entered").exists)
                    break
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, 30) == 130
        printed = process.stderr.read()
    finally:
        process.kill()
        process.communicate()
    (log,) = (tmp_path / "runs").glob("*slow*/events.jsonl")
    assert '"cancelled"' in log.read_text().splitlines()[-1] and list((tmp_path / "runs").glob("*/report.md"))
    assert printed == ""


@pytest.mark.slow
def test_the_example_uses_a_team_in_a_models_place(tmp_path: Path) -> None:
    command = [*COMMAND, str(ROOT / "configs" / "sales_analysis.yaml")]
    server = subprocess.Popen([*command, "--http", "127.0.0.1:0"], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr
        url = server.stderr.readline().split()[-1]
        example = [sys.executable, str(ROOT / "examples" / "team_as_model.py"), f"{url}/v1"]
        done = subprocess.run(example, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    finally:
        server.kill()
        server.communicate()
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("the plan is made\n") and done.stdout.count("**East grew fastest") == 2
