"""A team as it may be stored: a secret stays a reference to the variable that holds it, `${NAME}`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from magentic_kit.team.problems import Route
from magentic_kit.team.secrets import Span, names_secret, scalars, secret_spans, values_of, worth_masking

Find: TypeAlias = Callable[[str], Sequence[Span]]
"""Tells where secrets stand in any text, for what they look like or because they are known."""

NO_VARIABLE = "MAGENTIC_KIT_SECRET_"
"""How the names begin that stand for secrets which the team file itself has, and which are not stored."""

_HIDDEN = NO_VARIABLE + "N"


class Piece(NamedTuple):
    """A part of a value's text: as it was written, or what the variable `name` or its default was filled in with."""

    text: str
    name: str = ""
    default: str | None = None
    unset: bool = False

    @property
    def reference(self) -> str:
        """The reference to the variable; a default that is a secret itself is left out."""
        if self.default is None or worth_masking(self.default):
            return f"${{{self.name}}}"
        return f"${{{self.name}:-{self.default}}}"


class Stored:
    """The values that are stored differently from what they are, and what was found on the way.

    `texts` are what is stored, `hashed` what counts as the value where only its change matters: a secret in a place
    of secrets by its name, another text by what it says. `missing` are the variables that nobody has set, because
    the team file has the value itself.
    """

    def __init__(self) -> None:
        self.texts: dict[Route, str] = {}
        self.hashed: dict[Route, str] = {}
        self.secrets: set[str] = set()
        self.missing: dict[str, Route] = {}


def store(data: Any, pieces: Mapping[Route, list[Piece]], find: Find | None = None) -> Stored:
    """What to store of a team's data; `find` tells of secrets that stand where nobody would look for them."""
    stored = Stored()
    for route, value, before in scalars(data):
        if route in pieces:
            parts = pieces[route]
        elif isinstance(value, bool | None):
            continue
        else:
            parts = [Piece(str(value))]
        text = "".join(part.text for part in parts)
        places = secret_spans(route, text, before)
        stored.secrets.update(values_of(text, places))
        found = find(text) if find else ()
        texts, hashed = _text_of(stored, route, parts, places, found)
        if texts != text:
            stored.texts[route] = texts
        if hashed != text:
            stored.hashed[route] = hashed
    return stored


def _text_of(
    stored: Stored, route: Route, parts: Sequence[Piece], places: Sequence[Span], found: Sequence[Span]
) -> tuple[str, str]:
    """What is stored of one value, and what is hashed."""
    filled, begin = [], 0
    for part in parts:
        if part.name:
            filled.append((begin, begin + len(part.text)))
        begin += len(part.text)
    # Beside a variable, the rest of a secret is none: `user=${USER};pw=${PW}`.
    literals = [place for place in places if not any(_meet(place, span) for span in filled)]
    marks = sorted([*((*span, True) for span in literals), *((*span, False) for span in found)])
    texts, hashed, begin = "", "", 0
    for part in parts:
        span = begin, begin + len(part.text)
        in_place = any(_meet(span, place) for place in places)
        if not part.name:
            texts += _literal(stored, route, part.text, begin, marks)
            hashed += _literal(None, route, part.text, begin, [mark for mark in marks if mark[2]])
        elif in_place or names_secret(part.name) or any(_meet(span, place) for place in found):
            texts += part.reference
            hashed += _hashed(part, in_place=in_place)
            _note(stored, route, part)
        else:
            texts += _escaped(part.text)
            hashed += _escaped(part.text)
        begin = span[1]
    return texts, hashed


def _literal(stored: Stored | None, route: Route, text: str, begin: int, marks: Sequence[tuple[int, int, bool]]) -> str:
    """A literal text, which begins at `begin` of its value, with the marked secrets as references."""
    kept, at, count = "", 0, 0
    for first, last, in_place in marks:
        first, last = max(first - begin, at), min(last - begin, len(text))
        if first >= last or (in_place and not worth_masking(text[first:last])):
            continue
        count += 1
        name = _HIDDEN if stored is None else _name(stored, route, count)
        kept += f"{_escaped(text[at:first])}${{{name}}}"
        at = last
    return kept + _escaped(text[at:])


def _name(stored: Stored, route: Route, count: int) -> str:
    """A name of its own for a secret that stands in the team file."""
    words = re.sub("[^A-Z0-9]+", "_", "_".join(map(str, route)).upper()).strip("_")
    name = NO_VARIABLE + words + (f"_{count}" if count > 1 else "")
    while name in stored.missing:
        name += "_"
    stored.missing[name] = route
    return name


def _hashed(part: Piece, *, in_place: bool) -> str:
    if part.name.startswith(NO_VARIABLE):
        if in_place:
            return f"${{{_HIDDEN}}}"
        return _escaped(part.text)
    if in_place or names_secret(part.name):
        return part.reference
    return _escaped(part.text)


def _note(stored: Stored, route: Route, part: Piece) -> None:
    if worth_masking(part.text):
        stored.secrets.add(part.text)
        if part.unset:  # the default, which is not stored
            stored.missing[part.name] = route


def _meet(one: Span, other: Span) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def _escaped(text: str) -> str:
    return text.replace("${", "$${")
