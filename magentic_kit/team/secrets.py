"""Where secrets stand: under which names, in which places of a team file, in which parts of a value."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeAlias
from urllib.parse import unquote

from magentic_kit.team.problems import Route

Span: TypeAlias = tuple[int, int]
"""Begin and end of a part of a text."""

_CERTAIN = re.compile(
    "passw(or)?d|passphrase|secret|token(?!s(_|$)|iz)|credential|(api|access|private|account|signing)_?key|"
    "connection_?string"
)
_ANYWHERE = {"key", "pwd", "cookie", "jwt", "bearer", "sas"}
_AT_THE_END = {"dsn", "auth", "authorization", "pass", "pat"}
"""Words that tell of a secret only there: SSH_AUTH_SOCK holds none."""

_OTHER_KEYS = {"primary", "foreign", "sort", "partition", "cache", "group", "join", "public", "index", "unique", "row"}
_NO_VALUE = {"env", "file", "path", "dir", "name", "type"}
"""Last words of names that tell where a secret is, not what it is: PASSWORD_FILE."""

_PUBLIC_HEADER = re.compile(
    r"accept.*|content-.*|user-agent|host|cache-control|connection|origin|referer|.*-version|x-request-id|x-title"
)
_PUBLIC_VARIABLE = re.compile(
    r"path|home|lang|lc_.*|tz|term|user|shell|pwd|tmpdir|debug|no_color|node_env|python.*"
    r"|.*_(level|host|port|region|dir|path|file|home|env|mode|format|timeout|name)"
)
_URL = re.compile(r"([a-z][a-z0-9+.-]{0,30})://([^\s/@:]{0,256})(?::([^\s/]{0,1024}))?@", re.IGNORECASE)
_PAIR = re.compile(r"(?:^|[?&;,\s])-{0,2}([A-Za-z][\w.-]*)=([^&;,\s\"']+)")
_FLAG = re.compile(r"--?([A-Za-z][\w-]*)")
_SCHEME = re.compile(r"(?:Bearer|Basic|Token|ApiKey|Digest)\s+", re.IGNORECASE)
_NO_PASSWORD = {"", "x", "x-oauth-basic", "x-token-auth"}
"""What stands for a password where the name of the user is a token."""

_SCHEMA = {"response_format", "properties"}
"""Keys below which JSON schemas stand: a property of that name is no secret."""

_OPEN = {"user", "username", "login", "email", "kind", "description", "scheme", "region", "host", "port", "title"}
"""Keys in a mapping of credentials that are no secret."""

_ORDINARY = {
    "admin", "changeme", "default", "demo", "development", "dummy", "empty", "example", "fake", "false", "guest",
    "hidden", "info", "key", "local", "localhost", "lm-studio", "mysql", "no-key", "nobody", "none", "null",
    "ollama", "password", "placeholder", "postgres", "production", "public", "redis", "root", "sample", "secret",
    "test", "testing", "token", "true", "user", "username", "your-password",
}  # fmt: skip
"""Words that are secret to nobody, and would be masked in every other sentence."""

SHORTEST, _SHORTEST_BY_NAME, _SHORTEST_NUMBER = 4, 8, 6
"""Characters that a secret needs to be looked for: in a place of secrets, under a vague name, of digits alone."""


def names_secret(name: str) -> bool:
    """Whether what stands under this name, of a variable or in a team file, is a secret."""
    words = _words(name)
    return words[-1] not in _NO_VALUE and (_names_certainly(words) or _names_vaguely(words))


def worth_masking(value: str, *, certain: bool = True) -> bool:
    """Whether a secret is one that texts are searched for.

    Shorter ones, and words that everybody uses, stand in too many texts by chance.
    """
    text = value.strip()
    shortest = _SHORTEST_NUMBER if text.isdigit() else SHORTEST
    return len(text) >= (shortest if certain else _SHORTEST_BY_NAME) and text.lower() not in _ORDINARY


def environment_secrets(*environments: Mapping[str, str], keys: Sequence[str] = ()) -> Iterator[str]:
    """The secrets of environments: by the names of variables, by `keys` (names too), and within URLs."""
    for name, value in (variable for environment in environments for variable in environment.items()):
        if name in keys or (names_secret(name) and name != "PWD"):
            if worth_masking(value, certain=name in keys or _names_certainly(_words(name))):
                yield value
            yield from _parts(value)
        spans = [*_inside(value)]
        if name.endswith("_HEADERS"):  # as OpenTelemetry's exporters have them
            spans += [pair.span(2) for pair in _PAIR.finditer(value) if not _PUBLIC_HEADER.fullmatch(pair[1].lower())]
        yield from values_of(value, spans)


def secret_spans(route: Route, text: str, before: str = "") -> list[Span]:
    """The parts of a team file's text that are secret for where they stand.

    `before` is the item before it in a list, which may be an option such as `--token`.
    """
    start = {"services": 2, "plugins": 2, "inputs": 1, "agents": 2, "manager": 1}.get(str(route[0]) if route else "")
    keys = [str(key) for key in route[start:]] if start is not None else []
    if keys and _is_place(route, keys, before):
        scheme = _SCHEME.match(text)
        if text.strip():
            return [(scheme.end() if scheme else 0, len(text))]
        return []
    if "=" in text or "://" in text:
        return [*_inside(text)]
    return []


def values_of(text: str, spans: Sequence[Span]) -> Iterator[str]:
    """The secrets that stand in these parts of a text, each as it may be written elsewhere."""
    for begin, end in spans:
        value = text[begin:end]
        for secret in {value, unquote(value)}:
            if worth_masking(secret):
                yield secret
        if (url := _URL.search(text)) and url[3] and url.span(3) == (begin, end):
            yield f"{unquote(url[2])}:{unquote(value)}"  # as in basic authentication
        yield from _parts(value)


def scalars(data: Any, route: Route = (), before: str = "") -> Iterator[tuple[Route, Any, str]]:
    """All values in plain data that are no mapping or list, each with its route and the item before it in a list."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            yield from scalars(value, (*route, key))
    elif isinstance(data, list | tuple):
        for number, item in enumerate(data):
            yield from scalars(item, (*route, number), before)
            before = item if isinstance(item, str) else ""
    else:
        yield route, data, before


def _words(name: str) -> list[str]:
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    return re.findall("[a-z0-9]+", apart) or [""]


def _names_certainly(words: list[str]) -> bool:
    return _CERTAIN.search("_".join(words)) is not None


def _names_vaguely(words: list[str]) -> bool:
    if _OTHER_KEYS.intersection(words):
        return False
    return words[-1] in _AT_THE_END or not _ANYWHERE.isdisjoint(words)


def _is_place(route: Route, keys: list[str], before: str) -> bool:
    """Whether the whole value at the route is a secret."""
    last = keys[-1]
    if keys in (["auth"], ["api_key_env"]) and route[0] == "services":  # the way to sign in; a variable's name
        return False
    if keys[0] == "script" or not _SCHEMA.isdisjoint(keys):  # what a scripted model says; what arguments are
        return False
    if route[0] == "inputs" or "inputs" in keys[:1]:  # an input's default, or the input itself
        named = keys[0] if route[0] == "inputs" else keys[1] if len(keys) > 1 else ""
        return names_secret(named) and last in (named, "default")
    if len(keys) > 1 and keys[-2].endswith("headers"):
        return not _PUBLIC_HEADER.fullmatch(last.lower())
    if route[0] == "plugins" and keys[0] == "env":
        return not _PUBLIC_VARIABLE.fullmatch(last.lower())
    flag = _FLAG.fullmatch(before)
    if flag and names_secret(flag[1]):
        return True
    return any(names_secret(key) for key in keys if not key.isdigit()) and last not in _OPEN


def _inside(text: str) -> Iterator[Span]:
    """Passwords in URLs, and values of secret names in queries, connection strings and options."""
    for url in _URL.finditer(text):
        web = url[1].lower() in ("http", "https", "git")
        if url[3] and url[3] not in _NO_PASSWORD:
            yield url.span(3)
        if (web and len(url[2]) >= 16) or (web and url[2] and (url[3] or "") in _NO_PASSWORD and len(url[2]) >= 8):
            yield url.span(2)
    for pair in _PAIR.finditer(text):
        if names_secret(pair[1]) and worth_masking(pair[2]):
            yield pair.span(2)


def _parts(value: str) -> Iterator[str]:
    """What a secret value is made of: the credential behind a scheme, user and password in base64."""
    scheme = _SCHEME.match(value)
    if scheme is None and not re.fullmatch(r"[A-Za-z0-9+/]{8,}={0,2}", value):
        return
    credential = value[scheme.end() :] if scheme else value
    if scheme and worth_masking(credential):
        yield credential
    with suppress(binascii.Error, UnicodeDecodeError, ValueError):
        user, colon, password = base64.b64decode(credential, validate=True).decode().partition(":")
        if colon and user.isprintable() and password.isprintable() and worth_masking(password):
            yield password
