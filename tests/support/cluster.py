"""Workers, in this process or in one of their own, and a team whose runs they carry out."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support import lost_worker
from support.durable import ROUNDS, note, write_team
from support.openai_server import OpenAIServer, Reply, Request, ledger, text_of

from magentic_kit import TeamFactory
from magentic_kit import events as ev
from magentic_kit.cluster.database import Database
from magentic_kit.cluster.entry import OUTCOMES, Entry
from magentic_kit.cluster.worker import Worker

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


def team(folder: Path, server: OpenAIServer | None = None, **changes: Any) -> TeamFactory:
    path = write_team(folder, server.base_url if server else "http://127.0.0.1:9/v1", **changes)
    (folder / "notes.py").write_text(PLUGIN)
    return TeamFactory.from_yaml(path)


def wait_for(predicate: Callable[[], object], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not predicate():
        assert time.monotonic() < deadline, "this has not come in time"
        time.sleep(0.03)


def state(database: Database, id: str) -> str:
    return database.entry(id).state


def states(database: Database) -> set[str]:
    return {entry.state for entry in database.entries()}


@contextmanager
def at_work(database: Database, **options: Any) -> Iterator[list[str]]:
    """A worker in a thread of this process; gives what it tells."""
    logging.getLogger("dbos").handlers.clear()  # DBOS keeps the first, which may be of another test's stderr
    told: list[str] = []
    raised: list[BaseException] = []
    ready = threading.Event()

    async def work() -> None:
        nonlocal stop
        worker = Worker(database, tell=told.append, **{"lease": 1.0, **options})
        stop = worker.stop
        ready.set()
        await worker.work()

    def carry() -> None:
        try:
            loop.run_until_complete(work())
        except BaseException as error:
            raised.append(error)
        finally:
            ready.set()

    stop: Callable[[], None] = lambda: None  # noqa: E731
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=carry, daemon=True)
    thread.start()
    ready.wait(30)
    try:
        yield told
    except AssertionError:
        print(*told, raised, sep="\n")
        raise
    finally:
        loop.call_soon_threadsafe(lambda: stop())
        thread.join(30)
        assert not thread.is_alive(), "the worker has not stopped"
        loop.close()
    if raised:
        raise raised[0]


def leave_behind(database: Database, folder: Path, logs: Mapping[str, Mapping[str, list[ev.AnyEvent]]]) -> None:
    """Queued runs get these logs (by the run inside them, `""` for their own) from a worker that is killed then."""
    values = {}
    for id, inside in logs.items():
        items = [{"run": run, "event": ev.to_dict(event)} for run, events in inside.items() for event in events]
        values[id] = [[{"worker": "lost"}], items]
    abandon(database, folder, values)


def abandon(database: Database, folder: Path, values: Mapping[str, list[Any]]) -> None:
    """Queued runs get these values in their streams from a worker that is killed then."""
    (folder / "values.json").write_text(json.dumps(values))
    database.limit(worker_concurrency=100)
    command = [sys.executable, lost_worker.__file__, database.url, str(folder / "values.json")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    told = {process.stdout.readline().strip() for _ in values}
    process.kill()
    process.wait(10)
    process.stdout.close()
    assert told == set(values)


class Process:
    """A worker as its command starts it; `told` is what it said so far."""

    def __init__(self, url: str, folder: Path, name: str, *options: str) -> None:
        self._said = folder / f"{name}.log"
        command = [sys.executable, "-m", "magentic_kit", "worker", "--lease", "4", *options]
        environment = {**os.environ, "MAGENTIC_KIT_DATABASE": url}
        with self._said.open("w") as said:
            self.process = subprocess.Popen(command, stderr=said, env=environment, cwd=folder)
        self.lost: set[str] = set()

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
        self.lost = {entry.id for entry in self.holds(database)}

    def knows(self, id: str) -> bool:
        """Whether it has ended everything that it began for this run."""
        said = [line.removeprefix(f"{id}: ") for line in self.told.splitlines() if line.startswith(f"{id}: ")]
        return sum(line.startswith("taken") and "another" not in line for line in said) * 2 == len(said)


def answer_as_a_person(database: Database, effects: Path, frozen: Process | None = None) -> int:
    """Looks whether the effect is there and says so, once a worker that may still be about it has been seen to."""
    waiting = database.waiting()
    for entry in waiting:
        if frozen is not None and not frozen.knows(entry.id):
            continue
        found = re.search(r"nobody knows whether notes.add\(text='([^']+)'\)", entry.note)
        assert found, entry.note
        done = found[1] in effects.read_text().split()
        database.answer(entry.id, calls={"*": f"noted {found[1]}" if done else None})
    return len(waiting)


def ended(database: Database, effects: Path, frozen: Process | None = None) -> bool:
    """Whether all runs have; those that wait for a person get their answer."""
    return answer_as_a_person(database, effects, frozen) == 0 and states(database) <= set(OUTCOMES)


def check_done_once(database: Database, server: OpenAIServer, effects: Path, runs: int, disturbed: set[str]) -> None:
    asked, tasks = Counter(request.task for request in server.requests), []
    for entry in database.entries():
        assert entry.state == "satisfied", (entry.id, entry.note)
        tasks.append(database.spec(entry.id)["task"])
        log = database.history(entry.id).log()
        assert [e.seq for e in log] == list(range(len(log)))
        held = ev.effective(log)
        for kind, number in ((ev.ModelCallFinished, MODEL_CALLS), (ev.ToolCallFinished, 3), (ev.RunFinished, 1)):
            assert len([e for e in held if isinstance(e, kind)]) == number
        calls = [e.call for e in held if isinstance(e, ev.ModelCallFinished)]
        assert len(set(calls)) == MODEL_CALLS
        paid = asked[tasks[-1]] - MODEL_CALLS  # a call in flight when its worker was lost is made again
        assert 0 <= paid <= (entry.id in disturbed), f"{entry.id}: {paid} calls more than needed"
    assert len(tasks) == runs
    assert sorted(effects.read_text().split()) == sorted(f"{task}/{name}" for task in tasks for name in NOTES)
