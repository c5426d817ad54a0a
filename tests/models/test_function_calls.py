"""Function calls as real servers send them: told apart, whole, and each made once."""

# ruff: noqa: E501, RUF001  # tables of what servers send

from __future__ import annotations

import json
from typing import Any

import pytest
from semantic_kernel.functions import kernel_function
from support.openai_server import Reply
from support.real_servers import RealServer, brain, call_delta, completion, delta, events, team

from magentic_kit import TeamFactory
from magentic_kit import events as ev


class Weather:
    def __init__(self) -> None:
        self.seen: list[str] = []

    @kernel_function(description="Looks at the weather.")
    def look(self, city: str = "Paris") -> str:
        self.seen.append(city)
        return f"Sunny in {city}."


def args(city: str) -> str:
    return json.dumps({"city": city})


async def run(reply: Any, *, then: Any = "So it is sunny.") -> tuple[Any, list[str], list[ev.AnyEvent], RealServer]:
    weather, log = Weather(), list[ev.AnyEvent]()
    answering = brain(("Ada",))
    answering.agents = {"Ada": [reply, then, "Nothing more."]}
    with RealServer(answering) as server:
        made = team(server.base_url, names=("Ada",))
        made["agents"][0]["tools"] = [{"id": "weather.look", "type": "function"}]
        async with TeamFactory.from_dict(made, plugins={"weather": weather}) as factory:
            result = await factory.run("t", out=None, sinks=[log.append])
    return result, weather.seen, log, server


NAME = "weather-look"
ONE = [call_delta(NAME, args("Rome"), index=0, id="call_1")]

COPES: dict[str, tuple[Reply, list[str]]] = {
    "OpenAI: arguments in pieces": (
        events(
            call_delta(NAME, "", index=0, id="a"), call_delta(None, '{"city": ', index=0), call_delta(None, '"Rome"}', index=0)
        ),
        ["Rome"],
    ),
    "two calls side by side, their pieces mixed": (
        events(
            call_delta(NAME, "", index=0, id="a"),
            call_delta(NAME, "", index=1, id="b"),
            call_delta(None, args("Rome"), index=0),
            call_delta(None, args("Oslo"), index=1),
        ),
        ["Rome", "Oslo"],
    ),
    "Gemini: two calls with index 0 and an empty id": (
        events(call_delta(NAME, args("Rome"), index=0, id=""), call_delta(NAME, args("Oslo"), index=0, id="")),
        ["Rome", "Oslo"],
    ),
    "two calls with index 0 and no id": (
        events(call_delta(NAME, args("Rome"), index=0), call_delta(NAME, args("Oslo"), index=0)),
        ["Rome", "Oslo"],
    ),
    "two calls in one chunk with index 0": (
        events(
            delta(
                tool_calls=[
                    {"index": 0, "id": "", "type": "function", "function": {"name": NAME, "arguments": args(city)}}
                    for city in ("Rome", "Oslo")
                ]
            )
        ),
        ["Rome", "Oslo"],
    ),
    "calls without ids": (events(call_delta(NAME, args("Rome"), index=0), call_delta(NAME, args("Oslo"), index=1)), ["Rome", "Oslo"]),
    "calls without an index": (events(call_delta(NAME, args("Rome"), id="a"), call_delta(NAME, args("Oslo"), id="b")), ["Rome", "Oslo"]),
    "calls without ids and index": (events(call_delta(NAME, args("Rome")), call_delta(NAME, args("Oslo"))), ["Rome", "Oslo"]),
    "calls with the same id": (
        events(call_delta(NAME, args("Rome"), index=0, id="same"), call_delta(NAME, args("Oslo"), index=1, id="same")),
        ["Rome", "Oslo"],
    ),
    "id and name in each piece (Qwen)": (
        events(
            *(call_delta(NAME, piece, index=0, id="a") for piece in ("", '{"city"', ': "Rome"}')),
        ),
        ["Rome"],
    ),
    "a call that is said twice": (events(*ONE, *ONE), ["Rome"]),
    "arguments null": (events(delta(tool_calls=[{"index": 0, "id": "a", "function": {"name": NAME, "arguments": None}}])), ["Paris"]),
    "arguments empty": (events(call_delta(NAME, "", index=0, id="a")), ["Paris"]),
    "arguments absent": (events(call_delta(NAME, index=0, id="a")), ["Paris"]),
    "arguments as an object (Ollama)": (events(call_delta(NAME, {"city": "Rome"}, index=0, id="a")), ["Rome"]),
    "two calls with objects and without ids": (
        events(call_delta(NAME, {"city": "Rome"}, index=0), call_delta(NAME, {"city": "Oslo"}, index=0)),
        ["Rome", "Oslo"],
    ),
    "finish_reason `stop` after a call": (events(*ONE, delta("stop")), ["Rome"]),
    "finish_reason `tool_use`": (events(*ONE, delta("tool_use")), ["Rome"]),
    "no type": (events(delta(tool_calls=[{"index": 0, "id": "a", "function": {"name": NAME, "arguments": args("Rome")}}])), ["Rome"]),
    "function null in a later piece": (
        events(*ONE, delta(tool_calls=[{"index": 0, "function": None}]), delta(tool_calls=None)),
        ["Rome"],
    ),
    "the older field function_call": (events(delta(function_call={"name": NAME, "arguments": args("Rome")})), ["Rome"]),
    "text before the call": (events(delta(content="Let me look."), *ONE, delta("tool_calls")), ["Rome"]),
    "one JSON body": (
        completion(None, "tool_calls", tool_calls=[{"id": "a", "type": "function", "function": {"name": NAME, "arguments": args("Rome")}}]),
        ["Rome"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", COPES)
async def test_each_call_is_made_once_and_the_log_says_so(name: str) -> None:
    reply, cities = COPES[name]
    result, seen, log, server = await run(reply)
    assert result.outcome == "satisfied", result.error
    assert sorted(seen) == sorted(cities)
    assert sorted(e.result for e in log if isinstance(e, ev.ToolCallFinished)) == sorted(
        f"Sunny in {c}." for c in cities
    )
    asked = next(request for request in server.requests if request.last_tool_results)
    assert sorted(asked.last_tool_results) == sorted(f"Sunny in {city}." for city in cities)
    ids = [call["id"] for message in asked.messages for call in message.get("tool_calls", ())]
    assert all(ids) and len(set(ids)) == len(cities)


SLOPPY: dict[str, tuple[str, str]] = {
    "dots in place of dashes": ("weather.look", "Rome"),
    "underscores in place of dashes": ("weather_look", "Rome"),
    "the function alone": ("look", "Rome"),
    "capitals": ("Weather-Look", "Rome"),
    "gpt-oss: a prefix `functions.`": ("functions.weather-look", "Rome"),
    "two colons": ("weather::look", "Rome"),
}
HOSTILE = {
    "an unknown function": "weather-delete",
    "a plugin that is not there": "files-look",
    "an empty plugin": "-look",
    "a path": "../weather-look",
    "a name with a line break": "weather-look\nx",
    "words": "please look at the weather",
}


@pytest.mark.parametrize("name", [*SLOPPY, *HOSTILE])
async def test_what_the_log_says_of_a_name_is_what_happened(name: str) -> None:
    written = SLOPPY[name][0] if name in SLOPPY else HOSTILE[name]
    result, seen, log, _ = await run(events(call_delta(written, args("Rome"), index=0, id="a")))
    assert result.outcome == "satisfied", result.error
    done = [event for event in log if isinstance(event, ev.ToolCallFinished)]
    denied = [event for event in log if isinstance(event, ev.ToolCallDenied)]
    assert len(seen) == len(done) and len(done) + len(denied) == 1
    assert all(event.function == "weather.look" for event in done)
    if name in SLOPPY:
        assert seen == ["Rome"]


TEXT_CALLS: dict[str, str] = {
    "Hermes and Qwen": '<tool_call>\n{"name": "weather-look", "arguments": {"city": "Rome"}}\n</tool_call>',
    "Hermes, its end lost": '<tool_call>{"name": "weather_look", "arguments": {"city": "Rome"}}',
    "Qwen 3 Coder": "<tool_call><function=weather-look><parameter=city>Rome</parameter></function></tool_call>",
    "Llama 3.1": '<function=weather-look>{"city": "Rome"}</function>',
    "Llama 3.2": '{"name": "look", "parameters": {"city": "Rome"}}',
    "Llama 3, a Python tag": '<|python_tag|>{"name": "weather-look", "parameters": {"city": "Rome"}}',
    "Mistral": '[TOOL_CALLS] [{"name": "weather-look", "arguments": {"city": "Rome"}}]',
    "Mistral, newer": '[TOOL_CALLS]weather-look[ARGS]{"city": "Rome"}',
    "Claude's form": '<invoke name="weather-look"><parameter name="city">Rome</parameter></invoke>',
    "a list in a fence": '```json\n[{"name": "weather-look", "arguments": {"city": "Rome"}}]\n```',
    "Phi 4": 'functools[{"name": "weather-look", "arguments": {"city": "Rome"}}]',
    "DeepSeek": "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>weather-look\n```json\n{}\n```",
    "Gemma": '```tool_code\nprint(weather_look(city="Rome"))\n```',
    "GLM": "<tool_call>weather-look\n<arg_key>city</arg_key>",
}


@pytest.mark.parametrize("name", TEXT_CALLS)
async def test_a_call_written_as_text_is_answered_with_a_correction_once(name: str) -> None:
    result, seen, log, server = await run(TEXT_CALLS[name], then=events(*ONE))
    assert result.outcome == "satisfied", result.error
    assert seen == ["Rome"], "the second time by the API"
    told = [event for event in log if event.type == "text_call_corrected"]
    assert len(told) == 1
    corrected = next(
        r
        for r in server.requests
        if (r.who == "" and "function" in str(r.messages[-1])) or "API" in str(r.messages[-1])
    )
    assert TEXT_CALLS[name] in str([message.get("content") for message in corrected.messages]).replace(
        "\\n", "\n"
    ).replace("\\'", "'")


async def test_a_model_that_writes_calls_as_text_again_is_left_with_its_text() -> None:
    text = TEXT_CALLS["Hermes and Qwen"]
    result, seen, log, _ = await run(text, then=text)
    assert result.outcome == "satisfied" and not seen
    assert len([event for event in log if event.type == "text_call_corrected"]) == 1
    assert "weather-look" in result.record.turns[0].text


NO_CALLS = {
    "JSON that an agent was asked for": '{"name": "Rome", "arguments": ["it is old"]}',
    "a talk about calls": "One writes `tool_call` tags around a call.",
    "another function": '<tool_call>{"name": "search", "arguments": {}}</tool_call>',
}


@pytest.mark.parametrize("name", NO_CALLS)
async def test_a_text_that_calls_no_offered_function_is_a_text(name: str) -> None:
    result, seen, log, _ = await run(NO_CALLS[name], then="Nothing.")
    assert result.outcome == "satisfied" and not seen
    assert not [event for event in log if event.type == "text_call_corrected"]
    assert result.record.turns[0].text == NO_CALLS[name]
