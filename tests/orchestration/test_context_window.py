"""A window keeps a long conversation's cost down, parts no call from its result, and keeps prompt caches warm."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from semantic_kernel.contents import (
    ChatHistory,
    ChatMessageContent,
    FunctionCallContent,
    FunctionResultContent,
    TextContent,
)
from semantic_kernel.contents.utils.author_role import AuthorRole
from semantic_kernel.functions import kernel_function
from support.openai_server import Answer, OpenAIServer, Reply, Request, TeamBrain, ToolCall, error, ledger, text_of

from magentic_kit import RunResult, TeamFactory
from magentic_kit import events as ev
from magentic_kit.orchestration.context_window import Window
from magentic_kit.runlog.reader import read_log
from magentic_kit.runlog.redaction import Redactor
from magentic_kit.team.agents import ContextConfig
from magentic_kit.testing import ScriptedChatCompletion

LEDGER = "We are working to address the following user request:"  # how SK's task ledger begins
SUMMARY = "Summary of what was said before the next message:\n\n"
WINDOWS = [{"messages": 12}, {"tokens": 1500}, {"messages": 12, "summarize": True}]
NAMES = ("Analyst", "Writer")


class Desk:
    @kernel_function(description="Looks up a page.")
    async def page(self, number: int) -> str:
        await asyncio.sleep(0 if number % 2 else 0.001)  # results come in another order than calls
        return f"page {number} " + "." * 40


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")


def brain(rounds: int, **changes: Any) -> TeamBrain:
    """Analyst and Writer in turn; the Analyst looks up two pages at once, each time."""
    pages = [ToolCall("desk-page", {"number": 1}), ToolCall("desk-page", {"number": 2})]

    def analyst(request: Request) -> Answer:
        done = request.last_tool_results
        return f"Found {len(done)} pages. " + "x" * 400 if done else Reply("Let me look.", tool_calls=pages)

    asked = [(NAMES[n % 2], f"Step {n}, please. " + "y" * 100) for n in range(rounds)]
    return TeamBrain(
        rounds=asked, agents={"Analyst": analyst, "Writer": lambda r: f"Draft {r.turn}. " + "z" * 400}, **changes
    )


def team(server: OpenAIServer, window: dict[str, Any] | None, **changes: Any) -> TeamFactory:
    context = {"context": window} if window else {}
    agents = [
        {
            "name": "Analyst",
            "description": "Looks.",
            "instructions": "Look.",
            "tools": [{"id": "desk.page"}],
            **context,
        },
        {"name": "Writer", "description": "Writes.", "instructions": "Write.", **context},
    ]
    manager = {"max_rounds": 500, **context, **changes.pop("manager", {})}
    services = {"default": {"provider": "openai", "model": "m", "base_url": server.base_url}}
    data = {"name": "w", "services": services, "agents": agents, "manager": manager, **changes}
    return TeamFactory.from_dict(data, plugins={"desk": Desk()})


async def play(
    server: OpenAIServer, window: dict[str, Any] | None, *, out: Path | None = None, **changes: Any
) -> RunResult:
    async with team(server, window, **changes) as factory:
        return await factory.run("Do it.", out=out)


async def wire(window: dict[str, Any] | None, rounds: int = 14, **changes: Any) -> list[Request]:
    with OpenAIServer(brain(rounds)) as server:
        result = await play(server, window, **changes)
        assert result.outcome == "satisfied" and result.rounds == rounds, result.error
    return server.requests


def by_asker(requests: list[Request]) -> Iterator[tuple[str, list[Request]]]:
    for who, purpose in (("manager", "ledger"), *((name, "turn") for name in NAMES)):
        yield who, [r for r in requests if (r.who, r.purpose) == (who, purpose)]


def characters(requests: list[Request]) -> int:
    return sum(len(json.dumps(request.messages)) for request in requests)


def pinned(request: Request) -> list[dict[str, Any]]:
    """Instructions and task ledger."""
    head = request.messages[: 1 + (request.messages[0]["role"] == "system")]
    assert text_of(head[-1]).lstrip().startswith(LEDGER)
    return head


def summed_up(request: Request) -> int:
    return sum(text_of(message).startswith(SUMMARY) for message in request.messages)


# -- what is sent


@pytest.mark.parametrize("window", [None, *WINDOWS])
async def test_each_request_begins_as_the_one_before_up_to_the_next_cut(window: dict[str, Any] | None) -> None:
    for who, requests in by_asker(await wire(window)):
        assert len(requests) > 6
        cuts = 0
        for former, latter in pairwise(requests):
            settings = [json.dumps({**r.body, "messages": None}) for r in (former, latter)]
            assert settings[0] == settings[1], "tools, options and their order are part of what is cached"
            kept = former.messages[:-1] if who == "manager" else former.messages
            if json.dumps(kept)[:-1] != json.dumps(latter.messages)[: len(json.dumps(kept)) - 1]:
                cuts += 1
                assert pinned(former) == pinned(latter)
        assert cuts <= (0 if window is None else len(requests) // 2), f"{who}: {cuts} cuts"
        assert window is None or cuts, who


@pytest.mark.parametrize("window", WINDOWS)
async def test_the_window_holds_and_task_ledger_and_turn_are_always_there(window: dict[str, Any]) -> None:
    for who, requests in by_asker(await wire(window)):
        for n, request in enumerate(requests):
            assert text_of(request.messages[-1]) or request.messages[-1]["role"] == "tool"
            rest = request.messages[len(pinned(request)) :]
            rest = rest[1:] if text_of(rest[0]).startswith(SUMMARY) else rest
            if "messages" in window:
                assert len(rest) <= window["messages"]
            else:
                assert sum(map(len, map(text_of, rest))) <= 4 * window["tokens"]
            latest = f"Step {2 * n - 1}" if who == "manager" else "please"
            assert n == 0 or latest.partition(" ")[0] in str(rest), "what was asked last is never cut"


async def test_a_summary_is_made_once_for_each_cut_and_rolls_on() -> None:
    window = {"messages": 12, "summarize": True}
    with OpenAIServer(brain(14, summary=lambda r: f"summary {r.turn}")) as server:
        result = await play(server, window)
    summaries = [r for r in server.requests if r.purpose == "summary"]
    assert result.record.windows["total"]["saved"] > 0
    assert 3 < len(summaries) < len(server.requests) / 4
    assert not any(r.tools or r.response_format for r in summaries)
    texts = [text_of(r.messages[0]) for r in summaries]
    assert any("Analyst: Let me look.\ncalls desk-page with" in text and text.count("page 1 ..") for text in texts)
    assert any("page 1 .." in text and "page 2 .." in text for text in texts), "of parallel results none is lost"
    for _, requests in by_asker(server.requests):
        heard = [m for r in requests for m in r.messages if text_of(m).startswith(SUMMARY)]
        made = list(dict.fromkeys(map(text_of, heard)))
        assert len(heard) > len(made) > 1 and {m["role"] for m in heard} == {"user"}
        assert all(summed_up(r) <= 1 for r in requests)
        for old, new in pairwise(made):
            (request,) = [t for t in texts if old.removeprefix(SUMMARY) + "\n" in t]
            assert new.removeprefix(SUMMARY) == f"summary {texts.index(request)}", "the old summary is part of the new"


@pytest.mark.parametrize("reply", [error(400, "too long"), ""])
async def test_without_a_summary_messages_are_left_out(reply: Answer, tmp_path: Path) -> None:
    with OpenAIServer(brain(14).on("", "summary", None, reply)) as server:
        result = await play(server, {"messages": 12, "summarize": True}, limits={"retries": 0})
    assert result.outcome == "satisfied"
    assert not any(map(summed_up, server.requests))
    told = [fault.message for fault in result.record.errors]
    assert told and all("too long" in text or "the summary was empty" in text for text in told)
    assert max(len(r.messages) for r in server.requests) <= 14


@pytest.mark.parametrize("where", ["before", "in"])
async def test_a_limit_around_a_summary_ends_the_run_with_an_answer(where: str) -> None:
    much = Reply("so much", usage=(10**6, 1))
    script = brain(14).on("", "summary", 0, much) if where == "in" else brain(14).on("Writer", "turn", 1, much)
    with OpenAIServer(script) as server:
        result = await play(server, {"messages": 9, "summarize": True}, limits={"max_tokens": 500_000})
    assert (result.outcome, result.reason, result.answer) == ("limited", "max_tokens", "The final answer.")


async def test_a_new_plan_begins_the_conversation_anew() -> None:
    stall = ledger("Writer", "Again.", progress=False)
    script = brain(8, summary=lambda r: f"summary {r.turn}", plan=lambda r: f"Plan {r.turn} for {r.purpose}.")
    script.on("manager", "ledger", 6, stall)
    with OpenAIServer(script) as server:
        result = await play(server, {"messages": 6, "summarize": True}, manager={"max_stalls": 0})
    assert result.outcome == "satisfied" and result.record.resets == 1
    again = next(i for i, r in enumerate(server.requests) if r.purpose == "plan_update")
    before, after = server.requests[:again], server.requests[again + 1 :]
    assert any(map(summed_up, before))
    for name in ("manager", *NAMES):
        first = next(r for r in after if r.who == name)
        assert "Plan 0 for plan_update." in text_of(pinned(first)[-1]) and not summed_up(first)


@pytest.mark.parametrize("window", [{"tokens": 1500}, {"messages": 9, "summarize": True}])
async def test_a_run_whose_texts_the_log_masks_goes_on(window: dict[str, Any], tmp_path: Path) -> None:
    def secretive(request: Request) -> str:
        return f"sk-{'s' * 40 * request.turn} {'z' * 300}\n-----BEGIN PRIVATE KEY-----\nabc"

    script = brain(14)
    script.agents = {**script.agents, "Writer": secretive}
    with OpenAIServer(script) as server:
        async with team(server, window) as factory:
            run, turns = factory.start("Do it.", out=tmp_path), 0
            async for event in run.events():
                turns += isinstance(event, ev.AgentMessage)
                if turns == 10:
                    run.cancel()
            stopped = await run.result()
            assert stopped.outcome == "cancelled" and stopped.run_dir is not None
            paid = len(server.requests)
            assert (await factory.resume(stopped.run_dir).result()).outcome == "satisfied"
    assert 6 < len(server.requests) - paid < paid


async def test_a_script_has_summaries_too() -> None:
    turns: list[Any] = [{"text": "Look.", "tool_calls": [{"name": "desk.page", "arguments": {"number": 1}}]}, "Found."]
    script = {
        "manager": {
            "facts": "f",
            "plan": "p",
            "ledger": [*[{"ledger": {"next": "Analyst", "instruction": "go"}}] * 4, {"ledger": {"satisfied": True}}],
            "answer": "done",
        },
        "Analyst": {"turn": turns * 4, "summary": ["S0", "S1", "S2", "S3"]},
    }
    agent = {"name": "Analyst", "description": "d", "tools": [{"id": "desk.page"}]}
    data = {"name": "w", "agents": [{**agent, "context": {"messages": 4, "summarize": True}}]}
    services = {"default": ScriptedChatCompletion(script)}
    async with TeamFactory.from_dict(data, services=services, plugins={"desk": Desk()}) as factory:
        result = await factory.run("Do it.", out=None)
    assert (result.outcome, result.answer) == ("satisfied", "done"), result.error


# -- no call without its result, whatever was said


TOKENS = st.fixed_dictionaries({"tokens": st.integers(1, 200)})


def test_a_cut_parts_no_call_from_its_result() -> None:
    """Any conversation and any window; on the wire, the scripted server of these tests refuses such requests."""
    cuts: list[bool] = []

    @settings(max_examples=40)
    @given(st.integers(), st.fixed_dictionaries({"messages": st.integers(2, 12)}) | TOKENS)
    def law(seed: int, window: dict[str, int]) -> None:
        cuts.append(asyncio.run(cut_somewhere(random.Random(seed), ContextConfig(**window))))

    law()
    assert any(cuts)


async def cut_somewhere(rng: random.Random, config: ContextConfig) -> bool:
    """Whether the window left something out of a conversation; never a call without its result."""

    def said(text: str, name: str | None = None) -> ChatMessageContent:
        role = AuthorRole.USER if name != "A" else AuthorRole.ASSISTANT
        return ChatMessageContent(role=role, name=name, content=text * rng.randint(1, 9))

    def turn(number: int) -> Iterator[ChatMessageContent]:
        yield said("asked", "Manager")
        for step in range(rng.randint(0, 4)):
            ids = [f"{number}.{step}.{n}" for n in range(rng.randint(1, 3))]
            calls: list[Any] = [FunctionCallContent(id=i, name="p-f", arguments="{}") for i in ids]
            yield ChatMessageContent(
                role=AuthorRole.ASSISTANT, name="A", items=[*calls, *[TextContent(text="t")] * rng.randint(0, 1)]
            )
            for i in rng.sample(ids, len(ids)):
                yield FunctionResultContent(id=i, name="p-f", result="r" * rng.randint(0, 99)).to_chat_message_content()

    async def no_summary(*_: Any) -> str:
        return ""

    window = Window(config, me="A", options={})
    head = [ChatMessageContent(role=AuthorRole.SYSTEM, content="i"), said("task ledger", "Manager")]
    history, cut = list(head), False
    for number in range(12):
        history += [said("reply", name) for name in rng.choices(["B", "C", None], k=rng.randint(0, 3))]
        for message in turn(number):
            history.append(message)
            if message.role == AuthorRole.ASSISTANT:
                continue  # it is the turn of the functions, not of the model
            selection = await window.select(ChatHistory(messages=history), Redactor(), no_summary)
            heard = selection.history.messages
            calls = [i.id for m in heard for i in m.items if isinstance(i, FunctionCallContent)]
            results = [i.id for m in heard for i in m.items if isinstance(i, FunctionResultContent)]
            assert set(results) <= set(calls) and heard[:2] == head
            under_way = max(i for i, m in enumerate(history) if m.name == "Manager")
            assert heard[under_way - len(history) :] == history[under_way:]
            assert heard[2:] == history[len(history) - len(heard) + 2 :]
            cut |= len(heard) < len(history)
        history.append(said("done", "A"))
    return cut


# -- what it saves


def starts(result: RunResult) -> list[ev.ModelCallStarted]:
    assert result.run_dir is not None
    return [event for event in read_log(result.run_dir)[0] if isinstance(event, ev.ModelCallStarted)]


async def test_the_report_tells_what_windows_saved(tmp_path: Path) -> None:
    results = []
    for window in (None, *WINDOWS):
        with OpenAIServer(brain(14)) as server:
            results.append(await play(server, window, out=tmp_path))
    plain = sum(event.characters for event in starts(results[0]))
    for result in results[1:]:
        windows, calls = result.record.windows, starts(result)
        assert list(windows) == ["manager", *NAMES, "total"]
        assert windows["total"]["characters"] == sum(event.characters for event in calls)
        assert windows["total"]["saved"] == sum(event.saved for event in calls) > 0
        assert windows["total"]["characters"] + windows["total"]["saved"] == plain, "what is sent without windows"
        assert result.run_dir is not None
        told = f"Windows kept back {windows['total']['percent']} % of the characters"
        assert all(told in (result.run_dir / name).read_text() for name in ("report.md", "report.html"))
        assert json.loads((result.run_dir / "result.json").read_text())["windows"] == windows
        assert "\nwindows:\n" in (result.run_dir / "report.md").read_text()
    assert results[0].record.windows == {} and results[0].run_dir is not None
    assert not any("indows" in (results[0].run_dir / name).read_text() for name in ("report.md", "report.html"))


@pytest.mark.slow
async def test_forty_rounds_cost_two_fifths_at_most_and_more_rounds_no_more_each() -> None:
    plain = characters(await wire(None, 40))
    for window in WINDOWS:
        forty = characters(await wire(window, 40))
        assert forty <= 0.4 * plain
        assert characters(await wire(window, 200)) <= 5.5 * forty


async def test_a_window_saves_three_fifths_of_forty_rounds() -> None:
    with OpenAIServer(brain(40)) as server:
        result = await play(server, {"messages": 12, "summarize": True})
    assert result.rounds == 40 and result.record.windows["total"]["percent"] >= 60
