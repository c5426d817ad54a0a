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
