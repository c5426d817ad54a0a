"""Web pages for agents: HTTP GET from a list of hosts, and never from inside the network unless stated."""

from __future__ import annotations

import html
import ipaddress
import re
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from fnmatch import fnmatchcase
from typing import Annotated

import anyio
import httpx
from semantic_kernel.functions.kernel_function_decorator import kernel_function

from magentic_kit.tools.certificates import certificate_problem

MAX_HOPS = 5
"""Redirects that are followed."""

# What `ipaddress` calls public although it leads inside: IPv4 in IPv6 (NAT64, 6to4), Oracle's and Azure's metadata.
_INSIDE = [
    ipaddress.ip_network(net)
    for net in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "192.0.0.0/24", "168.63.129.16")
]
_TEXT = re.compile(r"text/.*|application/(.*\+)?(json|xml|yaml|javascript)|application/x-(ndjson|yaml)")
# Python also has codecs that are no charsets, or take quadratic time (punycode).
_CHARSET = re.compile(r"(utf|us|ascii|latin|iso|windows|cp|koi8|gb|big5|shift|euc)[\w-]*", re.I)
# Linear on any input, which html.parser is not: 40 kB of "<a " take it ten seconds.
_HIDDEN = re.compile(r"<!--.*?(-->|\Z)|<(script|style|template)\b.*?(</\2\b[^<>]*>?|\Z)", re.I | re.S)
_TAG = re.compile(r"</?([a-z][a-z0-9]*)\b[^<>]*>|<[!?][^<>]*>", re.I)
_INLINE = frozenset(
    ("a", "abbr", "b", "code", "em", "font", "i", "mark", "s", "small", "span", "strong", "sub", "sup", "u")
)


class FetchPlugin:
    """Reads text from `hosts` (names; `*` stands for anything, as in `*.example.com`) over http and https.

    Each host, also one that a redirect names, is looked up once, all its addresses are checked, and the
    connection goes to a checked address; proxies and cookies are not used. `private` allows loopback, private,
    link-local and other addresses that are not public. A body is cut at `max_bytes` bytes; `timeout` is seconds
    for the whole call.
    """

    REPEATABLE = ("get",)

    def __init__(
        self, hosts: Sequence[str], *, private: bool = False, max_bytes: int = 1_000_000, timeout: float = 30
    ) -> None:
        self._hosts = [host.lower() for host in ([hosts] if isinstance(hosts, str) else hosts)]
        self._private = private
        self._max_bytes = max_bytes
        self._timeout = timeout

    @kernel_function(name="get", description="Reads a web address by HTTP GET: text as it is, HTML as plain text.")
    async def get(self, url: Annotated[str, "http or https address"]) -> str:
        """The text, with a last line in brackets where it was cut. Raises `OSError` or `ValueError`."""
        try:
            with anyio.fail_after(self._timeout):
                target = httpx.URL(url)
                for _ in range(MAX_HOPS + 1):
                    async with self._answer(target) as response:
                        if not response.has_redirect_location:
                            return await self._text(response)
                        target = target.join(response.headers["location"])
        except TimeoutError:
            raise TimeoutError(f"{url}: no answer within {self._timeout:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, socket.gaierror, UnicodeError) as error:
            reason = certificate_problem(error) or str(error) or type(error).__name__
            raise ConnectionError(f"{url} cannot be read: {reason}") from None
        raise ConnectionError(f"{url} redirects more than {MAX_HOPS} times")

    @asynccontextmanager
    async def _answer(self, url: httpx.URL) -> AsyncIterator[httpx.Response]:
        """The answer from one of the host's checked addresses: the first that takes a connection."""
        addresses = await self._addresses(url)
        # The certificate is checked against the host's name, not the address.
        extensions = {"sni_hostname": url.raw_host.decode(), "timeout": {"connect": 5.0}}
        headers = {"host": url.netloc.decode(), "user-agent": "magentic-kit", "accept-encoding": "identity"}
        async with httpx.AsyncHTTPTransport() as transport:
            for address in addresses:
                request = httpx.Request("GET", url.copy_with(host=address), headers=headers, extensions=extensions)
                try:
                    response = await transport.handle_async_request(request)
                    break
                except (httpx.ConnectError, httpx.ConnectTimeout):
                    if address == addresses[-1]:
                        raise
            try:
                yield response
            finally:
                await response.aclose()

    async def _addresses(self, url: httpx.URL) -> list[str]:
        if url.scheme not in ("http", "https") or url.userinfo or not url.host:
            raise PermissionError(f"{url} is refused: only http and https addresses without a user name are read")
        if not any(fnmatchcase(url.host.rstrip("."), pattern) for pattern in self._hosts):
            raise PermissionError(f"{url.host} is refused: not among the allowed hosts ({', '.join(self._hosts)})")
        if (url.port or 0) >= 2**16:
            raise ValueError(f"{url} is refused: the highest port is 65,535")
        port = url.port or {"http": 80, "https": 443}[url.scheme]
        found = await anyio.getaddrinfo(url.raw_host.decode(), port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(address[0] for *_, address in found))
        if not self._private and not all(map(_is_public, addresses)):
            raise PermissionError(f"{url.host} is refused: its address is not a public one")
        return addresses

    async def _text(self, response: httpx.Response) -> str:
        kind = response.headers.get("content-type", "text/plain").partition(";")[0].strip().lower()
        if response.status_code >= 400:
            raise ConnectionError(f"the server answered {response.status_code} {response.reason_phrase}")
        if not _TEXT.fullmatch(kind) or response.headers.get("content-encoding", "identity") != "identity":
            raise ValueError(f"the answer is {kind} or compressed; only plain text is read")
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > self._max_bytes:
                break
        charset = response.encoding if _CHARSET.fullmatch(response.encoding or "") else "utf-8"
        text = bytes(body[: self._max_bytes]).decode(charset or "utf-8", "replace")
        text = _plain_text(text) if "html" in kind else text
        if len(body) > self._max_bytes:
            return f"{text}\n[cut at {self._max_bytes:,} bytes]"
        return text


def _is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    if ip.is_multicast or (isinstance(ip, ipaddress.IPv6Address) and ip.is_site_local):
        return False
    return ip.is_global and not any(ip in network for network in _INSIDE)


def _plain_text(page: str) -> str:
    """What a reader sees of an HTML page: no tags, scripts, styles or comments; no empty lines."""
    page = _TAG.sub(lambda tag: "" if (tag[1] or "").lower() in _INLINE else "\n", _HIDDEN.sub(" ", page))
    return "\n".join(filter(None, (" ".join(line.split()) for line in html.unescape(page).splitlines())))
