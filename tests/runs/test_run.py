"""A run from Python: isolation of runs and sinks, cancelling, streaming, one's own kernel and runtime."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from semantic_kernel import Kernel
from semantic_kernel.agents import MagenticOrchestration
from semantic_kernel.agents.runtime import InProcessRuntime
from semantic_kernel.functions import kernel_function
from support.openai_server import OpenAIServer, Reply, TeamBrain
from support.waits import no_wait_of

from magentic_kit import ConfigError, TeamFactory
from magentic_kit import events as ev
from magentic_kit.testing import ScriptedChatCompletion

SCRIPT: dict[str, Any] = {
    "manager": {
        "facts": "facts of {{task}}",
        "plan": "plan",
        "ledger": [{"ledger": {"next": "Solo", "instruction": "go"}}, {"ledger": {"satisfied": True}}],
        "answer": "done",
    },
    "Solo": ["hello"],
}


def team(script: Any = SCRIPT, **changes: Any) -> dict[str, Any]:
    return {
        "name": "solo",
        "services": {"default": {"provider": "scripted", "script": script}},
        "agents": [{"name": "Solo", "description": "Does it all.", "instructions": "Do."}],
        **changes,
    }


async def test_a_sink_that_raises_harms_nobody(tmp_path: Path) -> None:
    seen: list[ev.Event] = []

    def broken(event: ev.Event) -> None:
        raise RuntimeError("a broken sink")

    async with TeamFactory.from_dict(team()) as factory:
        result = await factory.run("t", sinks=[broken, seen.append], out=tmp_path)
    assert result.outcome == "satisfied"
    assert isinstance(seen[0], ev.RunStarted) and isinstance(seen[-1], ev.RunFinished)


async def test_runs_at_once_never_mix_their_facts(tmp_path: Path) -> None:
    def brain(request: Any) -> Any:
        if request.purpose == "turn":
            return f"{request.who} works on {request.task}"
        return brains[request.task](request)

    tasks = [f"task number {index}" for index in range(6)]
    brains = {
        task: TeamBrain(
            rounds=[("Solo", f"do {task}")],
            agents={},
            facts=f"facts {task}",
            plan="p",
            answer=f"answer {task}",
        )
        for task in tasks
    }
    with OpenAIServer(brain) as server:
        service = {"provider": "openai", "model": "m", "base_url": server.base_url}
        async with TeamFactory.from_dict(team(services={"default": service})) as factory:
            results = await asyncio.gather(*(factory.run(task, out=tmp_path) for task in tasks))
        assert [result.answer for result in results] == [f"answer {task}" for task in tasks]
        for request in server.requests:
            others = [task for task in tasks if task != request.task]
            assert not any(task in str(request.messages) for task in others)


@pytest.mark.parametrize("where", ["plan", "turn"])
async def test_cancel_ends_a_hung_call_without_a_wait_of_a_second(where: str, tmp_path: Path) -> None:
    brain = TeamBrain(rounds=[("Solo", "go")], agents={"Solo": ["x"]}).on(
        "Solo" if where == "turn" else "manager", where, None, Reply("a b c", hang="in_stream")
    )
    with OpenAIServer(brain) as server:
        service = {"provider": "openai", "model": "m", "base_url": server.base_url}
        async with TeamFactory.from_dict(team(services={"default": service})) as factory:
            run = factory.start("t", out=tmp_path)
            await server.reached(lambda s: s.hanging)
            with no_wait_of(1):
                run.cancel()
                result = await run.result()
    assert result.outcome == "cancelled" and result.run_dir is not None
    assert "outcome: cancelled" in (result.run_dir / "report.md").read_text()


class Slow:
    """Functions that never return by themselves."""

    def __init__(self) -> None:
        self.entered, self.leave = threading.Event(), threading.Event()

    @kernel_function(description="Blocks its thread.")
    def block(self) -> str:
        self.entered.set()
        self.leave.wait(30)
        return "late"

    @kernel_function(description="Waits for ever.")
    async def wait(self) -> str:
        self.entered.set()
        await asyncio.Event().wait()
        return "never"

    @kernel_function(description="Fails.")
    async def fail(self) -> str:
        raise ValueError("no such table")

    @kernel_function(description="Returns an object.")
    async def thing(self) -> object:
        return threading.Lock()  # neither JSON nor copyable


def with_tool(name: str) -> dict[str, Any]:
    script = {**SCRIPT, "Solo": [{"tool_calls": [{"name": f"slow.{name}"}]}, "tool said: {{tool_result}}"]}
    agent = {"name": "Solo", "description": "d", "tools": [{"id": "slow.*"}]}
    return team(script, agents=[agent], limits={"tool_timeout": "200ms"})


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("block", "no answer within 0.2 s"),
        ("wait", "no answer within 0.2 s"),
        ("fail", "ValueError: no such table"),
        ("thing", "<unlocked _thread.lock"),
    ],
)
async def test_a_tool_that_fails_is_heard_of_and_the_run_goes_on(name: str, told: str, tmp_path: Path) -> None:
    slow = Slow()
    async with TeamFactory.from_dict(with_tool(name), plugins={"slow": slow}) as factory:
        result = await factory.run("t", out=tmp_path)
    slow.leave.set()
    assert result.outcome == "satisfied"
    assert told in result.record.turns[0].text


async def test_cancel_ends_a_tool_that_blocks(tmp_path: Path) -> None:
    slow = Slow()
    data = with_tool("block") | {"limits": {"tool_timeout": "60s"}}
    async with TeamFactory.from_dict(data, plugins={"slow": slow}) as factory:
        run = factory.start("t", out=tmp_path)
        await asyncio.to_thread(slow.entered.wait, 5)
        run.cancel()
        result = await asyncio.wait_for(run.result(), 1)
    slow.leave.set()
    assert result.outcome == "cancelled"


async def test_stream_gives_the_events_and_leaving_it_cancels(tmp_path: Path) -> None:
    async with TeamFactory.from_dict(team()) as factory:
        kinds = [event.type async for event in factory.stream("t", out=tmp_path)]
        assert kinds[0] == "run_started" and kinds[-1] == "run_finished" and "text_delta" in kinds
        stream = factory.stream("t", out=tmp_path)
        async for event in stream:
            if isinstance(event, ev.PlanCreated):
                break
        await stream.aclose()
    runs = sorted(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime)
    assert "outcome: cancelled" in (runs[-1] / "report.md").read_text()


async def test_the_callers_kernel_and_runtime_are_used(tmp_path: Path) -> None:
    kernel = Kernel(services=[ScriptedChatCompletion(SCRIPT, service_id="house")])
    runtime = InProcessRuntime()
    runtime.start()
    data = {**team(), "services": {}, "manager": {"service": "house"}}
    factory = TeamFactory.from_dict(data, kernel=kernel)
    result = await factory.run("t", out=None, runtime=runtime)
    assert (result.outcome, result.run_dir) == ("satisfied", None)
    await runtime.stop_when_idle()


async def test_an_orchestration_runs_on_the_callers_runtime() -> None:
    seen: list[ev.Event] = []
    orchestration = TeamFactory.from_dict(team()).create_orchestration(on_event=seen.append)
    assert isinstance(orchestration, MagenticOrchestration)
    runtime = InProcessRuntime()
    runtime.start()
    answer = await (await orchestration.invoke("t", runtime)).get(timeout=10)
    await runtime.stop_when_idle()
    assert answer.content == "done"
    assert [e.text for e in seen if isinstance(e, ev.AgentMessage)] == ["hello"]


async def test_who_must_speak_speaks_before_the_end(tmp_path: Path) -> None:
    script = {**SCRIPT, "manager": {**SCRIPT["manager"], "ledger": [{"ledger": {"satisfied": True}}] * 2}}
    async with TeamFactory.from_dict(team(script, manager={"must_speak": ["Solo"]})) as factory:
        result = await factory.run("t", out=tmp_path)
    assert (result.outcome, result.rounds) == ("satisfied", 1)


async def test_a_missing_reply_in_the_script_is_a_clear_failure(tmp_path: Path) -> None:
    async with TeamFactory.from_dict(team({**SCRIPT, "Solo": []})) as factory:
        result = await factory.run("t", out=tmp_path)
    assert result.outcome == "failed" and result.error is not None
    assert result.error["message"] == (
        "the script has no reply number 1 for 'Solo'; add it to the script or end the run earlier"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "there is no task: give one, or set `task:` in the team file"),
        ({"inputs": {"yaer": 1}}, "the team has no input 'yaer'; did you mean 'year'?"),
    ],
)
async def test_what_is_wrong_before_the_start_is_raised(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    factory = TeamFactory.from_dict(team(inputs={"year": {"default": 2025}}))
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
        factory.start(None, out=tmp_path, **changes)
    assert not list(tmp_path.iterdir()), "no run directory for a run that never was"


async def test_secrets_never_reach_log_report_or_sinks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "hunter2-hunter2")
    words = "the key is hunter2-hunter2, another sk-abcdefghijklmnop1234 there"
    seen: list[str] = []
    async with TeamFactory.from_dict(team({**SCRIPT, "Solo": [words]})) as factory:
        result = await factory.run(f"use {words}", sinks=[lambda e: seen.append(str(e))], out=tmp_path)
    assert result.outcome == "satisfied" and result.run_dir is not None
    everything = "".join(seen) + "".join(path.read_text() for path in result.run_dir.iterdir())
    assert "hunter2" not in everything and "sk-abc" not in everything
    assert "the key is [secret], another [secret] there" in everything
