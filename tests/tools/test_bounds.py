"""Whatever a model or a server sends, processor time and memory are bounded, and Ctrl-C ends the run at once."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from support import bombs
from support.bombs import Spent
from support.openai_server import OpenAIServer, Reply, TeamBrain, ToolCall

pytestmark = pytest.mark.slow

SUPPORT = Path(__file__).parents[1] / "support"
SERVER = str(SUPPORT / "mcp_server.py")
HEAD = "openapi: 3.0.0\ninfo: {title: t, version: '1'}\nservers: [{url: 'http://127.0.0.1:9'}]"
PATH = "\npaths: {/a: {get: {responses: {}, parameters: %s}}}"


SECONDS, MEGABYTES = 2, 200
"""What a piece of work may take at most."""
NOISE = 2
"""How much longer the same work takes, in seconds of processor, on a machine whose memory others use too."""


def measured(kind: str, works: Iterable[Any]) -> list[Spent]:
    """What each work takes, in a process that has imported what it needs before; nothing passes the bounds."""
    command = [sys.executable, str(SUPPORT / "measure.py"), kind, *map(json.dumps, works)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout.splitlines()
    results = [Spent(**json.loads(line)) for line in lines]
    assert [it for it in results if it.seconds >= NOISE * SECONDS or it.megabytes >= MEGABYTES] == []
    return results


def written(folder: Path, name: str, text: str) -> dict[str, Any]:
    (folder / name).write_text(text)
    return {"spec": str(folder / name)}


def test_documents_that_expand_are_bounded_or_refused_in_one_sentence(tmp_path: Path) -> None:
    configs = {
        name: written(tmp_path, f"{name}.json", json.dumps(bombs.document(**make("#/components/schemas"))))
        for name, make in bombs.SCHEMAS.items()
    }
    texts = {
        "aliases": bombs.alias_bomb(HEAD) + PATH % "*a9",
        "merges": bombs.alias_bomb(HEAD, merges=True) + PATH % "[*a9]",
        "texts of aliases": f"{HEAD}\nt: &t {'x' * 10_000}\nmany: [{'*t, ' * 1_000}]" + PATH % "[]",
        "in itself": f"{HEAD}\na: &a [*a]" + PATH % "*a",
        "numbers to the base 60": f"{HEAD}\na: 1{':1' * 500_000}" + PATH % "[]",
        "deep YAML": f"{HEAD}\na: {'[' * 900}{']' * 900}" + PATH % "[]",
        "deep JSON": '{"openapi": "3.0.0", "paths": ' + '{"a":' * 100_000 + "1" + "}" * 100_001,
        "dense YAML": f"{HEAD}\na: {{{'a: 1, ' * 880_000}}}" + PATH % "[]",
        "dense lists": f"{HEAD}\na: [{'[], ' * 1_000_000}]" + PATH % "[]",
        "dense numbers": f"{HEAD}\na: [{', '.join(f'{n}.5' for n in range(700_000))}]" + PATH % "[]",
        "dense JSON": '{"openapi": "3.0.0", "a": [' + "[]," * 5_000_000 + "0]}",
        "digits": '{"openapi": "3.0.0", "a": ' + "9" * 1_000_000 + "}",
        "too long": "a" * 17_000_000,
    }
    configs |= {name: written(tmp_path, name, text) for name, text in texts.items()}
    outcomes = dict(zip(configs, (it.outcome for it in measured("openapi", configs.values())), strict=True))
    for name in (*bombs.SCHEMAS, "numbers to the base 60"):
        assert "functions, the largest of " in outcomes[name], outcomes
        assert int(outcomes[name].split()[-2]) < 250_000
    for name in ("aliases", "merges", "texts of aliases"):
        assert "aliases make the document larger by more than 5,000,000 characters" in outcomes[name]
    assert "stands before or inside of what it names" in outcomes["in itself"]
    assert "nested deeper than 100 levels" in outcomes["deep YAML"]
    assert "is nested too deep" in outcomes["deep JSON"]
    for name in ("dense YAML", "dense lists", "dense numbers"):
        assert "the document has more than 400,000 keys and values" in outcomes[name]
    assert "has more than 1,200,000 values" in outcomes["dense JSON"]
    assert "Error: " in outcomes["digits"]
    assert "is larger than 16,000,000 bytes" in outcomes["too long"]


def test_a_document_of_four_megabytes_loads(tmp_path: Path) -> None:
    as_json, as_yaml = bombs.large_document(4_000_000)
    works = [written(tmp_path, "large.json", as_json), written(tmp_path, "large.yaml", as_yaml)]
    for result in measured("openapi", works):
        assert int(result.outcome.split()[0]) > 250, result


def test_servers_whose_tools_expand_or_never_end_are_bounded(tmp_path: Path) -> None:
    faults = [*bombs.SCHEMAS, "endless", "no schema"]
    configs = [
        {"transport": "stdio", "command": sys.executable, "args": [SERVER, "stdio", "0", fault, "bounds"]}
        for fault in faults
    ]
    outcomes = dict(zip(faults, (it.outcome for it in measured("mcp", configs)), strict=True))
    for name in bombs.SCHEMAS:
        assert outcomes[name].startswith("2 functions, the largest of "), outcomes
        assert int(outcomes[name].split()[-2]) < 250_000
    assert "the server lists more than 1,000 tools or pages of tools" in outcomes["endless"]
    assert "the input schema of the tool t0 is not valid" in outcomes["no schema"]


STATEMENTS = {
    "zeros": "SELECT zeroblob(1000000000)",
    "hex": "SELECT hex(zeroblob(400000000))",
    "wide": "SELECT " + ", ".join(["randomblob(499999)"] * 64),
    "wider": "SELECT " + ", ".join(["zeroblob(499999)"] * 1_900),
    "wide rows": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT "
    + ", ".join(["printf('%.*c', 400000, 'x')"] * 20)
    + " FROM n",
    "replace": "SELECT replace(hex(zeroblob(200000)), '0', hex(zeroblob(200000)))",
    "sort": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 200) "
    "SELECT length(b) FROM (SELECT randomblob(490000) AS b FROM n ORDER BY b)",
}


@pytest.mark.skipif(sys.version_info < (3, 11), reason="SQLite connections have limits from Python 3.11 on")
def test_statements_that_make_large_values_are_refused_or_cut(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "a.db") as database:
        database.execute(f"CREATE TABLE wide ({', '.join(f'c{n}' for n in range(150))})")
        database.execute("INSERT INTO wide (c1) VALUES (7)")
    database.close()
    options = {"url": f"sqlite:///{tmp_path}/a.db"}
    statements = STATEMENTS | {"honest": "SELECT * FROM wide"}
    works = [[options, "query", {"sql": sql}] for sql in statements.values()]
    outcomes = dict(zip(statements, (it.outcome for it in measured("sql", works)), strict=True))
    for name in ("zeros", "hex", "replace"):
        assert "ValueError: the database answered" in outcomes[name] and "too big" in outcomes[name], outcomes
    assert int(outcomes["wide rows"].split()[0]) < 250_000
    assert "[only the first " in outcomes["wide rows"]
    assert "| None |" in outcomes["honest"]


def test_folders_without_end_are_neither_made_nor_walked(tmp_path: Path) -> None:
    deep, many = tmp_path / "deep", tmp_path / "many"
    for root in (deep, many):
        root.mkdir()
    here = os.open(deep, os.O_RDONLY)
    for _ in range(3_000):  # deeper than a path may be long
        os.mkdir("z", dir_fd=here)
        inner = os.open("z", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    for number in range(10_050):
        (many / f"{number}.txt").touch()
    works = [
        [{"root": str(deep), "write": True}, "write", {"path": "z/" * 3_000 + "a", "text": "x"}],
        [{"root": str(deep), "write": True}, "write", {"path": "z/" * 40 + "a", "text": "x"}],
        [{"root": str(deep)}, "list_files", {"pattern": "**/*"}],
        [{"root": str(deep)}, "search", {"text": "x", "pattern": "*" * 2_000}],
        [{"root": str(many)}, "list_files", {"pattern": "*.md"}],
        [{"root": str(many)}, "list_files", {}],
    ]
    try:
        results = [it.outcome for it in measured("files", works)]
    finally:  # pytest's own way to remove a folder calls itself for each level
        subprocess.run(["rm", "-rf", str(deep)], check=True)
    assert "a path or pattern has no more than 1,000 characters" in results[0]
    assert "a path has no more than 32 parts" in results[1]
    assert results[2].endswith("[what is deeper than 32 folders was not looked at]")
    assert "a path or pattern has no more than 1,000 characters" in results[3]
    assert results[4].endswith("[only the first 10,000 files and folders were looked at]")
    assert results[5].endswith("[only the first 500; narrow the pattern]")


def bombs_and_large_documents() -> list[str]:
    """Documents that are refused or take a second to load."""
    texts = [json.dumps(bombs.document(**make("#/components/schemas"))) for make in bombs.SCHEMAS.values()]
    texts += [bombs.alias_bomb(HEAD) + PATH % "*a9", f"{HEAD}\na: [{'[], ' * 1_000_000}]" + PATH % "[]"]
    return [*texts, *bombs.large_document(4_000_000), *bombs.large_document(4_000_000)]


@pytest.fixture
def documents() -> Iterator[tuple[str, list[str]]]:
    """A service that answers the address `/N` with the document of that number; and who asked so far."""
    bodies, asked = [text.encode() for text in bombs_and_large_documents()], []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(bodies[int(self.path[1:])])
            asked.append(self.path)

        def log_message(self, *_: Any) -> None:
            pass

    service = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{service.server_port}", asked
    service.shutdown()
    service.server_close()


def processor_seconds(pid: int) -> float:
    """What a process has used of the processor so far; Linux tells."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def interrupted(team: dict[str, Any], folder: Path, busy: Callable[[], bool]) -> list[dict[str, Any]]:
    """The events of a run that gets Ctrl-C as soon as it is `busy`; it ends by itself."""
    (folder / "team.yaml").write_text(json.dumps(team))
    command = [sys.executable, "-m", "magentic_kit", "run", "team.yaml", "t", "--quiet", "--out", "runs"]
    environment = os.environ | {"OPENAI_API_KEY": "sk-test-0123456789abcdef"}
    process = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
    hang = time.monotonic() + 60
    while not busy():
        assert process.poll() is None and time.monotonic() < hang, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    before = time.monotonic(), processor_seconds(process.pid)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # until then the kernel keeps its account
    took = time.monotonic() - before[0], processor_seconds(process.pid) - before[1]
    _, stderr = process.communicate(timeout=180)
    print("ended {:.2f} s after Ctrl-C, {:.2f} s of the processor".format(*took))
    assert process.returncode == 130, stderr
    assert took[1] < 1, "of the processor, since others may be at work as well"
    log = next((folder / "runs").glob("*/events.jsonl")).read_text()
    return [json.loads(line) for line in log.splitlines()]


def team_of(server: OpenAIServer, tool: str, plugins: dict[str, Any]) -> dict[str, Any]:
    agent = {"name": "One", "description": "d", "instructions": "i", "tools": [{"id": tool}]}
    service = {"provider": "openai", "model": "m", "base_url": server.base_url}
    return {"name": "bounds", "services": {"default": service}, "plugins": plugins, "agents": [agent]}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_ctrl_c_ends_a_run_that_loads_bombs_and_large_documents(
    tmp_path: Path, documents: tuple[str, list[str]]
) -> None:
    url, asked = documents
    plugins = {f"p{n}": {"type": "openapi", "spec": f"{url}/{n}"} for n in range(10)}
    with OpenAIServer(TeamBrain(rounds=[], agents={}, answer="none")) as server:
        events = interrupted(team_of(server, "p0.*", plugins), tmp_path, lambda: len(asked) == 10)
        assert server.requests == []
    assert events[-1]["outcome"] == "cancelled"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_ctrl_c_ends_a_run_in_an_endless_statement(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "a.db").close()
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    brain = TeamBrain(
        rounds=[("One", "go")], agents={"One": [Reply(tool_calls=[ToolCall("db-query", {"sql": endless})])]}
    )
    started = lambda: any("tool_call_started" in p.read_text() for p in tmp_path.glob("runs/*/events.jsonl"))  # noqa: E731
    with OpenAIServer(brain) as server:
        plugins = {"db": {"type": "sql", "url": "sqlite:///a.db"}}
        events = interrupted(team_of(server, "db.query", plugins), tmp_path, started)
    assert events[-1]["outcome"] == "cancelled"


def test_a_run_goes_on_without_the_plugin_that_expands(tmp_path: Path) -> None:
    spec = written(tmp_path, "aliases.yaml", bombs.alias_bomb(HEAD) + PATH % "*a9")
    brain = TeamBrain(rounds=[("One", "go")], agents={"One": ["one"]}, answer="done")
    with OpenAIServer(brain) as server:
        team = team_of(server, "p.*", {"p": {"type": "openapi", **spec}})
        (tmp_path / "team.yaml").write_text(json.dumps(team))
        command = [sys.executable, "-m", "magentic_kit", "run", "team.yaml", "t", "--quiet"]
        environment = os.environ | {"OPENAI_API_KEY": "sk-test-0123456789abcdef"}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
        sent = "".join(str(request.messages) for request in server.requests)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
    assert "its aliases make the document larger by more than 5,000,000 characters" in sent
