"""How a reply ended is judged by everybody who uses it, and what is not whole is asked for again or said to be so."""

# tables of what servers send

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.openai_server import Reply, error, ledger
from support.real_servers import RealServer, brain, call_delta, completion, delta, events, openai_words, team

from magentic_kit import TeamFactory
from magentic_kit import events as ev

CUT = Reply("Half of it", finish_reason="length")
FILTERED = Reply("Half of it", finish_reason="content_filter")
REFUSED = events(
    delta(role="assistant", content=None, refusal="I cannot "), delta(refusal="help with that."), delta("stop")
)
MAX_TOKENS = events(delta(content="Half of it"), delta("max_tokens"))
SAFETY = events(delta(content="Half of it"), delta("SAFETY"))
THOUGHT = Reply("<think>I would say forty-two")

ENDINGS: dict[str, tuple[Reply, str]] = {
    "OpenAI: cut by `length`": (CUT, "cut off at the model's length limit"),
    "cut by `max_tokens` (Claude's word)": (MAX_TOKENS, "cut off at the model's length limit"),
    "Azure: cut by `content_filter`": (FILTERED, "cut by the provider's content filter"),
    "Gemini: cut by `SAFETY`": (SAFETY, "cut by the provider's content filter"),
    "OpenAI: a refusal in place of content": (REFUSED, "is a refusal"),
    "a refusal in one JSON body": (completion(None, refusal="I cannot help with that."), "is a refusal"),
    "a refusal as a part of the content": (
        events(delta(content=[{"type": "refusal", "refusal": "I cannot help with that."}]), delta("stop")),
        "is a refusal",
    ),
}


async def run(server: RealServer, out: Path | None = None, **changes: Any) -> tuple[Any, list[ev.AnyEvent]]:
    log: list[ev.AnyEvent] = []
    async with TeamFactory.from_dict(team(server.base_url, **changes)) as factory:
        result = await factory.run("t", out=out, sinks=[log.append])
    return result, log


@pytest.mark.parametrize("name", [*ENDINGS, "reasoning alone"])
async def test_a_final_answer_that_is_not_whole_is_asked_for_again(name: str) -> None:
    reply, words = {**ENDINGS, "reasoning alone": (THOUGHT, "reasoning alone")}[name]
    with RealServer(brain().on("manager", "answer", 0, reply)) as server:
        result, _ = await run(server)
        asked = [
            request for request in server.requests if "Based on the information gathered" in str(request.messages[-1])
        ]
    assert (result.outcome, result.answer, result.notes) == ("satisfied", "The final answer.", [])
    assert len(asked) == 2 and words in str(asked[1].messages[-1])


@pytest.mark.parametrize("name", ENDINGS)
async def test_an_answer_that_stays_cut_says_so_in_outcome_and_report(name: str, tmp_path: Path) -> None:
    reply, words = ENDINGS[name]
    with RealServer(brain().on("manager", "answer", None, reply)) as server:
        result, _ = await run(server, tmp_path)
    assert result.outcome == "satisfied" and result.answer
    assert len(result.notes) == 1 and words in result.notes[0]
    for report in ("report.md", "report.html", "result.json"):
        assert words.replace("'", "")[:12] in (result.run_dir / report).read_text("utf-8").replace("&#39;", "").replace(
            "'", ""
        )


@pytest.mark.parametrize("name", ENDINGS)
async def test_a_turn_that_is_not_whole_carries_a_note_that_the_manager_hears(name: str) -> None:
    reply, words = ENDINGS[name]
    with RealServer(brain().on("Ada", "turn", 0, reply)) as server:
        result, _ = await run(server)
        heard = str([request.messages for request in server.requests])
    assert result.outcome == "satisfied"
    assert words in result.record.turns[0].note and words in heard.replace("\\'", "'")
    assert result.record.turns[0].text in ("Half of it", "I cannot help with that.")


@pytest.mark.parametrize("name", ENDINGS)
@pytest.mark.parametrize("purpose", ["facts", "plan"])
async def test_a_plan_that_is_not_whole_is_asked_for_again_saying_why(name: str, purpose: str) -> None:
    reply, words = ENDINGS[name]
    with RealServer(
        brain(plan="- The whole plan.", facts="The whole facts.").on("manager", purpose, 0, reply)
    ) as server:
        result, log = await run(server)
        asked = [str(request.messages[-1]) for request in server.requests]
    plan = next(event for event in log if isinstance(event, ev.PlanCreated))
    assert result.outcome == "satisfied" and (plan.facts, plan.plan) == ("The whole facts.", "- The whole plan.")
    assert any(words in text.replace("\\'", "'") for text in asked)


LEDGER = ledger("Ada", "Your turn, Ada.")
BAD_LEDGERS = {
    "cut by `length`": (Reply(LEDGER[:-3], finish_reason="length"), "cut off at the model's length limit"),
    "cut early by `length`": (Reply(LEDGER[:100], finish_reason="length"), "cut off at the model's length limit"),
    "cut by `content_filter`": (Reply(LEDGER[:200], finish_reason="content_filter"), "content filter"),
    "a refusal": (REFUSED, "the model refused: I cannot help with that"),
}


@pytest.mark.parametrize("name", BAD_LEDGERS)
async def test_a_ledger_that_is_not_whole_says_why_it_is_asked_for_again(name: str) -> None:
    reply, words = BAD_LEDGERS[name]
    with RealServer(brain().on("manager", "ledger", 0, reply)) as server:
        result, log = await run(server)
        asked = [str(request.messages[-1]).replace("\\'", "'") for request in server.requests]
    rejected = [event for event in log if isinstance(event, ev.LedgerRejected)]
    assert result.outcome == "satisfied" and len(rejected) == 1 and words in rejected[0].error
    assert any(words in text for text in asked)


async def test_a_manager_that_refuses_every_ledger_fails_the_run_by_its_words() -> None:
    answering = brain()
    answering.on("manager", "ledger", 1, REFUSED).on("manager", "ledger", 2, REFUSED).on(
        "manager", "ledger", 3, REFUSED
    )
    with RealServer(answering) as server:
        result, _ = await run(server)
    assert result.outcome == "failed" and "I cannot help with that" in result.error["message"]
    assert "Ada has looked." in result.answer, "what was said last is not lost"


NO_LEDGERS: dict[str, Reply] = {
    "nobody's name": Reply(ledger("Eve", "Your turn, Eve.")),
    "words alone": Reply("Ada should speak next."),
    "a ledger that is cut off": Reply(ledger("Ada", "x")[:100], finish_reason="length"),
    "nothing": Reply(""),
}


@pytest.mark.parametrize("name", NO_LEDGERS)
async def test_a_manager_that_gives_no_ledger_in_three_attempts_ends_the_run_with_the_last_word(name: str) -> None:
    answering = brain()
    for turn in (1, 2, 3):
        answering.on("manager", "ledger", turn, NO_LEDGERS[name])
    with RealServer(answering) as server:
        result, log = await run(server)
    assert result.outcome == "failed" and result.error["kind"] == "ledger"
    assert len([event for event in log if isinstance(event, ev.LedgerRejected)]) == 3
    assert "Ada has looked." in result.answer


REFUSALS: dict[str, Reply] = {
    "Azure: a content filter": openai_words(
        400, "The response was filtered due to the prompt triggering", code="content_filter"
    ),
    "OpenAI: a content policy": openai_words(400, "Your request was rejected", code="content_policy_violation"),
    "OpenRouter: moderation, status 403": openai_words(
        403, "Your chosen model requires moderation and your input was flagged"
    ),
    "Qwen: data inspection": openai_words(
        400, "Input data may contain inappropriate content.", code="data_inspection_failed"
    ),
    "DeepSeek: content exists risk": openai_words(400, "Content Exists Risk"),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_a_refused_request_of_one_turn_is_a_note_that_the_manager_hears(name: str) -> None:
    with RealServer(brain().on("Ada", "turn", 0, REFUSALS[name])) as server:
        result, _ = await run(server)
        heard = str([request.messages for request in server.requests])
    assert result.outcome == "satisfied", result.error
    assert "was refused" in result.record.turns[0].note and "was refused" in heard
    assert result.record.turns[1].agent == "Bob"


@pytest.mark.parametrize("name", REFUSALS)
async def test_a_refused_call_of_the_manager_ends_the_run_with_the_last_word(name: str) -> None:
    with RealServer(brain().on("manager", "ledger", 1, REFUSALS[name])) as server:
        result, _ = await run(server)
    assert result.outcome == "failed" and "Ada has looked." in result.answer


@pytest.mark.parametrize("name", [*REFUSALS, "a full context"])
async def test_a_refusal_of_content_is_no_reason_for_another_ledger_tier(name: str) -> None:
    full = error(400, "This model's maximum context length is 10 tokens.", code="context_length_exceeded")
    with RealServer(brain().on("manager", "ledger", None, {**REFUSALS, "a full context": full}[name])) as server:
        result, _ = await run(server)
        tiers = {request.response_format.get("type") for request in server.requests if request.response_format}
    assert result.outcome == "failed" and tiers == {"json_schema"}


async def test_a_refused_turn_is_not_asked_again_when_the_run_is_resumed(tmp_path: Path) -> None:
    refusal = REFUSALS["Azure: a content filter"]
    with RealServer(brain().on("Ada", "turn", 0, refusal).on("manager", "answer", 0, error(401, "no"))) as server:
        first, _ = await run(server, tmp_path)
        assert first.outcome == "failed"
        paid = len(server.requests)
        async with TeamFactory.from_run(first.run_dir) as factory:
            again = await factory.resume(first.run_dir).result()
        assert again.outcome == "satisfied", again.error
        assert len(server.requests) == paid + 1
    assert "was refused" in again.record.turns[0].note


def tools(base_url: str, **changes: Any) -> dict[str, Any]:
    made = team(base_url, names=("Ada",), **changes)
    made["plugins"] = {"math": {"type": "math"}}
    made["agents"][0]["tools"] = [{"id": "math.calculate", "type": "function"}]
    return made


async def run_tools(answers: Any, **changes: Any) -> tuple[Any, list[ev.AnyEvent], RealServer]:
    log: list[ev.AnyEvent] = []
    answering = brain(("Ada",))
    answering.agents = {"Ada": answers}
    with RealServer(answering) as server:
        async with TeamFactory.from_dict(tools(server.base_url, **changes)) as factory:
            result = await factory.run("t", out=None, sinks=[log.append])
    return result, log, server


SIX = call_delta("math-calculate", '{"expression": "6 * 7"}', index=0, id="a")
USED_UP: dict[str, tuple[Reply, str]] = {
    "a call again and again": (events(SIX), "42"),
    "words beside each call": (events(delta(content="I go on."), SIX), "42"),
    "two calls at once": (events(SIX, call_delta("math-calculate", '{"expression": "5 + 5"}', index=1, id="b")), "10"),
    "a call that fails each time": (
        events(call_delta("math-calculate", '{"expression": "1 / 0"}', index=0, id="a")),
        "division",
    ),
}


@pytest.mark.parametrize("name", USED_UP)
async def test_an_agent_that_has_used_up_its_rounds_of_calls_says_so_and_keeps_the_results(name: str) -> None:
    call, last = USED_UP[name]
    result, _, server = await run_tools(call, limits={"tool_rounds": 2, "retries": 0})
    assert result.outcome == "satisfied", result.error
    assert "limits.tool_rounds" in result.record.turns[0].note and last in result.record.turns[0].note
    assert any("limits.tool_rounds" in str(request.messages) for request in server.requests)


BAD_ARGUMENTS: dict[str, tuple[Reply, str]] = {
    "arguments that were cut off": (
        events(call_delta("math-calculate", '{"expression": "6 *', index=0, id="a"), delta("length")),
        "cut off at the model's length limit",
    ),
    "arguments that are no JSON": (
        *(events(call_delta("math-calculate", "six times seven", index=0, id="a")), "no JSON object"),
    ),
    "arguments that are a list": (
        *(events(call_delta("math-calculate", '["6 * 7"]', index=0, id="a")), "no JSON object"),
    ),
    "a required argument that is missing": (events(call_delta("math-calculate", "{}", index=0, id="a")), "expression"),
}


@pytest.mark.parametrize("name", BAD_ARGUMENTS)
async def test_a_call_that_is_refused_for_its_arguments_leaves_an_event_and_says_why(name: str) -> None:
    reply, words = BAD_ARGUMENTS[name]
    result, log, server = await run_tools([reply, "So be it."])
    assert result.outcome == "satisfied", result.error
    denied = [event for event in log if isinstance(event, ev.ToolCallDenied | ev.ToolCallFailed)]
    assert len(denied) == 1 and denied[0].function == "math.calculate"
    told = next(request.last_tool_results for request in server.requests if request.last_tool_results)
    assert words in told[0]
