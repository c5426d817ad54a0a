"""Runs queued in a database are finished once, whatever happens to the workers, the team file or the database."""

from __future__ import annotations

import asyncio
import glob
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from support.durable import ROUNDS, note, write_team
from support.openai_server import OpenAIServer, Reply, Request, ledger, text_of

pytest.importorskip("sqlalchemy")

from magentic_kit import ConfigError, JournalError, TeamFactory
from magentic_kit import events as ev
from magentic_kit.cli import app
from magentic_kit.cluster import store
from magentic_kit.cluster.database import OUTCOMES, Database, Entry
from magentic_kit.cluster.queued import derive
from magentic_kit.cluster.worker import Worker
from magentic_kit.runlog.directory import read_log

MODEL_CALLS, NOTES = 13, ("one", "two", "three")
PLUGIN = """
import asyncio, pathlib
from semantic_kernel.functions import kernel_function

class Notes:
    def __init__(self, file: str):
        self.file = pathlib.Path(file)

    @kernel_function(description="Writes a note.")
    async def add(self, text: str) -> str:
        await asyncio.sleep(0.05)
        with self.file.open("a") as file:
            file.write(text + "\\n")
        await asyncio.sleep(0.05)
        return "noted " + text
"""


def brain(request: Request) -> Any:
    """Replies by what was asked alone: three turns, each with one note that names its task."""
    done = sum("Transferred to" in text_of(message) for message in request.messages)
    if request.purpose == "ledger":
        return ledger(*ROUNDS[done]) if done < len(ROUNDS) else ledger(satisfied=True)
    if request.purpose != "turn":
        return Reply(f"the {request.purpose} of {request.task}", chunk_delay=0.01)
    if results := request.last_tool_results:
        return Reply(f"heard {results}", chunk_delay=0.01)
    before = sum(message["role"] == "tool" for message in request.messages)
    nth = "two" if request.who == "Writer" else "three" if before else "one"
    return Reply("Noting.", tool_calls=[note(f"{request.task}/{nth}")], chunk_delay=0.01)


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(brain) as server:
        yield server


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")


class Postgres:
    """A server on loopback in a directory of its own; as root it runs as the user `postgres`, which it insists on."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        self._data = folder / "data"
        if os.getuid() == 0:
            shutil.chown(folder, "postgres")
        self._call("initdb", "-D", self._data, "-A", "trust", "-U", "postgres", "--no-sync")
        self.control("start")

    def control(self, action: str, *more: str) -> None:
        options = f"-p {self.port} -k {self._data} -c listen_addresses=127.0.0.1"
        self._call("pg_ctl", action, "-D", self._data, "-w", "-l", self._data / "log", "-o", options, *more)

    def _call(self, program: str, *arguments: str | Path) -> None:
        path = max(glob.glob(f"/usr/lib/postgresql/*/bin/{program}"))
        user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        # No pipe: the server would hold it open.
        subprocess.run([*user, path, *arguments], check=True, cwd="/", stdout=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    if not glob.glob("/usr/lib/postgresql/*/bin/postgres"):
        pytest.skip("no PostgreSQL here: apt-get install postgresql")
    pytest.importorskip("psycopg")
    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder:
        started = Postgres(Path(folder))
        yield started
        started.control("stop", "-m", "immediate")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        yield Database(f"sqlite:///{tmp_path}/queue.db")
        return
    found = Database(request.getfixturevalue("postgres").url)
    yield found
    store.METADATA.drop_all(found.engine)


def team(folder: Path, server: OpenAIServer | None = None, **changes: Any) -> TeamFactory:
    path = write_team(folder, server.base_url if server else "http://127.0.0.1:9/v1", **changes)
    (folder / "notes.py").write_text(PLUGIN)
    return TeamFactory.from_yaml(path)


def event(seq: int, text: str = "") -> ev.AnyEvent:
    return ev.AgentStarted(seq=seq, agent="Writer", round=1, instruction=text)


# -- the queue


def test_two_submits_of_one_id_are_one_run(database: Database, tmp_path: Path) -> None:
    factory = team(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda _: database.submit(factory, "Do it.", id="mine"), range(8)))
    assert set(ids) == {"mine"} and len(database.entries()) == 1
    with pytest.raises(ConfigError, match="there is a run 'mine' already, of another team, task or inputs"):
        database.submit(factory, "Do something else.", id="mine")


@pytest.mark.parametrize("id", ["../up", "a b", "x" * 101, "ä"])
def test_an_id_is_a_safe_name(id: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="should be up to 100 letters"):
        Database("sqlite://").submit(team(tmp_path), id=id)


def test_each_run_is_taken_once_and_the_oldest_first(database: Database, tmp_path: Path) -> None:
    factory = team(tmp_path)
    ids = [database.submit(factory, id=f"run-{n}") for n in range(20)]
    assert (first := database.take("w")) is not None and first.id == "run-0"
    with ThreadPoolExecutor(8) as pool:
        taken = [entry.id for entry in pool.map(lambda n: database.take(f"w{n}"), range(24)) if entry]
    assert sorted([first.id, *taken]) == sorted(ids)
    assert database.take("late") is None


def test_who_lost_a_run_cannot_write_into_it(database: Database, tmp_path: Path) -> None:
    database.submit(team(tmp_path), id="run")
    old = database.take("old")
    assert old is not None
    database.write(old, event(0))
    database.write(old, event(0))  # made again, as nobody knew: it is there once
    (pulse,) = database.pulses()
    assert database.beat([(old.id, old.epoch)]) == {("run", 1): False}
    assert database.take("hasty", {pulse}) is None, "its heart has beaten since"
    new = database.take("new", database.pulses())
    assert new is not None and new.takes == 2
    for write in (event(1), event(0)):
        with pytest.raises(JournalError, match="another worker has taken run over"):
            database.write(old, write)
    assert not database.beat([(old.id, old.epoch)]) and not database.leave(old, "failed")
    database.write(new, event(1, "snow ☃ \x00 \ud800"))
    assert [e.seq for e in database.log("run")] == [0, 1] and database.log("run")[1] == event(1, "snow ☃ \x00 \ud800")
    assert database.leave(new, "satisfied") and database.entries("run")[0].state == "satisfied"


def test_a_run_is_cancelled_wherever_it_is(database: Database, tmp_path: Path) -> None:
    factory = team(tmp_path)
    for id in ("running", "parked", "done", "queued"):
        database.submit(factory, id=id)
    running, parked, done = (database.take("w") for _ in range(3))
    assert running and parked and done
    database.leave(parked, "parked", "a person is needed")
    database.leave(done, "satisfied")
    states = [database.cancel(id) for id in ("running", "parked", "done", "queued")]
    assert states == ["running", "cancelled", "satisfied", "cancelled"]
    assert database.beat([("running", 1)]) == {("running", 1): True}
    with pytest.raises(ConfigError, match="there is no run 'nope'"):
        database.cancel("nope")


def test_a_persons_word_holds_once(database: Database, tmp_path: Path) -> None:
    database.submit(team(tmp_path), id="run")
    with pytest.raises(ConfigError, match="run 'run' is queued: nobody has to settle it"):
        database.settle("run", {"*": None})
    for how in ({"*": None}, {"a#1.0": "by hand"}, {}):
        taken = database.take("w", database.pulses())
        assert taken and database.leave(taken, "parked", "?")
        database.settle("run", how)
        assert (again := database.take("w")) is not None and again.words == how
        assert (lost := database.take("w", database.pulses())) is not None and lost.words is None


# -- limits of the queue


def test_workers_together_take_no_more_runs_than_they_may(database: Database, tmp_path: Path) -> None:
    factory = team(tmp_path)
    for n in range(12):
        database.submit(factory, id=f"run-{n}")
    assert database.limit(concurrency=3, rpm=60) == {"concurrency": 3, "rpm": 60}
    with ThreadPoolExecutor(8) as pool:
        taken = [entry for entry in pool.map(lambda n: database.take(f"w{n}"), range(16)) if entry]
    assert len(taken) == 3 and database.take("late") is None
    again = database.take("heir", database.pulses())
    assert again is not None and again.takes == 2, "a dead worker's run keeps its place"
    assert database.leave(again, "satisfied")
    assert (next_one := database.take("w")) is not None and next_one.takes == 1
    assert database.take("late") is None
    assert database.limit(concurrency=0) == {"rpm": 60}
    for odd in (-1, 2**31, 10**20):
        with pytest.raises(ConfigError, match=f"--rpm: should be from 0 to 2147483647, not {odd}"):
            database.limit(rpm=odd)
    with ThreadPoolExecutor(8) as pool:
        assert len([entry for entry in pool.map(lambda n: database.take(f"w{n}"), range(12)) if entry]) == 8


def test_all_callers_of_a_service_are_spread_by_one_clock(database: Database) -> None:
    database.limit(rpm=600, tpm=6000)
    with ThreadPoolExecutor(4) as pool:
        [*pool.map(database.enter, ["some"] * 4)]  # only makes it known
        began, entered = time.monotonic(), []

        def call(_: int) -> None:
            while wait := database.enter("some"):
                time.sleep(wait)
            entered.append(time.monotonic() - began)

        [*pool.map(call, range(5))]
    assert max(entered) >= 4 * 0.1 - 0.01
    assert database.enter("other") <= 0.001, "each service has its own pace"
    database.replied("some", 50)
    assert 0.3 < database.enter("some") <= 0.5
    database.refused("some", 2.0)
    assert 1.8 < database.enter("some") <= 2.0


@pytest.mark.parametrize("url", ["postgresql://127.0.0.1:9/x", "mysql://h/x", "nonsense", "sqlite:////no/where.db"])
def test_a_database_that_cannot_be_had_is_one_line(url: str) -> None:
    if "postgres" in url:
        pytest.importorskip("psycopg")
    with pytest.raises(ConfigError) as caught:
        Database(url)
    assert len(caught.value.problems) == 1 and "\n" not in str(caught.value)


def test_the_commands_say_how_a_run_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    team(tmp_path)
    url = f"sqlite:///{tmp_path}/queue.db"
    monkeypatch.setenv("MAGENTIC_KIT_DATABASE", url)

    def command(*arguments: str) -> tuple[int, str]:
        return app.run(arguments), capsys.readouterr().out.strip()

    assert command("submit", str(tmp_path / "team.yaml"), "Do it.", "--id", "run") == (0, "run")
    assert command("status") == (0, "run\tqueued")
    taken = Database(url).take("host-1")
    assert taken is not None
    Database(url).leave(taken, "parked", "nobody knows")
    assert command("status", "run") == (0, "run\tparked\thost-1\tnobody knows")
    assert command("result", "run")[0] == 1
    assert command("settle", "run", "--skip-tool", "done by hand")[0] == 0
    assert Database(url).entries("run")[0].settled == {"*": "done by hand"}
    assert command("cancel", "r*") == (0, "cancelled")
    assert command("limits") == (0, "no limits")
    assert command("limits", "--concurrency", "3", "--rpm", "60") == (0, "concurrency\t3\nrpm\t60")
    assert command("limits", "--rpm", "0") == (0, "concurrency\t3")
    assert command("result", "run", "--out", str(tmp_path / "out")) == (130, "")
    assert '"outcome": "cancelled"' in (tmp_path / "out" / "run" / "result.json").read_text()


# -- one worker, in this process


async def until(predicate: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not await asyncio.to_thread(predicate):
        assert time.monotonic() < deadline, "this has not come in time"
        await asyncio.sleep(0.02)


@contextmanager
def at_work(database: Database, **options: Any) -> Iterator[list[str]]:
    told: list[str] = []
    worker = Worker(database, tell=told.append, **{"lease": 1.0, **options})
    task = asyncio.ensure_future(worker.work())
    yield told
    worker.stop()
    told.append("stopped")
    task.add_done_callback(lambda _: told.append("over"))


async def test_a_run_is_of_its_team_as_it_was_submitted(tmp_path: Path, server: OpenAIServer) -> None:
    database = Database(f"sqlite:///{tmp_path}/queue.db")
    database.submit(team(tmp_path, server), "job", id="run")
    (tmp_path / "team.yaml").write_text("name: other")
    with at_work(database) as told:
        await until(lambda: database.entries("run")[0].state in OUTCOMES)
    await until(lambda: told[-1] == "over")
    assert database.entries("run")[0].state == "satisfied"
    assert len(server.requests) == MODEL_CALLS
    assert (tmp_path / "effects").read_text().split() == [f"job/{name}" for name in NOTES]


async def test_a_team_that_cannot_run_here_waits_for_a_person(tmp_path: Path, server: OpenAIServer) -> None:
    database = Database(f"sqlite:///{tmp_path}/queue.db")
    database.submit(team(tmp_path, server), "job", id="run")
    (tmp_path / "notes.py").rename(tmp_path / "elsewhere.py")
    sys.modules.pop("notes", None)
    with at_work(database) as told:
        await until(lambda: database.entries("run")[0].state == "parked")
        assert "notes" in database.entries("run")[0].note
        (tmp_path / "elsewhere.py").rename(tmp_path / "notes.py")
        database.settle("run", {})
        await until(lambda: database.entries("run")[0].state == "satisfied")
    await until(lambda: told[-1] == "over")


async def carried_log(database: Database, tmp_path: Path, server: OpenAIServer, **changes: Any) -> list[ev.AnyEvent]:
    """The log of a whole run of `job`; its effects are forgotten."""
    database.submit(team(tmp_path, server, **changes), "job", id="whole")
    with at_work(database) as told:
        await until(lambda: database.entries("whole")[0].state == "satisfied")
    await until(lambda: told[-1] == "over")
    (tmp_path / "effects").write_text("")
    return database.log("whole")


def leave_behind(database: Database, factory: TeamFactory, id: str, log: list[ev.AnyEvent]) -> None:
    """A run whose worker was lost after these events."""
    database.submit(factory, "job", id=id)
    taken = database.take("lost")
    assert taken is not None and taken.id == id
    for event in log:
        database.write(taken, event)


async def test_a_run_that_lost_its_worker_anywhere_is_finished(tmp_path: Path, server: OpenAIServer) -> None:
    database = Database(f"sqlite:///{tmp_path}/queue.db")
    log = await carried_log(database, tmp_path, server)
    factory, paid, due, unknown = team(tmp_path, server), len(server.requests), 0, set()
    for at in range(0, len(log) + 1, 6):
        leave_behind(database, factory, f"run-{at}", log[:at])
        due += MODEL_CALLS - sum(isinstance(event, ev.ModelCallFinished) for event in log[:at])
        unknown |= {f"run-{at}"} if at and isinstance(log[at - 1], ev.ToolCallStarted) else set()
    with at_work(database) as told:
        await until(lambda: not {entry.state for entry in database.entries()} & {"queued", "running"})
        assert {entry.id for entry in database.entries() if entry.state == "parked"} == unknown
        for id in unknown:
            database.settle(id, {"*": None})
        await until(lambda: {entry.state for entry in database.entries()} == {"satisfied"})
    await until(lambda: told[-1] == "over")
    assert len(server.requests) - paid == due, "what was finished is not paid for again"
    assert all(ev.to_dict(database.log(e.id)[-1])["answer"] == "the answer of job" for e in database.entries())


@pytest.mark.parametrize(
    ("repeatable", "word", "noted"),
    [
        ([], {"Writer#0.0": None}, ["job/two", "job/three"]),
        ([], {"Writer#0.0": "noted by hand"}, ["job/three"]),
        (["add"], None, ["job/two", "job/three"]),
    ],
    ids=["a person lets it be repeated", "a person tells its result", "it may be repeated"],
)
async def test_a_tool_of_unknown_outcome_is_not_repeated_silently(
    repeatable: list[str], word: Any, noted: list[str], tmp_path: Path, server: OpenAIServer
) -> None:
    database = Database(f"sqlite:///{tmp_path}/queue.db")
    plugin = {"type": "python", "target": "notes:Notes", "args": {"file": str(tmp_path / "effects")}}
    plugins = {"plugins": {"notes": {**plugin, "repeatable": repeatable}}}
    log = await carried_log(database, tmp_path, server, **plugins)
    began = next(e.seq for e in log if isinstance(e, ev.ToolCallStarted) and e.arguments == {"text": "job/two"})
    leave_behind(database, team(tmp_path, server, **plugins), "run", log[: began + 1])
    with at_work(database) as told:
        if word:
            await until(lambda: database.entries("run")[0].state == "parked")
            note = database.entries("run")[0].note
            assert "nobody knows whether notes.add(text='job/two'), called by Writer, had its effect" in note
            assert (tmp_path / "effects").read_text() == ""
            database.settle("run", {"Writer#7.0": None})  # which is none of those
            await until(lambda: database.entries("run")[0].epoch == 3)
            await until(lambda: database.entries("run")[0].state == "parked")
            assert f"--call {next(iter(word))}" in database.entries("run")[0].note
            database.settle("run", word)
        await until(lambda: database.entries("run")[0].state == "satisfied")
    await until(lambda: told[-1] == "over")
    assert (tmp_path / "effects").read_text().split() == noted
    assert ("noted by hand" in str(server.requests[-1].messages)) == ("noted by hand" in str(word))


@pytest.mark.slow
async def test_a_team_inside_a_run_that_lost_its_worker_goes_on_too(tmp_path: Path, server: OpenAIServer) -> None:
    database = Database(f"sqlite:///{tmp_path}/queue.db")
    team(tmp_path, server)
    (tmp_path / "team.yaml").rename(tmp_path / "inner.yaml")
    member = {"type": "team", "name": "Desk", "description": "Helps.", "team": "inner.yaml"}
    rounds = [{"ledger": {"next": "Desk", "instruction": "help"}}, {"ledger": {"satisfied": True}}]
    script = {"manager": {"facts": "f", "plan": "p", "ledger": rounds, "answer": "all done"}}
    services = {"default": {"provider": "scripted", "script": script}}
    outer = {"name": "office", "task": "t", "services": services, "agents": [member]}
    factory, inner = TeamFactory.from_dict(outer, base_dir=tmp_path), "Desk#0.0"
    database.submit(factory, id="whole")
    with at_work(database) as told:
        await until(lambda: database.entries("whole")[0].state == "satisfied")
    await until(lambda: told[-1] == "over")
    assert database.inner("whole") == [f"whole/{inner}"] and len(server.requests) == MODEL_CALLS
    log, inner_log = database.log("whole"), database.log(f"whole/{inner}")
    asked = next(e.seq for e in log if isinstance(e, ev.ModelCallStarted) and e.who == "Desk")
    tool = next(e.seq for e in inner_log if isinstance(e, ev.ToolCallStarted))
    (tmp_path / "effects").write_text("")
    paid, due = len(server.requests), 0
    for at in (0, tool, tool + 1, len(inner_log)):
        leave_behind(database, factory, f"run-{at}", log[: asked + 1])
        for event in inner_log[:at]:
            database.write(database.entries(f"run-{at}")[0], event, to=f"run-{at}/{inner}")
        due += MODEL_CALLS - sum(isinstance(event, ev.ModelCallFinished) for event in inner_log[:at])
    parked = f"run-{tool + 1}"
    with at_work(database) as told:
        await until(lambda: not {entry.state for entry in database.entries()} & {"queued", "running"})
        assert [entry.id for entry in database.entries() if entry.state == "parked"] == [parked]
        assert f"{inner}/Analyst#0.0: nobody knows whether notes.add(" in database.entries(parked)[0].note
        database.settle(parked, {f"{inner}/Analyst#0.0": "noted by hand"})
        await until(lambda: {entry.state for entry in database.entries()} == {"satisfied"})
    await until(lambda: told[-1] == "over")
    assert len(server.requests) - paid == due, "what was finished is not paid for again"
    derive(database, parked, tmp_path / "out", ["json"])
    (found,) = (tmp_path / "out" / parked / "teams").iterdir()
    assert read_log(found)[0] == database.log(f"{parked}/{inner}") and (found / "result.json").exists()


async def test_a_running_run_is_cancelled_by_its_worker(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/queue.db")
    with OpenAIServer(Reply(hang="before")) as server, at_work(database) as told:
        database.submit(team(tmp_path, server), "job", id="run")
        await server.reached(lambda s: s.hanging, 20)
        assert database.cancel("run") == "running"
        await until(lambda: database.entries("run")[0].state == "cancelled")
        assert isinstance(ended := database.log("run")[-1], ev.RunFinished) and ended.outcome == "cancelled"
    await until(lambda: told[-1] == "over")


async def test_a_run_that_costs_every_worker_its_life_is_parked(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/queue.db")
    database.submit(team(tmp_path), "job", id="run")
    for n in range(5):
        assert database.take(f"w{n}", database.pulses())
    with at_work(database, lease=0.2) as told:
        await until(lambda: database.entries("run")[0].state == "parked")
        assert database.entries("run")[0].note == "5 workers were lost with it"
    await until(lambda: told[-1] == "over")


# -- several workers, in processes of their own, and what happens to them


class Process:
    """A worker as its command starts it; `told` is what it said so far."""

    def __init__(self, url: str, folder: Path, name: str, concurrency: int) -> None:
        self._said = folder / f"{name}.log"
        command = [sys.executable, "-m", "magentic_kit", "worker", "--lease", "2", "--concurrency", str(concurrency)]
        environment = {**os.environ, "MAGENTIC_KIT_DATABASE": url}
        with self._said.open("w") as said:
            self.process = subprocess.Popen(command, stderr=said, env=environment, cwd=folder)
        self.lost: set[tuple[str, int]] = set()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(10)

    @property
    def told(self) -> str:
        return self._said.read_text()

    def holds(self, database: Database) -> list[Entry]:
        return [e for e in database.entries() if e.state == "running" and f"-{self.process.pid}-" in e.worker]

    def signal(self, number: int, database: Database) -> None:
        """Sends the signal while the worker is in the middle of several runs, and notes which it then has."""
        wait_for(lambda: len(self.holds(database)) >= 2)
        os.kill(self.process.pid, number)
        if number == signal.SIGKILL:
            self.process.wait(10)
        self.lost = {(entry.id, entry.epoch) for entry in self.holds(database)}

    def knows(self, id: str) -> bool:
        """Whether it has ended everything that it began for this run."""
        said = [line.removeprefix(f"{id}: ") for line in self.told.splitlines() if line.startswith(f"{id}: ")]
        return sum(line.startswith("taken") and "another" not in line for line in said) * 2 == len(said)


def wait_for(predicate: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not predicate():
        assert time.monotonic() < deadline, "this has not come in time"
        time.sleep(0.05)


def settle_as_a_person(database: Database, effects: Path, frozen: Process | None) -> int:
    """Looks whether the effect is there and says so, once a worker that may still be about it has been seen to."""
    parked = [entry for entry in database.entries() if entry.state == "parked"]
    for entry in parked:
        if frozen is not None and not frozen.knows(entry.id):
            continue
        found = re.search(r"nobody knows whether notes.add\(text='([^']+)'\)", entry.note)
        assert found, entry.note
        database.settle(entry.id, {"*": f"noted {found[1]}" if found[1] in effects.read_text().split() else None})
    return len(parked)


def check_done_once(database: Database, server: OpenAIServer, effects: Path, runs: int, disturbed: set[str]) -> None:
    asked = Counter(request.task for request in server.requests)
    for entry in database.entries():
        assert entry.state == "satisfied", (entry.id, entry.note)
        log = database.log(entry.id)
        assert [e.seq for e in log] == list(range(len(log)))
        held = ev.effective(log)
        for kind, number in ((ev.ModelCallFinished, MODEL_CALLS), (ev.ToolCallFinished, 3), (ev.RunFinished, 1)):
            assert len([e for e in held if isinstance(e, kind)]) == number
        calls = [e.call for e in held if isinstance(e, ev.ModelCallFinished)]
        assert len(set(calls)) == MODEL_CALLS
        paid = asked[entry.spec["task"]] - MODEL_CALLS  # a call in flight when its worker was lost is made again
        assert 0 <= paid <= (entry.id in disturbed), f"{entry.id}: {paid} calls more than needed"
    tasks = [entry.spec["task"] for entry in database.entries()]
    assert len(tasks) == runs
    assert sorted(effects.read_text().split()) == sorted(f"{task}/{name}" for task in tasks for name in NOTES)


@pytest.mark.slow
def test_sixty_runs_outlive_a_kill_a_freeze_and_a_restart(
    tmp_path: Path, postgres: Postgres, server: OpenAIServer
) -> None:
    database, effects = Database(postgres.url), tmp_path / "effects"
    factory = team(tmp_path, server)
    for n in range(60):
        database.submit(factory, f"job-{n}", id=f"run-{n}")
        if n % 10 == 0:
            database.submit(factory, f"job-{n}", id=f"run-{n}")
    with ExitStack() as stack:
        killed, frozen, steady = (
            stack.enter_context(Process(postgres.url, tmp_path, name, 4)) for name in ("killed", "frozen", "steady")
        )
        wait_for(lambda: len(server.requests) > 60)
        killed.signal(signal.SIGKILL, database)
        frozen.signal(signal.SIGSTOP, database)
        wait_for(lambda: not frozen.holds(database))  # others have taken its runs over, or parked them
        postgres.control("restart", "-m", "immediate")
        assert any(entry.state == "queued" for entry in database.entries()), "this is the middle"
        frozen.process.send_signal(signal.SIGCONT)
        wait_for(lambda: all(frozen.knows(id) for id, _ in frozen.lost))
        wait_for(
            lambda: (
                settle_as_a_person(database, effects, frozen) == 0
                and all(entry.state in OUTCOMES for entry in database.entries())
            )
        )
        assert "given up: another worker has taken" in frozen.told
        for worker in (frozen, steady):
            worker.process.send_signal(signal.SIGTERM)
            assert worker.process.wait(20) == 0, worker.told
    check_done_once(database, server, effects, 60, {id for id, _ in killed.lost | frozen.lost})
    # Any machine derives the log and the reports.
    command = [sys.executable, "-m", "magentic_kit", "result", "run-7", "--database", postgres.url, "--out", tmp_path]
    told = subprocess.run(command, check=True, capture_output=True, text=True)
    assert told.stdout == "the answer of job-7\n"
    assert (tmp_path / "run-7" / "report.md").read_text().count("job-7") and (tmp_path / "run-7" / "team.yaml").exists()
    assert len((tmp_path / "run-7" / "events.jsonl").read_text().splitlines()) == len(database.log("run-7"))


@pytest.mark.slow
def test_one_machine_with_sqlite_outlives_a_kill(tmp_path: Path, server: OpenAIServer) -> None:
    url, effects = f"sqlite:///{tmp_path}/queue.db", tmp_path / "effects"
    database, factory = Database(url), team(tmp_path, server)
    for n in range(12):
        database.submit(factory, f"job-{n}", id=f"run-{n}")
    with Process(url, tmp_path, "killed", 3) as killed, Process(url, tmp_path, "steady", 3):
        killed.signal(signal.SIGKILL, database)
        wait_for(
            lambda: (
                settle_as_a_person(database, effects, None) == 0
                and all(entry.state in OUTCOMES for entry in database.entries())
            )
        )
    check_done_once(database, server, effects, 12, {id for id, _ in killed.lost})


@pytest.mark.slow
def test_a_batch_by_workers_keeps_the_limits_of_the_queue_and_outlives_one_of_them(tmp_path: Path) -> None:
    url, effects = f"sqlite:///{tmp_path}/queue.db", tmp_path / "effects"
    database, times, running = Database(url), list[float](), list[int]()

    def timed(request: Request) -> Any:
        times.append(time.monotonic())
        running.append(sum(state == "running" for state, _ in database.states("").values()))
        return brain(request)

    def batch(*arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "magentic_kit", "batch", *arguments], cwd=tmp_path)

    with OpenAIServer(timed) as server:
        team(tmp_path, server)
        rows = [{"id": n, "task": f"job-{n}", "expect": {"contains": f"job-{n}"}} for n in range(5)]
        (tmp_path / "tasks.yaml").write_text(yaml.safe_dump(rows))
        with Process(url, tmp_path, "one", 4) as one, Process(url, tmp_path, "other", 4) as other:
            wait_for(lambda: "waiting for runs" in one.told and "waiting for runs" in other.told)
            first = batch("team.yaml", "tasks.yaml", "--concurrency", "2", "--rpm", "300", "--database", url)
            wait_for(lambda: one.holds(database) or other.holds(database))
            killed = one if one.holds(database) else other
            killed.process.kill()
            killed.process.wait(10)
            lost = {entry.id for entry in killed.holds(database)}
            first.send_signal(signal.SIGINT)
            assert first.wait(60) == 130, "who follows no longer leaves the runs alone"
            wait_for(
                lambda: (
                    settle_as_a_person(database, effects, None) == 0
                    and all(entry.state in OUTCOMES for entry in database.entries())
                )
            )
            (directory,) = (tmp_path / "batches").iterdir()
            assert batch("--resume", str(directory), "--database", url, "--junit", "j.xml").wait(180) == 0
            assert batch("--resume", str(directory)).wait(180) == 2, "it is not carried out here once more"
    check_done_once(database, server, effects, 5, lost)
    assert max(running) == 2, "all workers together keep to the limit"
    assert all(later - earlier > 0.75 for earlier, later in zip(times, times[5:], strict=False)), "five a second"
    results = [json.loads(line) for line in (directory / "results.jsonl").read_text().splitlines()]
    assert {(r["id"], r["answer"]) for r in results} == {(str(n), f"the answer of job-{n}") for n in range(5)}
    for result in results:
        assert (directory / result["run_dir"] / "report.md").exists() and result["passed"]


def test_a_batch_by_workers_writes_what_a_batch_here_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tasks.yaml").write_text(
        yaml.safe_dump([{"task": "job", "expect": {"contains": "job"}}, {"task": "b"}])
    )
    url, loop = f"sqlite:///{tmp_path}/queue.db", asyncio.new_event_loop()
    written = {}
    with OpenAIServer(brain) as server:
        path = team(tmp_path, server).blueprint.team.path
        worker = Worker(Database(url), lease=1.0)
        carrying = threading.Thread(target=lambda: loop.run_until_complete(worker.work()))
        carrying.start()
        for where, how in {"here": [], "by workers": ["--database", url]}.items():
            asked = ["batch", str(path), "tasks.yaml", "--out", where, "--junit", "j.xml", *how]
            assert app.run(asked) == 0
            (directory,) = (tmp_path / where).iterdir()
            suite = ElementTree.parse("j.xml").getroot()
            files = sorted(p.name for p in directory.rglob("*") if p.is_file() and p.name != ".lock")
            written[where] = files, suite.attrib, [c.findtext("system-out") for c in suite]
        loop.call_soon_threadsafe(worker.stop)
        carrying.join(20)
    assert written["here"] == written["by workers"]
