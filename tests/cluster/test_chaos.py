"""Workers in processes of their own, and what happens to them and to the database."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from support.cluster import MODEL_CALLS, Process, at_work, brain, check_done_once, ended, state, states, team, wait_for
from support.openai_server import OpenAIServer, Request
from support.postgres import Postgres

from magentic_kit.cli import app
from magentic_kit.cluster.database import Database


@pytest.mark.slow
@pytest.mark.timeout(900)  # on a machine that does other things besides
def test_sixty_runs_outlive_a_kill_a_freeze_and_a_restart(
    tmp_path: Path, postgres: Postgres, database: Database, url: str, server: OpenAIServer
) -> None:
    effects = tmp_path / "effects"
    database.submit(team(tmp_path, server, review={"plan": True}), "reviewed", id="reviewed")
    factory = team(tmp_path, server)
    for n in range(60):
        database.submit(factory, f"job-{n}", id=f"run-{n}")
        if n % 10 == 0:
            database.submit(factory, f"job-{n}", id=f"run-{n}")
    with ExitStack() as stack:
        workers = [stack.enter_context(Process(url, tmp_path, name, "--concurrency", "4")) for name in "abc"]
        wait_for(lambda: len(server.requests) > 60 and state(database, "reviewed") == "waiting", 300)
        # The one that is killed has the run that waits for a person, too.
        waits = database.entry("reviewed").worker
        killed, frozen, steady = sorted(workers, key=lambda worker: f"-{worker.process.pid}-" not in waits)
        killed.signal(signal.SIGKILL, database)
        frozen.signal(signal.SIGSTOP, database)
        wait_for(lambda: not frozen.holds(database))  # others have taken its runs over, or parked them
        postgres.control("restart", "-m", "immediate")
        assert "queued" in states(database), "this is the middle"
        frozen.process.send_signal(signal.SIGCONT)
        command = [sys.executable, "-m", "magentic_kit", "answer", "reviewed", "approve", "--database", url]
        subprocess.run(command, check=True)
        wait_for(lambda: all(frozen.knows(id) for id in frozen.lost))
        wait_for(lambda: ended(database, effects, frozen), 180)
        assert "given up: another worker has taken" in frozen.told
        for worker in (frozen, steady):
            worker.process.send_signal(signal.SIGTERM)
            assert worker.process.wait(20) == 0, worker.told
    check_done_once(database, server, effects, 61, killed.lost | frozen.lost)
    # Any machine derives the log and the reports.
    command = [sys.executable, "-m", "magentic_kit", "result", "run-7", "--database", url, "--out", tmp_path]
    told = subprocess.run(command, check=True, capture_output=True, text=True)
    assert told.stdout == "the answer of job-7\n"
    assert (tmp_path / "run-7" / "report.md").read_text().count("job-7") and (tmp_path / "run-7" / "team.yaml").exists()
    events = (tmp_path / "run-7" / "events.jsonl").read_text().splitlines()
    assert len(events) == len(database.history("run-7").log())


@pytest.mark.slow
@pytest.mark.timeout(900)  # on a machine that does other things besides
def test_a_run_that_waits_for_a_person_outlives_its_worker(
    tmp_path: Path, database: Database, url: str, server: OpenAIServer
) -> None:
    effects, factory = tmp_path / "effects", team(tmp_path, server)
    for n in range(6):
        database.submit(factory, f"job-{n}", id=f"run-{n}")
    with Process(url, tmp_path, "killed", "--concurrency", "6") as killed:
        wait_for(lambda: effects.exists())
        killed.signal(signal.SIGKILL, database)
    with Process(url, tmp_path, "steady") as steady:
        wait_for(lambda: not states(database) & {"queued", "running"})
        assert "waiting" in states(database), "a tool was under way in one of them"
        steady.process.kill()
    for entry in database.entries():
        if entry.state == "waiting":
            done = entry.note.split("text='")[1].partition("'")[0] in effects.read_text().split()
            word = ["--skip-tool", "noted by hand"] if done else ["--repeat-tool"]
            command = [sys.executable, "-m", "magentic_kit", "answer", entry.id, *word, "--database", url]
            subprocess.run(command, check=True)
    with Process(url, tmp_path, "late"):
        wait_for(lambda: ended(database, effects))
    check_done_once(database, server, effects, 6, killed.lost)


@pytest.mark.slow
@pytest.mark.timeout(900)  # on a machine that does other things besides
def test_a_worker_outlives_a_database_that_comes_back_and_ends_when_it_does_not(
    tmp_path: Path, postgres: Postgres, database: Database, url: str, server: OpenAIServer
) -> None:
    effects = tmp_path / "effects"
    database.submit(team(tmp_path, server), "job-0", id="run-0")
    with Process(url, tmp_path, "patient", "--patience", "300") as patient:
        wait_for(lambda: server.requests)
        postgres.control("restart", "-m", "immediate")
        wait_for(lambda: ended(database, effects))
        check_done_once(database, server, effects, 1, set())
        assert patient.told.count("taken") == 1
    with Process(url, tmp_path, "hasty", "--patience", "2") as hasty:
        wait_for(lambda: "waiting for runs" in hasty.told)
        database.submit(team(tmp_path, server), "job-1", id="run-1")
        wait_for(lambda: len(server.requests) > MODEL_CALLS)
        postgres.control("stop", "-m", "immediate")
        try:
            assert hasty.process.wait(120) == 1
        finally:
            postgres.control("start")
        assert "the database has not answered for 2 s" in hasty.told.splitlines()[-1]
        assert hasty.told.count("the database does not answer") == 1 and "Traceback" not in hasty.told


@pytest.mark.slow
@pytest.mark.timeout(900)  # on a machine that does other things besides
def test_a_batch_by_workers_keeps_the_limits_of_the_queue_and_outlives_one_of_them(
    tmp_path: Path, database: Database, url: str
) -> None:
    effects, times, running = tmp_path / "effects", list[float](), list[int]()

    def timed(request: Request) -> Any:
        times.append(time.monotonic())
        running.append(sum(entry.state == "running" for entry in database.entries()))
        return brain(request)

    def batch(*arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "magentic_kit", "batch", *arguments], cwd=tmp_path)

    with OpenAIServer(timed) as server:
        team(tmp_path, server)
        rows = [{"id": n, "task": f"job-{n}", "expect": {"contains": f"job-{n}"}} for n in range(5)]
        (tmp_path / "tasks.yaml").write_text(yaml.safe_dump(rows))
        with Process(url, tmp_path, "one") as one, Process(url, tmp_path, "other") as other:
            wait_for(lambda: "waiting for runs" in one.told and "waiting for runs" in other.told, 300)
            first = batch("team.yaml", "tasks.yaml", "--concurrency", "2", "--rpm", "300", "--database", url)
            wait_for(lambda: one.holds(database) or other.holds(database))
            killed = one if one.holds(database) else other
            killed.process.kill()
            killed.process.wait(10)
            lost = {entry.id for entry in killed.holds(database)}
            first.send_signal(signal.SIGINT)
            assert first.wait(60) == 130, "who follows no longer leaves the runs alone"
            wait_for(lambda: ended(database, effects), 120)
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


def test_a_batch_by_workers_writes_what_a_batch_here_writes(
    tmp_path: Path, database: Database, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    warned = list[str]()
    monkeypatch.setattr(logging.getLogger("dbos"), "warning", lambda text, *_: warned.append(text))
    (tmp_path / "tasks.yaml").write_text(
        yaml.safe_dump([{"task": "job", "expect": {"contains": "job"}}, {"task": "b"}])
    )
    written = {}
    with OpenAIServer(brain) as server:
        path = team(tmp_path, server).blueprint.team.path
        with at_work(database):
            for where, how in {"here": [], "by workers": ["--database", url]}.items():
                asked = ["batch", str(path), "tasks.yaml", "--out", where, "--junit", "j.xml", *how]
                assert app.run(asked) == 0
                (directory,) = (tmp_path / where).iterdir()
                suite = ElementTree.parse("j.xml").getroot()
                files = sorted(p.name for p in directory.rglob("*") if p.is_file() and p.name != ".lock")
                written[where] = files, suite.attrib, [c.findtext("system-out") for c in suite]
    assert written["here"] == written["by workers"]
    assert not warned, "DBOS is not called where it would hold up others"
