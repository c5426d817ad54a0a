"""Queued runs as those see them who submit, limit, cancel and look at them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import run as call
from typing import Any

import pytest
import sqlalchemy as sa
import yaml
from support.cluster import at_work, brain, state, states, team, wait_for
from support.openai_server import OpenAIServer, Reply, Request

from magentic_kit import ConfigError
from magentic_kit.cli import app
from magentic_kit.cli.commands import COMMANDS
from magentic_kit.cluster import workflow
from magentic_kit.cluster.database import Database
from magentic_kit.cluster.entry import QUEUE
from magentic_kit.cluster.limits import SharedPace
from magentic_kit.cluster.queued import derive
from magentic_kit.runlog.reader import read_log

pytestmark = pytest.mark.slow


def test_two_submits_of_one_id_are_one_run(database: Database, tmp_path: Path) -> None:
    factory = team(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda _: database.submit(factory, "Do it.", id="mine"), range(8)))
    assert set(ids) == {"mine"} and len(database.entries()) == 1
    with pytest.raises(ConfigError, match="there is a run 'mine' already, of another team, task or inputs"):
        database.submit(factory, "Do something else.", id="mine")


@pytest.mark.parametrize("id", ["../up", "a b", "x" * 101, "ä"])
def test_an_id_is_a_safe_name(id: str, database: Database, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="should be up to 100 letters"):
        database.submit(team(tmp_path), id=id)


def test_each_run_is_taken_once_in_the_order_of_priority_and_age(
    database: Database, tmp_path: Path, server: OpenAIServer
) -> None:
    factory = team(tmp_path, server)
    database.submit(factory, "late", id="late", delay=4)
    for n in range(3):
        database.submit(factory, f"low-{n}", id=f"low-{n}", priority=9)
    for n in range(3):
        database.submit(factory, f"high-{n}", id=f"high-{n}", priority=1)
    began = time.time()
    with at_work(database, concurrency=1) as told:
        wait_for(lambda: states(database) == {"satisfied"})
    taken = [line.partition(":")[0] for line in told if line.endswith(": taken")]
    assert [id for id in taken if id != "late"] == [f"{kind}-{n}" for kind in ("high", "low") for n in range(3)]
    assert len(taken) == 7
    first = database.history("late").log()[0].time
    assert first > time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(began + 2))


def test_a_run_is_cancelled_wherever_it_is_and_goes_on(
    database: Database, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hung = list[str]()

    def hang_once(request: Request) -> Any:
        if request.task != "hang" or hung:
            return brain(request)
        hung.append(request.task)
        return Reply(hang="before")

    with OpenAIServer(hang_once) as server:
        factory = team(tmp_path, server)
        (tmp_path / "broken").mkdir()
        broken = team(tmp_path / "broken", server)
        (tmp_path / "broken" / "notes.py").unlink()
        database.submit(broken, id="waiting")
        database.submit(factory, "job", id="done")
        database.submit(factory, "hang", id="running")
        with at_work(database):
            wait_for(lambda: state(database, "waiting") == "waiting" and state(database, "done") == "satisfied")
            wait_for(lambda: server.hanging)
            database.submit(factory, id="queued", delay=60)
            cancelled = [database.cancel(id) for id in ("running", "waiting", "done", "queued")]
            assert cancelled == ["cancelled", "cancelled", "satisfied", "cancelled"]
            wait_for(lambda: not server.hanging)
        with pytest.raises(ConfigError, match="there is no run 'nope'"):
            database.cancel("nope")
        # DBOS takes nothing more from a run that is cancelled: whoever reads the log gives it its end.
        record, run_dir = derive(database, "running", tmp_path / "out", ["json"])
        assert record.outcome == "cancelled" and read_log(run_dir)[0] == database.history("running").log()
        assert '"outcome": "cancelled"' in (run_dir / "result.json").read_text()
        assert app.run(["show", "running", "--database", url]) == 0
        assert "cancelled" in capsys.readouterr().err
        database.answer("running", "retry")
        with at_work(database):
            wait_for(lambda: state(database, "running") == "satisfied")
        derive(database, "running", tmp_path / "out", ["json"])
        assert read_log(run_dir)[0] == database.history("running").log()


PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(40))


def test_files_of_a_task_are_queued_with_it(
    database: Database, url: str, tmp_path: Path, server: OpenAIServer, capsys: pytest.CaptureFixture[str]
) -> None:
    team(tmp_path, server)
    for name, content in {"chart.png": PNG, "figures.txt": b"north 12, south 30"}.items():
        (tmp_path / name).write_bytes(content)
    files = [str(option) for name in ("chart.png", "figures.txt") for option in ("--attach", tmp_path / name)]
    submitted = ["submit", str(tmp_path / "team.yaml"), "job", "--id", "run", "--database", url, *files]
    assert app.run(submitted) == 0 and app.run(submitted) == 0
    (tmp_path / "chart.png").unlink()  # a worker elsewhere has none of them
    (tmp_path / "figures.txt").write_text("other figures")
    with pytest.raises(ConfigError, match="cannot be attached"):
        app.run(submitted)
    with at_work(database):
        wait_for(lambda: state(database, "run") == "satisfied")
    asked = json.dumps(server.requests[0].messages)
    assert "north 12, south 30" in asked and b64encode(PNG).decode() in asked
    _, run_dir = derive(database, "run", tmp_path / "out", ["md"])
    assert b"north 12, south 30" in [file.read_bytes() for file in (run_dir / "attachments").iterdir()]
    assert PNG in [file.read_bytes() for file in (run_dir / "attachments").iterdir()]
    assert not database.history("run").contents, "the database has each file once"


def test_runs_that_ended_long_ago_are_deleted_with_their_logs(
    database: Database, url: str, tmp_path: Path, server: OpenAIServer, capsys: pytest.CaptureFixture[str]
) -> None:
    database.submit(team(tmp_path, server), "job", id="done")
    database.submit(team(tmp_path, server), id="queued", delay=60)
    (tmp_path / "broken").mkdir()
    broken = team(tmp_path / "broken")
    (tmp_path / "broken" / "notes.py").unlink()
    database.submit(broken, id="waiting")
    with at_work(database):
        wait_for(lambda: state(database, "done") == "satisfied" and state(database, "waiting") == "waiting")
    assert app.run(["purge", "--older-than", "1", "--database", url]) == 0 and not capsys.readouterr().out
    assert app.run(["purge", "--older-than", "0", "--database", url]) == 0
    assert capsys.readouterr().out == "done\n" and {entry.id for entry in database.entries()} == {"queued", "waiting"}
    with pytest.raises(ConfigError, match="there is no run 'done'"):
        database.history("done")
    with database.engine.connect() as connection:
        logs = connection.execute(sa.text("SELECT DISTINCT workflow_uuid FROM dbos.streams")).scalars().all()
    assert logs == ["waiting"]


# -- limits


def test_workers_together_have_no_more_runs_than_they_may(database: Database, tmp_path: Path) -> None:
    with OpenAIServer(Reply(hang="before")) as server:
        factory = team(tmp_path, server)
        for n in range(12):
            database.submit(factory, id=f"run-{n}")
        assert database.limit(concurrency=3, rpm=60) == {"concurrency": 3, "rpm": 60}
        assert database.limit(rpm=0) == {"concurrency": 3}
        with at_work(database, concurrency=8):
            wait_for(lambda: len(server.hanging) == 3)
            database.cancel(next(entry.id for entry in database.entries() if entry.state == "running"))
            wait_for(lambda: len([e for e in database.entries() if e.state == "cancelled"]) == 1)
            wait_for(lambda: len(server.hanging) == 3 and len(server.requests) == 4)
            assert database.limit(concurrency=0) == {"worker_concurrency": 8}
            wait_for(lambda: len(server.hanging) == 8)
            for entry in database.entries():
                database.cancel(entry.id)
    for odd in (-1, 2**31, 10**20):
        with pytest.raises(ConfigError, match=f"--rpm: should be from 0 to 2147483647, not {odd}"):
            database.limit(rpm=odd)


def test_a_limit_holds_from_the_first_run_that_is_queued_after_it(database: Database, tmp_path: Path) -> None:
    with OpenAIServer(Reply(hang="before")) as server:
        factory = team(tmp_path, server)
        with at_work(database, concurrency=8):
            # A worker that has looked once now waits for two seconds, with the limits that it has seen.
            database.client.register_queue(QUEUE, worker_concurrency=8, polling_interval_sec=2)
            database.submit(factory, id="first")
            wait_for(lambda: server.hanging)
            database.cancel("first")
            wait_for(lambda: not server.hanging)
            database.limit(concurrency=2)
            for n in range(5):
                database.submit(factory, id=f"run-{n}")
            wait_for(lambda: len(server.hanging) >= 2)
            found = [entry.state for entry in database.entries("run-")]
            for entry in database.entries():
                database.cancel(entry.id)
        assert found.count("running") == 2


def test_runs_that_were_dequeued_begin_though_the_connection_is_lost_then(
    database: Database, tmp_path: Path, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    dequeue, lost = workflow._dequeue, list[int]()

    def lose_the_turn(*arguments: Any, **options: Any) -> Any:
        dequeued = dequeue(*arguments, **options)
        if dequeued[0]:
            sessions = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = 7362 AND granted"
            with database.engine.connect() as connection:
                lost.extend(connection.execute(sa.text(sessions)).scalars())
                connection.execute(sa.text("SELECT pg_terminate_backend(:pid)"), {"pid": lost[-1]})
        return dequeued

    monkeypatch.setattr(workflow, "_dequeue", lose_the_turn)
    database.submit(team(tmp_path, server), "job", id="run")
    with at_work(database) as told:
        wait_for(lambda: state(database, "run") == "satisfied", 60)
    assert len(lost) == 1 and told[0] == "run: taken"


def test_limits_that_several_set_at_once_all_hold(database: Database) -> None:
    with ThreadPoolExecutor(4) as pool:
        for overall in range(5, 13):  # each as a worker that starts, and one who sets a limit
            list(pool.map(lambda n: database.limit(concurrency=None if n % 2 else overall), range(4)))  # noqa: B023
            queue = database.client.retrieve_queue(QUEUE)
            assert queue is not None and queue.global_concurrency == overall


async def test_all_callers_of_a_service_are_spread_by_one_clock(database: Database) -> None:
    database.limit(rpm=600, tpm=6000)
    some, other = SharedPace(database.engine, "some"), SharedPace(database.engine, "other")
    await some.enter()  # only makes it known
    began, entered = time.monotonic(), []

    async def call() -> None:
        caller = SharedPace(database.engine, "some")
        while wait := await caller.enter():
            await asyncio.sleep(wait)
        entered.append(time.monotonic() - began)

    await asyncio.gather(*(call() for _ in range(5)))
    assert max(entered) >= 4 * 0.1 - 0.01
    assert await other.enter() <= 0.001, "each service has its own pace"
    await some.replied(50)
    assert 0.3 < await some.enter() <= 0.5
    await some.refused(2.0)
    assert 1.8 < await some.enter() <= 2.0


@pytest.mark.parametrize("url", ["postgresql://127.0.0.1:9/x", "mysql://h/x", "nonsense", "sqlite:///queue.db"])
def test_a_database_that_cannot_be_had_is_one_line(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Database(url)
    assert len(caught.value.problems) == 1 and "\n" not in str(caught.value)


# -- commands


def test_the_commands_say_how_a_run_stands(
    database: Database, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    team(tmp_path)
    monkeypatch.setenv("MAGENTIC_KIT_DATABASE", url)

    def command(*arguments: str) -> tuple[int, str]:
        return app.run(arguments), capsys.readouterr().out.strip()

    assert command("submit", str(tmp_path / "team.yaml"), "Do it.", "--id", "run") == (0, "run")
    assert command("status") == (0, "run\tqueued")
    (tmp_path / "notes.py").rename(tmp_path / "elsewhere.py")
    with at_work(database):
        wait_for(lambda: state(database, "run") == "waiting")
        entry = database.entry("run")
        code, line = command("status", "run")
        assert code == 0 and line == f"run\twaiting\t{entry.worker}\t{entry.note}" and "notes" in line
        assert command("result", "run")[0] == 1
        database.limit(concurrency=1)
        for n in range(3):
            command("submit", str(tmp_path / "team.yaml"), "--id", f"more-{n}", "--delay", "60")
    code, shown = command("inbox")
    assert code == 0 and shown.startswith("run: problem (") and entry.note in shown
    assert shown.endswith("magentic-kit answer run retry") and command("inbox", "run") == (0, shown)
    with pytest.raises(ConfigError, match="the answer should be retry"):
        command("answer", "run", "--skip-tool", "done by hand")
    assert command("answer", "run", "retry")[0] == 0
    assert command("cancel", "r*") == (0, "cancelled")
    assert command("cancel", "more-[01]", "more-2") == (0, "cancelled\ncancelled\ncancelled")
    assert command("limits", "--concurrency", "0") == (0, "no limits")
    assert command("limits", "--concurrency", "3", "--rpm", "60") == (0, "concurrency\t3\nrpm\t60")
    assert command("limits", "--rpm", "0") == (0, "concurrency\t3")
    assert command("result", "run", "--out", str(tmp_path / "out")) == (130, "")
    assert '"outcome": "cancelled"' in (tmp_path / "out" / "run" / "result.json").read_text()


@pytest.mark.slow
def test_the_command_line_of_dbos_lists_cancels_and_resumes_runs(
    database: Database, url: str, tmp_path: Path, server: OpenAIServer
) -> None:
    def dbos(*arguments: str) -> str:
        command = ["dbos", "workflow", *arguments, "--sys-db-url", url]
        return call(command, check=True, capture_output=True, text=True, cwd=tmp_path).stdout

    database.submit(team(tmp_path, server), "job", id="run")
    assert '"workflow_id": "run"' in dbos("list")
    dbos("cancel", "run")
    assert state(database, "run") == "cancelled"
    dbos("resume", "run")
    assert state(database, "run") == "queued"
    with at_work(database):
        wait_for(lambda: state(database, "run") == "satisfied")
    assert '"state": "satisfied"' in dbos("get", "run")


EXAMPLE = Path(__file__).parents[2] / "examples" / "cluster"


@pytest.mark.slow
def test_the_commands_of_the_example_run_in_their_order(
    database: Database, url: str, tmp_path: Path, server: OpenAIServer
) -> None:
    team(tmp_path, server)
    shell = [
        line
        for block in re.findall(r"```sh\n(.*?)```", (EXAMPLE / "README.md").read_text(), re.S)
        for line in block.splitlines()
    ]
    outputs = []
    with at_work(database):
        for line in shell:
            if line.startswith(("magentic-kit ", "dbos ")) and "kit worker" not in line:
                wait_for(lambda: not states(database) & {"queued", "running"})
                environment = {**os.environ, "MAGENTIC_KIT_DATABASE": url}
                done = call(line, shell=True, capture_output=True, text=True, cwd=tmp_path, env=environment)
                assert done.returncode == 0, done.stderr
                outputs.append(done.stdout)
    assert outputs[0] == "monday\n" and outputs[1].startswith("monday\tsatisfied")
    assert not outputs[2], "the console is no output"
    assert outputs[3] == "the answer of Which region grew fastest?\n" and '"monday"' in outputs[4]
    assert (tmp_path / "runs" / "monday" / "report.html").exists()


def test_the_container_example_starts_what_there_is() -> None:
    services = yaml.safe_load((EXAMPLE / "compose.yaml").read_text())["services"]
    assert services["worker"]["deploy"]["replicas"] == 2
    build = services["worker"]["build"]
    root = EXAMPLE / build["context"]
    assert (root / build["dockerfile"]).samefile(EXAMPLE / "Dockerfile")
    copied = [line.split()[1:-1] for line in (EXAMPLE / "Dockerfile").read_text().splitlines() if line[:5] == "COPY "]
    assert all((root / name).exists() for names in copied for name in names)
    assert services["database"]["image"].startswith("postgres:")
    url = services["worker"]["environment"]["MAGENTIC_KIT_DATABASE"]
    assert url == f"postgresql://postgres:{services['database']['environment']['POSTGRES_PASSWORD']}@database/runs"
    last = (EXAMPLE / "Dockerfile").read_text().splitlines()[-1]
    program, command = json.loads(last.removeprefix("CMD "))
    assert program == "magentic-kit" and command in COMMANDS
    if shutil.which("docker") and call(["docker", "compose", "version"], capture_output=True).returncode == 0:
        call(["docker", "compose", "-f", EXAMPLE / "compose.yaml", "config", "--quiet"], check=True)
