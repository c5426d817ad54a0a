"""Keeps secrets out of everything a run shows or writes."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache, partial
from typing import Any, TypeVar

SECRET_NAME = re.compile(r"(^|_)(API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(_|$)", re.IGNORECASE)
"""Environment variables whose name matches hold secrets."""

_LOOKS_SECRET = (
    r"\bsk-[A-Za-z0-9_-]{16,}"  # OpenAI, Anthropic
    r"|\bnvapi-[A-Za-z0-9_-]{16,}"
    r"|\bAIza[A-Za-z0-9_-]{30,}"  # Google
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"  # AWS
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}"
    r"|\bxox[abprs]-[A-Za-z0-9-]{10,}"  # Slack
    r"|(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"  # JSON web tokens
    r"|(?<=Bearer )[A-Za-z0-9._~+/-]{16,}"
    r"|-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|\Z)"
)
_MASK = "[secret]"
_E = TypeVar("_E")


class Redactor:
    """Masks the given secrets, and whatever looks like one, in texts and events."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # A short value would mask ordinary words; longest first, or a prefix would leave the rest to see.
        written = {form for secret in secrets if len(secret) >= 8 for form in (secret, json.dumps(secret)[1:-1])}
        known = sorted(written, key=len, reverse=True)
        pattern = re.compile("|".join([*map(re.escape, known), _LOOKS_SECRET]))
        # A conversation is looked at again with every request.
        self.text = lru_cache(maxsize=4096)(partial(pattern.sub, _MASK))

    @classmethod
    def from_environment(cls, *more: Mapping[str, str], keys: Collection[str] = ()) -> Redactor:
        """A redactor that knows the value of every variable whose name says it is secret, or is one of `keys`.

        Looks in the process's environment, and in `more` of them.
        """
        pairs = (pair for env in (os.environ, *more) for pair in env.items())
        return cls(value for name, value in pairs if name in keys or SECRET_NAME.search(name))

    def value(self, value: Any) -> Any:
        """The same for plain data of any depth."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {key: self.value(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return self.event(value)
        return value

    def event(self, event: _E) -> _E:
        """The same for an event or a part of one."""
        masked = {f.name: self.value(getattr(event, f.name)) for f in dataclasses.fields(event)}  # type: ignore[arg-type]
        return dataclasses.replace(event, **masked)  # type: ignore[type-var]


class RedactedStream:
    """Masks secrets in streamed text: a word is let through only when it is whole, since a key has no spaces."""

    _LONGEST = 4096

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._held = ""

    def feed(self, piece: str) -> str:
        """What may be shown now that `piece` has come."""
        self._held += piece
        cut = max(self._held.rfind(" "), self._held.rfind("\n")) + 1
        begin = self._held.rfind("-----BEGIN ", 0, cut)
        if begin >= 0 and self._held.count("KEY-----", begin, cut) < 2:
            cut = begin
        if self._held[:cut].endswith("Bearer "):
            cut -= len("Bearer ")
        if not cut and len(self._held) > self._LONGEST:
            cut = len(self._held)
        ready, self._held = self._held[:cut], self._held[cut:]
        return self._redactor.text(ready)

    def flush(self) -> str:
        """The rest, at the end of the text."""
        ready, self._held = self._held, ""
        return self._redactor.text(ready)
