"""The progress ledger as models really write it: what is read, what is marked as repaired, what is refused."""

# tables of what servers send

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.openai_server import ledger

from magentic_kit.orchestration.ledger import KEYS, parse_ledger

NAMES = ["Ada", "Bob-Jr"]
L = ledger("Ada", "go on")
S = ledger("Ada", "stop here", satisfied=True)
COMMENTED = L.replace(', "is_in', ', // round two\n"is_in')

READ: dict[str, str] = {
    "in a fence": f"```json\n{L}\n```",
    "in a fence without a language": f"```\n{L}\n```",
    "with words around it": f"Here is the ledger:\n{L}\nI hope this helps.",
    "with words and braces before it": f"Given {{task}} and {{team}}, I say:\n{L}",
    "as the text of `content`": json.dumps({"content": f"```json\n{L}\n```"}),
    "as the text of `content`, without a fence": json.dumps({"role": "assistant", "content": L}),
    "as a text inside a text": json.dumps(L),
    "as the arguments of a call": json.dumps({"name": "ledger", "arguments": L}),
    "under a key of its own": f'{{"progress_ledger": {L}}}',
    "with comments of two slashes": COMMENTED,
    "with a comment first": "{ // my ledger\n" + L[1:],
    "with comments of a slash and a star": L.replace(', "is_in', ', /* hm */ "is_in'),
    "the last of several": f"{S}\n{L}",
    "the last of several, with nothing between": S + L,
    "the last of several, which needs repair": f"First {S}, but then {COMMENTED}",
    "the last whole one, before a broken one": f"{L}\n" + '{"is_request_satisfied": {"reason": "hm',
    "the last whole one, before some other object": f'{L}\n{{"note": "done"}}',
    "in a list": f"[{L}]",
    "in a list of several": f"[{S}, {L}]",
    "cut off after the last answer": L[:-2],
    "cut off inside the last answer's text": L[:-4],
    "with single quotes": L.replace('"', "'"),
    "with Python's booleans": L.replace("false", "False").replace("true", "True"),
    "with trailing commas": L.replace("}}", ",},}"),
    "with booleans as words": L.replace("false", '"no"').replace("true", '"yes"'),
    "with answers without reasons": json.dumps({key: json.loads(L)[key]["answer"] for key in KEYS}),
    "with the name in another case": L.replace('"Ada"', '" ada "'),
    "with keys without quotes": L.replace('"is_in_loop"', "is_in_loop"),
    "behind three thousand empty objects": "{}" * 3000 + L,
    "behind braces without end": "{ {{ " * 1000 + L,
}


@pytest.mark.parametrize("name", READ)
def test_a_ledger_is_read_and_marked_as_repaired(name: str) -> None:
    found, repaired = parse_ledger(READ[name], NAMES)
    assert repaired
    assert found.is_request_satisfied.answer is False and found.is_progress_being_made.answer is True
    assert found.next_speaker.answer == "Ada"
    assert str(found.instruction_or_question.answer) in ("go on", "go o")


def test_a_ledger_that_is_just_that_is_not_marked() -> None:
    assert parse_ledger(L, NAMES)[1] is False
    assert parse_ledger(json.dumps(json.loads(L), indent=2), NAMES)[1] is False


REFUSED: dict[str, tuple[str, str]] = {
    **{
        f"without {key}": (json.dumps({k: v for k, v in json.loads(S).items() if k != key}), f"lacks {key}")
        for key in KEYS
    },
    "cut off before the last key": (L[: L.index('"instruction_or')], "lacks instruction_or_question"),
    "cut off in the middle": (L[: L.index('"is_progress')], "lacks is_progress_being_made"),
    "a boolean that is cut off": (L[: L.index("true") + 2], "lacks"),
    "a boolean that is none": (L.replace("false", '"maybe"', 1), "must be true or false"),
    "a number for a boolean": (L.replace("false", "1", 1), "must be true or false"),
    "null for a boolean": (L.replace("false", "null", 1), "must be true or false"),
    "a list for a name": (L.replace('"Ada"', '["Ada", "Bob-Jr"]'), "must be a single value"),
    "nobody's name": (L.replace('"Ada"', '"Eve"'), "must be one of Ada, Bob-Jr"),
    "no instruction": (ledger("Ada", " "), "must say what the next speaker should do"),
    "another object": ('{"hello": "world"}', "must be one JSON object"),
    "words": ("Ada should speak next.", "must be one JSON object"),
    "nothing": ("", "must be one JSON object"),
    "a YAML tag": ("!!bool x", "must be one JSON object"),
    "a book": ("{" * 300_000, "a progress ledger is short"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_whole_ledger_is_refused_with_a_sentence_for_the_model(name: str) -> None:
    text, told = REFUSED[name]
    with pytest.raises(ValueError, match=told):
        parse_ledger(text, NAMES)


PIECES = st.sampled_from(
    [*KEYS, "{", "}", "[", "]", '"', "'", ":", ",", "//", "/*", "\\", "true", "Ada", L, S, "```json", "\n"]
)


@settings(max_examples=300)
@given(st.lists(PIECES | st.text(max_size=5), max_size=25).map("".join))
def test_no_text_makes_the_parser_raise_anything_but_its_own_error(text: str) -> None:
    try:
        found, _ = parse_ledger(text, NAMES)
    except ValueError as error:
        assert str(error)
    else:
        assert found.is_request_satisfied.answer in (True, False)


@settings(max_examples=150)
@given(st.integers(0, len(L)))
def test_a_ledger_cut_anywhere_is_refused_or_says_what_the_whole_one_says(at: int) -> None:
    try:
        found, repaired = parse_ledger(L[:at], NAMES)
    except ValueError:
        return
    assert repaired or at == len(L)
    assert found.is_request_satisfied.answer is False and found.next_speaker.answer == "Ada"
    assert "go on".startswith(str(found.instruction_or_question.answer))


@settings(max_examples=100)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*KEYS, "answer", "reason"]), inner),
    )
)
def test_no_json_makes_the_parser_raise_anything_but_its_own_error(data: object) -> None:
    try:
        parse_ledger(json.dumps(data), NAMES)
    except ValueError as error:
        assert str(error)
