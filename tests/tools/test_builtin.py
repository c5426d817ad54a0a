"""What the built-in plugins let an agent do, and that nothing it writes gets it any further."""

from __future__ import annotations

import _socket
import os
import socket
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from semantic_kernel.functions import KernelPlugin
from support.waits import processor_time_below

from magentic_kit.errors import ConfigError
from magentic_kit.tools.builtin import fetch, files, math, sql

SECRET = "the-secret"


def functions(plugin: object) -> set[str]:
    return set(KernelPlugin.from_object("plugin", plugin).functions)


@pytest.mark.parametrize(
    ("plugin", "more"),
    [
        (files.FilesPlugin("."), set()),
        (files.FilesPlugin(".", write=True), {"write"}),
        (sql.SqlPlugin("sqlite:///x.db"), set()),
        (sql.SqlPlugin("sqlite:///x.db", write=True), {"execute"}),
        (fetch.FetchPlugin([]), set()),
        (math.MathPlugin(), set()),
    ],
)
def test_a_function_that_writes_exists_only_where_it_is_allowed(plugin: Any, more: set[str]) -> None:
    assert functions(plugin) == {*plugin.REPEATABLE, *more}


# Files


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with every kind of trap, and a secret beside it."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.txt").write_text(SECRET)
    root = tmp_path / "root"
    (root / "docs" / "deep").mkdir(parents=True)
    (root / "docs" / "a.md").write_text("# Title\nneedle one\n")
    (root / "docs" / "deep" / "b.md").write_text("\ufeffNeedle two\n", encoding="utf-8")
    (root / "docs" / "long.txt").write_text("".join(f"line {n}\n" for n in range(1, 1001)))
    (root / "binary.bin").write_bytes(b"needle\0\x01")
    (root / "latin.txt").write_bytes("Müller needle".encode("latin-1"))
    (root / "large.txt").write_bytes(b"needle " * 1_000_000)
    (root / "link.txt").symlink_to(tmp_path / "outside" / "secret.txt")
    (root / "relative.txt").symlink_to("../outside/secret.txt")
    (root / "linked").symlink_to(tmp_path / "outside")
    (root / "docs" / "up").symlink_to("../..")
    (root / "loop").symlink_to("loop")
    (root / "zero").symlink_to("/dev/zero")
    (root / "itself").symlink_to(".")
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(root)  # a socket's path may have no more than 108 bytes
        listener.bind("socket")
        os.chdir(here)
    return root


TRICKS = [
    "/etc/passwd",
    "//etc/passwd",
    "../outside/secret.txt",
    "docs/../../outside/secret.txt",
    "docs/..",
    "./../outside/secret.txt",
    "~/secret.txt",
    "~root/.profile",
    "link.txt",
    "relative.txt",
    "linked/secret.txt",
    "docs/up/outside/secret.txt",
    "itself/docs/a.md",
    "loop",
    "loop/a",
    "zero",
    "fifo",
    "socket",
    "docs/a.md\0.png",
    "docs\0/../../outside/secret.txt",
    "..\\outside\\secret.txt",
    "C:\\Windows\\win.ini",
    "C:secret.txt",
    "\\\\server\\share\\secret.txt",
    "docs/a.md/b",
    "docs",
    ".",
    "",
]
LITERAL = [
    "%2e%2e/outside/secret.txt",
    "..%2foutside%2fsecret.txt",
    "\uff0e\uff0e/outside/secret.txt",
    "file:///etc/passwd",
]


def picture(folder: Path) -> dict[str, bytes | str]:
    """What is in a folder, links as links."""
    return {
        str(path.relative_to(folder)): os.readlink(path)
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else ""
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("path", [*TRICKS, *LITERAL], ids=repr)
def test_no_path_leads_out_of_the_root(root: Path, path: str) -> None:
    plugin = files.FilesPlugin(root)
    for call in (plugin.read, plugin.list_files):
        if (call, path) not in [(plugin.list_files, place) for place in (".", "", "docs")]:
            with pytest.raises(OSError, match=r".: \w") as refusal:
                call(path)
            assert SECRET not in str(refusal.value)
            assert "outside" not in str(refusal.value).replace(repr(path), "")


@pytest.mark.parametrize("path", TRICKS, ids=repr)
def test_no_path_writes_out_of_the_root_or_over_what_is_no_file(root: Path, path: str) -> None:
    before = picture(root.parent)
    with pytest.raises(OSError, match=r".: \w"):
        files.FilesPlugin(root, write=True).write(path, "overwritten")
    assert picture(root.parent) == before


@pytest.mark.parametrize("path", LITERAL)
def test_a_name_that_is_no_trick_here_is_just_a_name(root: Path, path: str) -> None:
    outside = picture(root.parent / "outside")
    files.FilesPlugin(root, write=True).write(path, "text")
    assert files.FilesPlugin(root).read(path) == "text"
    assert picture(root.parent / "outside") == outside


def test_writing_over_a_hard_link_leaves_the_other_name_as_it_was(root: Path) -> None:
    secret = root.parent / "outside" / "secret.txt"
    os.link(secret, root / "hard.txt")
    files.FilesPlugin(root, write=True).write("hard.txt", "new")
    assert (secret.read_text(), (root / "hard.txt").read_text()) == (SECRET, "new")


STEPS = ("open", "scandir", "stat", "mkdir", "replace")
"""The system calls between which others may act."""

CALLS: dict[str, Callable[[files.FilesPlugin], str]] = {
    "read": lambda plugin: plugin.read("swap/secret.txt"),
    "search": lambda plugin: plugin.search("secret", "swap/*"),
    "list": lambda plugin: plugin.list_files("swap"),
    "write": lambda plugin: plugin.write("swap/secret.txt", "written"),
    "write a new file": lambda plugin: plugin.write("swap/new/new.txt", "written"),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_folder_that_becomes_a_link_before_any_step_does_not_lead_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "secret.txt").write_text(SECRET)
    (outside / f"{SECRET}.md").touch()
    plugin, swap, kept = files.FilesPlugin(root, write=True), root / "swap", sorted(outside.iterdir())
    for step in range(99):
        swap.mkdir()
        (swap / "secret.txt").write_text("harmless")
        taken = 0

        def before(system: Callable[..., Any], step: int = step) -> Callable[..., Any]:
            def becomes_a_link(*arguments: Any, **options: Any) -> Any:
                nonlocal taken
                if taken == step:
                    swap.rename(tmp_path / f"was {step}")
                    swap.symlink_to(outside)
                taken += 1
                return system(*arguments, **options)

            return becomes_a_link

        with monkeypatch.context() as patch:
            for name in STEPS:
                patch.setattr(os, name, before(getattr(os, name)))
            try:
                said = CALLS[call](plugin)
            except OSError as error:
                said = str(error)
        assert SECRET not in said
        assert sorted(outside.iterdir()) == kept and (outside / "secret.txt").read_text() == SECRET
        if taken <= step:
            assert step >= 3, "it was tried before each step"
            return
        swap.unlink()


def test_a_root_given_as_a_link_is_the_folder_it_names(root: Path) -> None:
    (root.parent / "alias").symlink_to(root)
    assert files.FilesPlugin(root.parent / "alias").read("docs/a.md").startswith("# Title")


def test_a_root_that_is_no_folder_is_a_config_error(root: Path) -> None:
    for path in (root / "none", root / "docs" / "a.md"):
        with pytest.raises(ConfigError, match="root is no folder"):
            files.FilesPlugin(path)


def test_a_file_is_read_by_lines_and_says_where_it_goes_on(root: Path) -> None:
    read = files.FilesPlugin(root).read
    assert read("docs/deep/b.md") == "Needle two\n"
    assert read("docs/long.txt", 999) == "line 999\nline 1000\n"
    assert read("docs/long.txt", 2, 2) == "line 2\nline 3\n\n[1,000 lines in all; go on with start_line=4]"
    assert read("docs/long.txt").endswith("[1,000 lines in all; go on with start_line=401]")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("binary.bin", "not a UTF-8 text file"),
        ("latin.txt", "not a UTF-8 text file"),
        ("large.txt", "larger than 5,000,000 bytes"),
        ("none.txt", "No such file"),
        ("fifo", "not a regular file"),
        ("link.txt", "a symbolic link, which is not followed"),
        ("x" * 300, "name too long"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_sentence(root: Path, name: str, reason: str) -> None:
    with pytest.raises(OSError, match=f"'{name}': .*{reason}"):
        files.FilesPlugin(root).read(name)


def test_files_are_listed_by_folder_and_by_pattern(root: Path) -> None:
    listed = files.FilesPlugin(root).list_files
    assert listed("docs") == "deep/\nup/\na.md\nlong.txt"
    assert listed(pattern="**/*.md") == "docs/a.md\ndocs/deep/b.md"
    assert listed("docs", "*.md") == "a.md"
    assert listed("docs", "*.py") == "nothing found"


def test_a_search_tells_file_and_line_and_passes_over_what_it_cannot_read(root: Path) -> None:
    search = files.FilesPlugin(root).search
    assert search("NEEDLE") == "docs/a.md:2: needle one\ndocs/deep/b.md:1: Needle two"
    assert search("needle", "*/a.md") == "docs/a.md:2: needle one"
    assert search(SECRET) == "nothing found"
    found = search("line").splitlines()
    assert (len(found), found[-1]) == (501, "[only the first 500; narrow the pattern]")


def test_writing_makes_folders_and_replaces_the_whole_file(root: Path) -> None:
    plugin = files.FilesPlugin(root, write=True)
    assert plugin.write("new/folder/note.md", "one, größer") == "wrote 13 bytes to new/folder/note.md"
    plugin.write("new/folder/note.md", "two")
    assert picture(root / "new") == {"folder": "", "folder/note.md": b"two"}
    with pytest.raises(OSError, match="5,000,000 bytes"):
        plugin.write("new/large.txt", "x" * 5_000_001)
    assert not (root / "new" / "large.txt").exists()


# SQL


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "sales.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(
            "CREATE TABLE region (id INTEGER PRIMARY KEY, name TEXT);"
            "CREATE TABLE sale (amount INTEGER, region INTEGER REFERENCES region (id));"
            "INSERT INTO region VALUES (1, 'North|East'), (2, '50%: a'), (3, NULL);"
            "CREATE VIEW names AS SELECT name FROM region"
        )
    connection.close()
    return path


WRITES = {
    "insert": "INSERT INTO region VALUES (9, 'x')",
    "insert returning": "INSERT INTO region VALUES (9, 'x') RETURNING id",
    "update": "UPDATE region SET name = ''",
    "delete": "DELETE FROM region",
    "with delete": "WITH old AS (SELECT 1) DELETE FROM region",
    "drop": "DROP TABLE region",
    "create": "CREATE TABLE other (id)",
    "create temp": "CREATE TEMP TABLE other (id)",
    "alter": "ALTER TABLE region ADD COLUMN x",
    "attach": "ATTACH '{folder}/other.db' AS other",
    "attach uri": "ATTACH 'file:{folder}/other.db?mode=rwc' AS other",
    "attach to read": "ATTACH '{folder}/sales.db' AS other",
    "detach": "DETACH main",
    "vacuum": "VACUUM",
    "vacuum into": "VACUUM INTO '{folder}/copy.db'",
    "writable schema": "PRAGMA writable_schema = 1",
    "query only off": "PRAGMA query_only = 0",
    "journal mode": "PRAGMA journal_mode = WAL",
    "pragma function": "SELECT * FROM pragma_user_version",
    "two statements": "SELECT 1; DROP TABLE region",
    "hidden second statement": "SELECT 1; -- \n DROP TABLE region",
    "analyze": "ANALYZE",
    "extension": "SELECT load_extension('x')",
    "replace": "/* SELECT */ REPLACE INTO region VALUES (1, 'x')",
}


@pytest.mark.parametrize("statement", WRITES.values(), ids=WRITES)
def test_a_query_cannot_change_the_database_or_reach_another_file(database: Path, statement: str) -> None:
    before = picture(database.parent)
    with pytest.raises(ValueError, match=r"^the database answered \(it is open for reading only\): \w.*\Z"):
        sql.SqlPlugin(f"sqlite:///{database}").query(statement.format(folder=database.parent))
    assert picture(database.parent) == before


def test_where_writing_is_allowed_it_is_for_this_one_file(database: Path) -> None:
    plugin = sql.SqlPlugin(f"sqlite:///{database}", write=True)
    assert plugin.execute("UPDATE region SET name = 'South' WHERE id > 1") == "2 rows changed"
    assert plugin.execute("CREATE TABLE other (id)") == "done"
    assert "| South |" in plugin.query("SELECT name FROM region")
    with pytest.raises(ValueError, match="reading only"):
        plugin.query(WRITES["delete"])
    for name in ("attach", "attach uri", "vacuum into", "writable schema", "two statements"):
        with pytest.raises(ValueError, match=r"^the database answered: "):
            plugin.execute(WRITES[name].format(folder=database.parent))
    assert [path.name for path in database.parent.iterdir()] == ["sales.db"]


def test_rows_come_as_a_table_and_say_when_there_are_more(database: Path) -> None:
    query = sql.SqlPlugin(f"sqlite:///{database}", max_rows=2).query
    assert query("SELECT * FROM region") == (
        "| id | name |\n| --- | --- |\n| 1 | North\\|East |\n| 2 | 50%: a |\n\n[only the first 2 rows]"
    )
    assert query("SELECT id FROM region WHERE name LIKE '50%: _'") == "| id |\n| --- |\n| 2 |"
    assert query("SELECT id FROM region WHERE name = ':x'") == "| id |\n| --- |\n\n[no rows]"


def test_a_query_may_use_full_text_tables_and_json(database: Path) -> None:
    plugin = sql.SqlPlugin(f"sqlite:///{database}", write=True)
    plugin.execute("CREATE VIRTUAL TABLE note USING fts5 (body)")
    plugin.execute("INSERT INTO note VALUES ('North sells most')")
    assert plugin.query("SELECT body FROM note WHERE note MATCH 'north'").endswith("\n| North sells most |")
    assert plugin.query("SELECT value FROM json_each('[7]')").endswith("\n| 7 |")


def test_the_schema_names_tables_views_and_foreign_keys(database: Path) -> None:
    assert sql.SqlPlugin(f"sqlite:///{database}").schema() == (
        "region(id INTEGER, name TEXT)\nsale(amount INTEGER, region INTEGER, (region) -> region(id))\nnames(name TEXT)"
    )


def test_a_query_without_end_is_stopped(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "MAX_SECONDS", 0.2)
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    with pytest.raises(ValueError, match="interrupted"):
        sql.SqlPlugin(f"sqlite:///{database}").query(endless)


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    plugin = sql.SqlPlugin(f"sqlite:///{tmp_path}/none.db?mode=rwc")
    with pytest.raises(ValueError, match="unable to open database file"):
        plugin.query("SELECT 1")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sales.db", "is no database URL"),
        ("sqlite://", "needs a database file"),
        ("sqlite:///:memory:", "needs a database file"),
        ("oracle://a:secret@b/c", r"knows sqlite\+pysqlite, postgresql\+psycopg, .*; not oracle$"),
        ("postgresql+psycopg2://a:secret@b/c", r"not postgresql\+psycopg2$"),
    ],
)
def test_a_url_that_cannot_be_used_is_a_config_error_without_its_password(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        sql.SqlPlugin(url)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("package", "url"), [("sqlalchemy", "sqlite:///sales.db"), ("psycopg", "postgresql://a:secret@b/c")]
)
def test_a_missing_package_is_named_with_its_install_line(
    monkeypatch: pytest.MonkeyPatch, package: str, url: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"needs {package}: pip install 'magentic-kit\[sql\]' {package}$"):
        sql.SqlPlugin(url)


# Fetch

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


# Math


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("0.1 + 0.2", "0.3"),
        ("(232.8 - 167.6) / 167.6 * 100", "38.9021479713604"),
        ("7 // 2 + 7 % 2 - -3", "7"),
        ("2 ** 100", "1267650600228229401496703205376"),
        ("2 ** -1", "0.5"),
        ("round(2.567, 1) + round(2.5)", "4.6"),
        ("round(1234, -2)", "1200"),
        ("sqrt(2) * sin(pi / 2) + log(e) + log(8, 2)", "5.41421356237309"),
        ("sum([1, 2, 3]) + sum(1, 2) + max(1, 5) + min((4, 2)) + abs(-1)", "17"),
    ],
)
def test_a_formula_has_its_value(expression: str, value: str) -> None:
    assert math.MathPlugin().calculate(expression) == value


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("9**9**9", "too large"),
        ("9**9**9**9**9", "too large"),
        ("2.0**99999", "too large"),
        ("exp(1000)", "too large"),
        ("1e999", "too large"),
        ("round(5, -999999999)", "too large"),
        ("(10**600) * (10**600) * (10**600)", "too large"),
        ("10**1000 / 3.0 * 10", "too large"),
        ("1 / 0", "division by zero"),
        ("(-8) ** 0.5", "not a real number"),
        ("sqrt(-1)", "math domain error|nonnegative"),
        ("__import__('os').system('id')", "not part of a formula"),
        ("().__class__", "not part of a formula"),
        ("open('/etc/passwd')", "not part of a formula"),
        ("[x for x in (1, 2)]", "not part of a formula"),
        ("sum([1] * 10**9)", "not part of a formula"),
        ("'a' * 9", "not part of a formula"),
        ("True + 1", "not part of a formula"),
        ("1 < 2", "not part of a formula"),
        ("2 ^ 3", r"a power is written \*\*"),
        ("1j * 1j", "not part of a formula"),
        ("round(1, ndigits=2)", "not part of a formula"),
        ("sqrt()", "no formula"),
        ("2 +", "no formula"),
        ("", "no formula"),
        ("-" * 999 + "1", "no formula"),
        ("(" * 500 + "1" + ")" * 499, "no formula"),
        ("1+" * 5_000 + "1", "longer than 1,000 characters"),
    ],
)
def test_what_is_no_formula_or_too_large_is_refused_at_once(expression: str, reason: str) -> None:
    with processor_time_below(1), pytest.raises((ValueError, ArithmeticError), match=reason):
        math.MathPlugin().calculate(expression)
