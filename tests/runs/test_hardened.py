"""Faults that a hunt brought up, each as it was found: none of them may come back."""

from __future__ import annotations

import asyncio
import datetime
import gc
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from semantic_kernel.functions import kernel_function
from support import durable
from support.openai_server import OpenAIServer, Reply, Request, TeamBrain, ToolCall, error
from support.waits import processor_time_below

from magentic_kit import TeamFactory
from magentic_kit import events as ev
from magentic_kit.runlog.reader import read_log
from magentic_kit.runlog.redaction import RedactedStream, Redactor
from magentic_kit.team.people import PlanReview, ToolReview
from magentic_kit.team.plan import TaskLedger


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")
    monkeypatch.setattr("magentic_kit.orchestration.attempts._FIRST_WAIT", 0.01)


class Odd:
    """Functions that end in ways that a future, a loop or a process does not take well."""

    @kernel_function(description="d")
    def stop(self) -> str:
        return next(iter([]))

    @kernel_function(description="d")
    def leave(self) -> str:
        raise SystemExit(3)

    @kernel_function(description="d")
    def surrogate(self) -> str:
        return "name \udcff"

    @kernel_function(description="d")
    def impatient(self) -> str:
        raise TimeoutError("the printer is away")

    @kernel_function(description="d")
    async def stubborn(self) -> str:
        until = time.monotonic() + 6
        while time.monotonic() < until:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.2)
        return "late"

    @kernel_function(description="d")
    def order(self, item: str) -> str:
        return f"ordered {item}"


def team(base_url: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": "hardened",
        "services": {"default": {"provider": "openai", "model": "m", "base_url": base_url}},
        "agents": [{"name": "Solo", "description": "d", "instructions": "i", "tools": [{"id": "odd.*"}]}],
        "report": {"formats": ["json"]},
        **changes,
    }


def calling(*calls: ToolCall, times: int = 1) -> TeamBrain:
    turn = [Reply(tool_calls=list(calls)), lambda request: " | ".join(request.last_tool_results)] * times
    return TeamBrain(rounds=[("Solo", "go")] * times, agents={"Solo": turn}, answer="done")


def factory(server: OpenAIServer, **changes: Any) -> TeamFactory:
    return TeamFactory.from_dict(team(server.base_url, **changes), plugins={"odd": Odd()})


async def test_a_refused_ledger_tier_is_remembered_on_resume(tmp_path: Path) -> None:
    def brain(request: Request) -> Any:
        if request.response_format.get("type") == "json_schema":
            return error(400, "no schema")
        return durable.brain(request)

    with OpenAIServer(brain) as server:
        path = durable.write_team(tmp_path, server.base_url, manager={"max_rounds": 2})
        async with TeamFactory.from_yaml(path) as made:
            first = await made.run(out=tmp_path / "runs")
        assert first.run_dir is not None
        paid, noted = len(server.requests), durable.effects(tmp_path)
        async with TeamFactory.from_run(first.run_dir, overrides={"manager.max_rounds": 9}) as made:
            assert (await made.resume(first.run_dir).result()).outcome == "satisfied"
        assert [request.purpose for request in server.requests[paid:]] == ["turn", "ledger", "answer"]
        assert durable.effects(tmp_path) == noted


@pytest.mark.parametrize(
    ("name", "told"),
    [("stop", "StopIteration"), ("leave", "SystemExit"), ("surrogate", "name ?"), ("impatient", "printer is away")],
)
async def test_whatever_a_function_does_the_model_hears_of_it(name: str, told: str) -> None:
    with OpenAIServer(calling(ToolCall(f"odd-{name}"))) as server:
        async with factory(server) as made:
            result = await made.run("t", out=None)
    assert result.outcome == "satisfied" and told in result.record.turns[0].text


async def test_a_function_that_does_not_follow_a_cancel_cannot_hold_the_run() -> None:
    with OpenAIServer(calling(ToolCall("odd-stubborn"))) as server:
        async with factory(server) as made:
            run = made.start("t", out=None)
            async for event in run.events():
                if isinstance(event, ev.ToolCallStarted):
                    run.cancel()
            assert (await asyncio.wait_for(run.result(), 10)).outcome == "cancelled"


async def test_a_call_that_a_limit_forbids_does_not_look_begun(tmp_path: Path) -> None:
    dear = Reply(tool_calls=[ToolCall("odd-order", {"item": "x"})], usage=(100_000, 1))
    with OpenAIServer(calling(ToolCall("odd-order")).on("Solo", "turn", 0, dear)) as server:
        async with factory(server, limits={"max_tokens": 50_000}) as made:
            result = await made.run("t", out=tmp_path)
        assert result.outcome == "limited" and result.run_dir is not None
        log, _ = read_log(result.run_dir)
        began = [event.call for event in log if isinstance(event, ev.ToolCallStarted)]
        ended = [event.call for event in log if isinstance(event, ev.ToolCallFinished)]
        assert began == ended == []


async def test_an_approval_for_the_run_holds_after_a_resume(tmp_path: Path) -> None:
    asked: list[Any] = []

    def approver(request: Any) -> ToolReview:
        asked.append(request)
        return ToolReview.approve_for_run()

    review = {"review": {"tools": ["odd.*"]}}
    with OpenAIServer(calling(ToolCall("odd-order", {"item": "x"}), times=2)) as server:
        async with factory(server, manager={"max_rounds": 1}, **review) as made:
            first = await made.run("t", out=tmp_path, approver=approver)
        async with factory(server, manager={"max_rounds": 5}, **review) as made:
            again = await made.resume(first.run_dir or "").result()
    assert again.outcome == "satisfied" and len(asked) == 1
    assert [call.status for call in again.record.tool_calls] == ["ok", "ok"]


async def test_a_plan_that_was_never_reviewed_is_reviewed_whatever_is_reused(tmp_path: Path) -> None:
    asked: list[str] = []

    def reviewer(request: Any) -> PlanReview:
        asked.append(request.plan)
        return PlanReview.approve()

    with OpenAIServer(calling(ToolCall("odd-order", {"item": "x"}))) as server:
        async with factory(server, review={"plan": True}) as made:
            first = await made.run("t", out=tmp_path, reviewer=reviewer)
            plan = TaskLedger(task="t", facts="F", plan="DROP ALL TABLES")
            await made.run("t", out=tmp_path, reviewer=reviewer, plan=plan, reuse=first.run_dir or "")
    assert asked[-1] == "DROP ALL TABLES" and len(asked) == 2


async def test_inputs_that_are_dates_are_logged_and_read_back(tmp_path: Path) -> None:
    with OpenAIServer(calling(ToolCall("odd-order", {"item": "x"}))) as server:
        async with factory(server, inputs={"day": "x"}) as made:
            result = await made.run("t", out=tmp_path, inputs={"day": datetime.date(2025, 1, 1)})
    assert result.outcome == "satisfied" and result.run_dir is not None
    assert isinstance(read_log(result.run_dir)[0][-1], ev.RunFinished)


async def test_who_stops_waiting_for_a_run_ends_it() -> None:
    with OpenAIServer(
        calling(ToolCall("odd-stubborn")).on("Solo", "turn", 0, Reply("a b", hang="in_stream"))
    ) as server:
        async with factory(server) as made:
            waiting = asyncio.ensure_future(made.run("t", out=None))
            await server.reached(lambda s: s.hanging)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await server.reached(lambda s: not s.hanging)


async def test_a_stream_that_is_given_up_between_two_pieces_is_closed_at_once() -> None:
    brain = calling(ToolCall("odd-order")).on("Solo", "turn", 0, Reply("a b c d", hang="in_stream"))
    gc.disable()  # which closes it otherwise, when its time has come
    try:
        with OpenAIServer(brain) as server:
            async with factory(server) as made:

                def at_first_word(event: ev.AnyEvent) -> None:
                    if isinstance(event, ev.TextDelta) and event.who == "Solo":
                        run.cancel()

                run = made.start("t", out=None, sinks=[at_first_word])
                assert (await run.result()).outcome == "cancelled"
                await server.reached(lambda s: not s.hanging)
    finally:
        gc.enable()


@pytest.mark.parametrize("text", ["-----BEGIN PRIVATE KEY-----\n" * 20_000, "eyJ-" * 100_000, "sk-" * 100_000])
def test_no_text_makes_the_redactor_slow(text: str) -> None:
    with processor_time_below(2):
        Redactor().text(text)


@pytest.mark.parametrize(
    "secret", ["Bearer abcdefghijklmnop1234", "-----BEGIN PRIVATE KEY-----\nMIIabc\ndef\n-----END PRIVATE KEY-----"]
)
def test_a_secret_of_several_words_is_masked_in_a_stream(secret: str) -> None:
    stream = RedactedStream(Redactor())
    text = f"it is {secret} so"
    shown = "".join(stream.feed(piece) for piece in text) + stream.flush()
    assert "MIIabc" not in shown and "abcdefghijkl" not in shown and shown.endswith(" so")


def test_a_known_secret_is_masked_inside_json_too() -> None:
    redactor = Redactor(['pass"word\\1234'])
    assert "word" not in redactor.text('{"password": "pass\\"word\\\\1234"}').replace('"password"', "")


async def test_a_lone_surrogate_in_a_task_or_a_reply_does_not_stop_the_run(tmp_path: Path) -> None:
    calls = [ToolCall("odd-order", '{"item": "\\udcff"}')]
    brain = TeamBrain(rounds=[("Solo", "go")], agents={"Solo": [Reply("so \udcff", tool_calls=calls), "done \udcff"]})
    with OpenAIServer(brain) as server:
        async with factory(server) as made:
            result = await made.run("name \udcff", out=tmp_path)
    assert result.outcome == "satisfied", result.error
    assert result.record.task == "name ?" and "done ?" in result.record.turns[0].text


async def test_a_key_of_any_name_and_a_secret_the_team_was_loaded_with_are_masked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOOR", "open-sesame-1")
    brain = TeamBrain(rounds=[("Solo", "go")], agents={"Solo": ["open-sesame-1 and hunter2-hunter2"]})
    with OpenAIServer(brain) as server:
        service = {"provider": "openai", "model": "m", "base_url": server.base_url, "api_key_env": "DOOR"}
        data = team(server.base_url, services={"default": service})
        env = {"MY_PASSWORD": "hunter2-hunter2"}
        async with TeamFactory.from_dict(data, plugins={"odd": Odd()}, env=env) as made:
            result = await made.run("t", out=tmp_path)
    assert result.record.turns[0].text == "[secret] and [secret]"
