"""The progress ledger as models really write it: what is read, what is marked as repaired, what is refused."""

# tables of what servers send

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from semantic_kernel.agents.orchestration.magentic import ProgressLedger
from support.openai_server import ledger
from support.waits import processor_time_below

from magentic_kit.orchestration.ledger import KEYS, QUESTIONS, ledger_schema, ledger_tiers, parse_ledger, tier_settings

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
    "in objects in each other": json.dumps({"a": {"b": {"c": {"content": L}}}}),
    "before as many words as are read": L + "." * (200_000 - len(L)),
}


@pytest.mark.parametrize("name", READ)
def test_a_ledger_is_read_and_marked_as_repaired(name: str) -> None:
    found, repaired = parse_ledger(READ[name], NAMES)
    assert repaired
    assert found.is_request_satisfied.answer is False and found.is_progress_being_made.answer is True
    assert found.next_speaker.answer == "Ada"
    assert str(found.instruction_or_question.answer) in ("go on", "go o")


INSTRUCTION = 'Say "hi",\nthen {stop} at \\ 5: ' + S
QUOTING = ledger("Ada", INSTRUCTION)
WRAPPED = {
    "alone": QUOTING,
    "in a list": f"[{QUOTING}]",
    "in a list, not as the only one": f"[{S}, 1, null, {QUOTING}]",
    "under a key": json.dumps({"ledger": json.loads(QUOTING)}),
    "as a text": json.dumps(QUOTING),
    "as the text of `content`": json.dumps({"role": "assistant", "content": QUOTING}),
    "as a text with words": json.dumps({"content": f"So I say: {QUOTING}"}),
    "in a text deep inside": json.dumps([{"a": [{"content": QUOTING}]}]),
    "behind another": f"{S} {QUOTING}",
    "between two": f"{S}{QUOTING} and { {} }",
    "behind one that quotes": f"{ledger('Bob-Jr', S)} {QUOTING}",
}


@pytest.mark.parametrize("name", WRAPPED)
def test_an_instruction_comes_as_it_was_written_even_if_it_quotes_a_ledger(name: str) -> None:
    found, _ = parse_ledger(WRAPPED[name], NAMES)
    assert (found.next_speaker.answer, found.instruction_or_question.answer) == ("Ada", INSTRUCTION)
    assert [getattr(found, key).reason for key in KEYS] == [f"scripted {key}" for key in KEYS]


@pytest.mark.parametrize("reason", [None, "", 0])
def test_a_reason_may_be_missing(reason: object) -> None:
    data = {key: {"answer": value["answer"], "reason": reason} for key, value in json.loads(L).items()}
    found, repaired = parse_ledger(json.dumps(data), NAMES)
    assert not repaired and {getattr(found, key).reason for key in KEYS} == {""}


def test_when_the_request_is_satisfied_nobody_has_to_be_named() -> None:
    data = json.loads(S) | {"next_speaker": {"answer": None}, "instruction_or_question": {"answer": None}}
    found, _ = parse_ledger(json.dumps(data), NAMES)
    assert (found.next_speaker.answer, found.instruction_or_question.answer) == ("", "")


def test_a_ledger_that_is_just_that_is_not_marked() -> None:
    assert parse_ledger(L, NAMES)[1] is False
    assert parse_ledger(L + " " * (200_000 - len(L)), NAMES)[1] is False
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
    "a little too much": (L + " " * (200_001 - len(L)), "the reply has 200001 characters; a progress ledger is short"),
    "brackets without end": ("[" * 100_000, "must be one JSON object"),
    "brackets without end in it": ('{"is_in_loop": ' + "[" * 100_000, "must be one JSON object|lacks"),
    "brackets without end in a text": (json.dumps(["[{" * 20_000]), "must be one JSON object"),
}
EXACTLY: dict[str, tuple[str, str]] = {
    "nothing of it": ("{}", "the reply must be one JSON object with the five keys that were asked for"),
    "two keys missing": (
        json.dumps(dict.fromkeys(QUESTIONS, True)),
        "the JSON object lacks next_speaker, instruction_or_question",
    ),
    "no instruction": (ledger("Ada", ""), "instruction_or_question.answer must say what the next speaker should do"),
    "no boolean": (
        L.replace("false", json.dumps("perhaps " * 100), 1),
        f'is_request_satisfied.answer must be true or false, not "{("perhaps " * 100)[:199]}',
    ),
    "nobody's name": (ledger("E" * 300, "go"), f"next_speaker.answer must be one of Ada, Bob-Jr, not {'E' * 200!r}"),
    "nobody": (ledger("Ada", "go").replace('"Ada"', "null"), "next_speaker.answer must be one of Ada, Bob-Jr, not ''"),
}


@pytest.mark.parametrize("name", EXACTLY)
def test_the_model_is_told_in_one_short_sentence_what_to_mend(name: str) -> None:
    text, told = EXACTLY[name]
    with pytest.raises(ValueError) as refused:
        parse_ledger(text, NAMES)
    assert str(refused.value) == told


class OpenAI(BaseModel):
    response_format: Any = None


class Google(BaseModel):
    response_mime_type: str = ""
    response_schema: Any = None


class Ollama(BaseModel):
    format: Any = None


class Plain(BaseModel):
    temperature: float = 0


SCHEMA = {"type": "object"}
GOOGLE = {"response_mime_type": "application/json"}


@pytest.mark.parametrize(
    ("settings", "tiers"),
    [
        (
            OpenAI,
            {
                "json_schema": {
                    "response_format": {
                        "type": "json_schema",
                        "json_schema": {"name": "answer", "strict": False, "schema": SCHEMA},
                    }
                },
                "json_object": {"response_format": {"type": "json_object"}},
                "prompt": {},
            },
        ),
        (Google, {"json_schema": {**GOOGLE, "response_schema": SCHEMA}, "json_object": GOOGLE, "prompt": {}}),
        (Ollama, {"json_schema": {"format": SCHEMA}, "json_object": {"format": "json"}, "prompt": {}}),
        (Plain, {"prompt": {}}),
    ],
)
def test_each_connector_is_asked_in_its_own_words_the_strictest_first(
    settings: type[BaseModel], tiers: dict[str, Any]
) -> None:
    asked = tier_settings(settings, SCHEMA, name="answer", strict=False)
    assert asked == tiers and list(asked) == list(tiers)


def test_a_ledger_is_asked_for_strictly_and_from_these_agents_alone() -> None:
    text = {"type": "string"}
    answers = {key: {"type": "boolean"} for key in QUESTIONS} | {
        "next_speaker": {"type": "string", "enum": ["Ada", "Bob-Jr"]},
        "instruction_or_question": text,
    }

    def record(properties: dict[str, Any]) -> dict[str, Any]:
        required = list(properties)
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}

    schema = record({key: record({"reason": text, "answer": answer}) for key, answer in answers.items()})
    assert ledger_schema(tuple(NAMES)) == schema
    assert ledger_tiers(OpenAI, NAMES) == tier_settings(OpenAI, schema, name="progress_ledger", strict=True)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_whole_ledger_is_refused_with_a_sentence_for_the_model(name: str) -> None:
    text, told = REFUSED[name]
    with pytest.raises(ValueError, match=told):
        parse_ledger(text, NAMES)


PIECES = st.sampled_from(
    [*KEYS, "{", "}", "[", "]", '"', "'", ":", ",", "//", "/*", "\\", "true", "Ada", L, S, "```json", "\n"]
)


def ledger_or_refusal(text: str) -> ProgressLedger | None:
    """What the parser makes of a text, with no error but a sentence, in bounded time."""
    with processor_time_below(2):
        try:
            return parse_ledger(text, NAMES)[0]
        except ValueError as error:
            assert type(error) is ValueError and str(error)
            return None


@settings(max_examples=200)
@given(st.lists(PIECES | st.text(max_size=5), max_size=25).map("".join))
@example("{" + "/**/" * 26)
@example("{//" * 66_000)
def test_any_text_is_a_ledger_or_is_refused_with_a_sentence(text: str) -> None:
    if found := ledger_or_refusal(text):
        assert found.is_request_satisfied.answer in (True, False)


@settings(max_examples=60)
@given(st.text(max_size=3), st.lists(PIECES | st.text(max_size=3), min_size=1, max_size=4).map("".join))
def test_what_is_said_again_and_again_takes_no_longer(first: str, again: str) -> None:
    ledger_or_refusal("{" + first + again * (3000 // len(again + " ")))


NOISE = st.sampled_from(
    ["{", "}", "[", "]", '"', "'", ":", ",", "//", "/*", "*/", "\\", "\n", "```", "```json\n", "<think>", "</think>"]
)
PROSE = st.lists(NOISE | st.sampled_from(["{}", "{task}", '{"note": "done"}', *KEYS]) | st.text(max_size=5), max_size=9)
DRAFTS = st.sampled_from(["", S, f"<think>{S}</think>", '{"is_request_satisfied": {"reason": "hm'])
TEXTS = st.lists(NOISE | st.sampled_from([L, S]) | st.text(max_size=5), max_size=5).map("".join)
RECORDS = st.dictionaries(st.sampled_from(["reason", "answer"]), TEXTS, min_size=2)  # in either order
FRAMES = st.sampled_from(["{}", "```json\n{}\n```", "```\n{}```", "~~~\n{}\n~~~"])


@given(
    records=st.tuples(*[RECORDS] * len(KEYS)),
    answers=st.tuples(st.just(False), st.booleans(), st.booleans(), st.sampled_from(NAMES), TEXTS.map("do {}".format)),
    order=st.permutations(KEYS),
    layout=st.fixed_dictionaries({"indent": st.sampled_from([None, 2]), "ensure_ascii": st.booleans()}),
    frame=FRAMES,
    before=st.tuples(DRAFTS, PROSE.map("".join)).map("".join),
    after=PROSE.map("".join),
)
def test_a_ledger_is_found_in_any_prose(
    records: tuple[dict[str, str], ...],
    answers: tuple[bool | str, ...],
    order: list[str],
    layout: dict[str, Any],
    frame: str,
    before: str,
    after: str,
) -> None:
    whole = {key: record | {"answer": answer} for key, record, answer in zip(KEYS, records, answers, strict=True)}
    written = json.dumps({key: whole[key] for key in order}, **layout)
    found = ledger_or_refusal(before + frame.replace("{}", written) + after)
    assert found is not None and found.model_dump() == whole


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


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*KEYS, "answer", "reason"]), inner),
    max_leaves=8,
)
ODD_RECORDS = JSON | st.fixed_dictionaries({"reason": JSON, "answer": st.sampled_from([True, *NAMES]) | JSON})


@settings(max_examples=150)
@given(JSON | st.fixed_dictionaries(dict.fromkeys(KEYS, ODD_RECORDS)))
@example(json.loads(L) | {"is_in_loop": {"reason": 1, "answer": False}})
def test_any_json_is_a_ledger_or_is_refused_with_a_sentence(data: object) -> None:
    ledger_or_refusal(json.dumps(data))
