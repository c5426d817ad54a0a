"""What the manager makes of its own progress ledgers: who must speak, what a stall is, what a limit leaves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from support.openai_server import OpenAIServer, Reply, Request, TeamBrain, ledger

from magentic_kit import RunResult, TeamFactory
from magentic_kit import events as ev

NAMES = ("Ada", "Bob", "Cyd")
SPEECHES = {name: f"{name} has spoken." for name in NAMES}
SATISFIED = ledger("Ada", "Nothing more.", satisfied=True)


@dataclass
class Ran:
    result: RunResult
    requests: list[Request]
    events: list[ev.AnyEvent] = field(default_factory=list)

    @property
    def ledgers(self) -> list[ev.ProgressLedger]:
        return [event for event in self.events if isinstance(event, ev.ProgressLedger)]

    @property
    def speakers(self) -> list[str]:
        return [event.agent for event in self.events if isinstance(event, ev.AgentMessage)]


async def run(brain: Any, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Ran:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")
    events: list[ev.AnyEvent] = []
    with OpenAIServer(brain) as server:
        data = {
            "name": "t",
            "services": {"default": {"provider": "openai", "model": "m", "base_url": server.base_url}},
            "agents": [{"name": name, "description": "d", "instructions": "i"} for name in NAMES],
            **changes,
        }
        async with TeamFactory.from_dict(data) as factory:
            result = await factory.run("t", out=None, sinks=[events.append])
        return Ran(result, server.requests, events)


def brain(*ledgers: str) -> TeamBrain:
    """The manager gives these ledgers one after another, and the last one again and again."""
    turns = [*ledgers, *[ledgers[-1]] * 20]
    made = TeamBrain(rounds=[("Ada", "go")], agents=SPEECHES, answer="done")
    for number, text in enumerate(turns):
        made.on("manager", "ledger", number, text)
    return made


@pytest.mark.parametrize(
    ("must_speak", "before", "speakers"),
    [
        ([], [], []),
        (["Cyd"], [], ["Cyd"]),
        (["Cyd", "Ada"], [], ["Cyd", "Ada"]),
        (["Bob", "Cyd", "Ada"], ["Cyd"], ["Cyd", "Bob", "Ada"]),
        (["Ada", "Bob", "Cyd"], ["Bob", "Ada", "Bob"], ["Bob", "Ada", "Bob", "Cyd"]),
    ],
)
async def test_everybody_who_must_speak_does_once_in_the_order_of_the_file(
    must_speak: list[str], before: list[str], speakers: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = [ledger(name, "go") for name in before]
    ran = await run(brain(*given, SATISFIED), monkeypatch, manager={"must_speak": must_speak})
    assert (ran.result.outcome, ran.speakers) == ("satisfied", speakers)
    corrected = [it for it in ran.ledgers if it.next_speaker and it.next_speaker.reason == "must_speak"]
    assert len(corrected) == len(speakers) - len(before)
    assert all(it.is_request_satisfied.answer is False for it in corrected)


async def test_a_limit_comes_before_who_must_speak(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = await run(brain(SATISFIED), monkeypatch, manager={"must_speak": ["Ada", "Bob"], "max_rounds": 1})
    assert (ran.result.outcome, ran.result.reason, ran.speakers) == ("limited", "max_rounds", ["Ada"])


MOVES = ledger("Ada", "go")
STALLS = ledger("Ada", "go", progress=False)
LOOPS = ledger("Ada", "go", loop=True)


@pytest.mark.parametrize(
    ("given", "stalls"),
    [
        ([STALLS, MOVES, STALLS, STALLS, MOVES, MOVES, MOVES, SATISFIED], [1, 0, 1, 2, 1, 0, 0, 0]),
        ([LOOPS, STALLS, MOVES, SATISFIED], [1, 2, 1, 0]),
        ([STALLS, STALLS, ledger("Ada", "", satisfied=True, progress=False, loop=True)], [1, 2, 1]),
    ],
)
async def test_a_stall_is_taken_back_by_a_round_that_moves(
    given: list[str], stalls: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = await run(brain(*given), monkeypatch, manager={"max_stalls": 2})
    assert (ran.result.outcome, ran.result.resets) == ("satisfied", 0)
    assert [event.stalls for event in ran.ledgers] == stalls


async def test_more_stalls_than_allowed_make_a_new_plan_and_count_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    given = [STALLS, MOVES, STALLS, STALLS, STALLS, SATISFIED]
    ran = await run(brain(*given), monkeypatch, manager={"max_stalls": 1, "max_resets": 1})
    assert [event.stalls for event in ran.ledgers] == [1, 0, 1, 2, 1, 0]
    assert (ran.result.outcome, ran.result.resets) == ("satisfied", 1)
    again = await run(brain(STALLS), monkeypatch, manager={"max_stalls": 1, "max_resets": 1})
    assert [event.stalls for event in again.ledgers] == [1, 2, 1, 2]
    assert (again.result.outcome, again.result.reason, again.result.resets) == ("limited", "max_resets", 1)


async def test_a_limit_inside_a_new_plan_leaves_an_answer_from_what_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    given = brain(STALLS).on("manager", "facts_update", 0, Reply("New facts.", usage=(90_000, 10)))
    ran = await run(given, monkeypatch, manager={"max_stalls": 1}, limits={"max_tokens": 50_000})
    assert (ran.result.outcome, ran.result.reason, ran.result.answer) == ("limited", "max_tokens", "done")
    last = ran.requests[-1]
    assert last.purpose == "answer" and "Ada has spoken." in str(last.messages)
    assert not any(isinstance(event, ev.Replanned) for event in ran.events)
    assert "plan_update" not in {request.purpose for request in ran.requests}
