"""A team as a part: a function, an agent, a member of a team, a tool of an MCP server, a notebook."""

from __future__ import annotations

import ast
import asyncio
import inspect
import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from mcp import ClientSession, StdioServerParameters, stdio_client, types
from mcp.client.streamable_http import streamable_http_client
from semantic_kernel import Kernel
from semantic_kernel.agents import ChatCompletionAgent, SequentialOrchestration
from semantic_kernel.agents.runtime import InProcessRuntime
from semantic_kernel.contents import ChatHistory, ChatMessageContent
from semantic_kernel.functions import KernelArguments
from support import sample_events
from support.openai_server import OpenAIServer, Reply, TeamBrain
from support.ports import listens
from support.waits import no_wait_of, reached

from magentic_kit import ConfigError, TeamFactory
from magentic_kit import events as ev
from magentic_kit.runlog.reader import read_log
from magentic_kit.team.loading import load_team
from magentic_kit.testing import ScriptedChatCompletion
from magentic_kit.views.display import make_console

ROOT = Path(__file__).parents[2]
PLUGIN = """
import asyncio
from semantic_kernel.functions import kernel_function

print("this would break a protocol on standard output")

class Desk:
    @kernel_function(description="Waits for ever.")
    async def wait(self) -> str:
        print("so would this")
        await asyncio.Event().wait()
"""


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")


def team(name: str, member: dict[str, Any], *, answer: str = "done", turns: Any = "hello", **changes: Any) -> Any:
    """A team of one member, whose model replies are scripted."""
    who = member["name"]
    rounds = [{"ledger": {"next": who, "instruction": "find lamps"}}, {"ledger": {"satisfied": True}}]
    manager = {"facts": "the facts", "plan": "the plan", "ledger": rounds, "answer": answer}
    script = {"provider": "scripted", "script": {"manager": manager, who: turns}}
    return {"name": name, "services": {"default": script}, "agents": [{"description": "Helps.", **member}], **changes}


SOLO = {"name": "Solo", "instructions": "Do it."}
DESK = {"type": "team", "name": "Desk", "team": "desk.yaml"}


def write(folder: Path, **teams: Any) -> Path:
    """Writes the teams, each a file of its name; the path of the last."""
    for name, data in teams.items():
        path = folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(data))
    return path


@contextmanager
def served(*replies: Any) -> Iterator[tuple[OpenAIServer, dict[str, Any]]]:
    """A server whose Solo gives these replies one after the other, and a team `desk` that asks it."""
    left = list(replies)
    brain = TeamBrain(rounds=[("Solo", "look")], agents={}, facts="f", plan="p", answer="12 lamps")
    with OpenAIServer(brain.on("Solo", "turn", None, lambda _: left.pop(0))) as server:
        service = {"provider": "openai", "model": "m", "base_url": server.base_url}
        yield server, team("desk", SOLO, services={"default": service})


def logs(runs: Path) -> dict[str, list[Any]]:
    """Every log under `runs`: its place in the tree, run ids cut down to the team's name."""
    found = {}
    for log in sorted(runs.rglob("events.jsonl")):
        parts = [part.split("-")[1] if part[:2] == "20" else part for part in log.parent.relative_to(runs).parts]
        found["/".join(parts)] = read_log(log.parent)[0]
    return found


def ends(runs: Path) -> dict[str, str]:
    """How the run of each log ended."""
    return {place: getattr(log[-1], "outcome", "open") for place, log in logs(runs).items()}


def app_with(plugin: Any, **inputs: Any) -> ChatCompletionAgent:
    """An SK app: an agent that asks the team once and tells what it said."""
    call = {"tool_calls": [{"name": f"{plugin.name}.run", "arguments": {"task": "buy lamps", **inputs}}]}
    model = ScriptedChatCompletion({"App": [call, "They say: {{tool_result}}"]})
    return ChatCompletionAgent(name="App", instructions="Ask.", service=model, plugins=[plugin])


# -- a plugin


async def test_an_agent_calls_a_team_by_a_function_that_the_team_file_describes(tmp_path: Path) -> None:
    inputs = {"year": {"default": 2025, "description": "Which year."}, "city": {"required": True}}
    member = {**SOLO, "instructions": "Do {{$year}} {{$city}}."}
    data = team("lamp shop", member, answer="{{task}}", description="Sells lamps.", inputs=inputs, task="Sell.")
    told: list[str] = []

    async def on_event(event: ev.AnyEvent) -> None:
        told.append(event.type)
        raise RuntimeError("a broken listener")

    async with TeamFactory.from_dict(data) as factory:
        plugin = factory.as_plugin(on_event=on_event, out=tmp_path, inputs={"city": "Rome"})
        run = plugin["run"]
        assert (plugin.name, run.description) == ("lamp_shop", "Sells lamps.")
        assert {p.name: (p.schema_data["type"], p.is_required) for p in run.parameters if p.schema_data} == {
            "task": ("string", False),
            "year": ("integer", False),
        }
        agent = app_with(plugin, year=1999)
        answer = str(await agent.get_response("hi"))
    assert answer.startswith("They say: ") and "buy lamps" in answer
    assert (told[0], told[-1]) == ("run_started", "run_finished")
    (log,) = logs(tmp_path).values()
    assert log[0].inputs == {"year": 1999, "city": "Rome"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "done"),
        ({"manager": {"max_rounds": 1}, "turns": []}, "The team failed; there is no answer: the script has no reply"),
        ({"limits": {"max_tokens": 1}}, "The team had to stop early (max_tokens). The best answer it has:\n\n"),
    ],
)
async def test_the_function_says_in_words_how_a_run_ended(changes: Any, said: str) -> None:
    async with TeamFactory.from_dict(team("desk", SOLO, **changes)) as factory:
        result = await factory.as_plugin(out=None)["run"].invoke(Kernel(), KernelArguments(task="t"))
    assert str(result).startswith(said)


async def test_cancelling_the_app_ends_a_team_inside_a_team_inside_it_with_one_tree_of_logs(tmp_path: Path) -> None:
    with served(Reply("a b", hang="in_stream")) as (server, desk):
        async with TeamFactory.from_yaml(write(tmp_path, desk=desk, office=team("office", DESK))) as factory:
            app = app_with(factory.as_plugin(out=tmp_path / "runs"))
            asked = asyncio.ensure_future(app.get_response("hi"))
            await server.reached(lambda s: s.hanging)
            with no_wait_of(1):
                asked.cancel()
                await asyncio.gather(asked, return_exceptions=True)
            assert ends(tmp_path / "runs") == {"office": "cancelled", "office/teams/desk": "cancelled"}
            await server.reached(lambda s: not s.hanging)


async def test_a_call_by_a_tool_is_logged_in_the_run_that_makes_it_and_ends_with_it(tmp_path: Path) -> None:
    with served(Reply("a b", hang="in_stream"), "found") as (server, desk):
        async with TeamFactory.from_dict(desk) as inner:
            ask = {"tool_calls": [{"name": "desk.run", "arguments": {"task": "t"}}]}
            member = {**SOLO, "tools": [{"id": "desk.run"}]}
            data = team("office", member, turns=[ask, "It says {{tool_result}}"])
            async with TeamFactory.from_dict(data, plugins={"desk": inner.as_plugin()}) as factory:
                run = factory.start("t", out=tmp_path)
                await server.reached(lambda s: s.hanging)
                with no_wait_of(1):
                    run.cancel()
                    result = await run.result()
                assert ends(tmp_path) == {"office": "cancelled", "office/teams/desk": "cancelled"}
                assert result.run_dir

                # whether the call had its effect is for a person to say; made again, it goes on where it stopped
                paid = len(server.requests)
                with pytest.raises(ConfigError, match=r"nobody knows whether desk.run\(task='t'\)"):
                    factory.resume(result.run_dir)
                result = await factory.resume(result.run_dir, unknown_tools={"*": None}).result()
    assert result.record.turns[0].text == "It says 12 lamps"
    assert ends(tmp_path) == {"office": "satisfied", "office/teams/desk": "satisfied"}
    assert [request.purpose for request in server.requests[paid:]] == ["turn", "ledger", "answer"]


# -- an agent


async def test_a_team_is_an_agent_of_semantic_kernel(tmp_path: Path) -> None:
    async with TeamFactory.from_dict(team("lamp shop", SOLO, answer="12 {{task}}")) as factory:
        agent = factory.as_agent(out=tmp_path)
        assert (agent.name, agent.description) == ("lamp-shop", "A team of agents: Solo: Helps.")
        response = await agent.get_response("lamps?")
        assert "lamps?" in str(response) and response.message.metadata["usage"].prompt_tokens > 0
        whole = [str(item.message) async for item in agent.invoke("lamps?", thread=response.thread)]
        pieces = [str(item.message) async for item in agent.invoke_stream("lamps?")]
    assert "This was said before" in whole[0] and whole[0].startswith("12 ") and pieces[0].startswith("12 ")


async def test_a_team_is_a_member_of_another_orchestration(tmp_path: Path) -> None:
    def quote(history: ChatHistory) -> str:
        return f"So: {history.messages[-1].content}"

    model = ScriptedChatCompletion({"manager": [quote]})
    writer = ChatCompletionAgent(name="Writer", description="Writes.", service=model)
    async with TeamFactory.from_dict(team("desk", SOLO, answer="12 lamps")) as factory:
        runtime = InProcessRuntime()
        runtime.start()
        members: list[Any] = [factory.as_agent(out=tmp_path), writer]
        invoked = await SequentialOrchestration[str, ChatMessageContent](members=members).invoke("lamps?", runtime)
        assert str(await invoked.get(30)) == "So: 12 lamps"
        await runtime.stop_when_idle()
    assert ends(tmp_path) == {"desk": "satisfied"}


# -- a member of a team


async def test_a_team_file_has_a_team_as_a_member(tmp_path: Path) -> None:
    with served("found") as (server, desk):
        desk["inputs"] = {"year": {"required": True}}
        office = team("office", DESK, inputs={"year": 2025, "other": 1})
        async with TeamFactory.from_yaml(write(tmp_path, desk=desk, office=office)) as factory:
            result = await factory.run("Buy lamps.", out=tmp_path / "runs")
        (turn,) = result.record.turns
        assert (result.outcome, turn.agent, turn.text) == ("satisfied", "Desk", "12 lamps")
        tree = logs(tmp_path / "runs")
        assert list(tree) == ["office", "office/teams/desk"]
        assert tree["office/teams/desk"][0].inputs == {"year": 2025}
        assert "find lamps" in server.requests[0].task and "Buy lamps." in server.requests[0].task
        # the outer log has the call, the inner log its steps, and neither has the other's
        assert {e.who for e in tree["office"] if isinstance(e, ev.ModelCallStarted)} == {"manager", "Desk"}
        assert {e.who for e in tree["office/teams/desk"] if isinstance(e, ev.ModelCallStarted)} == {"manager", "Solo"}

        paid = len(server.requests)
        async with TeamFactory.from_run(result.run_dir or "") as again:
            assert (await again.resume(result.run_dir or "").result()).answer == "done"
            # killed between the end of the inner run and the note of it in the outer log
            log = (result.run_dir or tmp_path) / "events.jsonl"
            lines = log.read_text().splitlines(keepends=True)
            cut = next(n for n, e in enumerate(tree["office"]) if e.type == "model_call_finished" and e.who == "Desk")
            log.write_text("".join(lines[:cut]))
            result = await again.resume(log.parent).result()
        assert result.record.turns[0].text == "12 lamps" and len(server.requests) == paid
        assert ends(tmp_path / "runs") == {"office": "satisfied", "office/teams/desk": "satisfied"}


async def test_a_member_team_shares_clients_and_its_progress_is_shown(tmp_path: Path) -> None:
    with served("found", "found") as (server, desk):
        services = {**team("office", DESK)["services"], "spare": desk["services"]["default"]}
        desk["services"] = {"spare": desk["services"]["default"]}
        desk["agents"][0]["model"] = {"connection": {"service_id": "spare"}, "id": "another"}
        office = team("office", DESK, services=services)
        shown = io.StringIO()
        async with TeamFactory.from_yaml(write(tmp_path, desk=desk, office=office)) as factory:
            result = await factory.run("t", out=tmp_path / "runs", views=[make_console(stream=shown, mode="plain")])
            await factory.run("t", out=None)
            assert factory.blueprint.members["Desk"].service("spare") is factory.blueprint.service("spare")
            assert server.open_connections == 2, "one for each model, whatever the number of runs"
        await server.reached(lambda s: s.open_connections == 0)
    assert "│ desk: the plan is made\n│ desk: round 1: Solo: look\n" in shown.getvalue()
    again = make_console(stream=(played := io.StringIO()), mode="plain")
    sample_events.feed(again, read_log(result.run_dir or tmp_path)[0])
    assert "│ desk: round 1: Solo: look\n" in played.getvalue()


async def test_a_resumed_run_goes_on_with_the_run_of_its_team(tmp_path: Path) -> None:
    with served(Reply("a b", hang="in_stream"), "found") as (server, desk):
        async with TeamFactory.from_yaml(write(tmp_path, desk=desk, office=team("office", DESK))) as factory:
            run = factory.start("t", out=tmp_path / "runs")
            await server.reached(lambda s: s.hanging)
            with no_wait_of(1):
                run.cancel()
                result = await run.result()
            paid = len(server.requests)
            result = await factory.resume(result.run_dir or "").result()
        assert result.outcome == "satisfied"
        assert ends(tmp_path / "runs") == {"office": "satisfied", "office/teams/desk": "satisfied"}
        assert [request.purpose for request in server.requests[paid:]] == ["turn", "ledger", "answer"]


@pytest.mark.slow
async def test_a_killed_run_whose_team_was_at_a_tool_asks_what_became_of_that(teams: list[str], tmp_path: Path) -> None:
    write(tmp_path, office=team("office", {**DESK, "team": "slow.yaml"}))
    runs, command = tmp_path / "runs", [sys.executable, "-m", "magentic_kit"]
    process = subprocess.Popen([*command, "run", "office.yaml", "t", "--quiet"], cwd=tmp_path)
    try:
        inner = "office/teams/slow"
        await reached(lambda: any(event.type == "tool_call_started" for event in logs(runs).get(inner, ())))
    finally:
        process.kill()
        process.wait()
    (outer,) = runs.iterdir()

    def resume(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, "resume", *arguments, "--quiet"], cwd=tmp_path, capture_output=True, text=True)

    assert resume(outer).returncode == 1
    told = logs(runs)["office"][-1].error["message"]
    assert told.startswith("Desk#0.0/Solo#0.0: nobody knows whether desk.wait(), called by Solo, had its effect")
    assert resume(outer, "--call", "Desk#0.0/Solo#0.0=waited").returncode == 0
    assert ends(runs) == {"office": "satisfied", inner: "satisfied"}


@pytest.mark.parametrize(
    ("desk", "message"),
    [
        (
            team("desk", {**DESK, "team": "office.yaml"}),
            "its own member: office.yaml > desk.yaml > office.yaml",
        ),
        (team("desk", {**DESK, "team": "desk.yaml"}), "a team cannot be its own member: desk.yaml > desk.yaml"),
        (team("desk", {**SOLO, "modl": 1}), "unknown key 'modl' in agent 'Solo'; did you mean 'model'?"),
        (team("desk", {**DESK, "team": "dsk.yaml"}), "there is no file 'dsk.yaml'; did you mean 'desk.yaml'?"),
        (team("desk", {**DESK, "team": "lamps.yaml", "model": {}}), "agent 'Desk' is a team and has no 'model'"),
        (team("desk", {"type": "team", "name": "Desk"}), "agent 'Desk': 'type: team' and 'team: FILE' go together"),
        (team("desk", {**SOLO, "team": "desk.yaml"}), "agent 'Solo': 'type: team' and 'team: FILE' go together"),
    ],
)
def test_what_is_wrong_with_a_member_team_is_told_at_once_and_in_its_place(
    desk: Any, message: str, tmp_path: Path
) -> None:
    path = write(tmp_path, lamps=team("lamps", SOLO), desk=desk, office=team("office", DESK))
    with pytest.raises(ConfigError) as raised:
        load_team(path)
    (problem,) = raised.value.problems
    assert message in str(problem) and problem.file.endswith("desk.yaml")


# -- tools of an MCP server


@pytest.fixture
def teams(tmp_path: Path) -> list[str]:
    """Two team files: one that ends, and one whose tool never does."""
    (tmp_path / "desk.py").write_text(PLUGIN)
    wait = [{"tool_calls": [{"name": "desk.wait"}]}, "{{tool_result}}"]
    plugins = {"desk": {"type": "python", "target": "desk:Desk"}}
    slow = team("slow", {**SOLO, "tools": [{"id": "desk.wait"}]}, turns=wait, plugins=plugins)
    write(tmp_path, quick=team("quick shop", SOLO, answer="{{task}}", inputs={"year": 2025}), slow=slow)
    return ["-m", "magentic_kit", "mcp", "quick.yaml", "slow.yaml"]


@asynccontextmanager
async def over_stdio(command: list[str], folder: Path) -> AsyncIterator[ClientSession]:
    server = StdioServerParameters(command=sys.executable, args=command, cwd=folder, env=dict(os.environ))
    async with stdio_client(server) as streams, ClientSession(*streams) as session:
        yield session


@asynccontextmanager
async def over_http(command: list[str], folder: Path) -> AsyncIterator[ClientSession]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, *command, "--http", f"127.0.0.1:{port}"], cwd=folder)
    try:
        await reached(lambda: listens(port))
        async with (
            streamable_http_client(f"http://127.0.0.1:{port}/mcp") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            yield session
        process.send_signal(signal.SIGINT)
        assert process.wait(10) in (0, 130)
    finally:
        process.kill()


@pytest.mark.parametrize("transport", [over_stdio, over_http])
async def test_teams_are_tools_of_an_mcp_server(transport: Any, teams: list[str], tmp_path: Path) -> None:
    told: list[tuple[float, str]] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, message or ""))

    async with transport(teams, tmp_path) as session:
        await session.initialize()
        tools = {tool.name: tool for tool in (await session.list_tools()).tools}
        assert tools.keys() == {"quick-shop", "slow"}
        assert tools["quick-shop"].inputSchema["required"] == ["task"]
        asked = {"task": "lamps?", "year": 1}
        result = await session.call_tool("quick-shop", asked, progress_callback=on_progress)
        assert not result.isError and "lamps?" in result.content[0].text
        assert [message for _, message in told] == ["the plan is made", "round 1: Solo: find lamps"]
        assert sorted(told) == told

        call = asyncio.ensure_future(session.call_tool("slow", {"task": "t"}, progress_callback=on_progress))
        runs = tmp_path / "runs"
        await reached(lambda: any(event.type == "tool_call_started" for event in logs(runs).get("slow", ())))
        request = types.CancelledNotificationParams(requestId=session._request_id - 1)
        await session.send_notification(types.ClientNotification(types.CancelledNotification(params=request)))
        await reached(lambda: ends(runs)["slow"] == "cancelled")
        await asyncio.wait({call}, timeout=5)  # the server's last word on the call has come before the session ends
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        await session.send_ping()
    assert ends(runs) == {"quick": "satisfied", "slow": "cancelled"}


async def test_a_client_that_goes_away_ends_its_runs(teams: list[str], tmp_path: Path) -> None:
    async with over_stdio(teams, tmp_path) as session:
        await session.initialize()
        call = asyncio.ensure_future(session.call_tool("slow", {"task": "t"}))
        runs = tmp_path / "runs"
        await reached(lambda: any(event.type == "tool_call_started" for event in logs(runs).get("slow", ())))
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    assert ends(runs) == {"slow": "cancelled"}


@pytest.mark.parametrize(
    ("more", "message"),
    [(["--http", "8000"], "--http: '8000' should be HOST:PORT"), (["quick.yaml"], "two teams are called 'quick-shop'")],
)
def test_what_is_wrong_with_the_command_is_one_line(
    more: list[str], message: str, teams: list[str], tmp_path: Path
) -> None:
    done = subprocess.run([sys.executable, *teams, *more], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1) and message in done.stderr


# -- the examples


@pytest.mark.slow
async def test_the_notebook_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # which is empty
    notebook = json.loads((ROOT / "examples" / "notebook.ipynb").read_text())
    assert notebook["nbformat"] == 4 and len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    names: dict[str, Any] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
            code = compile("".join(cell["source"]), cell["id"], "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            if inspect.isawaitable(awaited := eval(code, names)):
                await awaited
    assert names["result"].outcome == "satisfied"
    assert capsys.readouterr().out.count("Mend the login first") == 2
    assert not [*tmp_path.iterdir()]
