"""Redaction of known secrets in every encoding, of keys by their looks, and of streams as of the whole text."""

from __future__ import annotations

import base64
import html
import json
import logging
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from magentic_kit.runlog import redaction
from magentic_kit.runlog.key_shapes import KEY_SHAPES, MAX_HEAD, PEM_SAMPLE, KeyShape
from magentic_kit.runlog.redaction import (
    RedactedFormatter,
    RedactedStream,
    Redactor,
    encodings,
    has_mask,
    redactor_of,
    redactor_of_all,
)
from magentic_kit.text import MASK

SECRETS = ["correct horse battery staple", 'pass"word\\1234', "hunter2", "p@ss/w0rd?&x", "sk-known-and longer", "abab"]
REDACTOR = Redactor(SECRETS)
WRITTEN = [form for secret in SECRETS for form in encodings(secret)]
SAMPLES = [shape.sample for shape in KEY_SHAPES] + [PEM_SAMPLE]
SAMPLES += [base64.b64encode(f"user:{secret}".encode()).decode() for secret in SECRETS]


@pytest.fixture(scope="module", autouse=True)
def patterns_made_here() -> None:
    """No pattern is older than the code that is tested, which a mutation may have changed since it was imported."""
    global REDACTOR
    redaction._begun_key.cache_clear()
    REDACTOR = Redactor(SECRETS)


@pytest.mark.parametrize("shape", KEY_SHAPES, ids=lambda shape: f"{shape.issuer} {shape.parts[0]}")
def test_a_key_is_known_by_its_looks(shape: KeyShape) -> None:
    redactor, sample = Redactor(), shape.sample
    value = redactor.text(sample).removesuffix("@db.example.org/sales").removesuffix(MASK)
    assert sample.startswith(value) and (shape.keep or not value), "only what is no secret stays in sight"
    hidden = sample.removeprefix(value).removesuffix("@db.example.org/sales")
    for text in (f"it is {sample} so", f'{{"key":"{sample}"}}', f"a\\n{sample}\\nb", f"({sample})", f"key={sample}\n"):
        assert hidden not in redactor.text(text), text
        assert (redactor.text(text)[0], redactor.text(text)[-1]) == (text[0], text[-1])


def test_a_private_key_is_masked_to_its_end_or_to_the_end_of_the_text() -> None:
    redactor = Redactor()
    assert redactor.text(f"a {PEM_SAMPLE} b") == f"a {MASK} b"
    assert redactor.text(f"a {PEM_SAMPLE[:60]}") == f"a {MASK}"


@pytest.mark.parametrize(
    "text",
    [
        *(
            "scikit-learn and sk-learn",
            "task-management-is-hard-to-do",
            "a://b and c@d",
            "https://example.org:8080/a@b",
        ),
        *("the bearer of news", "AKIAlowercase0000000", "-----BEGIN CERTIFICATE-----", "eyJhbGciOiJIUzI1NiJ9"),
    ],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert Redactor().text(text) == text


ENCODINGS = {
    "as it is": str,
    "JSON": lambda secret: json.dumps({"password": secret}),
    "JSON as written by others": lambda secret: json.dumps({"password": secret}, ensure_ascii=False),
    "JSON in JSON": lambda secret: json.dumps({"arguments": json.dumps({"password": secret})}),
    "a URL's path": quote,
    "a URL's part": lambda secret: quote(secret, safe=""),
    "small letters": lambda secret: re.sub("%..", lambda match: match[0].lower(), quote(secret, safe="")),
    "a form": quote_plus,
    "HTML": html.escape,
    "base64": lambda secret: base64.b64encode(secret.encode()).decode(),
    "base64 for URLs": lambda secret: base64.urlsafe_b64encode(secret.encode()).decode(),
}


@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS)
@pytest.mark.parametrize(
    "secret", ['pa"ss\\w/ö?rd&<1>', "correct horse battery staple", "hunter2", "two\nlines of it\n"]
)
def test_a_known_secret_is_masked_in_its_usual_encodings(secret: str, encode: object) -> None:
    assert callable(encode)
    text = encode(secret)
    masked = Redactor([secret]).text(f"x {text} y")
    assert MASK in masked and text.strip("{}") not in masked
    parts = [part for part in re.findall(r"\w+", secret) if len(part) > 3]
    assert not any(part in masked.replace("password", "") for part in parts)


@pytest.mark.parametrize("user", ["", "a", "bo", "eve", "alice", "x" * 50])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_a_key_is_masked_in_base64_whoever_the_user_is(user: str, encode: object) -> None:
    assert callable(encode)
    whole = encode(f"{user}:Tr0ub4dor&3>>?".encode()).decode()
    masked = Redactor(["Tr0ub4dor&3>>?"]).text(whole)
    before, mask, after = masked.partition(MASK)
    # A digit of base64 is six bits: what is left on either side is the user's, and at most a part of one letter.
    assert mask and whole.startswith(before) and whole.endswith(after)
    assert len(before) <= -(-(len(user) + 1) * 8 // 6) and len(after.rstrip("=")) <= 1


def test_the_longest_secret_wins_and_very_short_ones_are_left() -> None:
    assert Redactor(["hunter2", "hunter2-and-more"]).text("hunter2-and-more hunter2") == f"{MASK} {MASK}"
    assert Redactor(["a", "xyz"]).text("a cat, xyz") == "a cat, xyz"


def test_equal_secrets_share_one_redactor_and_its_cache() -> None:
    redactor = redactor_of(frozenset({"shared-secret-1"}))
    assert redactor_of(frozenset({"shared-secret-1"})) is redactor
    text = "once upon a time"
    assert redactor.text(text) is redactor.text("".join(["once upon", " a time"]))
    assert redactor_of_all().text("shared-secret-1") == MASK


def test_spans_are_the_secrets_alone() -> None:
    text = "Bearer Ab12Cd34Ef56Gh78Ij90, hunter2 and postgresql://u:pw123456@db/x"
    found = [text[begin:end] for begin, end in REDACTOR.spans(text)]
    assert found == ["Ab12Cd34Ef56Gh78Ij90", "hunter2", "pw123456"]


ODD = '"pä/s w&d\\"'
FORMS = {
    "as it is": ODD,
    "JSON": json.dumps(ODD)[1:-1],
    "JSON as others write it": json.dumps(ODD, ensure_ascii=False)[1:-1],
    "JSON in JSON": json.dumps(json.dumps(ODD)[1:-1])[1:-1],
    "JSON as others write it in JSON": json.dumps(json.dumps(ODD, ensure_ascii=False)[1:-1])[1:-1],
    "a URL's path": quote(ODD),
    "a URL's part": quote(ODD, safe=""),
    "a URL's part in small letters": re.sub("%..", lambda match: match[0].lower(), quote(ODD, safe="")),
    "a form": quote_plus(ODD),
    "HTML": html.escape(ODD),
    "base64": base64.b64encode(ODD.encode()).decode(),
    "base64 without its end": base64.b64encode(ODD.encode()).decode().rstrip("="),
    "base64 for URLs": base64.urlsafe_b64encode(ODD.encode()).decode(),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_form_of_a_secret_is_masked_whole_and_nothing_beside_it(form: str) -> None:
    redactor = Redactor([ODD])
    assert redactor.text(f"<{FORMS[form]}>") == f"<{MASK}>"
    for at in range(1, len(FORMS[form])):  # and in a stream, wherever it is cut
        stream = RedactedStream(redactor)
        assert stream.feed(f"<{FORMS[form][:at]}") == "<"
        assert stream.feed(f"{FORMS[form][at:]}>") + stream.flush() == f"{MASK}>"


@pytest.mark.parametrize("secret", [b"abcd", b"abcde", b"hunter2??>>~~"])
@pytest.mark.parametrize("before", range(5))
@pytest.mark.parametrize("after", range(4))
def test_in_base64_exactly_the_digits_that_hold_a_secret_alone_are_masked(
    secret: bytes, before: int, after: int
) -> None:
    redactor = Redactor([secret.decode()])
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        whole = encode(b"~" * before + secret + b"~" * after).decode()
        first, last = -(-8 * before // 6), 8 * (before + len(secret)) // 6
        expected = whole[:first] + MASK + whole[last:]
        if not after and before % 3 == 0:  # its end is known as well
            assert redactor.text(whole) in (expected, whole[:first] + MASK)
        elif len(whole[first:last]) >= 4:
            assert redactor.text(whole) == expected
    if before == after == 0:
        assert redactor.text(base64.b64encode(secret).decode()) == MASK


def test_the_lines_of_a_secret_are_secrets_if_they_are_long_enough() -> None:
    redactor = Redactor([f" {'k' * 16} \n{'s' * 15}\n"])
    assert redactor.text("k" * 16) == MASK and redactor.text("s" * 15) == "s" * 15
    assert Redactor(["    ", ""]).text("a     b") == "a" + MASK + " b"
    assert Redactor(["\ud800-secret"]).text("a \ud800-secret") == f"a {MASK}"


@dataclass(frozen=True)
class Note:
    text: str
    parts: list[Any]


def test_data_of_any_depth_is_masked_and_its_shape_kept() -> None:
    note = Note("hunter2", [("hunter2", 1), {"hunter2": None}, Note("x", [])])
    masked = Note(MASK, [[MASK, 1], {MASK: None}, Note("x", [])])
    assert REDACTOR.value([note, {"a": note}, 2.5, True]) == [masked, {"a": masked}, 2.5, True]
    assert REDACTOR.event(note) == masked
    assert REDACTOR.value(Note) is Note
    assert Redactor().longest == 0


@pytest.mark.parametrize(
    ("value", "has"),
    [
        (MASK, True),
        ("secret", False),
        ({"a": [f"x{MASK}"]}, True),
        ({MASK: 1}, True),
        ({"a": {1, 2}}, False),
        ({"a": Path(MASK)}, True),
        (None, False),
    ],
)
def test_a_mask_is_found_anywhere_in_data(value: Any, has: bool) -> None:
    assert has_mask(value) is has


def test_other_packages_log_no_secret_of_any_run() -> None:
    kept = Redactor(["log-secret-1"]), Redactor(["log-secret-2"])
    try:
        raise ValueError("log-secret-2")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "f", 1, "%s and more", ("log-secret-1",), sys.exc_info())
    line = RedactedFormatter("%(message)s").format(record)
    assert line.startswith(f"{MASK} and more\nTraceback") and line.endswith(f"ValueError: {MASK}")
    assert kept


# -- the law of streams


def in_pieces(redactor: Redactor, pieces: Sequence[str]) -> list[str]:
    """What a stream shows after each piece, and at the end."""
    stream, shown = RedactedStream(redactor), [""]
    for piece in pieces:
        shown.append(shown[-1] + stream.feed(piece))
    return [*shown, shown[-1] + stream.flush()]


def cut(text: str, cuts: Sequence[int]) -> list[str]:
    places = sorted({0, len(text), *(at % (len(text) + 1) for at in cuts)})
    return [text[begin:end] for begin, end in pairwise(places)]


def fragments() -> st.SearchStrategy[str]:
    """Secrets, keys, parts of them, and what stands between."""
    whole = st.sampled_from([*SECRETS, *SAMPLES]) | st.sampled_from(WRITTEN)
    part = st.tuples(whole, st.integers(0, 80), st.integers(0, 80)).map(lambda it: it[0][it[1] : it[1] + it[2]])
    between = st.sampled_from(
        ["", " ", "\n", "\\n", "x", "-", "_", ".", "@", "/", "a ", "ab", "-----", "://", "eyJ", "sk-"]
    )
    return st.one_of(whole, part, between, st.text(max_size=5))


@settings(max_examples=400)
@given(st.lists(fragments(), max_size=8).map("".join), st.lists(st.integers(0, 10_000), max_size=12))
@example("the password is correct horse battery staple, really", [20, 24, 30, 38])
@example("sk-known-and longer than sk-known-and long enough", list(range(60)))
@example("abababab", [1, 2, 3, 4, 5])
@example(max(WRITTEN, key=len), list(range(60)))
def test_a_stream_shows_what_redaction_of_the_whole_shows(text: str, cuts: list[int]) -> None:
    whole = REDACTOR.text(text)
    shown = in_pieces(REDACTOR, cut(text, cuts))
    assert shown[-1] == whole
    assert all(whole.startswith(so_far) for so_far in shown), "at no time does it show what is masked later"


@settings(max_examples=200)
@given(
    st.lists(st.text("ab ", min_size=4, max_size=7), min_size=1, max_size=4),
    st.text("ab ", max_size=60),
    st.lists(st.integers(0, 60), max_size=12),
)
def test_the_law_holds_whatever_the_secrets_are(secrets: list[str], text: str, cuts: list[int]) -> None:
    redactor = Redactor(secrets)
    assert in_pieces(redactor, cut(text, cuts))[-1] == redactor.text(text)


@pytest.mark.parametrize("text", [*SAMPLES, *SECRETS, "-----BEGIN PRIVATE KEY-----\nabc", "\\nsk-abcdefghijklmnop12"])
def test_letter_by_letter_a_secret_is_masked_too(text: str) -> None:
    for around in ("{}", "a {} b", "a{}b", "({})", '"{}"', "{0}{0}", "{0} {0}"):
        whole = around.format(text)
        assert in_pieces(REDACTOR, list(whole))[-1] == REDACTOR.text(whole)


@settings(max_examples=50)
@given(st.sampled_from(SAMPLES), st.integers(0, 40), st.integers(1, 20_000), st.integers(1, 700))
def test_a_key_without_end_is_masked_and_held_in_bounds(sample: str, end: int, length: int, size: int) -> None:
    at = max(len(sample) - end, 0)
    text = f"a {sample[:at]}{'A' * length}{sample[at:]} and more"
    stream = RedactedStream(REDACTOR)
    shown = ""
    for at in range(0, len(text), size):
        shown += stream.feed(text[at : at + size])
        assert len(stream._text) <= 4096 + 4 * REDACTOR.longest + MAX_HEAD + size
    assert shown + stream.flush() == REDACTOR.text(text)


def test_the_end_of_a_private_key_is_seen_wherever_its_middle_is_dropped() -> None:
    body, end = PEM_SAMPLE[:-30], PEM_SAMPLE[-30:]
    size = RedactedStream(REDACTOR)._most + 1
    for there in range(len(end)):
        first = (body + "A" * size)[: size - there] + end[:there]
        assert in_pieces(REDACTOR, [first, end[there:], " and more"])[-1] == f"{MASK} and more"


def test_ordinary_words_are_shown_as_they_come() -> None:
    stream, fed, shown = RedactedStream(REDACTOR), "", ""
    for word in re.findall(r" ?\S+", "Sales rose by 12 % in the north, as the bearer of sk and AK may task it."):
        fed += word
        shown += stream.feed(word)
        assert len(fed) - len(shown) <= len("bearer of"), "no more than the beginning of a secret is held back"
    assert RedactedStream(REDACTOR).feed("数据显示销售额增长") == "数据显示销售额增长"


def test_what_is_held_back_is_what_may_become_a_secret() -> None:
    stream = RedactedStream(REDACTOR)
    assert stream.feed("so correct horse") == "so "
    assert stream.feed(" battery") == ""
    assert stream.feed(" life") == "correct horse battery life"
    assert stream.feed(" and correct horse battery staple") == " and "
    assert stream.feed("!") == f"{MASK}!"


def test_several_secrets_in_one_piece_and_at_the_end_are_masked() -> None:
    stream = RedactedStream(REDACTOR)
    assert stream.feed("a hunter2 b hunter2!") == f"a {MASK} b {MASK}!"
    assert stream.feed("Bearer hunter2.hunter2") == ""
    assert stream.flush() == f"Bearer {MASK}.{MASK}"
    assert (stream.feed("x hunter"), stream.flush(), stream.feed("2"), stream.flush()) == ("x ", "hunter", "2", "")


@pytest.mark.parametrize("sample", [*SAMPLES[:3], *SAMPLES[-12:]])
@pytest.mark.parametrize("size", [700, 30_000])
def test_a_key_of_any_length_takes_some_thousand_characters(sample: str, size: int) -> None:
    text = f"a {sample[:-4]}{'A' * 9_000} and hunter2"
    stream, shown = RedactedStream(REDACTOR), ""
    for at in range(0, len(text), size):
        shown += stream.feed(text[at : at + size])
        assert len(stream._text) <= 4096 + 4 * REDACTOR.longest + size
    assert shown + stream.flush() == REDACTOR.text(text)
