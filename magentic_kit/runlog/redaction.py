"""Keeps secrets out of everything a run shows or writes: one redactor for every way out, streams included."""

from __future__ import annotations

import base64
import dataclasses
import html
import json
import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, lru_cache
from threading import Lock
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus
from weakref import WeakSet

from magentic_kit.runlog.key_shapes import MAX_HEAD, beginnings, begun_keys, whole_keys
from magentic_kit.text import MASK

SHORTEST = 4
"""Characters below which a secret is not masked: ordinary words would not be readable any more."""

_E = TypeVar("_E")


class Redactor:
    """Masks the given secrets, in their usual encodings, and whatever looks like a key, in texts and events."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self.secrets = frozenset(secrets)
        forms = {form for secret in self.secrets for form in encodings(secret) if len(form) >= SHORTEST}
        self.longest = max(map(len, forms), default=0)
        # Longest first, or a prefix of a secret would leave the rest to see; by first letter, so that few of them are
        # looked at in any place.
        self.forms: dict[str, list[str]] = defaultdict(list)
        for form in sorted(forms, key=len, reverse=True):
            self.forms[form[0]].append(form)
        known = (
            f"{re.escape(letter)}(?:{'|'.join(re.escape(form[1:]) for form in group)})"
            for letter, group in self.forms.items()
        )
        self.pattern = re.compile("|".join([*known, *whole_keys()]))
        self._needles = [*forms, *beginnings()]
        with _LOCK:
            _IN_USE.add(self)
        self.text = lru_cache(maxsize=4096)(self._text)
        """The text with every secret masked. A conversation is looked at again with every request."""

    def _text(self, text: str) -> str:
        # Most texts hold no secret, and that none of the words is there is told ten times quicker than by `re`.
        if not any(needle in text for needle in self._needles):
            return text
        return self.pattern.sub(masked, text)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where the secrets stand in a text: begin and end of each."""
        return [(match.end(match.lastindex) if match.lastindex else match.start(), match.end())
                for match in self.pattern.finditer(text)]  # fmt: skip

    def value(self, value: Any) -> Any:
        """The same for plain data of any depth; keys of mappings are texts too."""
        if isinstance(value, str):
            return self.text(value)
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, Mapping):
            return {self.value(key): self.value(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return self.event(value)
        return value

    def event(self, event: _E, **stamps: Any) -> _E:
        """The same for an event or a part of one, with `stamps` in place of these fields."""
        masked = {f.name: self.value(getattr(event, f.name)) for f in dataclasses.fields(event)}  # type: ignore[arg-type]
        return dataclasses.replace(event, **(masked | stamps))  # type: ignore[type-var]


@lru_cache(maxsize=64)
def redactor_of(secrets: frozenset[str]) -> Redactor:
    """The redactor of these secrets; all runs that have the same ones share it."""
    return Redactor(secrets)


def redactor_of_all() -> Redactor:
    """The redactor of the secrets of every redactor in use, for what does not tell which run it belongs to."""
    with _LOCK:
        secrets = frozenset[str]().union(*(redactor.secrets for redactor in _IN_USE))
    return redactor_of(secrets)


class RedactedFormatter(logging.Formatter):
    """Formats log records without the secrets of any redactor in use: other packages log what they were given."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line, and the traceback if there is one."""
        return redactor_of_all().text(super().format(record))


_IN_USE: WeakSet[Redactor] = WeakSet()
_LOCK = Lock()


def has_mask(value: Any) -> bool:
    """Whether a secret was masked somewhere in plain data."""
    return MASK in (value if isinstance(value, str) else json.dumps(value, default=str))


def masked(match: re.Match[str]) -> str:
    """What stands for a secret that was found."""
    return (match[match.lastindex] if match.lastindex else "") + MASK


def encodings(secret: str) -> Iterator[str]:
    """The forms in which a secret is usually written down, itself first."""
    whole = secret.strip()
    for text in {secret, whole, *(line.strip() for line in whole.splitlines() if len(line.strip()) >= 16)}:
        if not text:
            continue
        for escaped in {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}:
            yield escaped
            yield json.dumps(escaped)[1:-1]
        yield text
        yield html.escape(text)
        data = text.encode("utf-8", "surrogatepass")  # an environment may hold bytes that are no UTF-8
        for quoted in (quote(data), quote(data, safe=""), quote_plus(data)):
            yield quoted
            yield re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), quoted)
        yield from _base64(data)


def _base64(data: bytes) -> Iterator[str]:
    """Base64 of the data, and what base64 of any longer data has of it, such as of `user:key`."""
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        if len(data) >= SHORTEST:
            yield encode(data).decode()
            yield encode(data).decode().rstrip("=")
        for before in range(3):
            bits = 8 * (before + len(data))
            # Digits of six bits: those that hold bits of what stands before or after are left out.
            yield encode(bytes(before) + data).decode()[-(-8 * before // 6) : bits // 6]


class RedactedStream:
    """Masks secrets in streamed text: what is fed in pieces comes out as the redactor masks the whole.

    Only what may be the beginning of a secret is held back, and no more than some thousand characters of it.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._text = ""
        self._shown = 0
        self._most = 4096 + 4 * redactor.longest

    def feed(self, piece: str) -> str:
        """Returns what may be shown now that `piece` has come."""
        self._text += piece
        shown = ""
        while True:
            match = self._redactor.pattern.search(self._text, self._shown)
            begun = self._begun()
            if match is None or match.start() >= begun:
                break
            shown += self._text[self._shown : match.start()] + masked(match)
            self._shown = match.end()
        shown += self._text[self._shown : begun]
        self._shown = begun
        self._shorten()
        return shown

    def flush(self) -> str:
        """Returns the rest, at the end of the text."""
        pieces, at = [], self._shown
        for match in self._redactor.pattern.finditer(self._text, at):
            pieces += [self._text[at : match.start()], masked(match)]
            at = match.end()
        rest, self._text, self._shown = self._text[at:], "", 0
        return "".join([*pieces, rest])

    def _begun(self) -> int:
        """Where the first secret may begin that goes on behind the end of the text so far; else the end."""
        text, forms = self._text, self._redactor.forms
        key = _begun_key().search(text, self._shown)
        end = key.start() if key else len(text)
        for at in range(max(self._shown, len(text) - self._redactor.longest + 1), end):
            if text[at] in forms:
                rest = text[at:]
                if any(form.startswith(rest) for form in forms[text[at]]):
                    return at
        return end

    def _shorten(self) -> None:
        """Drops what is not needed any more: all but what stands right before the rest, which may tell where a key
        begins, and the middle of a key without end.
        """
        kept = max(0, self._shown - 2)
        self._text, self._shown = self._text[kept:], self._shown - kept
        if len(self._text) > self._most:
            head = self._shown + MAX_HEAD + self._redactor.longest
            shorter = self._text[:head] + self._text[-_TAIL:]
            match = self._redactor.pattern.match(shorter, self._shown)
            if match is not None and match.end() == len(shorter):
                self._text = shorter


_TAIL = 128
"""Characters of a private key that have to be there to see where it ends."""


@cache
def _begun_key() -> re.Pattern[str]:
    """Finds what may become a key; made when it is first needed, as that takes milliseconds."""
    return re.compile("|".join(begun_keys()))
