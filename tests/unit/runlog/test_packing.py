"""Requests are packed for the log and unpacked from it as they were, whatever a model wrote into them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magentic_kit import events as ev
from magentic_kit.errors import JournalError
from magentic_kit.runlog.replay import Requests

LONG = ["a" * 65, "b" * 200, "é" * 65]
KEYS = st.one_of(st.sampled_from(["text", "text#", "text##", "text###", "keep", "add", "#", ""]), st.text(max_size=5))
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=70), st.sampled_from(LONG)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
MESSAGES = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "calls": VALUES}), max_size=4
)
REQUESTS = st.fixed_dictionaries(
    {"model": st.sampled_from(["m", "n"]), "options": st.dictionaries(KEYS, VALUES, max_size=2), "messages": MESSAGES}
)


@given(st.lists(st.tuples(st.sampled_from(["manager", "Analyst"]), REQUESTS), max_size=4))
def test_what_is_packed_is_unpacked_as_it_was_asked_by_asked(asked: list[tuple[str, dict[str, Any]]]) -> None:
    packing, unpacking = Requests(), Requests()
    for who, request in asked:
        written = json.loads(json.dumps(packing.pack(who, request)))
        assert unpacking.unpack(who, written) == request


@pytest.mark.parametrize("key", ["text#", "text##", "text"])
def test_arguments_may_be_named_as_references_are(key: str) -> None:
    request = {"messages": [{"role": "assistant", "calls": [{"arguments": {key: "abc"}}]}]}
    assert Requests().unpack("a", Requests().pack("a", request)) == request


def test_a_text_is_written_once_and_then_named() -> None:
    packing, unpacking = Requests(), Requests()
    first = {"messages": [{"role": "user", "text": LONG[0]}]}
    second = {"messages": [{"role": "assistant", "text": LONG[0]}, {"role": "user", "text": "short"}]}
    unpacking.unpack("a", packing.pack("a", first))
    packed = packing.pack("b", second)
    assert LONG[0] not in json.dumps(packed) and "short" in json.dumps(packed)
    assert unpacking.unpack("b", packed) == second


def test_only_what_differs_from_the_last_request_is_written() -> None:
    packing = Requests()
    tools = [{"name": "look"}]
    one, two = ({"role": "user", "text": text} for text in ("one", "two"))
    packing.pack("a", {"model": "m", "tools": tools, "messages": [one]})
    assert packing.pack("a", {"model": "m", "tools": tools, "messages": [one, two]}) == {"keep": 1, "add": [two]}
    assert packing.pack("a", {"model": "n", "tools": tools, "messages": [two]}) == {
        "model": "n",
        "keep": 0,
        "add": [two],
    }


@pytest.mark.parametrize(
    "packed",
    [{}, {"keep": 0}, {"keep": 0, "add": [{"text#": "0" * 24}]}, {"keep": "x", "add": []}, {"keep": 0, "add": 1}],
)
def test_what_cannot_be_put_together_is_a_damaged_log(packed: dict[str, Any]) -> None:
    with pytest.raises(JournalError, match="a request of a cannot be put together"):
        Requests().unpack("a", packed)


def test_what_an_event_of_the_log_says_is_named_and_not_written_again() -> None:
    logged = ev.ToolCallStarted(
        call="t", who="a", function="f", arguments={"one": LONG[0], "some": [1, {"other": LONG[1]}]}
    )
    packing, unpacking = Requests(), Requests()
    for requests in (packing, unpacking):
        requests.learn(logged)
    request = {"messages": [{"role": "tool", "text": text} for text in LONG]}
    packed = packing.pack("b", request)
    assert [text in json.dumps(packed, ensure_ascii=False) for text in LONG] == [False, False, True]
    assert unpacking.unpack("b", packed) == request


def test_the_form_of_a_log_stays_as_older_releases_wrote_it() -> None:
    digest = "635361c48bb9eab14198e76e"
    packing = Requests()
    assert packing.pack("a", {"messages": [{"text": LONG[0]}]}) == {"keep": 0, "add": [{"text": LONG[0]}]}
    assert packing.pack("b", {"messages": [{"text": LONG[0]}]}) == {"keep": 0, "add": [{"text": {"text#": digest}}]}
    assert packing.pack("b", {"messages": [{"text": LONG[0]}], "model": "m"}) == {"model": "m", "keep": 1, "add": []}
    short = [{"text": "c" * 64}, {"text": "c" * 64}]
    assert packing.pack("c", {"messages": short}) == {"keep": 0, "add": short}


@pytest.mark.parametrize("text", ["\ud800" * 65, "é" * 65, "x" * 64])
def test_any_text_is_known_again(text: str) -> None:
    packing, unpacking = Requests(), Requests()
    for who in ("a", "b"):
        request = {"messages": [{"text": text}, {"texts": [text]}]}
        assert unpacking.unpack(who, packing.pack(who, request)) == request


def test_names_of_arguments_that_only_look_like_a_reference_stay_as_they_are() -> None:
    message = {"XtextX": 1, "text": 2, "textX": 3, "text#X": 4, "#": 5}
    assert Requests().pack("a", {"messages": [message]})["add"] == [message]
