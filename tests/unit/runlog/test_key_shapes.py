"""The shapes of keys: what is one, from which length on, and what may still become one."""

from __future__ import annotations

import re

import pytest

from magentic_kit.runlog import key_shapes
from magentic_kit.runlog.key_shapes import KEY_SHAPES, PEM_SAMPLE, KeyShape
from magentic_kit.runlog.redaction import masked
from magentic_kit.text import MASK

KEPT = {
    "Slack webhooks": "https://hooks.slack.com/services/*",
    "Azure storage": "AccountKey=*",
    "Azure Service Bus": "SharedAccessKey=*",
    "Azure shared access signatures": "sig=*",
    "Bearer tokens": "Bearer *",
    "bearer tokens": "bearer *",
    "BEARER tokens": "BEARER *",
    "passwords in URLs": "://app:*@db.example.org/sales",
}
"""What is left of the samples that are no keys as a whole."""

shapes = pytest.mark.parametrize("shape", KEY_SHAPES, ids=[shape.issuer for shape in KEY_SHAPES])


def shape_of(issuer: str) -> KeyShape:
    return next(shape for shape in KEY_SHAPES if shape.issuer == issuer)


@shapes
def test_of_a_key_only_what_is_no_secret_stays_in_sight(shape: KeyShape) -> None:
    left = re.sub(shape.whole(), masked, shape.sample)
    assert left == KEPT.get(shape.issuer, "*").replace("*", MASK)


@shapes
def test_what_may_become_a_key_is_held_back_from_its_first_character_on(shape: KeyShape) -> None:
    found = re.search(shape.whole(), shape.sample)
    assert found
    for cut in range(found.start() + 1, found.end()):
        begun = re.search(shape.begun(), shape.sample[:cut])
        assert begun and begun.start() == found.start(), shape.sample[:cut]
        assert re.search(shape.begun(), shape.sample[:cut] + "\n") is None


def test_a_key_has_a_least_length_and_begins_a_word() -> None:
    shape = key_shapes._simple("Somebody", "ab_", 4, "ab_1234", "0-9")
    assert (shape.issuer, shape.sample) == ("Somebody", "ab_1234")
    for text, is_key in {
        "ab_1234": True,
        "ab_12345": True,
        "ab_123": False,
        "xab_1234": False,
        "ab_wxyz": False,
    }.items():
        assert bool(re.search(shape.whole(), text)) is is_key, text
    assert re.search(shape.begun(), "look: ab_1") and not re.search(shape.begun(), "look: ab_x")


@pytest.mark.parametrize(
    ("text", "is_secret"),
    {
        "://app:Ab12@db": True,
        "://:Ab12@db": True,
        "://app:Ab12/db": False,
        "://app:@db": False,
        f"://{'u' * 64}:p@db": True,
        f"://{'u' * 65}:p@db": False,
        f"://app:{'p' * 256}@db": True,
        f"://app:{'p' * 257}@db": False,
    }.items(),
)
def test_a_password_in_a_url_has_bounds_and_an_end(text: str, is_secret: bool) -> None:
    assert bool(re.search(shape_of("passwords in URLs").whole(), text)) is is_secret


def test_a_private_key_is_held_back_from_its_first_dash_on() -> None:
    begun = key_shapes.begun_keys()[-1]
    end = PEM_SAMPLE.index("-----END")
    for cut in range(1, end):
        found = re.search(begun, PEM_SAMPLE[:cut])
        assert found and found.start() == 0, PEM_SAMPLE[:cut]
    assert re.search(begun, PEM_SAMPLE + "\n") is None
    for other in ("-----begin RSA", "-----BEGIN rsa", "-----BEGIN RSA PUBLIC KEY-----\n", "--- "):
        assert re.search(begun, other) is None, other


@shapes
def test_every_key_has_a_text_that_tells_of_it(shape: KeyShape) -> None:
    told = key_shapes.beginnings()
    assert all(told) and len(told) == len(KEY_SHAPES) + 1
    assert any(text in shape.sample for text in told)
