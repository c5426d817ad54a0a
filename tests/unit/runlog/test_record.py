"""The record of a run says what its events said, however the log ends."""

import json

import pytest
from support import sample_events as sample

from magentic_kit import events as ev
from magentic_kit.runlog.entries import ToolCall, Turn
from magentic_kit.runlog.event_json import from_dict
from magentic_kit.runlog.record import RunRecord
from magentic_kit.runlog.usage import ModelCall, cost_text, tally

RUNS = [sample.satisfied, sample.limited, sample.failed_in_the_plan, sample.cancelled, sample.hostile]


def test_a_satisfied_run_is_folded_whole():
    record = RunRecord.of(sample.satisfied())
    assert (record.run_id, record.team, record.task, record.inputs) == (
        "r1",
        "sales",
        sample.TASK,
        {"year": 2025},
    )
    assert (record.outcome, record.reason, record.error, record.limit) == ("satisfied", "", None, None)
    assert record.answer == "North, because of **new stores**."
    assert (record.started, record.seconds) == ("2025-06-01T12:00:00.000Z", 42.4)
    assert record.finished > record.started
    assert list(record.participants) == ["manager", "Analyst", "Writer"]
    assert [plan.version for plan in record.plans] == [1, 2]
    assert [ledger.round for ledger in record.rounds] == [1, 2, 3, 4]
    assert (record.stalls, record.resets, record.retries, record.scripted) == (1, 1, 1, [])
    assert record.turns == [
        Turn("Analyst", 1, "Sum the sales by region.", "Let me look.\n\nNorth grew\nfastest.", ""),
        Turn("Writer", 2, "Write it up.", "", "The reply was empty."),
        Turn("Analyst", 3, "Find out why.", "New stores.", ""),
    ]
    sql = {"sql": "SELECT region,\n  sum(amount) FROM sales"}
    assert record.tool_calls == [
        ToolCall("t1", "Analyst", "db.query", sql, "ok", "north 12\nsouth 9", 0.02),
        ToolCall("t2", "Analyst", "db.query", {"sql": "SELECT why"}, "failed", "no such column: why", 1.5),
        ToolCall("t3", "Analyst", "db.drop", None, "denied", "not one of the listed tools", None),
    ]
    assert [(fault.who, fault.kind, fault.message) for fault in record.errors] == [
        ("manager", "ledger", "the reply is not JSON"),
        ("Analyst", "tool", "db.query: no such column: why"),
    ]


def test_tokens_are_a_sum_of_what_is_known_and_none_when_nothing_is():
    def sums(calls, prompt, completion, unknown, *, cached=None, cost=None):
        tokens = {"prompt_tokens": prompt, "completion_tokens": completion, "cached_tokens": cached}
        return {"calls": calls, **tokens, "unknown_calls": unknown, "cost": cost, "unknown_costs": calls}

    known, partly, unknown = sums(3, 450, 100, 0), sums(3, 90, 8, 2), sums(1, None, None, 1)
    silent = sums(0, 0, 0, 0, cached=0, cost=0.0)
    record = RunRecord.of(sample.satisfied())
    assert record.usage["manager"] == known
    assert record.usage["Analyst"] == partly
    assert record.totals == sums(7, 620, 108, 2)
    assert RunRecord.of(sample.failed_in_the_plan()).usage == {
        "manager": unknown,
        "Analyst": silent,
        "Writer": silent,
    }
    assert tally([ModelCall("Analyst", usage=ev.Usage(prompt_tokens=5))]) == sums(1, 5, None, 1)


def test_the_cost_is_a_sum_of_what_is_known_and_says_what_it_leaves_out():
    def of(*costs):
        usage = ev.Usage(prompt_tokens=8, completion_tokens=1, cached_tokens=4)
        return tally([ModelCall("Analyst", usage=usage, cost=cost) for cost in costs])

    assert (of(0.25, 0.5)["cost"], of(0.25, 0.5)["cached_tokens"]) == (0.75, 8)
    words = ["$0", "$0.75", "at least $0.25 (1 call of unknown cost)", "unknown", "$0.0042", "$0.00000000001"]
    assert [cost_text(of(*costs)) for costs in ((), (0.25, 0.5), (0.25, None), (None,), (0.0042,), (1e-11,))] == words
    assert RunRecord.of(sample.satisfied()).cost_text == ""  # nothing to show where no price is known


@pytest.mark.parametrize("run", RUNS)
def test_a_log_that_breaks_off_anywhere_has_a_record_that_is_json(run):
    events = run()
    for length in range(len(events)):
        record = RunRecord.of(events[:length])
        json.dumps(record.to_dict())
        assert (record.outcome, record.finished, record.seconds) == ("", "", None)


@pytest.mark.parametrize("run", RUNS)
def test_the_record_is_the_same_when_it_is_read_back_from_the_log(run):
    logged = [json.dumps(ev.to_dict(event)) for event in run() if event.logged]
    again = RunRecord.of(from_dict(json.loads(line)) for line in logged)
    live = json.dumps(RunRecord.of(run()).to_dict()).replace("\\ud800", "?")  # no model could be sent a lone surrogate
    assert json.loads(json.dumps(again.to_dict())) == json.loads(live)


def test_a_cancelled_run_keeps_the_turn_and_the_tool_call_that_were_under_way():
    record = RunRecord.of(sample.cancelled())
    assert record.outcome == "cancelled"
    assert record.turns == [Turn("Analyst", 1, "Sum the sales by region.", "", "unfinished")]
    assert [(call.function, call.status, call.seconds) for call in record.tool_calls] == [
        ("db.query", "unfinished", None)
    ]
    assert record.errors == []
    assert record.scripted == ["manager", "Analyst", "Writer"]


def test_the_error_that_ended_the_run_is_listed_once():
    record = RunRecord.of(sample.failed_in_the_plan())
    assert [(fault.who, fault.kind) for fault in record.errors] == [("manager", "service")]
    bug = sample.stamp(
        sample.started(),
        ev.RunFinished(outcome="failed", answer="", error={"kind": "internal", "message": "boom"}),
    )
    assert [(fault.who, fault.message) for fault in RunRecord.of(bug).errors] == [("run", "boom")]


@pytest.mark.parametrize("kind", ["cancelled", "limit"])
def test_a_call_that_a_person_or_a_limit_ended_is_no_error(kind):
    head = {"call": "manager#1", "who": "manager", "purpose": "plan"}
    failed = ev.ModelCallFailed(**head, seconds=1, kind=kind, error="stopped")
    assert RunRecord.of(sample.stamp(sample.started(), failed)).errors == []


@pytest.mark.parametrize(
    ("satisfied", "progress", "loop", "stalls"),
    [(False, True, False, 0), (False, False, False, 1), (False, True, True, 1), (True, False, True, 0)],
)
def test_a_round_stalls_without_progress_or_in_a_loop_unless_it_is_the_end(satisfied, progress, loop, stalls):
    ledger = sample.ledger(
        1, "Analyst", "x", is_request_satisfied=satisfied, is_progress_being_made=progress, is_in_loop=loop
    )
    assert RunRecord.of(sample.stamp(sample.started(), ledger)).stalls == stalls


def test_the_data_has_its_documented_keys_in_a_stable_order():
    keys = (
        "v run_id team task inputs attachments follows outcome reason answer value error notes limit started finished "
        "seconds config_hash versions participants limits plans plan_reviews tool_reviews rounds turns tool_calls "
        "errors retries usage totals windows reused stalls resets scripted seconds_exclude"
    )
    for run in RUNS:
        assert " ".join(RunRecord.of(run()).to_dict()) == keys
    data = RunRecord.of(sample.limited()).to_dict()
    assert data["limit"] == ("max_rounds", "1 round was used; the limit is 1")
    assert (data["rounds"][0]["type"], data["rounds"][0]["stalled"]) == ("progress_ledger", False)


ENDINGS = {
    "satisfied": ("", None, None, "The manager judged the request satisfied."),
    "limited": ("", ("max_rounds", "all 3 rounds were used"), None, "max_rounds (all 3 rounds were used)."),
    "limited by what older logs say": ("max_tokens", None, None, "A limit ended the run: max_tokens."),
    "rejected": ("too dear", None, None, "A person rejected the plan: too dear."),
    "rejected without a word": ("", None, None, "A person rejected the plan."),
    "cancelled": ("", None, None, "The run was cancelled."),
    "failed": ("", None, {"kind": "service", "message": "down"}, "The run failed (service): down"),
    "": ("", None, None, "The log breaks off: the process ended before the run did."),
}


@pytest.mark.parametrize("case", ENDINGS)
def test_one_sentence_says_how_a_run_ended(case):
    reason, limit, error, sentence = ENDINGS[case]
    record = RunRecord(outcome=case.partition(" ")[0], reason=reason, limit=limit, error=error)
    assert record.ending.endswith(sentence) and record.ending[0] in "TA"
    record.notes = ["One.", "Two."]
    assert record.ending.endswith(f"{sentence} One. Two.")


def record_of(*events):
    return RunRecord.of(sample.stamp(sample.started(), *events))


CALL = {"call": "Analyst#1", "who": "Analyst", "purpose": "turn"}
REPLY = {**CALL, "seconds": 1, "usage": ev.Usage()}


def test_what_a_run_got_over_is_listed_in_words():
    record = record_of(
        ev.DialectFound(service="default", name="max_tokens", refusal="400: no"),
        ev.ServiceReplaced(service="default", by="other", who="Analyst", error="down"),
        ev.ContextShortened(call="Analyst#1", who="Analyst", left_out=3, error="too long"),
        ev.TextCallCorrected(call="Analyst#2", who="Analyst", functions=["db-query", "db-drop"]),
        ev.AnswerRejected(attempt=1, error="no JSON", text="x"),
        ev.ModelCallFinished(**{**REPLY, "purpose": "summary"}, text=" \n"),
        ev.ModelCallFailed(**CALL, seconds=1, kind="service", error="down"),
    )
    assert [(fault.who, fault.kind, fault.message) for fault in record.errors] == [
        ("default", "dialect", "services.default takes another form of request: max_tokens (400: no)"),
        ("Analyst", "fallback", "from here on the service 'other' answers in place of 'default'"),
        ("Analyst", "context", "Analyst#1 was too long: repeated without 3 messages; set `context:`"),
        ("Analyst", "text call", "Analyst#2 wrote calls as text: db-query, db-drop"),
        ("manager", "answer", "no JSON"),
        ("Analyst", "summary", "the summary was empty: messages were left out without one"),
        ("Analyst", "service", "down"),
    ]
    assert all(fault.time > record.started for fault in record.errors)


def test_what_a_model_thought_belongs_to_the_turn_under_way():
    thinking = [ev.ModelCallFinished(**REPLY, text="x", reasoning=text) for text in ("One.", "", "Two.")]
    record = record_of(
        thinking[0],
        ev.AgentStarted(agent="Analyst", round=1, instruction="go"),
        *thinking,
        ev.ModelCallFinished(**{**REPLY, "purpose": "plan"}, text="x", reasoning="no turn's"),
    )
    assert [turn.reasoning for turn in record.turns] == ["One.\n\nTwo."]


def test_agents_that_speak_at_once_each_end_their_own_turn():
    record = record_of(
        *(ev.AgentStarted(agent=name, round=1, instruction=f"{name}: go") for name in ("Analyst", "Writer")),
        ev.AgentMessage(agent="Analyst", round=1, text="a"),
        ev.AgentMessage(agent="Writer", round=1, text="w", note="cut"),
        ev.AgentStarted(agent="Analyst", round=2, instruction="more"),
        ev.AgentMessage(agent="Analyst", round=2, text="b"),
        ev.AgentMessage(agent="Writer", round=3, text="unasked"),
    )
    assert record.turns == [
        Turn("Analyst", 1, "Analyst: go", "a", ""),
        Turn("Writer", 1, "Writer: go", "w", "cut"),
        Turn("Analyst", 2, "more", "b", ""),
        Turn("Writer", 3, "", "unasked", ""),
    ]


def test_of_calls_with_one_name_the_one_that_has_not_ended_ends():
    head = {"call": "t", "who": "Analyst", "function": "f"}
    record = record_of(
        ev.ToolCallStarted(**head, arguments={"n": 1}),
        ev.ToolCallFinished(**head, seconds=1, result="one"),
        ev.ToolCallStarted(**head, arguments={"n": 2}),
        ev.ToolCallFailed(**head, seconds=2, error="broke"),
        ev.ToolCallDenied(**head, reason="no", arguments={"n": 3}),
        ev.ToolReviewed(**head, decision="deny", reason="no", arguments={}),
    )
    assert record.tool_calls == [
        ToolCall("t", "Analyst", "f", {"n": 1}, "ok", "one", 1),
        ToolCall("t", "Analyst", "f", {"n": 2}, "failed", "broke", 2),
        ToolCall("t", "Analyst", "f", {"n": 3}, "denied", "no", None),
    ]
    assert [review.decision for review in record.tool_reviews] == ["deny"]


def test_a_streamed_piece_changes_nothing_and_a_retry_counts():
    record = record_of(ev.ModelCallRetried(call="c", who="Analyst", attempt=1, wait=1, error="down"))
    before = record.to_dict()
    record.apply(ev.TextDelta(who="Analyst", purpose="turn", text="x"))
    assert record.to_dict() == before and record.retries == 1


def test_what_was_reused_and_what_calls_cost_is_summed_apart():
    paid, reused = ({**REPLY, "call": call, "cost": cost} for call, cost in (("a", 0.25), ("b", 0.5)))
    record = record_of(
        *(ev.ModelCallStarted(**CALL | {"call": call}, service="s", model="m", characters=9, saved=4) for call in "ab"),
        ev.ModelCallFinished(**paid, text="x"),
        ev.ModelCallFinished(**reused, text="x", reused=True),
    )
    assert (record.totals["cost"], record.reused["cost"], record.usage["Analyst"]["calls"]) == (0.75, 0.5, 2)
    assert (record.cost_text, record.tokens, record.windows) == ("$0.75", None, {})
    record.participants["Analyst"]["context"] = {"messages": 9}
    assert set(record.windows) == {"Analyst", "total"} and record.windows["total"] == record.windows["Analyst"]
