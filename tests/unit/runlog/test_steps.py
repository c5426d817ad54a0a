"""What a resumed run takes from its log, and what it refuses to."""

from __future__ import annotations

from typing import Any

import pytest

from magentic_kit import events as ev
from magentic_kit.errors import ConfigError, ReplayError, UnknownToolError
from magentic_kit.runlog.attachments import Attachments
from magentic_kit.runlog.replay import RecordedSteps, Requests, difference
from magentic_kit.runlog.settle import resumable, settle, within

TOOL: dict[str, Any] = {"call": "Ada#0.0", "who": "Ada", "function": "notes.add"}
STARTED = ev.ToolCallStarted(**TOOL, arguments={"text": "one"})
FINISHED = ev.ToolCallFinished(**TOOL, seconds=0.5, result="noted")
REQUEST = {"model": "m", "options": {}, "tools": [], "messages": [{"role": "user", "text": "Look."}]}
OTHER = {**REQUEST, "messages": [{"role": "user", "text": "Look closer."}]}


def asked(call: str, request: dict[str, Any] = REQUEST, requests: Requests | None = None) -> ev.ModelCallStarted:
    packed = (requests or Requests()).pack("Ada", request)
    return ev.ModelCallStarted(call=call, who="Ada", purpose="turn", service="default", model="m", request=packed)


def replied(call: str) -> ev.ModelCallFinished:
    return ev.ModelCallFinished(call=call, who="Ada", purpose="turn", seconds=1, usage=ev.Usage(), text="seen")


def failed(call: str) -> ev.ModelCallFailed:
    return ev.ModelCallFailed(call=call, who="Ada", purpose="turn", seconds=1, kind="service", error="no schemas")


def test_a_recorded_reply_answers_the_same_request_alone() -> None:
    log = [asked("Ada#0"), replied("Ada#0")]
    assert RecordedSteps(log).reply("Ada#0", REQUEST) == log[1]
    assert RecordedSteps(log).reply("Ada#1", REQUEST) is None
    with pytest.raises(ReplayError) as caught:
        RecordedSteps(log).reply("Ada#0", OTHER)
    assert caught.value.step == "Ada#0" and "Look closer." in caught.value.diff


def test_a_reply_without_its_request_is_not_taken() -> None:
    with pytest.raises(ReplayError, match="the log does not have its request"):
        RecordedSteps([replied("Ada#0")]).reply("Ada#0", REQUEST)


def test_the_first_difference_ends_the_reuse_of_another_run_for_good() -> None:
    requests = Requests()
    log = [asked("Ada#0", REQUEST, requests), replied("Ada#0"), asked("Ada#1", REQUEST, requests), replied("Ada#1")]
    steps = RecordedSteps([*log, STARTED, FINISHED], strict=False)
    assert steps.reply("Ada#0", REQUEST) == log[1] and steps.find("tool", "Ada#0.0") == FINISHED
    assert steps.reply("Ada#1", OTHER) is None
    assert steps.find("tool", "Ada#0.0") is None and not steps.is_resumed
    assert not any(steps.is_logged(event) for event in log)


def test_a_failure_that_the_run_got_over_is_replayed_and_the_last_one_is_not() -> None:
    requests = Requests()
    log = [asked("Ada#0", REQUEST, requests), failed("Ada#0"), asked("Ada#1", REQUEST, requests)]
    steps = RecordedSteps([*log, replied("Ada#1")])
    assert steps.reply("Ada#0", REQUEST) == log[1]
    assert RecordedSteps(log[:2]).reply("Ada#0", REQUEST) is None


def test_events_of_the_log_are_not_written_again() -> None:
    steps = RecordedSteps([STARTED, FINISHED], next_seq=7)
    assert steps.is_logged(STARTED) and steps.is_logged(FINISHED)
    assert not steps.is_logged(ev.ToolCallStarted(**{**TOOL, "call": "Ada#0.1"}, arguments={}))
    assert not steps.is_logged(ev.TextDelta(who="Ada", purpose="turn", text="x"))
    assert (steps.next_seq, steps.take_resume_point(), steps.take_resume_point()) == (7, FINISHED.seq, None)
    assert RecordedSteps().take_resume_point() is None


def test_a_call_that_broke_off_and_is_asked_otherwise_is_written_again() -> None:
    steps = RecordedSteps([asked("Ada#0")])
    assert steps.is_request_logged(asked("Ada#0"), REQUEST)
    assert not steps.is_request_logged(asked("Ada#0"), OTHER)
    assert not steps.is_logged(asked("Ada#0"))
    assert not steps.is_request_logged(asked("Ada#1"), REQUEST)


def test_a_call_that_the_log_lacks_is_named() -> None:
    with pytest.raises(ReplayError) as caught:
        RecordedSteps().asked("Ada#9")
    assert (caught.value.step, caught.value.diff) == ("Ada#9", "the log has no such call")


def test_each_participant_has_a_conversation_of_its_own() -> None:
    requests = Requests()
    packed = requests.pack("Bob", OTHER)
    of_bob = ev.ModelCallStarted(call="Bob#0", who="Bob", purpose="turn", service="s", model="m", request=packed)
    longer = {**REQUEST, "messages": [*REQUEST["messages"], {"role": "user", "text": "And?"}]}
    log = [asked("Ada#0", REQUEST, requests), of_bob, asked("Ada#1", longer, requests)]
    steps = RecordedSteps(log)
    assert [steps.asked(call) for call in ("Ada#0", "Bob#0", "Ada#1")] == [REQUEST, OTHER, longer]


def test_what_was_found_of_a_service_is_known_again() -> None:
    found = [
        ev.DialectFound(service=service, name=name, refusal="400")
        for service, name in (("a", "x"), ("b", "y"), ("a", "z"))
    ]
    assert RecordedSteps(found).dialects == {"a": ["x", "z"], "b": ["y"]}


def test_a_name_that_release_0_1_left_to_semantic_kernel_is_left_to_it_again() -> None:
    denied = [
        ev.ToolCallDenied(**{**TOOL, "call": call}, reason=reason)
        for call, reason in (("Ada#0.0", "this function is not offered to this agent"), ("Ada#0.1", "no"))
    ]
    steps = RecordedSteps(denied, strict=False)
    assert [steps.is_unresolved(event.call) for event in denied] == [True, False]
    steps.reply("Ada#1", REQUEST)  # which the log does not have: all is live from here
    assert not steps.is_unresolved("Ada#0.0")


def test_a_plan_review_belongs_to_its_plan() -> None:
    plan = ev.PlanCreated(facts="f", plan="p", version=1)
    review = ev.PlanReviewed(version=1, decision="approve")
    again = ev.Replanned(facts="f", plan="q", version=2, reason="r")
    steps = RecordedSteps([plan, review, again, ev.PlanReviewed(version=2, decision="reject")])
    assert steps.find("plan review", (1, "f", "p")) == review
    assert steps.find("plan review", (2, "f", "q")).decision == "reject"
    assert steps.find("plan review", (2, "f", "p")) is None


@pytest.mark.parametrize(
    "end",
    [
        FINISHED,
        ev.ToolCallFailed(**TOOL, seconds=0.5, error="no"),
        ev.ToolCallDenied(**TOOL, reason="a person denied this call"),
    ],
)
def test_the_end_of_a_tool_call_is_found_whatever_it_was(end: ev.AnyEvent) -> None:
    steps = RecordedSteps([STARTED, end])
    assert steps.find("tool", "Ada#0.0") == end and not steps.unfinished
    settle(steps, lambda function: False)  # there is nothing to settle


def test_a_tool_call_of_unknown_outcome_is_settled_by_a_person_alone() -> None:
    second = ev.ToolCallStarted(**{**TOOL, "call": "Ada#0.1"}, arguments={"text": "two", "n": 2})
    log = [STARTED, second]
    with pytest.raises(UnknownToolError) as caught:
        settle(RecordedSteps(log), lambda function: False)
    told = str(caught.value)
    assert "notes.add(text='one'), called by Ada" in told and "notes.add(text='two', n=2), called by Ada" in told

    steps = RecordedSteps(log, unknown_tools={"Ada#0.1": "done by hand", "*": None})
    settle(steps, lambda function: False)
    assert steps.find("tool", "Ada#0.0") is None, "it is to be made again"
    assert steps.find("tool", "Ada#0.1") == ev.ToolCallFinished(
        **{**TOOL, "call": "Ada#0.1"}, seconds=0.0, result="done by hand"
    )

    with pytest.raises(UnknownToolError) as caught:
        settle(RecordedSteps(log, unknown_tools={"Ada#0.0": "x"}), lambda function: False)
    assert "'two'" in str(caught.value) and "'one'" not in str(caught.value)


def test_a_repeatable_function_needs_no_settling() -> None:
    other = ev.ToolCallStarted(call="Ada#0.1", who="Ada", function="shop.buy", arguments={})
    steps = RecordedSteps([STARTED, other], unknown_tools={"*": "bought"})
    settle(steps, lambda function: function == "notes.add")
    assert steps.find("tool", "Ada#0.0") is None and steps.find("tool", "Ada#0.1").result == "bought"


def test_answers_for_a_run_inside_a_call_lose_the_call_s_name() -> None:
    answers = {"Ada#0.0/Bob#0.0": "x", "Cyd#0.0": "y", "*": None}
    assert within(answers, "Ada#0.0") == {"Bob#0.0": "x", "*": None}
    assert within({"Ada#0.0/Bob#0.0": "x"}, "Cyd#0") == {}


def started(**limits: Any) -> ev.RunStarted:
    return ev.RunStarted(seq=0, team="t", task="t", agents={}, manager={}, limits=ev.RunLimits(**limits))


def ended(outcome: str) -> ev.RunFinished:
    return ev.RunFinished(outcome=outcome, answer="a")


@pytest.mark.parametrize(("outcome", "whole"), [("satisfied", True), ("rejected", True), ("failed", False)])
def test_only_a_run_that_ended_for_good_is_not_gone_on_with(outcome: str, whole: bool) -> None:
    log, done = resumable([started(), ended(outcome)], ev.RunLimits())
    assert (done, len(log)) == (whole, 2 if whole else 1)


@pytest.mark.parametrize(
    ("limit", "before", "now", "goes_on"),
    [
        ("max_rounds", 3, 3, False),
        ("max_rounds", 3, 2, False),
        ("max_rounds", 3, 4, True),
        ("max_rounds", 3, None, True),
        ("max_tokens", 100, 100, False),
        ("deadline", 5.0, 5.0, True),
    ],
)
def test_a_limit_has_to_be_raised_before_the_run_goes_on(
    limit: str, before: float, now: float | None, goes_on: bool
) -> None:
    log = [started(**{limit: before}), FINISHED, ev.LimitReached(limit=limit, detail="d"), replied("m#1")]
    limits = ev.RunLimits(**{limit: now})
    if goes_on:
        assert resumable([*log, ended("limited")], limits) == (log[:2], False)
    else:
        with pytest.raises(ConfigError, match=f"ended by {limit} {before}: raise it with --{limit.replace('_', '-')}"):
            resumable([*log, ended("limited")], limits)


def test_a_limit_that_is_not_known_here_holds_nobody_up() -> None:
    log = [started(), ev.LimitReached(limit="max_something", detail="d")]
    assert resumable(log, ev.RunLimits()) == (log[:1], False)


@pytest.mark.parametrize(
    ("changed", "shown"),
    [
        ({"model": "n"}, '+"n"'),
        ({"tools": [{"name": "look"}]}, '+  "name": "look"'),
        ({"messages": []}, "message 1:"),
        ({"messages": [*REQUEST["messages"], {"role": "user", "text": "And?"}]}, "message 2:"),
    ],
)
def test_a_difference_is_shown_where_it_is(changed: dict[str, Any], shown: str) -> None:
    assert shown in difference(REQUEST, {**REQUEST, **changed}).replace("+ ", "+ ")


def test_a_long_difference_is_cut() -> None:
    long = {**REQUEST, "messages": [{"role": "user", "text": "\n".join(map(str, range(100)))}]}
    lines = difference(REQUEST, long).splitlines()
    assert len(lines) == 22 and lines[-1] == "…"


@pytest.mark.parametrize(
    ("changed", "shown"),
    [
        ({"model": "n"}, ["@@ -1 +1 @@", '-"m"', '+"n"']),
        ({"options": {"a": 1}}, ["@@ -1 +1,3 @@", "-{}", "+{", '+ "a": 1', "+}"]),
        ({"tools": None}, ["@@ -1 +1 @@", "-[]", "+null"]),
    ],
)
def test_a_changed_setting_is_shown_as_a_diff(changed: dict[str, Any], shown: list[str]) -> None:
    assert difference(REQUEST, {**REQUEST, **changed}).splitlines() == ["--- recorded", "+++ asked now", *shown]


def test_a_changed_message_is_shown_by_its_lines() -> None:
    texts = ["\n".join(["one", "two", word, "four", "five"]) for word in ("drei", "三")]
    old, new = ({**REQUEST, "messages": [{"role": "user", "text": text}]} for text in texts)
    assert difference(old, new).splitlines() == [
        *("message 1:", "--- recorded", "+++ asked now", "@@ -4,3 +4,3 @@"),
        *(" two", "-drei", "+三", " four"),
    ]
    assert difference(REQUEST, {**REQUEST, "messages": []}).splitlines()[-4:] == [
        *("-{", '- "role": "user",', '- "text": "Look."', "-}"),
    ]


@pytest.mark.parametrize(("lines", "cut"), [(16, False), (17, True)])
def test_only_what_a_difference_has_beyond_twenty_lines_is_cut(lines: int, cut: bool) -> None:
    shown = difference({"model": list(range(lines - 2))}, {"model": None}).splitlines()
    assert (len(shown) - cut, shown[-1] == "…") == (20, cut)


def test_another_run_s_log_gives_replies_and_results_but_no_person_s_yes(tmp_path: Any) -> None:
    reviewed = ev.ToolReviewed(**TOOL, decision="approve", reason="", arguments={})
    log = [asked("Ada#0"), replied("Ada#0"), reviewed, STARTED, FINISHED]
    other, own = (RecordedSteps(log, strict=strict, folder=tmp_path) for strict in (False, True))
    assert (other.find("tool review", "Ada#0.0"), own.find("tool review", "Ada#0.0")) == (None, reviewed)
    assert other.find("tool", "Ada#0.0") == own.find("tool", "Ada#0.0") == FINISHED
    assert (other.has_log, own.has_log, RecordedSteps().has_log) == (True, True, False)
    assert (other.is_resumed, own.is_resumed) == (False, True)
    # A new log says everything itself, one that goes on what is new.
    assert [steps.requests.pack("Ada", REQUEST)["keep"] for steps in (other, own)] == [0, 1]
    assert RecordedSteps().next_seq == 0


def test_the_contents_of_another_run_are_read_from_its_folder(tmp_path: Any) -> None:
    sha256 = Attachments.beside(tmp_path).keep(b"content")
    assert RecordedSteps([STARTED], strict=False, folder=tmp_path).attachments.read(sha256) == b"content"


def test_a_request_that_the_log_lacks_is_said_to_be_lacking() -> None:
    with pytest.raises(ReplayError) as caught:
        RecordedSteps([replied("Ada#0")]).reply("Ada#0", REQUEST)
    assert caught.value.diff == "the log does not have its request"
    assert RecordedSteps([replied("Ada#0")], strict=False).reply("Ada#0", REQUEST) is None
