"""What connectors raise becomes one line for a person and fields that retries act on."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import httpx
import openai
import pytest
from aiohttp import ServerDisconnectedError
from azure.core.exceptions import HttpResponseError, ServiceRequestError
from semantic_kernel.exceptions import ServiceResponseException

from magentic_kit.errors import ServiceError
from magentic_kit.services.errors import as_service_error

REQUEST = httpx.Request("POST", "http://127.0.0.1/v1/chat/completions")


def fault(error: BaseException) -> ServiceError:
    return as_service_error(error, service="default", describe="gpt-5 at http://host/v1", address="base_url")


def line(text: str) -> str:
    return f"service 'default' (gpt-5 at http://host/v1): {text}"


def openai_error(status: int, error: Any = "no", **headers: str) -> BaseException:
    """What the OpenAI client raises for a status; its keyword takes either of the httpx generations."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = httpx.Response(status, headers=named, request=REQUEST)
    body = {"message": error} if isinstance(error, str) else error
    return openai.APIStatusError(f"Error code: {status} - {body}", response=response, body=body)  # type: ignore[arg-type]


def in_semantic_kernel(cause: BaseException) -> BaseException:
    wrapped = ServiceResponseException("<class 'OpenAIChatCompletion'> service failed to complete", cause)
    wrapped.__cause__ = cause
    return wrapped


class Shaped(Exception):
    """An exception with the attributes of a provider's own, whose package may not be installed."""

    def __init__(self, text: str = "", **attributes: Any) -> None:
        super().__init__(text)
        self.__dict__.update(attributes)


def boto(status: int, code: str, message: str, **headers: str) -> BaseException:
    meta = {"HTTPStatusCode": status, "HTTPHeaders": {k.replace("_", "-"): v for k, v in headers.items()}}
    return Shaped("wrapped", response={"Error": {"Code": code, "Message": message}, "ResponseMetadata": meta})


WRONG_KEY = {"message": "Incorrect API key provided: sk-proj-abcdefghijklmnop.", "code": "invalid_api_key"}
QUOTA = {"message": "You exceeded your current quota.", "code": "insufficient_quota"}
TOO_LONG = {"message": "Too long by 5 tokens.", "code": "context_length_exceeded"}

STATUSES: dict[str, tuple[BaseException, int, bool, str]] = {
    "wrong key, which is masked": (
        openai_error(401, WRONG_KEY),
        *(401, False),
        "401 Unauthorized: Incorrect API key provided: [secret]; check the service's key variable",
    ),
    "forbidden": (
        openai_error(403, "not for you"),
        *(403, False, "403 Forbidden: not for you; check the service's key variable"),
    ),
    "no such model": (
        openai_error(404, "no model 'gpt-5'"),
        *(404, False, "404 Not Found: no model 'gpt-5'; check the model's name"),
    ),
    "timeout of a proxy": (openai_error(408), 408, True, "408 Request Timeout: no"),
    "conflict": (openai_error(409), 409, True, "409 Conflict: no"),
    "rate limit": (openai_error(429, "slow down"), 429, True, "429 Too Many Requests: slow down"),
    "exhausted quota": (
        openai_error(429, QUOTA),
        *(429, False, "429 Too Many Requests: You exceeded your current quota"),
    ),
    "server error": (openai_error(500, "boom"), 500, True, "500 Internal Server Error: boom"),
    "a status nobody named": (openai_error(529, "overloaded"), 529, True, "529: overloaded"),
    "a gateway's web page": (
        openai_error(502, "<html><body>Bad gateway</body></html>"),
        *(502, True, "502 Bad Gateway: an HTML page"),
    ),
    "context length": (openai_error(400, TOO_LONG), 400, False, "400 Bad Request: Too long by 5 tokens"),
    "another bad request": (openai_error(400, "bad"), 400, False, "400 Bad Request: bad"),
    "openai, inside a stream": (
        openai.APIError("x", request=REQUEST, body={"message": "boom", "type": "server_error"}),  # type: ignore[arg-type]
        *(500, True, "500 Internal Server Error: boom"),
    ),
    "anthropic": (
        Shaped(status_code=400, body={"type": "error", "error": {"type": "x", "message": "bad"}}),
        *(400, False, "400 Bad Request: bad"),
    ),
    "anthropic, inside a stream": (
        Shaped(status_code=200, body={"error": {"type": "overloaded_error", "message": "Overloaded"}}),
        *(503, True, "503 Service Unavailable: Overloaded"),
    ),
    "google": (
        Shaped(code=503, status="UNAVAILABLE", details={"error": {"code": 503, "message": "busy"}}),
        *(503, True, "503 Service Unavailable: busy"),
    ),
    "mistral": (
        Shaped(status_code=422, body=json.dumps({"detail": "no such role"})),
        *(422, False, "422 Unprocessable"),
    ),
    "ollama": (
        Shaped("model 'x' not found (status code: 404)", status_code=404),
        *(404, False, "404 Not Found: model 'x' not found (status code: 404); check the model's name"),
    ),
    "bedrock": (
        boto(429, "ThrottlingException", "Too many requests"),
        *(429, True, "429 Too Many Requests: Too many requests"),
    ),
    "azure": (
        Shaped("(None) boom\nCode: None\nMessage: boom", status_code=500),
        *(500, True, "500 Internal Server Error: (None) boom"),
    ),
}


NOT_FOUND: dict[str, tuple[Any, str]] = {
    "OpenAI": (
        {"message": "The model `m` does not exist or you do not have access to it.", "code": "model_not_found"},
        "the model's name",
    ),
    "Ollama": ({"message": 'model "qwen3:8b" not found, try pulling it first'}, "the model's name"),
    "vLLM": ({"message": "The model `m` does not exist.", "type": "NotFoundError"}, "the model's name"),
    "Azure": (
        {"code": "DeploymentNotFound", "message": "The API deployment for this resource does not exist."},
        "the model's name",
    ),
    "Gemini": ({"message": "models/m is not found for API version v1beta"}, "the model's name"),
    "a server without such a route": ({"message": "Not Found"}, "base_url and the model's name"),
    "a page of a proxy": ("<html><body>404 page not found</body></html>", "base_url and the model's name"),
    "FastAPI": ({"detail": "Not Found"}, "base_url and the model's name"),
}


@pytest.mark.parametrize("name", NOT_FOUND)
def test_what_a_404_advises_blames_an_address_only_if_nobody_knows_the_model(name: str) -> None:
    body, advice = NOT_FOUND[name]
    assert str(fault(in_semantic_kernel(openai_error(404, body)))).endswith(f"; check {advice}")


def test_a_message_whose_first_line_only_opens_it_is_told_with_what_follows() -> None:
    told = str(fault(openai_error(500, "1 validation error:\n  body.response_format.type\n    should be 'text'")))
    assert told == line("500 Internal Server Error: 1 validation error: body.response_format.type should be 'text'")


def test_no_address_is_blamed_where_the_team_file_has_none() -> None:
    told = as_service_error(openai_error(404, "Not Found"), service="default", describe="m", address="")
    assert str(told) == "service 'default' (m): 404 Not Found: Not Found; check the model's name"


@pytest.mark.parametrize("name", STATUSES)
def test_a_status_is_told_in_one_line_and_says_whether_to_retry(name: str) -> None:
    error, status, retryable, text = STATUSES[name]
    for raised in (error, in_semantic_kernel(error)):
        found = fault(raised)
        assert (found.status, found.retryable, found.service) == (status, retryable, "default")
        assert str(found).startswith(line(text))
        assert "\n" not in str(found) and "service failed" not in str(found)


def soon() -> str:
    return format_datetime(datetime.now(timezone.utc) + timedelta(seconds=90), usegmt=True)


WAITS: dict[str, tuple[Callable[[], BaseException], float | None]] = {
    "seconds": (lambda: openai_error(429, retry_after="7"), 7.0),
    "a date": (lambda: openai_error(429, retry_after=soon()), 90.0),
    "a date that has passed": (lambda: openai_error(503, retry_after="Wed, 21 Oct 2015 07:28:00 GMT"), 0.0),
    "a date without a zone": (lambda: openai_error(503, retry_after="Wed, 21 Oct 2015 07:28:00 -0000"), None),
    "nonsense": (lambda: openai_error(429, retry_after="later"), None),
    "less than nothing": (lambda: openai_error(429, retry_after="-5"), None),
    "for ever": (lambda: openai_error(429, retry_after="inf"), None),
    "a part of a second": (lambda: openai_error(429, retry_after="0.5"), 0.5),
    "not said": (lambda: openai_error(429), None),
    "bedrock's": (lambda: boto(429, "ThrottlingException", "no", retry_after="3"), 3.0),
    "mistral's": (lambda: Shaped(status_code=429, headers={"Retry-After": "4"}), 4.0),
}


@pytest.mark.parametrize("name", WAITS)
def test_the_servers_wish_to_wait_is_read(name: str) -> None:
    make, seconds = WAITS[name]
    found = fault(in_semantic_kernel(make())).retry_after
    assert found == (seconds if seconds is None else pytest.approx(seconds, abs=3 if seconds == 90 else 0))


class ConnectionClosedError(ConnectionError):
    """As botocore names it."""


LOST: dict[str, BaseException] = {
    "refused": ConnectionRefusedError(111, "refused"),
    "no route": OSError(113, "No route to host"),
    "no such host": socket.gaierror(-2, "Name or service not known"),
    "timed out": TimeoutError("timed out"),
    "httpx": httpx.RemoteProtocolError("peer closed connection"),
    "openai": openai.APIConnectionError(request=REQUEST),  # type: ignore[arg-type]
    "aiohttp": ServerDisconnectedError(),
    "azure": ServiceRequestError("Cannot connect"),
    "botocore": ConnectionClosedError("closed"),
    "tls": ssl.SSLError(1, "record layer failure"),
}


@pytest.mark.parametrize("name", LOST)
def test_a_lost_connection_may_be_retried(name: str) -> None:
    found = fault(in_semantic_kernel(LOST[name]))
    assert found.retryable and found.status is None
    assert str(found).startswith(line(f"the connection failed: {type(LOST[name]).__name__}"))


def test_the_innermost_cause_of_a_lost_connection_is_told() -> None:
    try:
        try:
            raise ConnectionRefusedError(111, "Connection refused")
        except OSError as error:
            raise openai.APIConnectionError(request=REQUEST) from error  # type: ignore[arg-type]
    except openai.OpenAIError as error:
        told = str(fault(in_semantic_kernel(error)))
    assert told == line("the connection failed: ConnectionRefusedError: [Errno 111] Connection refused")


def test_a_status_deep_inside_a_lost_connection_is_not_the_servers() -> None:
    torn = httpx.ReadError("torn")
    torn.__cause__ = Shaped("Not enough data", code=400)  # as aiohttp numbers it
    assert fault(torn).retryable and fault(torn).status is None


@pytest.mark.parametrize("cause", [ssl.SSLCertVerificationError("bad"), httpx.UnsupportedProtocol("ftp")])
def test_a_connection_that_can_never_be_is_not_retried(cause: Exception) -> None:
    error = httpx.ConnectError("no")
    error.__cause__ = cause
    assert not fault(error).retryable


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (AttributeError("'str' object has no attribute 'usage'"), "'str' object has no attribute 'usage'"),
        (TypeError("'NoneType' object is not iterable"), "'NoneType' object is not iterable"),
        (json.JSONDecodeError("Expecting value", "<html>", 0), "Expecting value"),
        (Shaped("<!DOCTYPE html><html>Hi", status_code=200), "an HTML page"),
    ],
)
def test_an_answer_that_is_no_chat_completion_says_so(error: BaseException, why: str) -> None:
    found = fault(in_semantic_kernel(error))
    assert str(found).startswith(line("answered with something that is not a chat completion; check base_url ("))
    assert why in str(found) and not found.retryable


def test_long_tokens_are_masked_and_long_messages_are_cut() -> None:
    told = str(fault(openai_error(400, f"key {'a1' * 20} is bad. {'word ' * 200}")))
    assert "a1a1" not in told and "key [secret] is bad" in told
    assert len(told) < 400 and told.endswith("…")


def test_a_service_error_inside_is_handed_back_as_it_is() -> None:
    inner = ServiceError("the script has no reply", service="s")
    assert fault(in_semantic_kernel(inner)) is inner


def test_anything_else_is_told_by_its_type() -> None:
    assert str(fault(HttpResponseError("odd\nthing"))) == line("HttpResponseError: odd")
    assert str(fault(asyncio.CancelledError())) == line("CancelledError")


def test_a_circle_of_causes_ends() -> None:
    one, two = RuntimeError("one"), RuntimeError("two")
    one.__cause__, two.__cause__ = two, one
    assert str(fault(one)) == line("RuntimeError: two")
