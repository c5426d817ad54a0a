"""Web pages for an agent: which addresses are read, which never are, and what a page is as text."""

from __future__ import annotations

import _socket
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from support.waits import processor_time_below

from magentic_kit.tools.builtin import fetch

PAGE = """<!doctype html><html><head><title>The &amp; title</title><style>p { color: red }</style>
<script>if (a < b) document.write("<p>no</p>")</script></head><body><!-- <p>hidden</p> --><h1>Head</h1>
<p>One <b>bold</b> wo<i>r</i>d &lt;tag&gt;<ul><li>first<li>second</ul></body></html>"""


class Site(BaseHTTPRequestHandler):
    """Answers from `pages`: path -> (status, headers, body); notes the `Host` of each request."""

    pages: dict[str, tuple[int, dict[str, str], bytes]] = {}
    hosts: list[str] = []

    def do_GET(self) -> None:
        self.hosts.append(self.headers["Host"])
        status, headers, body = self.pages[self.path]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            self.wfile.write(body)
        except ConnectionError:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[tuple[int, type[Site]]]:
    class Handler(Site):
        hosts: list[str] = []
        pages = {
            "/text": (200, {"Content-Type": "text/plain; charset=iso-8859-1"}, "Müller <b>".encode("latin-1")),
            "/html": (200, {"Content-Type": "text/html"}, PAGE.encode()),
            "/json": (200, {"Content-Type": "application/problem+json"}, b'{"a": 1}'),
            "/odd": (200, {"Content-Type": "text/plain; charset=punycode"}, b"a-b"),
            "/large": (200, {"Content-Type": "text/plain"}, b"x" * 5_000_000),
            "/image": (200, {"Content-Type": "image/png"}, b"\x89PNG"),
            "/packed": (200, {"Content-Type": "text/plain", "Content-Encoding": "gzip"}, b"\x1f\x8b"),
            "/missing": (404, {"Content-Type": "text/plain"}, b"nothing"),
            "/here": (302, {"Location": "/text"}, b""),
            "/around": (302, {"Location": "/around"}, b""),
            "/to-forbidden": (302, {"Location": "http://forbidden.test/"}, b""),
            "/to-file": (302, {"Location": "file:///etc/passwd"}, b""),
            "/to-private": (307, {"Location": "http://inside.test/text"}, b""),
            "/to-metadata": (301, {"Location": "http://169.254.169.254/latest/meta-data/"}, b""),
        }

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.server_port, Handler
    server.shutdown()
    thread.join()
    server.server_close()


Resolver = Callable[[dict[str, list[list[str]]]], list[str]]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    """A name server: name -> addresses, one set for each look-up. Tells the names it was asked for.

    Everything else is read as the system's own resolver reads numbers, in all their spellings.
    """
    names: dict[str, list[list[str]]] = {"localhost": [["127.0.0.1"]], "localhost.": [["127.0.0.1"]]}
    asked: list[str] = []

    def look_up(host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        answers = names.get(name, [[name]])
        if name in names:
            asked.append(name)
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        numeric = (family, type, proto, flags | socket.AI_NUMERICHOST)
        return [entry for address in addresses for entry in _socket.getaddrinfo(address, port, *numeric)]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return lambda more: names.update(more) or asked


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/text", "Müller <b>"),
        ("/html", "The & title\nHead\nOne bold word <tag>\nfirst\nsecond"),
        ("/json", '{"a": 1}'),
        ("/odd", "a-b"),
        ("/here", "Müller <b>"),
        ("/large", "x" * 1_000_000 + "\n[cut at 1,000,000 bytes]"),
    ],
)
async def test_an_allowed_host_is_read_as_text(site: tuple[int, type[Site]], path: str, text: str) -> None:
    plugin = fetch.FetchPlugin(["127.0.0.*"], private=True)
    assert await plugin.get(f"http://127.0.0.1:{site[0]}{path}") == text


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/image", "the answer is image/png"),
        ("/packed", "or compressed"),
        ("/missing", "the server answered 404 Not Found"),
        ("/around", "redirects more than 5 times"),
        ("/to-forbidden", "forbidden.test is refused: not among the allowed hosts"),
        ("/to-metadata", "169.254.169.254 is refused: not among the allowed hosts"),
        ("/to-file", "only http and https"),
    ],
)
async def test_an_answer_that_is_no_text_or_leads_elsewhere_is_refused(
    site: tuple[int, type[Site]], path: str, reason: str
) -> None:
    with pytest.raises((OSError, ValueError), match=reason):
        await fetch.FetchPlugin(["127.0.0.1"], private=True).get(f"http://127.0.0.1:{site[0]}{path}")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "localhost",
        "LOCALHOST.",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::]",
        "0.0.0.0",
        "0",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "\uff11\uff12\uff17.0.0.1",
        "inside.test",
        "half.test",
        "good.test@127.0.0.1",
        "good.test:80@127.0.0.1",
        "good.test\\@127.0.0.1",
        "127.0.0.1#good.test",
    ],
)
async def test_no_spelling_of_this_machine_is_reached(
    site: tuple[int, type[Site]], resolver: Resolver, host: str
) -> None:
    resolver({"inside.test": [["127.0.0.1"]], "half.test": [["93.184.216.34", "127.0.0.1"]]})
    port = "" if ":80@" in host or "#" in host else f":{site[0]}"
    with pytest.raises((OSError, ValueError), match=r"refused|cannot be read"):
        await fetch.FetchPlugin(["*"]).get(f"http://{host}{port}/text")
    assert site[1].hosts == []


@pytest.mark.parametrize(
    "address",
    [
        *("10.0.0.1", "172.16.5.4", "192.168.1.1", "100.64.0.1", "100.100.100.200", "169.254.169.254", "192.0.0.192"),
        *("168.63.129.16", "198.18.0.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "0.1.2.3"),
        *("fd00:ec2::254", "fe80::1", "fe80::1%1", "fec0::1", "ff02::1", "::", "64:ff9b::7f00:1", "2002:7f00:1::"),
    ],
)
async def test_a_name_may_not_stand_for_an_address_inside(resolver: Resolver, address: str) -> None:
    resolver({"inside.test": [[address]]})
    with pytest.raises(PermissionError, match=r"inside\.test is refused: its address is not a public one"):
        await fetch.FetchPlugin(["inside.test"]).get("https://inside.test/")


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://a.test/", "//a.test/", "a.test", "", "http://user@a.test/", "https://:x@a.test/"],
)
async def test_only_http_without_a_user_name_is_spoken(url: str) -> None:
    with pytest.raises(PermissionError, match="only http and https"):
        await fetch.FetchPlugin(["*"]).get(url)


@pytest.mark.parametrize(
    ("pattern", "host", "allowed"),
    [
        ("a.test", "A.TEST", True),
        ("a.test", "a.test.", True),
        ("a.test", "b.a.test", False),
        ("a.test", "a.test.evil.test", False),
        ("*.a.test", "b.a.test", True),
        ("*.a.test", "b.\u0430.test", False),
        ("*.a.test", "evila.test", False),
        ("A.test", "a.test", True),
    ],
)
async def test_a_host_must_match_a_pattern_whole(
    site: tuple[int, type[Site]], resolver: Resolver, pattern: str, host: str, allowed: bool
) -> None:
    resolver({name: [["127.0.0.1"]] for name in ("a.test", "a.test.", "b.a.test", "a.test.evil.test", "evila.test")})
    call = fetch.FetchPlugin([pattern], private=True).get(f"http://{host}:{site[0]}/json")
    if allowed:
        assert await call == '{"a": 1}'
    else:
        with pytest.raises(PermissionError, match="not among the allowed hosts"):
            await call


async def test_the_connection_goes_to_the_address_that_was_checked(
    site: tuple[int, type[Site]], resolver: Resolver
) -> None:
    """A name that would change its address right after the check (DNS rebinding) is asked for once."""
    asked = resolver(
        {"good.test": [["127.0.0.1"], ["127.0.0.99"]], "rebinding.test": [["93.184.216.34"], ["127.0.0.1"]]}
    )
    plugin = fetch.FetchPlugin(["*.test"], private=True)
    assert await plugin.get(f"http://good.test:{site[0]}/json") == '{"a": 1}'
    assert (asked, site[1].hosts) == (["good.test"], [f"good.test:{site[0]}"])
    with pytest.raises(Exception) as error:  # the tests' own guard stops it on its way there
        await fetch.FetchPlugin(["*.test"]).get(f"http://rebinding.test:{site[0]}/json")
    assert str(getattr(error.value, "exceptions", [""])[0]).endswith("not '93.184.216.34'")
    assert asked == ["good.test", "rebinding.test"]


async def test_each_redirect_is_looked_up_and_checked_again(
    site: tuple[int, type[Site]], resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loopback stands in for a public address here, so that there is a site to be redirected by."""
    resolver({"outside.test": [["127.0.0.1"]], "inside.test": [["10.0.0.1"]]})
    monkeypatch.setattr(fetch, "_is_public", lambda address: address == "127.0.0.1")
    with pytest.raises(PermissionError, match=r"inside\.test is refused: its address is not a public one"):
        await fetch.FetchPlugin(["*"]).get(f"http://outside.test:{site[0]}/to-private")
    with pytest.raises(PermissionError, match=r"169\.254\.169\.254 is refused: its address is not a public one"):
        await fetch.FetchPlugin(["*"]).get(f"http://outside.test:{site[0]}/to-metadata")


async def test_the_next_address_is_tried_and_proxies_are_not(
    site: tuple[int, type[Site]], resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    resolver({"two.test": [["::1", "127.0.0.1"]]})
    assert await fetch.FetchPlugin("two.test", private=True).get(f"http://two.test:{site[0]}/json") == '{"a": 1}'


async def test_a_server_that_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        with pytest.raises(TimeoutError, match=r"no answer within 0\.2 s"):
            await fetch.FetchPlugin(["*"], private=True, timeout=0.2).get(url)
    with pytest.raises(ConnectionError, match="cannot be read: "):
        await fetch.FetchPlugin(["*"], private=True).get(url)


@pytest.mark.parametrize("piece", ["<", "<a ", "<!--", "<script>", "<a b='", "<style", "&#9", "</", "<aa", "a", "-->"])
def test_a_hostile_page_takes_no_time(piece: str) -> None:
    with processor_time_below(5):
        fetch._plain_text(piece * (1_000_000 // len(piece)))
        fetch._plain_text("<" + piece * (1_000_000 // len(piece)))


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("a<br>b<hr/>c", "a\nb\nc"),
        ("<P>One</P><P>two</P>", "One\ntwo"),
        ("a<B>b</B><I class='x'>c</I><span>d</span>e", "abcde"),
        ("a<!-- b --><!-- c > d -->e", "a e"),
        ("a<!-- without end <p>b", "a"),
        ("a<script>b</script >c<STYLE>d</style>e<template><p>f</template>g", "a c e g"),
        ("a<script>b", "a"),
        ("a<scripts>b</scripts>c", "a\nb\nc"),
        ("<!doctype html><?xml?>a &lt;b&gt; &amp;amp; &#233;", "a <b> &amp; é"),
        ("  a \t b \n\n\n c  ", "a b\nc"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("", ""),
    ],
)
def test_a_page_becomes_what_a_reader_sees(page: str, text: str) -> None:
    assert fetch._plain_text(page) == text


@pytest.mark.parametrize(
    ("address", "public"),
    [
        *((address, True) for address in ("93.184.216.34", "8.8.8.8", "2606:2800:220:1::1", "168.63.129.15")),
        *((address, False) for address in ("168.63.129.16", "127.0.0.1", "64:ff9b::808:808", "64:ff9b:1::1")),
        *((address, False) for address in ("2002:808:808::", "224.0.0.1", "ff0e::1", "fec0::1%eth0", "192.0.0.9")),
    ],
)
def test_an_address_is_public_or_leads_inside(address: str, public: bool) -> None:
    assert fetch._is_public(address) is public


CONTENTS: dict[str, tuple[dict[str, str], bytes, str]] = {
    "no type": ({}, b"plain", "plain"),
    "XML": ({"Content-Type": "application/xml"}, b"<a>1</a>", "<a>1</a>"),
    "in capitals": ({"Content-Type": " Text/HTML ; charset=utf-8"}, "<p>ä</p>".encode(), "ä"),
    "XHTML": ({"Content-Type": "application/xhtml+xml"}, b"<p>a</p><p>b</p>", "a\nb"),
    "lines of JSON": ({"Content-Type": "application/x-ndjson"}, b"{}\n{}", "{}\n{}"),
    "a charset that is none": ({"Content-Type": "text/plain; charset=idna"}, "é".encode(), "é"),
    "a charset in capitals": ({"Content-Type": "text/plain; charset=ISO-8859-1"}, "é".encode("latin-1"), "é"),
    "bytes that are no text": ({"Content-Type": "text/plain"}, b"a\xffb", "a\ufffdb"),
    "not packed": ({"Content-Type": "text/plain", "Content-Encoding": "identity"}, b"x", "x"),
}


@pytest.mark.parametrize("name", CONTENTS)
async def test_text_of_any_kind_is_read_in_its_charset(site: tuple[int, type[Site]], name: str) -> None:
    headers, body, text = CONTENTS[name]
    site[1].pages["/it"] = (200, headers, body)
    assert await fetch.FetchPlugin("127.0.0.1", private=True).get(f"http://127.0.0.1:{site[0]}/it") == text


@pytest.mark.parametrize(("most", "text"), [(5, "12345"), (4, "1234\n[cut at 4 bytes]")])
async def test_a_body_is_cut_at_so_many_bytes(site: tuple[int, type[Site]], most: int, text: str) -> None:
    site[1].pages["/it"] = (200, {}, b"12345")
    plugin = fetch.FetchPlugin("127.0.0.1", private=True, max_bytes=most)
    assert await plugin.get(f"http://127.0.0.1:{site[0]}/it") == text


@pytest.mark.parametrize(("hops", "read"), [(5, True), (6, False)])
async def test_five_redirects_are_followed(site: tuple[int, type[Site]], hops: int, read: bool) -> None:
    site[1].pages |= {f"/{n}": (302, {"Location": f"/{n - 1}"}, b"") for n in range(1, hops + 1)}
    site[1].pages["/0"] = (200, {}, b"there")
    url = f"http://127.0.0.1:{site[0]}/{hops}"
    call = fetch.FetchPlugin("127.0.0.1", private=True).get(url)
    if read:
        assert await call == "there"
    else:
        with pytest.raises(ConnectionError) as refused:
            await call
        assert str(refused.value) == f"{url} redirects more than 5 times"


REFUSALS = {
    "http://a.test:65536/": "http://a.test:65536/ is refused: the highest port is 65,535",
    "http://b.test/": "b.test is refused: not among the allowed hosts (a.test, *.c.test)",
    "ftp://a.test/": "ftp://a.test/ is refused: only http and https addresses without a user name are read",
}


@pytest.mark.parametrize("url", REFUSALS)
async def test_a_refusal_says_what_is_allowed(url: str) -> None:
    with pytest.raises((PermissionError, ValueError)) as refused:
        await fetch.FetchPlugin(["A.test", "*.c.test"]).get(url)
    assert str(refused.value) == REFUSALS[url]


async def test_a_server_learns_nothing_but_the_name_of_the_program(
    site: tuple[int, type[Site]], resolver: Resolver
) -> None:
    seen: dict[str, str] = {}

    def do_GET(self: Site) -> None:
        seen.update({name.lower(): value for name, value in self.headers.items()})
        Site.do_GET(self)

    site[1].do_GET = do_GET  # type: ignore[method-assign]
    site[1].pages["/it"] = (200, {"Set-Cookie": "a=b"}, b"x")
    resolver({"a.test": [["127.0.0.1"]]})
    await fetch.FetchPlugin("a.test", private=True).get(f"http://a.test:{site[0]}/it")
    assert seen == {"host": f"a.test:{site[0]}", "user-agent": "magentic-kit", "accept-encoding": "identity"}


@pytest.mark.parametrize(("url", "port"), [("http://a.test/", 80), ("https://a.test/", 443), ("http://a.test:8/", 8)])
async def test_an_address_is_looked_up_at_its_port(url: str, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def look_up(host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> Any:
        asked.append((host, port, type))
        return [(socket.AF_INET, type, 6, "", ("10.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(PermissionError, match="its address is not a public one"):
        await fetch.FetchPlugin("a.test").get(url)
    assert [(*map(_text, asked[0][:1]), *asked[0][1:])] == [("a.test", port, socket.SOCK_STREAM)]


def _text(host: str | bytes) -> str:
    return host.decode() if isinstance(host, bytes) else host


async def test_a_site_that_cannot_be_reached_is_named_with_the_reason(resolver: Resolver) -> None:
    resolver({"two.test": [["127.0.0.1", "::1"]]})
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for url in (f"http://two.test:{port}/", "http://a b/"):
        with pytest.raises(ConnectionError) as refused:
            await fetch.FetchPlugin("*", private=True).get(url)
        assert str(refused.value).startswith(f"{url} cannot be read: ") and str(refused.value)[-1].isalnum()
