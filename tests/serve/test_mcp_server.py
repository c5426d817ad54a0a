"""Teams behind an MCP server: what a call may say, how many run at a time, and how the server's process ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from mcp import ClientSession
from support.served_teams import mcp_session, teams_over_http, write_teams
from support.waits import reached

from magentic_kit.errors import ConfigError
from magentic_kit.serve.mcp import team_server
from magentic_kit.serve.teams import ServerOptions, open_teams

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "magentic_kit", "mcp"]
TOKEN = "a-token-of-this-test"


def outcomes(folder: Path) -> list[str]:
    """How each run ended, in the order in which they began; empty for one under way."""
    logs = [path.read_text().splitlines() for path in sorted((folder / "runs").glob("*/events.jsonl"))]
    return [json.loads(lines[-1]).get("outcome", "") for lines in logs]


def began_and_ended(folder: Path) -> list[tuple[str, str]]:
    """The times of the first and of the last event of each run."""
    logs = [path.read_text().splitlines() for path in (folder / "runs").glob("*/events.jsonl")]
    return [(json.loads(lines[0])["time"], json.loads(lines[-1])["time"]) for lines in logs]


# -- calls


@pytest.mark.parametrize("name", ["self", "kernel", "settings", "server", "arguments", "taks"])
async def test_an_argument_that_a_team_does_not_have_is_refused_in_words(name: str, tmp_path: Path) -> None:
    teams = write_teams(tmp_path, inputs={"year": 2025})
    async with teams_over_http(teams) as url, mcp_session(url) as session:
        result = await session.call_tool("quick", {"task": "t", name: "x"})
        assert result.isError and result.content[0].text == f"'quick' has no argument '{name}'; it has task, year"
        assert not (tmp_path / "runs").exists()
        result = await session.call_tool("quick", {"task": "t", "year": 1999})
        assert not result.isError and outcomes(tmp_path) == ["satisfied"]


@pytest.mark.parametrize("name", ["self", "kernel", "settings", "server", "task"])
async def test_an_input_whose_name_is_taken_is_reported_before_a_team_is_served(name: str, tmp_path: Path) -> None:
    teams = write_teams(tmp_path, inputs={name: 1})
    with pytest.raises(ConfigError, match=f"quick: the input '{name}' cannot be an argument of a function"):
        async with open_teams(teams, ServerOptions(out=tmp_path)) as opened:
            team_server(opened)


async def test_calls_beyond_the_bound_wait_for_their_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    progress: list[tuple[str, float, str | None]] = []

    def call(session: ClientSession, task: str) -> asyncio.Future[Any]:
        async def follow(number: float, _: float | None, message: str | None) -> None:
            progress.append((task, number, message))

        return asyncio.ensure_future(session.call_tool("slow", {"task": task}, progress_callback=follow))

    monkeypatch.chdir(tmp_path)
    teams = write_teams(tmp_path)
    async with teams_over_http(teams, concurrency=1) as url, mcp_session(url) as session, mcp_session(url) as other:
        first = call(session, "first")
        await reached((tmp_path / "entered").exists)
        second = call(session, "second")
        await reached(lambda: [task for task, _, _ in progress if task == "second"])
        third = call(other, "third")
        await reached(lambda: [task for task, _, _ in progress if task == "third"])
        assert progress[-2:] == [(task, 0, "waiting for one of 1 runs to end") for task in ("second", "third")]
        assert outcomes(tmp_path) == [""]
        (tmp_path / "go").touch()
        answers = [(await waiting).content[0].text for waiting in (first, second, third)]
    for answer, task in zip(answers, ("first", "second", "third"), strict=True):
        assert task in answer
    assert outcomes(tmp_path) == ["satisfied"] * 3
    spans = sorted(began_and_ended(tmp_path))
    assert all(ended <= began for (_, ended), (began, _) in pairwise(spans))
    numbers = [number for task, number, _ in progress if task == "second"]
    assert numbers == sorted(set(numbers)) and len(numbers) > 1


# -- the command


ASK = [
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    },
    {"jsonrpc": "2.0", "method": "notifications/initialized"},
    {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "slow", "arguments": {"task": "t"}}},
]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
async def test_a_signal_ends_the_runs_of_a_server_on_stdio_in_order(number: signal.Signals, tmp_path: Path) -> None:
    write_teams(tmp_path)
    process = subprocess.Popen(
        [*COMMAND, "slow.yaml"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdin and process.stdout and process.stderr
        process.stdin.write("".join(json.dumps(message) + "\n" for message in ASK))
        process.stdin.flush()
        await reached((tmp_path / "entered").exists)
        process.send_signal(number)  # while its standard input stays open
        assert process.wait(30) == 130
        printed = process.stderr.read()
    finally:
        process.kill()
        process.communicate()
    assert outcomes(tmp_path) == ["cancelled"] and list((tmp_path / "runs").glob("*/report.md"))
    assert printed == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_ends_the_runs_of_a_server_on_http_in_order(number: signal.Signals, tmp_path: Path) -> None:
    write_teams(tmp_path)
    process = subprocess.Popen(
        [*COMMAND, "slow.yaml", "--http", "[::1]:0", "--token-env", "TEST_TOKEN"],
        cwd=tmp_path,
        env={**os.environ, "TEST_TOKEN": TOKEN},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr
        first = process.stderr.readline()
        assert first.startswith("serving on http://[::1]:")
        url = first.split()[-1].removesuffix("/mcp")
        try:
            async with mcp_session(url, token=TOKEN) as session:
                call = asyncio.ensure_future(session.call_tool("slow", {"task": "t"}))
                await reached((tmp_path / "entered").exists)
                process.send_signal(number)
                assert await asyncio.to_thread(process.wait, 30) == 130
                call.cancel()
                await asyncio.gather(call, return_exceptions=True)
        except Exception:  # the client's words about a server that left
            assert process.poll() == 130
        printed = process.stderr.read()
    finally:
        process.kill()
        process.communicate()
    assert outcomes(tmp_path) == ["cancelled"] and list((tmp_path / "runs").glob("*/report.md"))
    assert printed == ""
