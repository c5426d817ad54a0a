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
from magentic_kit.services.chat_stream import MalformedReply
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

_FAULTS: Mapping[str, re.Pattern[str]] = {
    "quota": re.compile(
        r"insufficient_(?:quota|balance|credit|funds)|billing_(?:hard_limit|not_active)|payment.?required"
        r"|credit balance is too low|insufficient (?:balance|credits|funds)|(?:out of|no|more) credits"
    ),
    "content": re.compile(
        r"content_filter|content_policy|responsible ?ai|content management policy|data_?inspection|\bflagged\b"
        r"|inappropriate content|moderation|prohibited_content|safety (?:system|filter|settings|reasons)|content policy"
        r"|guardrail|blocked (?:by|due to|for)[^.]{0,40}(?:safety|content|policy|filter)|content exists risk"
    ),
    "context": re.compile(
        r"context_length|context[_ ](?:length|window|size|limit)|maximum context|prompt is too long|input is too long"
        r"|input token count|too many (?:input )?tokens|prompt contains [\d,]+ tokens|input (?:text )?length"
        r"|exceeds? the (?:model's )?(?:maximum|max|limit)[^.]{0,40}(?:input |prompt )?tokens"
        r"|max(?:imum)?_?prompt_?tokens"
        r"|reduce (?:the length|your (?:message|prompt)|the number of)|longer than the model|string_above_max_length"
        r"|inputs? tokens?[^.]{0,60}(?:exceed|must be <=)|request too large"
    ),
}
"""What the codes and messages of refusals say, in lower case, with all providers' words for it."""

_WRONG_KEY = "; check the service's key variable"
_NO_MODEL = re.compile(
    r"model_not_found|no (?:such )?model|unknown model|\bmodels?\b[^.]{0,80}(?:not found|not exist|not supported)"
    r"|deploymentnotfound|deployment[^.]{0,80}not exist|resourcenotfound"
)
"""What a 404 says, in lower case, if the address is right."""

_NO_ENDPOINT = re.compile(r"no endpoints found|(?:does not|doesn't|not) support")
_ADVICE = {
    "key": _WRONG_KEY,
    "model": "; check the model's name",
    "quota": "; add credit, or choose another service",
    "context": "; set a smaller `context:`",
}
_LONG_TOKEN = re.compile(r"\b(?=\w*\d)(?=\w*[A-Za-z])\w{32,}\b")


def as_service_error(error: BaseException, *, service: str, describe: str, address: str = "") -> ServiceError:
    """The failure as one line for a person, and as fields that retries can act on.

    `describe` says what was called, such as `gpt-4.1-mini at http://…`; `address` is the key of the team file that
    has the server's address, "" if none has. The causes are searched for an HTTP status, the server's wish to wait
    (`Retry-After`) and a lost connection. To retry: 408, 409, 429 but for an exhausted quota, 5xx, lost connections.
    """
    chain = list(_chain(error))
    # The outermost that says something: aiohttp numbers a torn connection 400, deep inside.
    link = next((e for e in chain if isinstance(e, ServiceError) or _lost(e) or _http(e)[0] or _body(e)), chain[-1])
    if isinstance(link, ServiceError):
        return link
    status, headers = _http(link)
    codes, detail = _said(chain[-1] if _lost(link) else link)
    status = status or next((number for word, number in _WORDS.items() if word in codes), None)
    text, retryable, fault = detail, False, ""
    if status:
        said = f"{codes} {detail}".lower()
        fault = _fault(status, said)
        advice = _ADVICE.get(fault, "")
        if fault == "model" and address and not _NO_MODEL.search(said):
            advice = f"; check {address} and the model's name"
        text = f"{status} {responses.get(status, '')}".rstrip() + f": {detail}{advice}"
        retryable = fault in ("limit", "down")
    elif _lost(link):
        text, retryable = f"the connection failed: {detail}", not any(_names(e) & _HOPELESS for e in chain)
        fault = "down"
    elif isinstance(link, MalformedReply):
        text = f"the server's reply cannot be read: {link}"
    elif isinstance(link, _MISREAD) or getattr(link, "status_code", None) == 200:
        text = f"{not_a_completion(address)} ({detail})"
    line, wait = f"service '{service}' ({describe}): {text}", _retry_after(headers)
    return ServiceError(line, service=service, status=status, retryable=retryable, retry_after=wait, fault=fault)


def not_a_completion(address: str) -> str:
    """What is said of an answer that is no reply at all; `address` as for `as_service_error`."""
    text = "answered with something that is not a chat completion"
    if address:
        return f"{text}; check {address}"
    return text


def _fault(status: int, said: str) -> str:
    """What is wrong; `said` are the codes and the message in lower case."""
    if status in (408, 409) or status >= 500:
        if _FAULTS["context"].search(said) and status == 500:
            return "context"
        return "down"
    if status == 402:
        return "quota"
    for fault, pattern in _FAULTS.items():
        if pattern.search(said) and (status != 429 or fault == "quota"):
            return fault
    if status in (401, 403):
        return "key"
    if status == 404 and not _NO_ENDPOINT.search(said):
        return "model"
    return {429: "limit"}.get(status, "request")


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
    fields = _body(error).values() if not isinstance(getattr(error, "status_code", None), int) else ()
    numbers = map(_number, (meta.get("HTTPStatusCode"), *values, *fields))
    headers = meta.get("HTTPHeaders") or getattr(response or error, "headers", None)
    status = next((n for n in numbers if 400 <= n < 600), None)
    return status, {str(name).lower(): str(value) for name, value in (headers or {}).items()}


def _number(value: object) -> int:
    """A status, also as text; 0 for anything else."""
    if isinstance(value, int) or (isinstance(value, str) and value.isdecimal()):
        return int(value)
    return 0


def _body(error: BaseException) -> dict[str, Any]:
    """The fields of the error object inside a reply of status 200 that may hold a status."""
    body: Any = getattr(error, "body", None)
    if not isinstance(body, Mapping):
        return {}
    inner = body.get("error")
    fields = inner if isinstance(inner, Mapping) else body
    return {name: fields.get(name) for name in ("code", "status", "status_code", "http_status") if fields.get(name)}


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds; None where the header says nothing of use."""
    wish = headers.get("retry-after", "")
    with suppress(ValueError, TypeError):
        when = None if wish[:1].isdigit() else parsedate_to_datetime(wish)
        if when:
            return max(0.0, (when - datetime.now(timezone.utc)).total_seconds())
        return float(wish)
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
    first, _, rest = text.partition("\n")
    if first.rstrip().endswith(":"):  # what is wrong stands below, as in pydantic's messages
        first = f"{first} {rest}"
    return codes, one_line(_LONG_TOKEN.sub("[secret]", Redactor().text(first.rstrip("."))), 300)
