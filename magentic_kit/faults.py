"""Translates whatever a connector raises into `ServiceError`; by shape alone, importing no provider."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

from magentic_kit.errors import ServiceError
from magentic_kit.redaction import Redactor

_LOST = {
    *(
        "TransportError",
        "APIConnectionError",
        "ClientConnectionError",
        "ClientPayloadError",
    ),  # httpx, aiohttp
    *(
        "ServiceRequestError",
        "ServiceResponseError",
        "IncompleteReadError",
        "HTTPClientError",
    ),  # azure, botocore
    *("ConnectionError", "TimeoutError", "gaierror", "SSLError"),
}
_HOPELESS = {"UnsupportedProtocol", "LocalProtocolError", "InvalidURL", "SSLCertVerificationError"}
_MISREAD = (AttributeError, TypeError, LookupError, ValueError, AssertionError)
"""What connectors raise when an answer with status 200 is a web page or some other JSON."""

_STATUS_OF = {  # errors inside a stream, which itself has status 200
    **dict.fromkeys(("rate_limit_error", "rate_limit_exceeded", "throttlingexception"), 429),
    **dict.fromkeys(("server_error", "api_error", "internalserverexception"), 500),
    **dict.fromkeys(("overloaded_error", "serviceunavailableexception"), 503),
}
_TOO_LONG = re.compile(r"context.?(length|window)|(prompt|input) is too long|too many tokens", re.I)
_LONG_TOKEN = re.compile(r"\b(?=\w*\d)(?=\w*[A-Za-z])\w{32,}\b")
_REDACTOR = Redactor()


def as_service_error(error: BaseException, *, service: str, describe: str) -> ServiceError:
    """The failure as one line for a person, and as fields that retries can act on.

    `describe` tells what was called, such as `gpt-4.1-mini at http://…`. The causes are searched for an
    HTTP status, the server's wish to wait (`retry-after-ms`, `Retry-After`) and a lost connection. To retry:
    408, 409, 429 but for an exhausted quota, 5xx, lost connections.
    """
    chain = list(_chain(error))
    # The outermost that tells something: aiohttp numbers a torn connection 400, deep inside.
    link = next((e for e in chain if isinstance(e, ServiceError) or _lost(e) or _http(e)[0]), chain[-1])
    if isinstance(link, ServiceError):
        return link
    status, headers = (None, {}) if _lost(link) else _http(link)
    codes, detail = _said(chain[-1] if _lost(link) else link)
    status = status or next((_STATUS_OF[code] for code in codes & _STATUS_OF.keys()), None)
    retryable = False
    if status:
        phrase = f" {HTTPStatus(status).phrase}" if status in set(HTTPStatus) else ""
        text = f"{status}{phrase}: {detail}{_advice(status, codes, detail)}"
        retryable = (status in (408, 409, 429) or status >= 500) and "insufficient_quota" not in codes
    elif _lost(link):
        text, retryable = f"the connection failed: {detail}", not any(_names(e) & _HOPELESS for e in chain)
    elif isinstance(link, _MISREAD) or getattr(link, "status_code", None) == 200:
        text = f"answered with something that is not a chat completion; check base_url ({detail})"
    else:
        text = detail
    text, wait = f"service '{service}' ({describe}): {text}", _retry_after(headers)
    return ServiceError(text, service=service, status=status, retryable=retryable, retry_after=wait)


def _names(error: BaseException) -> set[str]:
    return {cls.__name__ for cls in type(error).__mro__}


def _lost(error: BaseException) -> bool:
    return bool(_names(error) & _LOST) or type(error) is OSError


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, its cause and so on; Semantic Kernel's wrappers also carry the cause as an argument."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        inner = next((arg for arg in link.args if isinstance(arg, BaseException)), None)
        link = link.__cause__ or inner or (None if link.__suppress_context__ else link.__context__)


def _http(error: BaseException) -> tuple[int | None, Mapping[str, str]]:
    """The status of 400 and above, if the error has one, and the headers by their names in lower case."""
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):  # botocore
        meta = response.get("ResponseMetadata", {})
        numbers, headers = [meta.get("HTTPStatusCode")], meta.get("HTTPHeaders")
    else:
        numbers = [getattr(error, name, None) for name in ("status_code", "code", "status")]
        numbers.append(getattr(response, "status_code", None))
        headers = getattr(response, "headers", None) or getattr(error, "headers", None)
    status = next((int(n) for n in numbers if isinstance(n, int) and 400 <= n < 600), None)
    return status, {str(name).lower(): str(value) for name, value in (headers or {}).items()}


def _retry_after(headers: Mapping[str, str]) -> float | None:
    with suppress(KeyError, ValueError, TypeError):
        if "retry-after-ms" in headers:
            seconds = float(headers["retry-after-ms"]) / 1000
        elif headers["retry-after"][:1].isdigit():
            seconds = float(headers["retry-after"])
        else:
            when = parsedate_to_datetime(headers["retry-after"])
            seconds = max(0.0, (when - datetime.now(timezone.utc)).total_seconds())
        return seconds if math.isfinite(seconds) and seconds >= 0 else None
    return None


def _said(error: BaseException) -> tuple[set[str], str]:
    """The provider's error codes in lower case, and its message as one short line without secrets."""
    bodies = (getattr(error, name, None) for name in ("body", "details", "response"))
    body: Any = next((b for b in bodies if isinstance(b, str | Mapping)), None)
    with suppress(ValueError):
        body = json.loads(body) if isinstance(body, str) else body
    if isinstance(body, Mapping):
        body = body.get("error") or body.get("Error") or body
    fields = body if isinstance(body, Mapping) else {}
    codes = {str(fields[n]).lower() for n in ("code", "Code", "type", "status") if fields.get(n)}
    told = [fields.get(n) for n in ("message", "Message", "detail")] + [isinstance(body, str) and body]
    told += [getattr(error, "message", None), getattr(error, "error", None), error]
    text = str(next(filter(None, told))).strip()
    if re.search("<html|<!doctype html", text, re.I):
        text = "an HTML page"
    elif not _http(error)[0] and not codes:
        text = f"{type(error).__name__}: {text}".rstrip(": ")
    text = _LONG_TOKEN.sub("[secret]", _REDACTOR.text(text.partition("\n")[0].rstrip(".")))
    return codes, text if len(text) <= 300 else f"{text[:299]}…"


def _advice(status: int, codes: set[str], detail: str) -> str:
    if "insufficient_quota" in codes:
        return "; the account has no quota left"
    if "context_length_exceeded" in codes or (status in (400, 413) and _TOO_LONG.search(detail)):
        return "; the conversation is longer than the model's context window"
    if status in (401, 403):
        return "; check the service's key variable"
    return "; check the model's name and base_url" if status == 404 else ""
