"""Who reaches a server: the host that a request names, the page that it comes from, its token, its media type."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from mcp import types
from support.served_teams import teams_over_http, write_teams

from magentic_kit.errors import ConfigError
from magentic_kit.serve.guard import Access, split_authority
from magentic_kit.serve.http import listen, parse_address, url_of

TOKEN = "a-token-of-this-test"
BEARER = f"Bearer {TOKEN}"
HELLO = types.InitializeRequestParams(
    protocolVersion="2025-06-18", capabilities={}, clientInfo=types.Implementation(name="test", version="1")
)
INITIALIZE = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": HELLO.model_dump(by_alias=True)}
ACCEPT = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}


class Row(NamedTuple):
    """A server that listens at `bound`, a request, and the status of the answer; PORT is the server's port."""

    bound: str
    host: str
    origin: str | None
    status: int
    authorization: str | None = None
    content_type: str = "application/json"


NEAR = [  # a server on loopback
    Row("127.0.0.1", "127.0.0.1:PORT", None, 200),
    Row("127.0.0.1", "localhost:PORT", None, 200),
    Row("127.0.0.1", "LocalHost:PORT", None, 200),
    Row("127.0.0.1", "localhost.:PORT", None, 200),
    Row("127.0.0.1", "localhost", None, 200),
    Row("127.0.0.1", "localhost:9", None, 200),  # as through a tunnel
    Row("127.0.0.1", "127.0.0.1:PORT", "http://127.0.0.1:PORT", 200),
    Row("127.0.0.1", "LOCALHOST:PORT", "http://localhost:PORT", 200),
    Row("127.0.0.1", "127.0.0.1:PORT", "http://localhost:PORT", 403),
    Row("127.0.0.1", "127.0.0.1:PORT", "http://127.0.0.1:9", 403),
    Row("127.0.0.1", "127.0.0.1:PORT", "http://127.0.0.1", 403),
    Row("127.0.0.1", "127.0.0.1:PORT", "null", 403),
    Row("127.0.0.1", "127.0.0.1:PORT", "", 403),
    Row("127.0.0.1", "127.0.0.1:PORT", "https://evil.example", 403),
    Row("127.0.0.1", "127.0.0.1:PORT", "http://127.0.0.1:PORT.evil.example", 403),
    Row("127.0.0.1", "evil.example:PORT", None, 421),
    Row("127.0.0.1", "EVIL.example.:PORT", "http://evil.example:PORT", 421),
    Row("127.0.0.1", "localhost.evil.example:PORT", None, 421),
    Row("127.0.0.1", "127.0.0.1.evil.example:PORT", None, 421),
    Row("127.0.0.1", "192.0.2.1:PORT", None, 421),
    Row("127.0.0.1", "localhost@evil.example:PORT", None, 400),
    Row("127.0.0.1", "localhost:PORT, evil.example", None, 400),
    Row("127.0.0.1", "", None, 400),
    Row("127.0.0.1", "127.0.0.1:PORT", None, 415, content_type="text/plain"),
    Row("127.0.0.1", "127.0.0.1:PORT", None, 415, content_type="application/x-www-form-urlencoded"),
    Row("127.0.0.1", "127.0.0.1:PORT", None, 415, content_type="application/jsonp"),
    Row("127.0.0.1", "127.0.0.1:PORT", None, 415, content_type=""),
    Row("127.0.0.1", "127.0.0.1:PORT", None, 200, content_type="application/json; charset=utf-8"),
    Row("127.0.0.2", "127.0.0.2:PORT", None, 200),
    Row("127.0.0.2", "127.0.0.2:PORT", "http://127.0.0.2:PORT", 200),
    Row("127.0.0.2", "evil.example:PORT", None, 421),
    Row("127.0.0.2", "127.0.0.2:PORT", "http://evil.example:PORT", 403),
    Row("localhost", "localhost:PORT", "http://localhost:PORT", 200),
    Row("localhost", "evil.example:PORT", None, 421),
    Row("::1", "[::1]:PORT", None, 200),
    Row("::1", "[0:0:0:0:0:0:0:1]:PORT", "http://[::1]:PORT", 200),
    Row("::1", "[::1]:PORT", "http://evil.example", 403),
    Row("::1", "evil.example:PORT", None, 421),
]
FAR = [  # a server that other machines reach, whose token is asked for; `--allow-host Team.example`
    Row("0.0.0.0", "127.0.0.1:PORT", None, 401),
    Row("0.0.0.0", "127.0.0.1:PORT", None, 401, "Bearer a-token-of-this-tesT"),
    Row("0.0.0.0", "127.0.0.1:PORT", None, 401, f"Basic {TOKEN}"),
    Row("0.0.0.0", "127.0.0.1:PORT", None, 401, "Bearer"),
    Row("0.0.0.0", "127.0.0.1:PORT", None, 401, "Bearer ünsichtbar"),
    Row("0.0.0.0", "127.0.0.1:PORT", None, 200, BEARER),
    Row("0.0.0.0", "127.0.0.1:PORT", None, 200, f"bearer {TOKEN}"),
    Row("0.0.0.0", "192.0.2.1:PORT", None, 200, BEARER),
    Row("0.0.0.0", "[2001:db8::1]:PORT", None, 200, BEARER),
    Row("0.0.0.0", "team.example", None, 200, BEARER),
    Row("0.0.0.0", "TEAM.example.:PORT", None, 200, BEARER),
    Row("0.0.0.0", "team.example", "https://team.example", 200, BEARER),
    Row("0.0.0.0", "team.example", "https://team.example:8443", 403, BEARER),
    Row("0.0.0.0", "team.example", "null", 403, BEARER),
    Row("0.0.0.0", "team.example", None, 401),
    Row("0.0.0.0", "other.team.example", None, 421, BEARER),
    Row("0.0.0.0", "evil.example:PORT", "http://evil.example:PORT", 421, BEARER),
]


@pytest.mark.parametrize("bound", dict.fromkeys(row.bound for row in [*NEAR, *FAR]))
async def test_a_request_is_judged_by_host_origin_token_and_media_type(bound: str, tmp_path: Path) -> None:
    rows = [row for row in [*NEAR, *FAR] if row.bound == bound]
    if bound == "0.0.0.0":  # tests listen on loopback only
        host, access = "127.0.0.1", Access.of(bound, allow_hosts=["Team.example"], token=TOKEN)
    else:
        host, access = bound, Access.of(bound)
    statuses = {}
    async with teams_over_http(write_teams(tmp_path), host=host, access=access) as url, httpx.AsyncClient() as client:
        port = url.rpartition(":")[2]
        for row in rows:
            headers = {**ACCEPT, "Host": row.host, "Content-Type": row.content_type}
            if row.origin is not None:
                headers["Origin"] = row.origin
            if row.authorization is not None:
                headers["Authorization"] = row.authorization
            encoded = {name: value.replace("PORT", port).encode() for name, value in headers.items()}
            response = await client.post(f"{url}/mcp", json=INITIALIZE, headers=encoded)
            statuses[row] = response.status_code
            if response.status_code == 200:
                assert "serverInfo" in response.text
            elif response.status_code == 401:
                assert response.headers["WWW-Authenticate"] == "Bearer"
    assert statuses == {row: row.status for row in rows}


@pytest.mark.parametrize(
    ("header", "values", "status"),
    [("Host", ["localhost", "evil.example"], 400), ("Origin", ["http://HOST", "https://evil.example"], 403)],
)
async def test_a_header_that_is_sent_twice_is_refused(
    header: str, values: list[str], status: int, tmp_path: Path
) -> None:
    async with teams_over_http(write_teams(tmp_path)) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        headers = [f"{header}: {value.replace('HOST', f'{host}:{port}')}" for value in values]
        if header != "Host":
            headers.append(f"Host: {host}:{port}")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write("\r\n".join(["GET /mcp HTTP/1.1", *headers, "Connection: close", "", ""]).encode())
        answer = await reader.read()
        writer.close()
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())


@pytest.mark.parametrize("bound", ["0.0.0.0", "::", "192.0.2.1", "team.example", "127.1", "0", "localhost.example"])
def test_beyond_loopback_a_token_is_needed(bound: str) -> None:
    with pytest.raises(ConfigError, match="a token is needed"):
        Access.of(bound)
    with pytest.raises(ConfigError, match="a token is needed"):
        Access.of("127.0.0.1", allow_hosts=["localhost", bound])
    assert Access.of(bound, token=TOKEN).answers_to(bound)


@pytest.mark.parametrize("token", ["short", "with a blank in it", "mit-Ümlaut-darinnen", ""])
def test_a_token_that_no_request_should_have_is_refused(token: str) -> None:
    with pytest.raises(ConfigError, match="16 or more characters"):
        Access.of("0.0.0.0", token=token)


@pytest.mark.parametrize("text", ["host:1", "[::1]:1", "http://host", "*", "a b", ""])
def test_a_host_to_allow_has_neither_port_nor_path(text: str) -> None:
    with pytest.raises(ConfigError, match="--allow-host"):
        Access.of("127.0.0.1", allow_hosts=[text], token=TOKEN)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8765", ("127.0.0.1", 8765)),
        ("[::1]:8765", ("::1", 8765)),
        ("LocalHost:0", ("localhost", 0)),
        ("8000", None),
        ("::1:8000", None),
        ("[::1]", None),
        (":8000", None),
        ("host:", None),
        ("host:65536", None),
        ("http://host:80", None),
    ],
)
def test_an_address_is_host_and_port(text: str, address: tuple[str, int] | None) -> None:
    if address is not None:
        assert parse_address(text, "--http") == address
    else:
        with pytest.raises(ConfigError, match=r"should be HOST:PORT, such as 127\.0\.0\.1:8765 or \[::1\]:8765"):
            parse_address(text, "--http")


def test_localhost_is_served_at_each_of_its_addresses_with_one_port() -> None:
    sockets = listen("localhost", 0)
    try:
        assert len({listening.getsockname()[1] for listening in sockets}) == 1
        host, port = split_authority(url_of("localhost", sockets[0]).removeprefix("http://"))
        with pytest.raises(ConfigError, match="cannot listen here"):
            listen(host, port or 0)
    finally:
        for listening in sockets:
            listening.close()
