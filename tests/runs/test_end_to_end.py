"""Real runs of a team on the real OpenAI connector against a server that misbehaves: how each run ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai
import pytest
from support.openai_server import OpenAIServer, Reply, TeamBrain, error, ledger

from magentic_kit import RunResult, TeamFactory
from magentic_kit import events as ev
from magentic_kit.runlog.reader import read_log

TASK = 'Is a<b & "c"?'


def team(server: OpenAIServer, **changes: Any) -> dict[str, Any]:
    return {
        "name": "faults",
        "services": {"default": {"provider": "openai", "model": "m", "base_url": server.base_url}},
        "agents": [
            {"name": "Analyst", "description": "Finds <facts> & figures.", "instructions": "Be exact."},
            {"name": "Writer", "description": "Writes.", "instructions": "Be short."},
        ],
        "limits": {"retries": 2, "model_timeout": "5s", "deadline": "60s"},
        **changes,
    }


def happy() -> TeamBrain:
    rounds = [
        ("Analyst", "look"),
        ("Writer", "draft"),
        ("Analyst", "check"),
        ("Writer", "mend"),
        ("Analyst", "sign"),
    ]
    return TeamBrain(
        rounds=rounds,
        agents={"Analyst": ["one fact", "checked", "signed"], "Writer": ["a draft", "a better draft"]},
        facts="F1",
        plan="P1",
        answer="forty-two",
    )


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")
    monkeypatch.setattr("magentic_kit.orchestration.attempts._FIRST_WAIT", 0.01)


@dataclass
class Ran:
    result: RunResult
    events: list[ev.AnyEvent]
    server: OpenAIServer
    folder: Path

    def of(self, kind: type[ev.Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def httpx_transport(monkeypatch: pytest.MonkeyPatch) -> None:
    """openai without aiohttp's transport, as openai 2 is without the extra `fast`."""

    def missing(**_: Any) -> None:
        raise RuntimeError("To use the aiohttp client you must have installed the package with the `aiohttp` extra")

    monkeypatch.setattr(openai, "DefaultAioHttpClient", missing)


async def run(brain: Any, tmp_path: Path, *, stop: Callable[[Any, Any], Any] | None = None, **changes: Any) -> Ran:
    """Runs the team, and checks what holds for every run, however it ended."""
    before = asyncio.all_tasks()
    with OpenAIServer(brain) as server:
        seen: list[ev.Event] = []
        async with TeamFactory.from_dict(team(server, **changes)) as factory:
            running = factory.start(TASK, sinks=[seen.append], out=tmp_path)
            if stop:
                await stop(running, server)
            result = await asyncio.wait_for(running.result(), 30)
        assert asyncio.all_tasks() == before, "a task was left behind"
        await server.reached(lambda s: s.open_connections == 0)
        assert result.run_dir is not None
        events, _ = read_log(result.run_dir)
        assert [event.seq for event in events] == list(range(len(events)))
        assert events == [event for event in seen if event.logged]
        assert isinstance(events[0], ev.RunStarted) and isinstance(events[-1], ev.RunFinished)
        assert events[-1].outcome == result.outcome
        started = {event.call for event in events if isinstance(event, ev.ModelCallStarted)}
        ended = [e.call for e in events if isinstance(e, ev.ModelCallFinished | ev.ModelCallFailed)]
        assert sorted(ended) == sorted(started), "every call that began has ended, once"
        report = (result.run_dir / "report.md").read_text()
        assert f"outcome: {result.outcome}" in report
        assert json.loads((result.run_dir / "result.json").read_text())["outcome"] == result.outcome
        return Ran(result, events, server, result.run_dir)


async def test_a_team_is_satisfied_in_five_rounds(tmp_path: Path) -> None:
    ran = await run(happy(), tmp_path)
    assert (ran.result.outcome, ran.result.answer, ran.result.rounds) == ("satisfied", "forty-two", 5)
    assert ran.result.prompt_tokens and ran.result.completion_tokens
    assert {event.tier for event in ran.of(ev.ProgressLedger)} == {"json_schema"}
    speakers = {
        r.response_format["json_schema"]["schema"]["properties"]["next_speaker"]["properties"]["answer"]["enum"][0]
        for r in ran.server.requests
        if r.purpose == "ledger"
    }
    assert speakers == {"Analyst"}


def on(*where: Any) -> Callable[[Any], TeamBrain]:
    return lambda reply: happy().on(*where, reply)


LEDGER = ("manager", "ledger", 1)
GOOD = ledger("Writer", "draft")


@dataclass
class Case:
    """A fault, and how the run has to end; `check` looks at the rest."""

    brain: Any
    outcome: str
    reason: str = ""
    changes: dict[str, Any] = field(default_factory=dict)
    check: Callable[[Ran], Any] = lambda ran: True


def refused(*formats: str, status: int = 400) -> Callable[[Any], Reply | None]:
    return lambda r: (
        error(status, "response_format is not supported") if r.response_format.get("type") in formats else None
    )


def tiers(*expected: str) -> Callable[[Ran], bool]:
    return lambda ran: {event.tier for event in ran.of(ev.ProgressLedger)} == set(expected)


def rejected(count: int) -> Callable[[Ran], bool]:
    return lambda ran: len(ran.of(ev.LedgerRejected)) == count


CASES = {
    "ledger fenced": Case(on(*LEDGER)(f"```json\n{GOOD}\n```"), "satisfied", check=rejected(0)),
    "ledger with trailing text": Case(
        on(*LEDGER)(f"Sure!\n{GOOD}\nGood luck {{team}}."), "satisfied", check=rejected(0)
    ),
    "ledger malformed once": Case(on(*LEDGER)("{ not json"), "satisfied", check=rejected(1)),
    "ledger malformed always": Case(on("manager", "ledger", None)("no"), "failed", "ledger", check=rejected(3)),
    "ledger string booleans": Case(
        on(*LEDGER)(ledger("Writer", "draft", satisfied="false", loop="False", progress="true")),
        "satisfied",
        check=lambda ran: ran.of(ev.ProgressLedger)[1].repaired and rejected(0)(ran),
    ),
    "ledger impossible boolean": Case(
        on(*LEDGER)(ledger("Writer", "draft", satisfied="maybe")), "satisfied", check=rejected(1)
    ),
    "speaker in another case with a space": Case(
        on(*LEDGER)(ledger("writer ", "draft")),
        "satisfied",
        check=lambda ran: ran.of(ev.ProgressLedger)[1].next_speaker.answer == "Writer" and rejected(0)(ran),
    ),
    "unknown speaker once": Case(on(*LEDGER)(ledger("Nobody", "draft")), "satisfied", check=rejected(1)),
    "unknown speaker always": Case(
        on("manager", "ledger", None)(ledger("Nobody", "x")), "failed", "ledger", check=rejected(3)
    ),
    "json_schema refused with 400": Case(
        on("manager", "ledger", None)(refused("json_schema")), "satisfied", check=tiers("json_object")
    ),
    "json_schema refused with 500": Case(
        on("manager", "ledger", None)(refused("json_schema", status=500)),
        "satisfied",
        check=tiers("json_object"),
    ),
    "both formats refused": Case(
        on("manager", "ledger", None)(refused("json_schema", "json_object")),
        "satisfied",
        check=tiers("prompt"),
    ),
    "429 twice with Retry-After": Case(
        on("manager", "plan", None)([error(429, retry_after="0.2"), error(429, retry_after="0.2"), lambda r: None]),
        "satisfied",
        check=lambda ran: [event.wait for event in ran.of(ev.ModelCallRetried)] == [0.2, 0.2],
    ),
    "500 once": Case(
        on("Analyst", "turn", 0)(error(500)),
        "satisfied",
        check=lambda ran: len(ran.of(ev.ModelCallRetried)) == 1,
    ),
    "500 always": Case(
        on("Analyst", "turn", None)(error(500)),
        "failed",
        "service",
        check=lambda ran: len(ran.of(ev.ModelCallRetried)) == 2 and "500" in ran.result.error["message"],
    ),
    "401": Case(
        on("manager", "facts", None)(error(401, "Incorrect API key provided: sk-test-0123456789abcdef")),
        "failed",
        "service",
        check=lambda ran: (
            not ran.of(ev.ModelCallRetried) and "sk-test-01" not in (ran.folder / "events.jsonl").read_text()
        ),
    ),
    "HTML with status 200": Case(
        on("manager", "plan", None)(Reply(body="<html>Log in</html>")),
        "failed",
        "service",
        check=lambda ran: "not a chat completion" in ran.result.error["message"],
    ),
    "a hung response": Case(
        on("Writer", "turn", None)(Reply(hang="before")),
        "failed",
        "service",
        {"limits": {"model_timeout": "500ms", "retries": 1}},
        check=lambda ran: "silent" in ran.result.error["message"],
    ),
    "a stream cut in the middle": Case(
        on("Writer", "turn", 0)(Reply("one two three four", cut_after=3)),
        "failed",
        "service",
        check=lambda ran: not ran.of(ev.ModelCallRetried),
    ),
    "a stream that ends early": Case(
        on("Writer", "turn", 0)(Reply("one two three", end_without_finish=True)),
        "failed",
        "service",
        check=lambda ran: "cut off" in ran.result.error["message"],
    ),
    "a stream cut before the first word": Case(
        on("Writer", "turn", 0)(Reply("one two", cut_after=1)),
        "satisfied",
        check=lambda ran: len(ran.of(ev.ModelCallRetried)) == 1,
    ),
    "an agent's empty reply": Case(
        on("Writer", "turn", 0)(""),
        "satisfied",
        check=lambda ran: any(
            "reply was empty" in str(r.messages) for r in ran.server.requests if r.purpose == "ledger"
        ),
    ),
    "always stalled": Case(
        on("manager", "ledger", None)(ledger("Analyst", "again", progress=False)),
        "limited",
        "max_resets",
        {"manager": {"max_stalls": 1, "max_resets": 1}},
        check=lambda ran: ran.result.resets == 1 and ran.result.answer == "forty-two",
    ),
    "the round limit": Case(
        happy(),
        "limited",
        "max_rounds",
        {"manager": {"max_rounds": 2}},
        check=lambda ran: ran.result.rounds == 2 and ran.result.answer == "forty-two",
    ),
    "the token limit": Case(
        happy(),
        "limited",
        "max_tokens",
        {"limits": {"max_tokens": 800}},
        check=lambda ran: ran.result.answer == "forty-two" and ran.of(ev.LimitReached),
    ),
    "the deadline in an agent's turn": Case(
        on("Writer", "turn", None)(Reply(hang="in_stream", text="a b c d")),
        "limited",
        "deadline",
        {"limits": {"deadline": "1s"}},
        check=lambda ran: ran.result.answer == "forty-two" and ran.result.seconds < 3,  # the deadline and its grace
    ),
    "the deadline with a model that hangs for good": Case(
        lambda request: Reply(hang="before") if request.purpose in ("ledger", "answer") else "F",
        "limited",
        "deadline",
        {"limits": {"deadline": "1s"}},
        check=lambda ran: "No final answer" in ran.result.answer and ran.result.seconds < 1.5,
    ),
    "an empty final answer": Case(on("manager", "answer", None)(""), "failed", "service"),
}


@pytest.mark.parametrize("name", CASES)
async def test_whatever_goes_wrong_the_run_ends_by_itself_and_says_how(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    ran = await run(case.brain, tmp_path, **case.changes)
    assert (ran.result.outcome, ran.result.reason) == (case.outcome, case.reason), ran.result.error
    assert case.check(ran)


ON_THE_WIRE = (
    "429 twice with Retry-After",
    "500 once",
    "a hung response",
    "a stream cut in the middle",
    "a stream cut before the first word",
    "a stream that ends early",
    "the deadline in an agent's turn",
)


@pytest.mark.parametrize("name", ON_THE_WIRE)
@pytest.mark.usefixtures("httpx_transport")
async def test_what_goes_wrong_on_the_wire_ends_alike_on_the_other_transport(name: str, tmp_path: Path) -> None:
    await test_whatever_goes_wrong_the_run_ends_by_itself_and_says_how(name, tmp_path)
