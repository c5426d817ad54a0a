"""The name of a called function decides what is judged, logged and called: the log is compared with the effects."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from semantic_kernel.functions import kernel_function
from support.openai_server import OpenAIServer, Reply, TeamBrain, ToolCall

from magentic_kit import RunResult, TeamFactory
from magentic_kit import events as ev
from magentic_kit.runlog.reader import read_log
from magentic_kit.team.people import ToolReview, ToolReviewRequest
from magentic_kit.tools.function_names import UnknownFunction, find_function


class Effects:
    """A plugin with two functions, each of which leaves a trace."""

    def __init__(self, name: str, done: list[str]) -> None:
        self._name, self._done = name, done

    @kernel_function(description="Looks.")
    def look(self) -> str:
        self._done.append(f"{self._name}.look")
        return "looked"

    @kernel_function(description="Burns all down.")
    def burn(self) -> str:
        self._done.append(f"{self._name}.burn")
        return "burnt"


async def run(
    tools: list[str], names: list[str], monkeypatch: pytest.MonkeyPatch, *, allow: tuple[str, ...] = ("*",)
) -> tuple[list[str], list[str], list[ev.AnyEvent], RunResult]:
    """What was done, what a person was asked about, all events, and the result of a run that calls these `names`."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")
    done: list[str] = []
    asked: list[str] = []
    events: list[ev.AnyEvent] = []

    def judge(request: ToolReviewRequest) -> ToolReview:
        asked.append(request.function)
        return ToolReview.approve() if request.function in allow or "*" in allow else ToolReview.deny("no")

    calls = [ToolCall(name, {}) for name in names]
    turn = [Reply("I try.", tool_calls=calls), lambda request: " | ".join(request.last_tool_results)]
    brain = TeamBrain(rounds=[("Scout", "go")], agents={"Scout": turn}, answer="done")
    agent = {"name": "Scout", "description": "d", "instructions": "i", "tools": [{"id": tool} for tool in tools]}
    with OpenAIServer(brain) as server:
        services = {"default": {"provider": "openai", "model": "m", "base_url": server.base_url}}
        data = {"name": "t", "services": services, "agents": [agent], "review": {"tools": ["*"]}}
        plugins = {name: Effects(name, done) for name in ("weather", "chart")}
        async with TeamFactory.from_dict(data, plugins=plugins) as factory:
            result = await factory.run("t", out=None, sinks=[events.append], approver=judge)
    assert result.outcome == "satisfied", result.error
    return done, asked, events, result


def logged(events: list[ev.AnyEvent], kind: type[Any]) -> list[str]:
    return [event.function for event in events if isinstance(event, kind)]


SLOPPY = [
    *("weather-look", "weather.look", "weather_look", "weather:look", "weather/look", "weather look"),
    *("look", "LOOK", "Weather-Look", "functions.weather-look", " weather-look "),
]
HOSTILE = [
    *("weather-burn", "burn", "chart-look", "weather-look-now", "weather", "nothing", "-", ".", "__class__"),
    *("weather-look;weather-burn", "weather-lo\u200bok", "weather-look\x1b[2J", "../burn", "x" * 500),
]


@pytest.mark.parametrize("name", SLOPPY)
async def test_a_name_that_can_only_mean_one_function_is_that_function_for_everybody(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, asked, events, _ = await run(["weather.look"], [name], monkeypatch)
    assert (
        done == asked == logged(events, ev.ToolCallStarted) == logged(events, ev.ToolCallFinished) == ["weather.look"]
    )
    assert logged(events, ev.ToolCallDenied) == []
    (reply,) = [event for event in events if isinstance(event, ev.ModelCallFinished) and event.tool_calls]
    assert [call["name"] for call in reply.tool_calls] == ["weather-look"]


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_name_that_means_no_function_is_refused_and_nobody_is_asked(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, asked, events, result = await run(["weather.look"], [name], monkeypatch)
    assert done == asked == logged(events, ev.ToolCallStarted) == logged(events, ev.ToolCallFinished) == []
    assert logged(events, ev.ToolCallDenied) == [name]
    assert "is not part of the provided tools" in result.record.turns[0].text


async def test_a_name_that_means_two_functions_is_refused_with_both(monkeypatch: pytest.MonkeyPatch) -> None:
    done, asked, events, result = await run(["weather.look", "chart.look"], ["look"], monkeypatch)
    assert done == asked == logged(events, ev.ToolCallStarted) == []
    assert "'look' may be chart-look or weather-look: give the whole name" in result.record.turns[0].text


async def test_of_calls_at_once_the_log_has_each_once_as_it_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [*SLOPPY, *HOSTILE, "weather-burn", "chart.burn"]
    tools = ["weather.look", "chart.burn"]
    done, asked, events, result = await run(tools, names, monkeypatch, allow=("weather.look",))
    ends = [e for e in events if isinstance(e, ev.ToolCallFinished | ev.ToolCallFailed | ev.ToolCallDenied)]
    assert len(ends) == len({end.call for end in ends}) == len(names)
    assert sorted(done) == sorted(logged(events, ev.ToolCallFinished)) == ["weather.look"] * len(SLOPPY)
    assert sorted(asked) == ["chart.burn"] * 3 + done, "burn, ../burn and chart.burn are the same function"
    assert [call.status for call in result.record.tool_calls].count("ok") == len(done)


@pytest.mark.parametrize(
    ("name", "offered", "told"),
    [
        ("wether-look", {"weather-look", "chart-look"}, "did you mean 'weather-look'?"),
        ("x", {"weather-look", "chart-look"}, "there is chart-look, weather-look"),
        ("a_b_c", {"a-b_c", "a_b-c"}, "'a_b_c' may be a-b_c or a_b-c"),
        ("", {"weather-look"}, "'' is not part of the provided tools"),
    ],
)  # fmt: skip
def test_a_refusal_names_what_is_near(name: str, offered: set[str], told: str) -> None:
    with pytest.raises(UnknownFunction) as refused:
        find_function(name, offered)
    assert told in str(refused.value)


def test_the_whole_name_comes_before_what_resembles_it() -> None:
    assert find_function("a_b-c", {"a-b_c", "a_b-c"}) == "a_b-c"


class Printer:
    @kernel_function(name="print", description="Prints.")
    async def print_it(self) -> str:
        time.sleep(0.2)  # blocks, so that nothing can end it in time
        raise TimeoutError("the printer has not answered")


async def test_a_timeout_that_the_function_raises_itself_is_told_as_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")
    turn = [Reply("I try.", tool_calls=[ToolCall("printer-print", {})]), "tried"]
    brain = TeamBrain(rounds=[("Clerk", "go")], agents={"Clerk": turn}, answer="done")
    agent = {"name": "Clerk", "description": "d", "instructions": "i", "tools": [{"id": "printer.print"}]}
    with OpenAIServer(brain) as server:
        services = {"default": {"provider": "openai", "model": "m", "base_url": server.base_url}}
        data = {"name": "t", "services": services, "agents": [agent], "limits": {"tool_timeout": "100ms"}}
        async with TeamFactory.from_dict(data, plugins={"printer": Printer()}) as factory:
            result = await factory.run("t", out=None)
    (call,) = result.record.tool_calls
    assert (call.status, call.result) == ("failed", "TimeoutError: the printer has not answered")


@pytest.mark.parametrize("levels", [65, 900, 5_000])
async def test_arguments_nested_too_deep_are_refused_and_logged_so(
    levels: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")
    done: list[str] = []
    call = ToolCall("weather-look", '{"a":' * levels + "1" + "}" * levels)
    turn = [Reply("I try.", tool_calls=[call]), lambda request: request.last_tool_results[0]]
    with OpenAIServer(TeamBrain(rounds=[("Scout", "go")], agents={"Scout": turn}, answer="done")) as server:
        services = {"default": {"provider": "openai", "model": "m", "base_url": server.base_url}}
        agent = {"name": "Scout", "description": "d", "instructions": "i", "tools": [{"id": "weather.look"}]}
        data = {"name": "t", "services": services, "agents": [agent]}
        async with TeamFactory.from_dict(data, plugins={"weather": Effects("weather", done)}) as factory:
            result = await factory.run("t", out=tmp_path)
    assert (result.outcome, done) == ("satisfied", [])
    assert "nested deeper than 64 levels" in result.record.turns[0].text
    assert result.run_dir is not None
    denied = [event for event in read_log(result.run_dir)[0] if isinstance(event, ev.ToolCallDenied)]
    assert [(event.function, "nested deeper" in event.reason) for event in denied] == [("weather.look", True)]
