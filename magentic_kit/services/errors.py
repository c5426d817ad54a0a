"""Translates whatever a connector raises into `ServiceError`; by shape alone, importing no provider."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from http.client import responses
from typing import Any

from magentic_kit.errors import ServiceError
from magentic_kit.runlog.redaction import Redactor
from magentic_kit.text import one_line

_LOST = {
    *("ConnectionError", "TimeoutError", "gaierror", "SSLError"),
    *("TransportError", "APIConnectionError", "ClientConnectionError", "ClientPayloadError"),  # httpx, aiohttp
    *("ServiceRequestError", "ServiceResponseError", "IncompleteReadError", "HTTPClientError"),  # azure, botocore
}
_HOPELESS = {"UnsupportedProtocol", "LocalProtocolError", "InvalidURL", "SSLCertVerificationError"}
_MISREAD = (AttributeError, TypeError, LookupError, ValueError, AssertionError)
"""What connectors raise when an answer with status 200 is a web page or some other JSON."""

_WORDS = {"rate_limit": 429, "throttl": 429, "overloaded": 503, "unavailable": 503, "server": 500, "api_error": 500}
"""What codes of errors inside a stream, which itself has status 200, stand for."""

_WRONG_KEY = "; check the service's key variable"
_ADVICE = {401: _WRONG_KEY, 403: _WRONG_KEY, 404: "; check the model's name and base_url"}
_LONG_TOKEN = re.compile(r"\b(?=\w*\d)(?=\w*[A-Za-z])\w{32,}\b")


def as_service_error(error: BaseException, *, service: str, describe: str) -> ServiceError:
    """The failure as one line for a person, and as fields that retries can act on.

    `describe` says what was called, such as `gpt-4.1-mini at http://…`. The causes are searched for an
    HTTP status, the server's wish to wait (`Retry-After`) and a lost connection. To retry: 408, 409, 429
    but for an exhausted quota, 5xx, lost connections.
    """
    chain = list(_chain(error))
    # The outermost that says something: aiohttp numbers a torn connection 400, deep inside.
    link = next((e for e in chain if isinstance(e, ServiceError) or _lost(e) or _http(e)[0]), chain[-1])
    if isinstance(link, ServiceError):
        return link
    status, headers = _http(link)
    codes, detail = _said(chain[-1] if _lost(link) else link)
    status = status or next((number for word, number in _WORDS.items() if word in codes), None)
    text, retryable = detail, False
    if status:
        text = f"{status} {responses.get(status, '')}".rstrip() + f": {detail}{_ADVICE.get(status, '')}"
        retryable = (status in (408, 409, 429) or status >= 500) and "insufficient_quota" not in codes
    elif _lost(link):
        text, retryable = f"the connection failed: {detail}", not any(_names(e) & _HOPELESS for e in chain)
    elif isinstance(link, _MISREAD) or getattr(link, "status_code", None) == 200:
        text = f"answered with something that is not a chat completion; check base_url ({detail})"
    line, wait = f"service '{service}' ({describe}): {text}", _retry_after(headers)
    return ServiceError(line, service=service, status=status, retryable=retryable, retry_after=wait)


def _names(error: BaseException) -> set[str]:
    return {cls.__name__ for cls in type(error).__mro__}


def _lost(error: BaseException) -> bool:
    return bool(_names(error) & _LOST) or type(error) is OSError


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error, its cause and so on; Semantic Kernel's wrappers also carry the cause as an argument."""
    for _ in range(20):  # they may go in a circle
        if error is None:
            return
        yield error
        inner = next((arg for arg in error.args if isinstance(arg, BaseException)), None)
        error = error.__cause__ or inner or (None if error.__suppress_context__ else error.__context__)


def _http(error: BaseException) -> tuple[int | None, Mapping[str, str]]:
    """The status of 400 and above, if the error has one, and the headers by their names in lower case."""
    response: Any = getattr(error, "response", None)
    meta = response.get("ResponseMetadata", {}) if isinstance(response, Mapping) else {}  # botocore
    values = (getattr(e, name, None) for e in (error, response) for name in ("status_code", "code", "status"))
    numbers = (int(n) for n in (meta.get("HTTPStatusCode"), *values) if isinstance(n, int))
    headers = meta.get("HTTPHeaders") or getattr(response or error, "headers", None)
    status = next((n for n in numbers if 400 <= n < 600), None)
    return status, {str(name).lower(): str(value) for name, value in (headers or {}).items()}


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds; None where the header says nothing of use."""
    wish = headers.get("retry-after", "")
    with suppress(ValueError, TypeError):
        when = None if wish[:1].isdigit() else parsedate_to_datetime(wish)
        return max(0.0, (when - datetime.now(timezone.utc)).total_seconds()) if when else float(wish)
    return None


def _said(error: BaseException) -> tuple[str, str]:
    """The provider's error codes in lower case, and its message as one short line without secrets."""
    fields: dict[str, Any] = {}
    for name in ("body", "details", "response"):
        body: Any = getattr(error, name, None)
        with suppress(TypeError, ValueError):
            body = json.loads(body)
        if isinstance(body, Mapping):
            inner = body.get("error") or body.get("Error") or body
            fields |= inner if isinstance(inner, Mapping) else {"message": inner}
    codes = "".join(str(fields.get(name) or "") for name in ("code", "Code", "type", "status")).lower()
    text = str(next(filter(None, map(fields.get, ("message", "Message", "detail"))), error)).strip()
    if re.search("<html|<!doctype html", text, re.I):
        text = "an HTML page"
    elif not _http(error)[0] and not codes:
        text = f"{type(error).__name__}: {text}".rstrip(": ")
    return codes, one_line(_LONG_TOKEN.sub("[secret]", Redactor().text(text.partition("\n")[0].rstrip("."))), 300)
