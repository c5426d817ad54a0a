"""Many tasks of one team: none lost, none twice, none paid twice, whatever the service and the process suffer."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import anyio
import pexpect
import pytest
import yaml
from support.openai_server import OpenAIServer, Reply, Request, error, ledger, text_of

from magentic_kit import ConfigError, TeamFactory
from magentic_kit import events as ev
from magentic_kit.batch.junit import junit
from magentic_kit.batch.runner import Batch, run_batch
from magentic_kit.batch.tasks import Task, load_tasks
from magentic_kit.cli import app
from magentic_kit.runlog.reader import read_log
from magentic_kit.services.rate_limits import Throttle

KEY = "sk-test-0123456789abcdef"
CALLS = 8  # of one run: facts, plan, three ledgers, two turns, answer
SIZES = [(20, 10), pytest.param(200, 50, marks=pytest.mark.slow)]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


class Flaky:
    """Answers by the request alone; of all requests, 5 % are refused once with 429 and 2 % once with 500."""

    def __init__(self) -> None:
        self.answered, self.faults = Counter[str](), Counter[int]()
        self._refused: set[str] = set()

    def __call__(self, request: Request) -> Any:
        digest = hashlib.sha256(json.dumps(request.messages).encode()).hexdigest()
        fault = {**dict.fromkeys(range(5), 429), 5: 500, 6: 500}.get(int(digest, 16) % 100)
        if fault and digest not in self._refused:
            self._refused.add(digest)
            self.faults[fault] += 1
            return error(fault, retry_after=0.05) if fault == 429 else error(fault)
        self.answered[digest] += 1
        return pure(request)


def pure(request: Request) -> Any:
    rounds = [("Analyst", "look"), ("Writer", "write")]
    if request.purpose == "ledger":
        done = sum(text_of(message).startswith("Transferred to") for message in request.messages)
        return ledger(*rounds[done]) if done < len(rounds) else ledger(satisfied=True)
    return f"done: {request.task}" if request.purpose == "answer" else f"the {request.purpose} of {request.who}"


class Limited:
    """After so many requests it refuses all for half a second."""

    def __init__(self, allowed: int) -> None:
        self.allowed, self.taken, self.refused, self.closed_until = allowed, 0, 0, 0.0

    def __call__(self, request: Request) -> Any:
        now = time.monotonic()
        if self.taken == self.allowed:
            self.taken, self.closed_until = 0, now + 0.5
        if now < self.closed_until:
            self.refused += 1
            return error(429, retry_after=round(self.closed_until - now + 0.005, 3))
        self.taken += 1
        return pure(request)


def write_team(folder: Path, base_url: str, **changes: Any) -> Path:
    data = {
        "name": "many",
        "task": "Look at {{$region}}.",
        "inputs": {"region": {"default": None}},
        "services": {"default": {"provider": "openai", "model": "m", "base_url": base_url}},
        "agents": [{"name": n, "description": "d", "instructions": "i"} for n in ("Analyst", "Writer")],
        "report": {"formats": []},
        **changes,
    }
    (folder / "team.yaml").write_text(yaml.safe_dump(data))
    return folder / "team.yaml"


def write_tasks(folder: Path, number: int) -> Path:
    rows = [{"id": f"t{n}", "task": f"Task {n}.", "expect": {"contains": f"Task {n}."}} for n in range(number)]
    (folder / "tasks.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder / "tasks.jsonl"


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "magentic_kit", "batch", *map(str, arguments)]


def start(folder: Path, *arguments: object) -> subprocess.Popen[str]:
    how: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": folder}
    return subprocess.Popen(command(*arguments), **how)


def directory(folder: Path) -> Path:
    (found,) = (folder / "batches").iterdir()
    return found


def results(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory(folder) / "results.jsonl").read_text().splitlines()]


def finished_calls(folder: Path) -> int:
    logs = [ev.effective(read_log(log.parent)[0]) for log in directory(folder).glob("tasks/*/*/events.jsonl")]
    return sum(isinstance(event, ev.ModelCallFinished) for log in logs for event in log)


def check_whole(folder: Path, number: int) -> None:
    told = results(folder)
    assert sorted(r["id"] for r in told) == sorted(f"t{n}" for n in range(number))
    assert {(r["id"], r["answer"]) for r in told} == {(f"t{n}", f"done: Task {n}.") for n in range(number)}
    assert {r["outcome"] for r in told} == {"satisfied"} and all(r["passed"] for r in told)
    homes = list(directory(folder).glob("tasks/*"))
    assert len(homes) == number and all(len(list(home.iterdir())) == 1 for home in homes)
    assert finished_calls(folder) == number * CALLS


@pytest.mark.parametrize(("number", "concurrency"), SIZES)
async def test_all_tasks_end_though_the_service_refuses_and_fails(
    number: int, concurrency: int, tmp_path: Path
) -> None:
    brain = Flaky()
    with OpenAIServer(brain) as server:
        factory = TeamFactory.from_yaml(write_team(tmp_path, server.base_url))
        async with factory:
            tasks = load_tasks(write_tasks(tmp_path, number), factory)
            told = [
                result.id
                async for result in run_batch(factory, tasks, concurrency=concurrency, out=tmp_path / "batches")
            ]
    assert len(told) == number
    check_whole(tmp_path, number)
    assert brain.faults[429] and brain.faults[500]
    assert set(brain.answered.values()) == {1} and len(brain.answered) == number * CALLS


@pytest.mark.parametrize(("number", "concurrency"), SIZES)
def test_a_killed_batch_goes_on_without_paying_twice(number: int, concurrency: int, tmp_path: Path) -> None:
    brain = Flaky()
    with OpenAIServer(brain) as server:
        team, tasks = write_team(tmp_path, server.base_url), write_tasks(tmp_path, number)
        first = start(tmp_path, team, tasks, "--concurrency", concurrency)
        server.wait_for(lambda it: len(it.requests) > number * CALLS / 2 or first.poll() is not None, timeout=120)
        first.kill()
        assert first.communicate() and first.returncode == -signal.SIGKILL
        server.wait_for(lambda it: it.open_connections == 0)
        paid, kept = brain.answered.total(), finished_calls(tmp_path)
        assert 0 < kept < number * CALLS and paid - kept <= concurrency

        out, err = (again := start(tmp_path, "--resume", directory(tmp_path), "--junit", "j.xml")).communicate()
        assert again.returncode == 0, err
        assert brain.answered.total() - paid == number * CALLS - kept, "what is in the log is not asked again"
    check_whole(tmp_path, number)
    assert out == "" and f"{number}/{number} " in err
    assert ElementTree.parse(tmp_path / "j.xml").getroot().attrib["failures"] == "0"


@pytest.mark.slow
def test_ctrl_c_ends_a_batch_in_order_and_resume_goes_on(tmp_path: Path) -> None:
    held = True

    def brain(request: Request) -> Any:
        reply = pure(request)
        return Reply(hang="before") if held and request.task == "Task 3." and request.purpose == "answer" else reply

    with OpenAIServer(brain) as server:
        team, tasks = write_team(tmp_path, server.base_url), write_tasks(tmp_path, 6)
        first = start(tmp_path, team, tasks, "--concurrency", 2)
        server.wait_for(lambda it: it.hanging and sum(r.purpose == "answer" for r in it.requests) > 4, timeout=180)
        first.send_signal(signal.SIGINT)
        _, err = first.communicate(timeout=180)
        assert first.returncode == 130, err
        outcomes = {r["id"]: r["outcome"] for r in results(tmp_path)}
        assert outcomes["t3"] == "cancelled" and outcomes["t0"] == "satisfied"
        held, paid = False, len(server.requests)
        again = start(tmp_path, team, tasks, "--resume", directory(tmp_path), "--json")
        out, err = again.communicate(timeout=180)
        assert again.returncode == 0, err
        assert len(json.loads(out)) == 6
        assert [r.purpose for r in server.requests[paid:] if r.task == "Task 3."] == ["answer"]
    check_whole(tmp_path, 6)


async def test_tasks_that_are_left_are_cancelled_and_never_begun(tmp_path: Path) -> None:
    with OpenAIServer(pure) as server:
        async with TeamFactory.from_yaml(write_team(tmp_path, server.base_url)) as factory:
            tasks = [Task(id=str(n), task=f"Task {n}.") for n in range(5)]
            many = run_batch(factory, tasks, concurrency=2, out=tmp_path / "batches")
            async for result in many:
                assert result.outcome == "satisfied" and result.passed
                break
            await many.aclose()
    assert len(list(directory(tmp_path).glob("tasks/*"))) < 5


async def test_a_batch_belongs_to_one_process_at_a_time(tmp_path: Path) -> None:
    with OpenAIServer(pure) as server:
        async with TeamFactory.from_yaml(write_team(tmp_path, server.base_url)) as factory:
            batch = Batch.new(factory, [Task(id="a", task="A.")], out=tmp_path / "batches")
            async for _ in batch.results():
                with pytest.raises(ConfigError, match="another process is at work on this batch"):
                    await Batch.load(batch.directory).results().__anext__()


async def test_a_batch_that_goes_on_keeps_its_limits(tmp_path: Path) -> None:
    with OpenAIServer(pure) as server:
        async with TeamFactory.from_yaml(write_team(tmp_path, server.base_url)) as factory:
            batch = Batch.new(factory, [Task(id="a", task="A.")], out=tmp_path / "batches")
            [_ async for _ in batch.results(concurrency=3, rpm=6000)]
            [_ async for _ in Batch.load(batch.directory).results(concurrency=2)]
    assert json.loads((batch.directory / "batch.json").read_text())["limits"] == {
        "concurrency": 2,
        "rpm": 6000,
        "tpm": None,
    }


async def test_the_directory_of_a_batch_is_its_owner_s_and_nothing_in_it_is_written_through_a_link(
    tmp_path: Path,
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("precious")
    with OpenAIServer(pure) as server:
        async with TeamFactory.from_yaml(write_team(tmp_path, server.base_url)) as factory:
            batch = Batch.new(factory, [Task(id="a", task="A.")], out=tmp_path / "batches")
            [_ async for _ in batch.results()]
            paths = list(batch.directory.iterdir())
            assert {path.stat().st_mode & 0o777 for path in paths if path.is_file()} == {0o600}
            assert batch.directory.stat().st_mode & 0o777 == 0o700
            for name, problem in (("results.jsonl", "is a link"), (".lock", "not a regular file")):
                (batch.directory / name).unlink(missing_ok=True)
                (batch.directory / name).symlink_to(elsewhere)
                with pytest.raises(ConfigError, match=problem):
                    await Batch.load(batch.directory).results().__anext__()
                (batch.directory / name).unlink()
    assert elsewhere.read_text() == "precious"


@pytest.mark.parametrize(
    "change",
    [
        {"team_dir": 1},
        {"limits": {"rpm": 1}},
        {"tasks": {}},
        {"tasks": [1]},
        {"queued": None},
        {"more": 1},
        {"base_dir": []},
    ],
)
async def test_a_damaged_batch_is_told_in_words(change: dict[str, Any], tmp_path: Path) -> None:
    with OpenAIServer(pure) as server:
        write_team(tmp_path, server.base_url)
    limits = {"concurrency": 8, "rpm": None, "tpm": None}
    whole = {"team_dir": str(tmp_path), "base_dir": str(tmp_path), "queued": False, "limits": limits, "tasks": []}
    (tmp_path / "batch.json").write_text(json.dumps(whole))
    Batch.load(tmp_path)
    (tmp_path / "batch.json").write_text(json.dumps({**whole, **change}))
    with pytest.raises(ConfigError, match="there is no batch here"):
        Batch.load(tmp_path)


async def test_a_missing_key_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    services = {"default": {"provider": "openai", "model": "m"}}
    factory = TeamFactory.from_yaml(write_team(tmp_path, "", services=services))
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        await run_batch(factory, [Task(id="a", task="A.")], out=tmp_path / "batches").__anext__()
    assert not (tmp_path / "batches").exists()


async def test_one_run_that_cannot_go_on_leaves_the_others_alone(tmp_path: Path) -> None:
    with OpenAIServer(pure) as server:
        async with TeamFactory.from_yaml(write_team(tmp_path, server.base_url)) as factory:
            batch = Batch.new(factory, [Task(id=name, task=name) for name in "ab"], out=tmp_path / "batches")
            [_ async for _ in batch.results()]
            log = next(batch.directory.glob("tasks/0001-a/*/events.jsonl"))
            log.write_bytes(log.read_bytes().replace(b"Analyst", b"Analyze", 1))
            again = {result.id: result async for result in Batch.load(batch.directory).results()}
    assert again["a"].outcome == "failed" and "the log is damaged" in again["a"].error
    assert again["b"].outcome == "satisfied"


# -- shared limits


async def test_a_refused_call_makes_all_others_wait_and_halves_the_calls_in_flight() -> None:
    throttle = Throttle()
    for _ in range(6):
        await throttle.enter()
    throttle.leave()
    began = time.monotonic()
    await throttle.refused(0.2)
    entered: list[float] = []
    most = 0

    async def caller() -> None:
        nonlocal most
        await throttle.enter()
        entered.append(time.monotonic() - began)
        most = max(most, throttle.in_flight)
        await anyio.sleep(0)
        throttle.leave()

    async with anyio.create_task_group() as callers:
        for _ in range(8):
            callers.start_soon(caller)
        await anyio.sleep(0)
        for _ in range(5):
            throttle.leave()
    assert len(entered) == 8 and min(entered) >= 0.2 and most <= 3
    for _ in range(3):
        await throttle.replied(0)
    for _ in range(6):
        await throttle.enter()
    assert throttle.in_flight == 6, "each reply made room for one more"


async def test_requests_and_tokens_a_minute_are_held() -> None:
    throttle = Throttle()
    throttle.pace.limit(rpm=1200, tpm=60_000)
    began = time.monotonic()
    for _ in range(5):
        await throttle.enter()
    assert time.monotonic() - began >= 4 * 0.05
    await throttle.replied(200)
    began = time.monotonic()
    await throttle.enter()
    assert time.monotonic() - began >= 0.2


@pytest.mark.slow
async def test_a_service_that_limits_its_requests_is_not_hammered(tmp_path: Path) -> None:
    brain = Limited(allowed=30)
    with OpenAIServer(brain) as server:
        async with TeamFactory.from_yaml(write_team(tmp_path, server.base_url)) as factory:
            tasks = [Task(id=str(n), task=f"Task {n}.") for n in range(20)]
            many = run_batch(factory, tasks, concurrency=20, out=tmp_path / "batches")
            assert [result.outcome async for result in many] == ["satisfied"] * 20
    assert 5 <= brain.refused <= 70, "without a shared wait each of 20 callers meets each of 5 closed doors"


# -- tasks files and checks

SAME = {
    "tasks.jsonl": """\
{"id": "a", "task": "Do a."}

{"inputs": {"region": "East"}, "expect": {"regex": "E+"}}
""",
    "tasks.yaml": """\
- {id: a, task: Do a.}

- {inputs: {region: East}, expect: [{regex: E+}]}
""",
    "tasks.csv": "id,task,region,expect\na,Do a.,,\n3,,East,regex: E+\n",
}


@pytest.fixture
def factory(tmp_path: Path) -> TeamFactory:
    return TeamFactory.from_yaml(write_team(tmp_path, "http://127.0.0.1:9/v1"))


@pytest.mark.parametrize("name", SAME)
def test_tasks_are_read_from_lines_yaml_and_tables(name: str, tmp_path: Path, factory: TeamFactory) -> None:
    (tmp_path / name).write_text(SAME[name])
    first, second = load_tasks(tmp_path / name, factory)
    assert (first.id, first.task, first.inputs, first.expect) == ("a", "Do a.", {}, ())
    assert (second.id, second.task, second.inputs) == ("3", None, {"region": "East"})
    assert [expect.given() for expect in second.expect] == [{"regex": second.expect[0].regex}]


WRONG = {
    '{"task": "a", "inputs": {"regoin": "East"}}': "the team has no input 'regoin'; did you mean 'region'?",
    "{": "this is not valid JSON",
    "[1]": "the task should be a mapping, not a list",
    '{"taks": "a"}': "unknown key 'taks' in the task; did you mean 'task'?",
    '{"task": 5}': "task should be text, not 5",
    '{"task": "a", "expect": {"contians": "x"}}': "unknown key 'contians' in expect[0]; did you mean 'contains'?",
    '{"task": "a", "expect": {"regex": "("}}': "expect[0].regex should be a regular expression (missing )",
    '{"task": "a", "expect": {"json_schema": {"type": "strin"}}}': "is no JSON Schema: 'strin'",
    '{"task": "a", "expect": {"python": "nosuch:thing"}}': "target 'nosuch:thing' cannot be imported",
    '{"task": "a", "expect": {}}': "expect[0] needs a check: contains, regex, json_schema, python",
    '{"task": "a", "id": 1}': "there is another task with the id '1'",
}


def test_every_mistake_of_a_tasks_file_is_told_at_once_with_its_line(tmp_path: Path, factory: TeamFactory) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text("\n".join(['{"task": "fine"}', *WRONG]))
    with pytest.raises(ConfigError) as wrong:
        load_tasks(path, factory)
    assert [problem.line for problem in wrong.value.problems] == list(range(2, len(WRONG) + 2))
    for problem, message in zip(wrong.value.problems, WRONG.values(), strict=True):
        assert message in problem.message


FILES = {
    "tasks.txt": ("x", "ends in .jsonl, .yaml or .csv"),
    "tasks.yaml": ("a: [", "not valid YAML"),
    "tasks.yml": ("a: 1", "should hold a list of tasks"),
    "tasks.csv": ("task\na,b\n", "more cells than there are columns"),
    "tasks.jsonl": ("", "there are no tasks"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_holds_no_tasks_is_told(name: str, tmp_path: Path, factory: TeamFactory) -> None:
    text, message = FILES[name]
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_tasks(tmp_path / name, factory)


CHECKS = """
def fits(result):
    return result.outcome == "satisfied" and result.rounds == 2

def refuses(result):
    return False

def raises(result):
    assert result.answer == "else", "it is not else"
"""
FENCED = 'Here:\n```json\n{"n": 1}\n```\n'
VERDICTS = [
    ("plain", {"contains": "lai"}, ""),
    ("plain", {"contains": "Plain"}, "does not contain it"),
    ("plain", {"regex": "^pl.{2}n$"}, ""),
    ("plain", {"regex": "x"}, "not found"),
    (FENCED, {"json_schema": {"required": ["n"]}}, ""),
    ('{"n": "1"}', {"json_schema": {"properties": {"n": {"type": "integer"}}}}, "$.n: '1' is not of type 'integer'"),
    ("plain", {"json_schema": {}}, "the answer is not JSON"),
    ("plain", {"python": "checks:fits"}, ""),
    ("plain", {"python": "checks:refuses"}, "it says no"),
    ("plain", {"python": "checks:raises"}, "AssertionError: it is not else"),
]


async def test_answers_are_checked_and_told_as_junit(tmp_path: Path) -> None:
    (tmp_path / "checks.py").write_text(CHECKS)

    def brain(request: Request) -> Any:
        return VERDICTS[int(request.task)][0] if request.purpose == "answer" else pure(request)

    with OpenAIServer(brain) as server:
        async with TeamFactory.from_yaml(
            write_team(tmp_path, server.base_url, report={"formats": ["html"]})
        ) as factory:
            rows = [{"task": f"{n}", "expect": [expect]} for n, (_, expect, _) in enumerate(VERDICTS)]
            (tmp_path / "tasks.yaml").write_text(yaml.safe_dump(rows))
            tasks = load_tasks(tmp_path / "tasks.yaml", factory)
            batch = Batch.new(factory, tasks, out=tmp_path / "batches", base_dir=tmp_path)
            told = {result.id: result async for result in batch.results()}
    for task, (_, _, problem) in zip(tasks, VERDICTS, strict=True):
        (check,) = told[task.id].checks
        assert problem in check.problem and told[task.id].passed is (not problem) is not bool(check.problem)

    page = (batch.directory / "batch.html").read_text("utf-8")
    assert "4 of 10 checks passed." in page
    problems = page.partition('id="failed"')[2].partition("</section>")[0]
    assert problems.count("<p dir") == 6 and "AssertionError: it is not else" in problems
    reports = re.findall('<a href="(tasks/[^"]+/report.html)"', page)
    assert len(reports) == 10 and all((batch.directory / report).is_file() for report in reports)

    hostile = {**told, tasks[0].id: replace(told[tasks[0].id], answer="\x00\x1b[31m ]]> & <b> \ud800 \uffff \x85")}
    del hostile[tasks[1].id]
    suite = ElementTree.fromstring(junit(batch, hostile.values()))
    assert suite.attrib["tests"] == "10" and suite.attrib["skipped"] == "1" and suite.attrib["failures"] == "5"
    assert "␛[31m ]]> & <b>" in suite.findtext("testcase/system-out", "")


async def test_what_no_run_can_do_without_ends_the_batch_before_anything_is_sent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with OpenAIServer(pure) as server:
        team = write_team(tmp_path, server.base_url, review={"plan": True})
        async with TeamFactory.from_yaml(team) as factory:
            tasks = [Task(id=str(n), task="A.") for n in range(3)]
            with pytest.raises(ConfigError, match="asks for a person"):
                await run_batch(factory, tasks, out=tmp_path / "batches").__anext__()
        assert not server.requests and "never retrieved" not in caplog.text


CODES = {
    "all satisfied": ({}, {}, 0),
    "a limit": ({"max_rounds": 1}, {}, 3),
    "checks that pass at a limit": ({"max_rounds": 1}, {"contains": "done"}, 0),
    "a check that does not pass": ({}, {"contains": "nothing"}, 1),
}


@pytest.mark.parametrize("name", CODES)
def test_the_exit_code_is_by_checks_or_else_by_outcomes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    manager, expect, code = CODES[name]
    monkeypatch.chdir(tmp_path)
    with OpenAIServer(pure) as server:
        team = write_team(tmp_path, server.base_url, manager=manager)
        Path("tasks.jsonl").write_text(json.dumps({"task": "A.", **({"expect": expect} if expect else {})}))
        assert app.run(["batch", str(team), "tasks.jsonl"]) == code
    out, err = capsys.readouterr()
    assert out == "" and f"see {directory(Path()).as_posix()}/batch.html" in err


def test_a_batch_cannot_go_on_with_other_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with OpenAIServer(pure) as server:
        team, tasks = write_team(tmp_path, server.base_url), write_tasks(tmp_path, 1)
        asked = ["batch", str(team), str(tasks)]
        assert app.run(asked) == 0
        paid = len(server.requests)
        tasks.write_text('{"task": "another"}')
        with pytest.raises(ConfigError, match="other tasks"):
            app.run([*asked, "--resume", str(directory(tmp_path))])
        assert len(server.requests) == paid


@pytest.mark.parametrize("options", [[], ["--plain"]])
def test_failed_checks_are_listed_at_the_end_and_wrap_between_words(options: list[str], tmp_path: Path) -> None:
    words = "a wanted sentence of many words that no answer has and that no terminal of sixty columns holds"
    with OpenAIServer(pure) as server:
        team = write_team(tmp_path, server.base_url)
        rows = [{"id": f"t{n}", "task": "A.", "expect": {"contains": words}} for n in range(2)]
        (tmp_path / "tasks.jsonl").write_text("\n".join(map(json.dumps, rows)))
        line = command(team, "tasks.jsonl", *options)
        environment: Any = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        child = pexpect.spawn(line[0], line[1:], dimensions=(60, 60), cwd=tmp_path, env=environment, encoding="utf-8")
        child.expect(pexpect.EOF, timeout=120)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", child.before).replace("\r", "")
    end = text.partition("failed checks: 2\n")[2]
    assert end.index("t0:") < end.index("t1:") < end.index("batch.html")
    if options:
        assert "\x1b" not in child.before and "╭" not in text and "━" not in text
    else:
        rows_of_checks = end.partition("see ")[0].splitlines()
        assert max(map(len, rows_of_checks)) <= 60
        assert all(row.startswith("  ") for row in rows_of_checks)
        assert " ".join(end.partition("see ")[0].split()).count("it") == 2  # "does not contain it", each whole
