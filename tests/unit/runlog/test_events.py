"""Events come back from a log as they went in, and a log that has something else in their places is refused."""

import dataclasses
import json

import pytest
from support import sample_events as sample

from magentic_kit import events as ev
from magentic_kit.runlog.event_json import event_of, from_dict

RUNS = [sample.satisfied, sample.limited, sample.failed_in_the_plan, sample.cancelled, sample.hostile]


@pytest.mark.parametrize("run", RUNS)
def test_every_event_comes_back_from_json(run):
    for event in run():
        text = json.dumps(ev.to_dict(event))
        again = event_of(text.replace("\\ud800", "?"))  # a lone surrogate is nothing that a model could be sent
        assert event_of(text) == again
        assert ev.to_dict(again) == json.loads(text.replace("\\ud800", "?"))


def test_events_are_frozen_and_keyword_only():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ev.RunResumed(from_seq=1).from_seq = 2
    with pytest.raises(TypeError):
        ev.RunResumed(1)


def test_an_event_is_known_again_by_what_stays_the_same_when_a_run_is_replayed():
    one, other = (ev.AgentStarted(agent="A", round=2, instruction=text, seq=n) for n, text in enumerate("xy"))
    assert one.key == other.key == ("agent_started", 2, "A")
    assert ev.RunFinished(outcome="failed", answer="").key is None
    assert ev.LedgerRejected(round=1, attempt=2, error="", text="").key == ("ledger_rejected", 1, 2)


def test_writing_an_event_copies_none_of_its_data():
    arguments = {"rows": [1, 2]}
    event = ev.ToolCallStarted(call="t", who="A", function="f", arguments=arguments)
    assert ev.to_dict(event)["arguments"] is arguments


def test_the_limits_of_an_old_log_are_read():
    data = ev.to_dict(sample.stamp(sample.started())[0])
    data["limits"] = {"max_rounds": 20, "max_stalls": 3, "max_resets": 2, "deadline": None, "model_timeout": 120}
    started = from_dict(data)
    assert started.limits == ev.RunLimits(max_rounds=20, max_stalls=3, max_resets=2, model_timeout=120.0)
    del data["limits"]
    assert from_dict(data).limits == ev.RunLimits()


BROKEN = {
    "run_started": [
        ({"team": None}, "team"),
        ({"agents": {"A": 1}}, "agents.A"),
        ({"limits": {"max_rounds": "many"}}, "limits.max_rounds"),
        ({"limits": {"speed": 1}}, "limits.speed"),
        ({"time": "yesterday"}, "Invalid isoformat string"),
        ({"time": "2025-06-01T12:00:00"}, "'2025-06-01T12:00:00' has no time zone"),
        ({"extra": 1}, "extra"),
        ({"inputs": []}, "inputs"),
        ({"plan": {"facts": "F"}}, "plan."),
        ({"seq": True}, "seq"),
        ({"seq": "1"}, "seq"),
    ],
    "model_call_finished": [
        ({"usage": None}, "usage"),
        ({"seconds": float("nan")}, "seconds"),
        ({"seconds": float("inf")}, "seconds"),
        ({"seconds": "1"}, "seconds"),
        ({"reused": 1}, "reused"),
        ({"tool_calls": [{"id": "x"}]}, "tool_calls.0.index"),
    ],
    "run_finished": [
        ({"error": {"kind": "x"}}, "error.message"),
        ({"answer": 1}, "answer"),
    ],
    "tool_call_started": [
        ({"arguments": [1]}, "arguments"),
    ],
}


@pytest.mark.parametrize(("kind", "change", "place"), [(k, *case) for k, cases in BROKEN.items() for case in cases])
def test_what_is_not_of_its_type_is_refused_with_its_place(kind, change, place):
    data = next(ev.to_dict(event) for event in sample.satisfied() if event.type == kind)
    with pytest.raises(ValueError) as raised:
        from_dict({**data, **change})
    assert str(raised.value).startswith(f"bad {kind} event: {place}")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("depth", [250, 100_000])
def test_data_that_is_nested_too_deeply_is_refused(depth):
    data = next(ev.to_dict(event) for event in sample.satisfied() if event.type == "tool_call_started")
    line = json.dumps({**data, "arguments": {"x": 0}}).replace('"x": 0', f'"x": {"[" * depth}{"]" * depth}')
    with pytest.raises(ValueError, match=r"nested|recursion"):
        event_of(line)


@pytest.mark.parametrize("line", ["[]", "null", "1", '{"v": 1, "type": []}', '{"v": 2}', "{"])
def test_what_is_no_event_is_refused(line):
    with pytest.raises(ValueError):
        event_of(line)
