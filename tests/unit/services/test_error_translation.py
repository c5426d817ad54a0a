"""What connectors raise becomes one line for a person and fields for retries, by its shape alone."""

from __future__ import annotations

import json
import ssl
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import httpx
import openai
import pytest

from magentic_kit.errors import ServiceError
from magentic_kit.services.errors import as_service_error

WHERE = "m at http://127.0.0.1:1/v1"
REQUEST = httpx.Request("POST", "http://127.0.0.1:1/v1/chat/completions")


def answered(status: int, message: str = "no", code: str | None = None, **headers: str) -> openai.APIStatusError:
    """A refusal as OpenAI's client raises it."""
    body = {"message": message, "code": code}
    response = httpx.Response(status, headers=headers, json={"error": body}, request=REQUEST)
    return openai.APIStatusError(f"Error code: {status}", response=response, body=body)


def translated(error: BaseException, address: str = "services.default.base_url") -> ServiceError:
    return as_service_error(error, service="default", describe=WHERE, address=address)


REFUSALS: list[tuple[openai.APIStatusError, str, bool]] = [
    (answered(400), "request", False),
    (answered(400, "This model's maximum context length is 8192 tokens"), "context", False),
    (answered(400, "Blocked due to safety reasons"), "content", False),
    (answered(400, "x", "content_filter"), "content", False),
    (answered(401), "key", False),
    (answered(403), "key", False),
    (answered(403, "The content was flagged"), "content", False),
    (answered(402), "quota", False),
    (answered(404), "model", False),
    (answered(404, "No endpoints found that support tool use"), "request", False),
    (answered(408), "down", True),
    (answered(409), "down", True),
    (answered(413, "prompt is too long"), "context", False),
    (answered(429), "limit", True),
    (answered(429, "too many input tokens this minute"), "limit", True),
    (answered(429, "You exceeded your quota", "insufficient_quota"), "quota", False),
    (answered(500), "down", True),
    (answered(500, "the prompt is too long"), "context", False),
    (answered(503, "input is too long to be handled now"), "down", True),
    (answered(529), "down", True),
]


@pytest.mark.parametrize(("error", "fault", "retryable"), REFUSALS)
def test_a_refusal_is_known_by_its_status_and_its_words(
    error: openai.APIStatusError, fault: str, retryable: bool
) -> None:
    told = translated(error)
    assert (told.fault, told.retryable, told.status, told.service) == (fault, retryable, error.status_code, "default")
    assert str(told).startswith(f"service 'default' ({WHERE}): {error.status_code}")


@pytest.mark.parametrize(
    ("error", "address", "told"),
    [
        (answered(401, "Bad key."), "a", "401 Unauthorized: Bad key; check the service's key variable"),
        (answered(402), "a", "402 Payment Required: no; add credit, or choose another service"),
        (answered(404), "a.base_url", "404 Not Found: no; check a.base_url and the model's name"),
        (answered(404), "", "404 Not Found: no; check the model's name"),
        (answered(404, "model_not_found"), "a", "404 Not Found: model_not_found; check the model's name"),
        (answered(400, "prompt is too long"), "a", "400 Bad Request: prompt is too long; set a smaller `context:`"),
        (answered(529, "busy"), "a", "529: busy"),
        (answered(500, "Wrong:\nthe second line"), "a", "500 Internal Server Error: Wrong: the second line"),
        (answered(500, "first\nthe second line"), "a", "500 Internal Server Error: first"),
        (answered(502, "<html><body>Bad gateway</body></html>"), "a", "502 Bad Gateway: an HTML page"),
        (answered(400, "key sk-proj-Ab12Cd34Ef56Gh78 is bad"), "a", "400 Bad Request: key [secret] is bad"),
        (answered(400, f"token {'a1' * 16}"), "a", "400 Bad Request: token [secret]"),
    ],
)
def test_the_line_says_what_the_server_said_and_what_to_do(error: Exception, address: str, told: str) -> None:
    assert str(translated(error, address)) == f"service 'default' ({WHERE}): {told}"


def later(seconds: float) -> str:
    return format_datetime(datetime.now(timezone.utc) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("wish", "least", "most"),
    [("7", 7, 7), ("1.5", 1.5, 1.5), (later(3600), 60, 3600), (later(-60), 0, 0)],
)
def test_the_servers_wish_to_wait_is_kept_in_seconds(wish: str, least: float, most: float) -> None:
    seconds = translated(answered(429, **{"Retry-After": wish})).retry_after
    assert seconds is not None and least <= seconds <= most


@pytest.mark.parametrize("wish", ["", "soon", "7 minutes", "Someday, 31 Feb 2026"])
def test_a_wish_that_cannot_be_read_is_none(wish: str) -> None:
    assert translated(answered(429, **{"retry-after": wish})).retry_after is None


def caused(error: Exception, by: Exception) -> Exception:
    error.__cause__ = by
    return error


@pytest.mark.parametrize(
    ("error", "detail", "retryable"),
    [
        (ConnectionResetError("reset"), "ConnectionResetError: reset", True),
        (TimeoutError(), "TimeoutError", True),
        (OSError("bad descriptor"), "OSError: bad descriptor", True),
        (httpx.ConnectError("refused"), "ConnectError: refused", True),
        (caused(openai.APIConnectionError(request=REQUEST), ssl.SSLError("eof")), "SSLError", True),
        (httpx.UnsupportedProtocol("no http"), "UnsupportedProtocol: no http", False),
        (caused(httpx.ConnectError("tls"), ssl.SSLCertVerificationError("self-signed")), "SSLCertVerification", False),
    ],
)
def test_a_lost_connection_may_be_tried_again_unless_it_can_never_be_made(
    error: Exception, detail: str, retryable: bool
) -> None:
    told = translated(error)
    assert f"{WHERE}): the connection failed: {detail}" in str(told)
    assert (told.retryable, told.fault, told.status) == (retryable, "down", None)


@pytest.mark.parametrize("error", [AttributeError("x"), KeyError("choices"), json.JSONDecodeError("x", "<", 0)])
def test_an_answer_of_another_kind_names_the_address(error: Exception) -> None:
    told = translated(error)
    text = "answered with something that is not a chat completion; check services.default.base_url"
    assert f"{WHERE}): {text} ({type(error).__name__}: " in str(told)
    assert (told.retryable, told.fault) == (False, "")
    assert "a chat completion (" in str(translated(error, address=""))


class Wrapped(Exception):
    """As Semantic Kernel wraps: the cause is an argument too."""


def test_the_cause_is_found_inside_what_semantic_kernel_wraps() -> None:
    inner = answered(429, "slow down", **{"retry-after": "3"})
    known = ServiceError("told already", service="other")
    for error in (Wrapped("failed", inner), caused(Wrapped("failed"), inner), Wrapped("a", Wrapped("b", inner))):
        told = translated(error)
        assert (told.status, told.retry_after, told.fault) == (429, 3.0, "limit")
    assert translated(caused(Wrapped("failed"), known)) is known
    circle = Wrapped("round")
    circle.__cause__ = Wrapped("and round", circle)
    assert str(translated(circle)).startswith(f"service 'default' ({WHERE}): Wrapped: ")


class Shaped(Exception):
    """An error with the fields that some provider's client gives it."""

    def __init__(self, text: str = "", **fields: Any) -> None:
        super().__init__(text)
        self.__dict__.update(fields)


BOTO = {
    "Error": {"Code": "ThrottlingException", "Message": "Too many requests"},
    "ResponseMetadata": {"HTTPStatusCode": 429, "HTTPHeaders": {"Retry-After": 4}},
}


@pytest.mark.parametrize(
    ("error", "status", "fault", "said"),
    [
        (Shaped(response=BOTO), 429, "limit", "429 Too Many Requests: Too many requests"),
        (Shaped("no key", code=401), 401, "key", "401 Unauthorized: no key; check the service's key variable"),
        (Shaped("busy", status="503"), 503, "down", "503 Service Unavailable: busy"),
        (Shaped(body={"error": {"code": 400, "message": "bad"}}), 400, "request", "400 Bad Request: bad"),
        (Shaped(body={"error": {"type": "overloaded_error", "message": "x"}}), 503, "down", "503 Service"),
        (Shaped(body={"code": "rate_limit_exceeded", "message": "x"}), 429, "limit", "429 Too Many Requests: x"),
        (Shaped(body='{"error": "in words"}', status_code=500), 500, "down", "500 Internal Server Error: in words"),
        (Shaped("boom", body={"status": 200}), None, "", "boom"),
        (Shaped("", status_code=700), None, "", "Shaped"),
    ],
)
def test_each_provider_s_shape_of_an_error_is_read(error: Exception, status: int | None, fault: str, said: str) -> None:
    told = translated(error)
    assert (told.status, told.fault) == (status, fault)
    assert f"{WHERE}): {said}" in str(told)
    if error.__dict__.get("response") is BOTO:
        assert told.retry_after == 4.0
