"""What MCP servers ask of their client and report to it, and their prompts and resources."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from semantic_kernel import Kernel
from semantic_kernel.exceptions import FunctionExecutionException
from semantic_kernel.functions import KernelArguments
from support.openai_server import OpenAIServer, Reply, Request, TeamBrain, ToolCall

from magentic_kit import TeamFactory, ToolReview
from magentic_kit import events as ev
from magentic_kit.runlog.reader import read_log
from magentic_kit.team.plugins import MCPStdioPlugin
from magentic_kit.tools.mcp import PluginServers
from magentic_kit.tools.mcp_client import ServerHost
from magentic_kit.tools.plugins import _chosen

SCRIPT = str(Path(__file__).parents[1] / "support" / "asking_server.py")
TASKS = str(Path(SCRIPT).with_name("task_server.py"))
CHANGING = str(Path(SCRIPT).with_name("changing_server.py"))
CONFIG = MCPStdioPlugin(type="mcp", transport="stdio", command=sys.executable, args=(SCRIPT,))


async def call(servers: PluginServers, called: str, **arguments: Any) -> str:
    function = servers.plugins["it"].functions[called]
    return str(await function.invoke(Kernel(), KernelArguments(**arguments)))


@pytest_asyncio.fixture
async def opened() -> AsyncIterator[Any]:
    """Opens the server, and closes it after the test."""
    all_servers: list[PluginServers] = []

    async def open(host: ServerHost, **changes: Any) -> PluginServers:
        servers = PluginServers({"it": CONFIG.model_copy(update=changes)}, host)
        all_servers.append(servers)
        await servers.open()
        assert servers.failures == {}
        return servers

    yield open
    for servers in all_servers:
        await servers.close()


async def test_a_server_is_told_of_roots_and_its_messages_are_passed_on(opened: Any, tmp_path: Path) -> None:
    said: list[tuple[str, str, str]] = []
    host = ServerHost(root=tmp_path, report=lambda *message: said.append(message))
    servers = await opened(host)
    assert await call(servers, "roots") == tmp_path.as_uri()
    assert await call(servers, "work") == "done"
    assert said == [("it", "info", "beginning"), ("it", "progress", "1 of 2 half way")]
    servers = await opened(host, roots=("a", "b"))
    assert await call(servers, "roots") == f"{(tmp_path / 'a').as_uri()} {(tmp_path / 'b').as_uri()}"


async def test_without_leave_nothing_is_sampled_and_without_a_person_nothing_answered(
    opened: Any, tmp_path: Path
) -> None:
    servers = await opened(ServerHost(root=tmp_path))
    assert (await call(servers, "sample", question="Why?")).startswith("refused: ")
    with pytest.raises(FunctionExecutionException) as caught:
        await call(servers, "book")
    assert "not supported" in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "result"),
    [("seats: 2\nwindow: yes", "accept: seats=2 window=True"), ("", "decline: None"), ("seats: many", "decline: None")],
)
async def test_a_person_answers_what_a_server_asks(answer: str, result: str, opened: Any, tmp_path: Path) -> None:
    asked: list[str] = []

    async def ask(plugin: str, question: str) -> str:
        asked.append(question)
        return answer

    servers = await opened(ServerHost(root=tmp_path, ask=ask))
    assert await call(servers, "book") == result
    assert "How many seats?" in asked[0] and "seats (integer)" in asked[0]


async def test_prompts_and_resources_are_functions_for_who_lists_them(opened: Any, tmp_path: Path) -> None:
    servers = await opened(ServerHost(root=tmp_path))
    assert await call(servers, "prompt-greet", name="Al") == "user: Say hello to Al."
    assert "notes://today" in await call(servers, "list_resources")
    assert await call(servers, "read_resource", uri="notes://today") == "buy tea"
    with pytest.raises(FunctionExecutionException, match="'today' is no URI of a resource"):
        await call(servers, "read_resource", uri="today")
    assert '"sum": 6' in await call(servers, "total", numbers=[1, 2, 3])
    assert "a dot" in await call(servers, "picture")

    def names(*patterns: str) -> list[str]:
        return [name for plugin in _chosen(servers.plugins, patterns) for name in plugin.functions]

    assert names("it.*") == ["roots", "sample", "book", "work", "total", "picture"]
    assert names("it.read_resource") == ["read_resource"]


async def test_a_sampled_reply_is_the_agents_logged_counted_and_limited(tmp_path: Path) -> None:
    turn = [
        Reply(tool_calls=[ToolCall("it-sample", {"question": "Why?"}), ToolCall("it-book", {})]),
        Reply(tool_calls=[ToolCall("it-sample", {"question": "Again?"})]),
        lambda request: " | ".join(request.last_tool_results),
    ]
    script = TeamBrain(rounds=[("One", "go")], agents={"One": turn}, answer="done")

    def brain(request: Request) -> Any:
        if request.messages[0]["content"] == "Be short.":
            return Reply("Because.", usage=(7, 2))
        return script(request)

    with OpenAIServer(brain) as server:
        plugin = {"type": "mcp", "transport": "stdio", "command": sys.executable, "args": [SCRIPT], "sampling": 1}
        team = {
            "name": "t",
            "services": {"default": {"provider": "openai", "model": "m", "base_url": server.base_url}},
            "plugins": {"it": plugin},
            "agents": [{"name": "One", "description": "d", "instructions": "i", "tools": [{"id": "it.*"}]}],
            "report": {"formats": ["md"]},
        }
        people = {"humans": {"*": lambda turn: "seats: 1\nwindow: no"}}
        async with TeamFactory.from_dict(team, base_dir=tmp_path) as factory:
            events = [event async for event in factory.stream("t", out=tmp_path / "runs", **people)]
            run_dir = next((tmp_path / "runs").iterdir())
            result = await factory.resume(run_dir).result()
    assert result.outcome == "satisfied", events[-1]
    results = [event.result for event in events if isinstance(event, ev.ToolCallFinished)]
    assert sorted(results[:2]) == ["accept: seats=1 window=False", "the model said: Because."]
    assert results[2].startswith("refused: plugins.it.sampling allows 1 model calls")
    (sampled,) = [e for e in events if isinstance(e, ev.ModelCallFinished) and e.purpose == "sampling"]
    assert (sampled.who, sampled.usage.prompt_tokens) == ("it", 7)
    assert result.prompt_tokens >= 7


async def test_a_tool_that_runs_as_a_task_alone_asks_a_person_and_brings_its_result(tmp_path: Path) -> None:
    turn = [Reply(tool_calls=[ToolCall("it-look-up", {})]), lambda request: " | ".join(request.last_tool_results)]
    with OpenAIServer(TeamBrain(rounds=[("One", "go")], agents={"One": turn}, answer="done")) as server:
        team = {
            "name": "t",
            "services": {"default": {"provider": "openai", "model": "m", "base_url": server.base_url}},
            "plugins": {"it": {"type": "mcp", "transport": "stdio", "command": sys.executable, "args": [TASKS]}},
            "agents": [{"name": "One", "description": "d", "instructions": "i", "tools": [{"id": "it.look-up"}]}],
            "report": {"formats": []},
        }
        asked: list[str] = []

        def person(turn: Any) -> str:
            asked.append(turn.instructions)
            return "shelf: b\nyears: 2023, 2025"

        async with TeamFactory.from_dict(team, base_dir=tmp_path) as factory:
            people: Any = {"humans": {"*": person}}
            events = [event async for event in factory.stream("t", out=tmp_path / "runs", **people)]
    (message,) = [event for event in events if isinstance(event, ev.AgentMessage)]
    assert message.text == "accept: {'shelf': 'b', 'years': ['2023', '2025']}"
    assert "shelf (a for Atlases, b for Books)" in asked[0]
    assert "years (any of 2023, 2024, 2025, with commas between)" in asked[0]


@pytest.mark.parametrize("decision", ["approve", "deny"])
async def test_tools_that_a_server_changes_are_offered_from_the_next_call_on(decision: Any, tmp_path: Path) -> None:
    turn = [
        Reply(tool_calls=[ToolCall("it-enter", {})]),
        Reply(tool_calls=[ToolCall("it-inside", {"what": "gold"})]),
        lambda request: " | ".join(request.last_tool_results),
    ]
    script = TeamBrain(rounds=[("One", "go")], agents={"One": turn}, answer="done")
    with OpenAIServer(script) as server:
        plugin = {"type": "mcp", "transport": "stdio", "command": sys.executable, "args": [CHANGING]}
        team = {
            "name": "t",
            "services": {"default": {"provider": "openai", "model": "m", "base_url": server.base_url}},
            "plugins": {"it": plugin},
            "agents": [{"name": "One", "description": "d", "instructions": "i", "tools": [{"id": "it.*"}]}],
            "review": {"tools": ["it.inside"]},
            "report": {"formats": []},
        }
        people: Any = {"approver": lambda request: ToolReview(decision)}
        async with TeamFactory.from_dict(team, base_dir=tmp_path) as factory:
            events = [event async for event in factory.stream("t", out=tmp_path / "runs", **people)]
            offered = [
                sorted(tool["function"]["name"] for tool in request.body["tools"])
                for request in server.requests
                if request.purpose == "turn"
            ]
            assert offered == [["it-enter"], ["it-inside"], ["it-inside"]], events[-1]
            (changed,) = [event for event in events if isinstance(event, ev.FunctionsChanged)]
            assert (changed.plugin, changed.added, changed.removed) == ("it", ["inside"], ["enter"])
            asked = [event for event in events if isinstance(event, ev.ToolReviewed)]
            assert [(event.function, event.decision) for event in asked] == [("it.inside", decision)]
            end = "took gold" if decision == "approve" else "Denied: a person denied this call"
            (message,) = [event for event in events if isinstance(event, ev.AgentMessage)]
            assert message.text == end
            # The new server of a resumed run has the first tools again.
            (run_dir,) = (tmp_path / "runs").iterdir()
            log = (run_dir / "events.jsonl").read_text().splitlines(keepends=True)
            cut = next(n for n, line in enumerate(log) if f'"type":"{message.type}"' in line.replace(": ", ":"))
            last = max(n for n, line in enumerate(log[:cut]) if "model_call_started" in line)
            (run_dir / "events.jsonl").write_text("".join(log[:last]))
            turn.append(lambda request: f"again {request.last_tool_results[0]}")
            result = await factory.resume(run_dir, **people).result()
    assert result.outcome == "satisfied", result.error
    log_now = ev.effective(read_log(run_dir)[0])
    assert [event.text for event in log_now if isinstance(event, ev.AgentMessage)] == [f"again {end}"]
