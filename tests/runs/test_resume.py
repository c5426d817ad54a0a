"""Runs that are killed, cut, damaged, limited and edited go on without paying twice."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from support import durable
from support.durable import MODEL_CALLS, TOOL_CALLS, child, effects, write_team
from support.openai_server import Answer, OpenAIServer, Request, TeamBrain, error

from magentic_kit import ConfigError, JournalError, ReplayError, TeamFactory
from magentic_kit import events as ev
from magentic_kit.runlog.directory import Journal
from magentic_kit.runlog.reader import LOG, read_log
from magentic_kit.runlog.record import RunRecord

STARTED = ev.RunStarted(seq=0, team="t", task="t", agents={}, manager={})
WHOLE = {"outcome": "satisfied", "answer": durable.brain.__doc__ and "done: all checked"}
EVENTS, EVENTS_WITH_WINDOWS = 43, 51
"""Lines of the log of a whole run: each is a point to kill it at."""


@pytest.fixture
def server() -> Any:
    with OpenAIServer(durable.brain) as server:
        yield server


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")


def run_dir(folder: Path) -> Path:
    (found,) = (folder / "runs").iterdir()
    return found


def unknown_tool(told: dict[str, Any] | None) -> bool:
    return told is not None and "nobody knows whether notes.add" in told.get("error", "")


def finish(folder: Path) -> dict[str, Any] | None:
    """Resumes; a tool call of unknown outcome is refused first, and then repeated as a person may choose."""
    told = child(folder, resume=True)
    if unknown_tool(told):
        told = child(folder, resume=True, unknown_tools={"*": None})
    return told


def check_paid_once(folder: Path, server: OpenAIServer, kills: int, model_calls: int = MODEL_CALLS) -> None:
    log = ev.effective(read_log(run_dir(folder))[0])
    finished = [event.call for event in log if isinstance(event, ev.ModelCallFinished)]
    assert len(finished) == len(set(finished)) == model_calls
    assert model_calls <= len(server.requests) <= model_calls + kills, "at most the call in flight is made again"
    done = [event.call for event in log if isinstance(event, ev.ToolCallFinished)]
    assert len(done) == len(set(done)) == TOOL_CALLS
    assert RunRecord.of(log).totals["calls"] == model_calls


def matrix(points: range) -> list[Any]:
    return [pytest.param(at, id=f"after event {at}") for at in points]


def kill_and_resume(at: int, folder: Path, server: OpenAIServer) -> None:
    write_team(folder, server.base_url)
    assert child(folder, kill_at=at) is None
    assert finish(folder) == WHOLE
    check_paid_once(folder, server, kills=1)
    # An effect can only be there twice if nobody could know of it, and the person chose to repeat the call.
    assert set(effects(folder)) == {"one", "two", "three"} and len(effects(folder)) <= TOOL_CALLS + 2


@pytest.mark.parametrize(
    ("changes", "events"), [({}, EVENTS), ({"context": {"messages": 4, "summarize": True}}, EVENTS_WITH_WINDOWS)]
)
async def test_the_matrix_has_each_line_of_the_log(
    changes: dict[str, Any], events: int, tmp_path: Path, server: OpenAIServer
) -> None:
    assert len(read_log(await whole_run(tmp_path, server, **changes))[0]) == events


@pytest.mark.parametrize("at", matrix(range(0, EVENTS, 6)))
def test_a_killed_run_goes_on(at: int, tmp_path: Path, server: OpenAIServer) -> None:
    kill_and_resume(at, tmp_path, server)


@pytest.mark.slow
@pytest.mark.parametrize("at", matrix(range(EVENTS)))
def test_a_run_killed_anywhere_goes_on(at: int, tmp_path: Path, server: OpenAIServer) -> None:
    kill_and_resume(at, tmp_path, server)


@pytest.mark.parametrize("at", matrix(range(20, EVENTS_WITH_WINDOWS, 7)))
def test_a_killed_run_with_windows_goes_on(at: int, tmp_path: Path, server: OpenAIServer) -> None:
    write_team(tmp_path, server.base_url, context={"messages": 4, "summarize": True})
    assert child(tmp_path, kill_at=at) is None
    assert finish(tmp_path) == WHOLE
    log = ev.effective(read_log(run_dir(tmp_path))[0])
    summaries = [e for e in log if isinstance(e, ev.ModelCallFinished) and e.purpose == "summary"]
    assert {event.who for event in summaries} == {"manager", "Analyst", "Writer"}
    check_paid_once(tmp_path, server, kills=1, model_calls=MODEL_CALLS + len(summaries))


@pytest.mark.parametrize("words", [1, 30, 90, 180])
def test_a_run_killed_in_a_stream_goes_on(words: int, tmp_path: Path, server: OpenAIServer) -> None:
    write_team(tmp_path, server.base_url)
    assert child(tmp_path, kill_in_stream=words) is None
    assert finish(tmp_path) == WHOLE
    check_paid_once(tmp_path, server, kills=1)


@pytest.mark.parametrize(("first", "second"), [(4, 20), (13, 31), (25, 26)])
def test_two_kills_in_one_run(first: int, second: int, tmp_path: Path, server: OpenAIServer) -> None:
    write_team(tmp_path, server.base_url)
    assert child(tmp_path, kill_at=first) is None
    told = child(tmp_path, kill_at=second, resume=True)
    if unknown_tool(told):
        told = child(tmp_path, kill_at=second, resume=True, unknown_tools={"*": None})
    assert told is None
    assert finish(tmp_path) == WHOLE
    check_paid_once(tmp_path, server, kills=2)


async def whole_run(folder: Path, server: OpenAIServer, **changes: Any) -> Path:
    async with TeamFactory.from_yaml(write_team(folder, server.base_url, **changes)) as factory:
        result = await factory.run(out=folder / "runs")
    assert result.run_dir is not None
    return result.run_dir


async def resumed(folder: Path, **options: Any) -> Any:
    async with TeamFactory.from_run(run_dir(folder), overrides=options.pop("overrides", {})) as factory:
        return await factory.resume(run_dir(folder), **options).result()


async def test_a_log_is_read_once_on_a_resume(tmp_path: Path, server: OpenAIServer) -> None:
    log = await whole_run(tmp_path, server, manager={"max_rounds": 1}) / LOG
    opened: list[str] = []
    watching = [True]

    def watch(event: str, arguments: tuple[Any, ...]) -> None:  # which Python calls for as long as it runs
        is_log = watching and event == "open" and str(arguments[0]) == str(log)
        if is_log and arguments[2] & os.O_ACCMODE == os.O_RDONLY:  # it is opened once more, to be written
            opened.append(str(arguments[0]))

    async with TeamFactory.from_run(log.parent, overrides={"manager.max_rounds": 9}) as factory:
        sys.addaudithook(watch)
        run = factory.resume(log.parent)
        assert (await run.result()).outcome == "satisfied"
        watching.clear()
    assert opened == [str(log)]


async def test_a_tool_of_unknown_outcome_is_never_repeated_silently(tmp_path: Path, server: OpenAIServer) -> None:
    log_dir = await whole_run(tmp_path, server)
    lines = (log_dir / "events.jsonl").read_bytes().splitlines(keepends=True)
    began = next(i for i, line in enumerate(lines) if b'"tool_call_started"' in line and b"three" in line)
    (log_dir / "events.jsonl").write_bytes(b"".join(lines[: began + 1]))
    paid = len(server.requests)
    with pytest.raises(ConfigError, match=r"nobody knows whether notes.add\(text='three'\), called by Writer"):
        await resumed(tmp_path)
    assert len(server.requests) == paid
    result = await resumed(tmp_path, unknown_tools={"*": "noted by hand"})
    assert result.outcome == "satisfied" and effects(tmp_path).count("three") == 1
    assert "noted by hand" in str(server.requests[paid].messages)


async def test_a_repeatable_tool_is_called_again(tmp_path: Path, server: OpenAIServer) -> None:
    write_team(tmp_path, server.base_url)
    plugins = {"notes": {"type": "python", "target": "notes:Notes", "args": {"file": str(tmp_path / "effects")}}}
    plugins["notes"]["repeatable"] = ["add"]
    log_dir = await whole_run(tmp_path, server, plugins=plugins)
    lines = (log_dir / "events.jsonl").read_bytes().splitlines(keepends=True)
    began = next(i for i, line in enumerate(lines) if b'"tool_call_started"' in line and b"three" in line)
    (log_dir / "events.jsonl").write_bytes(b"".join(lines[: began + 1]))
    assert (await resumed(tmp_path)).outcome == "satisfied"
    assert effects(tmp_path).count("three") == 2


async def test_a_finished_run_gives_its_result_at_once(tmp_path: Path, server: OpenAIServer) -> None:
    await whole_run(tmp_path, server)
    before, paid = (run_dir(tmp_path) / "events.jsonl").read_bytes(), len(server.requests)
    result = await resumed(tmp_path)
    assert (result.outcome, result.answer) == ("satisfied", "done: all checked")
    assert len(server.requests) == paid and (run_dir(tmp_path) / "events.jsonl").read_bytes() == before


async def test_a_limited_run_goes_on_with_raised_limits(tmp_path: Path, server: OpenAIServer) -> None:
    await whole_run(tmp_path, server, manager={"max_rounds": 2})
    paid = len(server.requests)
    with pytest.raises(ConfigError, match="ended by max_rounds 2: raise it with --max-rounds"):
        await resumed(tmp_path)
    result = await resumed(tmp_path, overrides={"manager.max_rounds": 5})
    assert (result.outcome, result.answer, result.rounds) == ("satisfied", "done: all checked", 3)
    assert [request.purpose for request in server.requests[paid:]] == ["turn", "ledger", "answer"]
    report = (run_dir(tmp_path) / "report.md").read_text()
    assert "outcome: satisfied" in report and report.count("Analyst") > 2


async def test_a_cancelled_run_goes_on(tmp_path: Path, server: OpenAIServer) -> None:
    async with TeamFactory.from_yaml(write_team(tmp_path, server.base_url)) as factory:
        run = factory.start(out=tmp_path / "runs")
        async for event in run.events():
            if isinstance(event, ev.AgentMessage):
                run.cancel()
        assert (await run.result()).outcome == "cancelled"
    result = await resumed(tmp_path)
    assert (result.outcome, result.answer) == ("satisfied", "done: all checked")
    check_paid_once(tmp_path, server, kills=1)


async def test_a_run_directory_may_move_to_another_machine(tmp_path: Path, server: OpenAIServer) -> None:
    log_dir = await whole_run(tmp_path, server, manager={"max_rounds": 1})
    moved = tmp_path / "elsewhere"
    shutil.move(log_dir, moved)
    async with TeamFactory.from_run(moved, overrides={"manager.max_rounds": 9}) as factory:
        assert (await factory.resume(moved).result()).outcome == "satisfied"


# -- divergence, and runs from runs


async def test_an_edited_team_cannot_resume_and_nothing_is_touched(tmp_path: Path, server: OpenAIServer) -> None:
    log_dir = await whole_run(tmp_path, server, manager={"max_rounds": 2})
    before, paid = (log_dir / "events.jsonl").read_bytes(), len(server.requests)
    changes = {"manager.max_rounds": 9, "agents.Writer.instructions": "Write more."}
    with pytest.raises(ReplayError) as caught:
        await resumed(tmp_path, overrides=changes)
    assert caught.value.step == "Writer#0"
    assert '- "text": "Write."' in caught.value.diff.replace("-  ", "- ") and "Write more." in caught.value.diff
    assert len(server.requests) == paid and (log_dir / "events.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("override", "paid_for"),
    [
        ({}, []),
        ({"agents.Writer.instructions": "Write more."}, ["turn", "turn", "ledger", "turn", "ledger", "answer"]),
        ({"manager.prompts.plan": "Plan it: {{$team}}"}, ["plan", "ledger"]),
    ],
)
async def test_an_edit_is_paid_for_from_where_it_matters(
    override: dict[str, Any], paid_for: list[str], tmp_path: Path, server: OpenAIServer
) -> None:
    log_dir = await whole_run(tmp_path, server)
    paid, noted = len(server.requests), effects(tmp_path)
    async with TeamFactory.from_yaml(tmp_path / "team.yaml", overrides=override) as factory:
        result = await factory.run(out=tmp_path / "again", reuse=log_dir)
    assert result.outcome == "satisfied"
    now = [request.purpose for request in server.requests[paid:]]
    if "manager.prompts.plan" in override:  # only the facts come before it
        assert len(now) == MODEL_CALLS - 1
    else:
        assert now == paid_for
    assert result.record.reused["calls"] == MODEL_CALLS - len(now)
    if not override:
        assert effects(tmp_path) == noted, "no tool is called again"
    told = f"{MODEL_CALLS - len(now)} model call"
    assert (
        f"{told}{'s' if MODEL_CALLS - len(now) > 1 else ''} of these were taken from an earlier run"
        in (
            result.run_dir / "report.md"  # type: ignore[operator]
        ).read_text()
    )


# -- torn, damaged, full, shared


async def test_a_log_torn_anywhere_in_its_last_lines_is_whole_before_it(tmp_path: Path, server: OpenAIServer) -> None:
    log_dir = await whole_run(tmp_path, server)
    path = log_dir / "events.jsonl"
    data = path.read_bytes()
    lines = data.splitlines(keepends=True)
    events, _ = read_log(log_dir)
    for cut in range(len(data) - len(lines[-1]) - len(lines[-2]), len(data)):
        path.write_bytes(data[:cut])
        held, whole = read_log(log_dir)
        assert held == events[: len(held)] and len(held) >= len(lines) - 2
        assert data[:whole].endswith(b"\n")
    path.write_bytes(data[:-7])  # and such a run goes on
    assert (await resumed(tmp_path)).outcome == "satisfied"
    assert isinstance(read_log(log_dir)[0][-1], ev.RunFinished)


async def test_a_flipped_byte_is_refused_with_its_line(tmp_path: Path, server: OpenAIServer) -> None:
    log_dir = await whole_run(tmp_path, server)
    path = log_dir / "events.jsonl"
    data = path.read_bytes()
    starts = [0, *(i + 1 for i, byte in enumerate(data) if byte == 10)]
    for at in range(0, len(data) - len(data.splitlines()[-1]) - 2, 97):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        number = sum(start <= at for start in starts)
        with pytest.raises(JournalError, match=rf"events\.jsonl:({number}|{number + 1}): the log is damaged"):
            read_log(log_dir)


async def test_two_processes_cannot_be_at_one_run(tmp_path: Path, server: OpenAIServer) -> None:
    log_dir = await whole_run(tmp_path, server, manager={"max_rounds": 1})
    journal = Journal(log_dir)
    with pytest.raises(ConfigError, match="another process is at work on this run"):
        await resumed(tmp_path, overrides={"manager.max_rounds": 9})
    journal.close()
    assert (await resumed(tmp_path, overrides={"manager.max_rounds": 9})).outcome == "satisfied"


@pytest.mark.parametrize("fault", ["sync", "disk full"])
async def test_a_disk_that_fails_ends_the_run_and_keeps_what_was_paid_for(
    fault: str, tmp_path: Path, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: int) -> None:
        raise OSError(5, "Input/output error")

    def sink(event: ev.AnyEvent) -> None:
        if not isinstance(event, ev.PlanCreated):
            return
        if fault == "sync":
            monkeypatch.setattr(os, "fdatasync" if hasattr(os, "fdatasync") else "fsync", broken)
        else:
            import resource

            size = (run.run_dir / "events.jsonl").stat().st_size  # type: ignore[operator]
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, resource.RLIM_INFINITY))

    async with TeamFactory.from_yaml(write_team(tmp_path, server.base_url)) as factory:
        run = factory.start(out=tmp_path / "runs", sinks=[sink])
        result = await run.result()
    if fault == "disk full":
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    monkeypatch.undo()
    assert result.outcome == "failed" and result.reason == "log"
    assert result.error is not None and "cannot write" in result.error["message"]
    held, _ = read_log(run.run_dir)  # type: ignore[arg-type]
    assert any(isinstance(event, ev.PlanCreated) for event in held)
    paid = len(server.requests)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")
    assert (await resumed(tmp_path)).outcome == "satisfied"
    assert [r.purpose for r in server.requests[paid:]].count("plan") == 0, "the plan was paid for already"


@pytest.mark.skipif(sys.platform == "win32", reason="permissions")
def test_a_directory_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot write here: Not a directory; choose another --out"):
        Journal.create(tmp_path / "file" / "runs", "x")


# -- a run as a regression test for its team


async def test_a_log_answers_in_place_of_the_models(tmp_path: Path, server: OpenAIServer) -> None:
    log_dir = await whole_run(tmp_path, server)
    paid = len(server.requests)
    replay = {"services.default": {"provider": "replay", "log": str(log_dir)}}
    async with TeamFactory.from_yaml(tmp_path / "team.yaml", overrides=replay) as factory:
        result = await factory.run(out=None)
    assert (result.outcome, result.answer) == ("satisfied", "done: all checked")
    assert len(server.requests) == paid
    changed = {**replay, "agents.Writer.instructions": "Write more."}
    async with TeamFactory.from_yaml(tmp_path / "team.yaml", overrides=changed) as factory:
        result = await factory.run(out=None)
    assert result.outcome == "failed" and result.error is not None
    assert "step Writer#0" in result.error["message"] and "Write more." in result.error["message"]
    shorter = {**replay, "manager.must_speak": ["Writer"], "task": "Another task."}
    async with TeamFactory.from_yaml(tmp_path / "team.yaml", overrides=shorter) as factory:
        result = await factory.run(out=None)
    assert result.error is not None and "step manager#0" in result.error["message"]


async def test_a_log_answers_with_the_failures_too_that_the_run_got_over(
    tmp_path: Path, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_schema(request: Request) -> Answer | None:
        return error(400, "no schemas here") if request.response_format.get("type") == "json_schema" else None

    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")
    solo = {"name": "Solo", "description": "d", "instructions": "i", "context": {"messages": 2, "summarize": True}}
    data: dict[str, Any] = {"name": "t", "task": "t", "agents": [solo]}
    brain = TeamBrain(rounds=[("Solo", "go")] * 4, agents={"Solo": "x"}).on("manager", "ledger", None, no_schema)
    with OpenAIServer(brain.on("", "summary", 0, error(400, "too long"))) as picky:
        service = {"provider": "openai", "model": "m", "base_url": picky.base_url}
        async with TeamFactory.from_dict({**data, "services": {"default": service}}) as factory:
            recorded = await factory.run(out=tmp_path)
    assert {fault.who for fault in recorded.record.errors} == {"manager", "Solo"}, "a tier, and a summary"
    replay = {"provider": "replay", "log": str(recorded.run_dir)}
    async with TeamFactory.from_dict({**data, "services": {"default": replay}}) as factory:
        result = await factory.run(out=None)
    assert (result.outcome, result.answer) == ("satisfied", recorded.answer), result.error


@pytest.mark.parametrize("left", [b"", b"[a]", b"\xff", b"{"])
def test_a_run_whose_team_file_is_damaged_tells_so(tmp_path: Path, left: bytes) -> None:
    journal = Journal.create(tmp_path, "run")
    journal.write(STARTED)
    journal.close()
    (tmp_path / "run" / "team.yaml").write_bytes(left)
    with pytest.raises(ConfigError, match="the run's team cannot be read"):
        TeamFactory.from_run(tmp_path / "run")


async def test_the_disk_has_the_team_before_anything_is_paid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_disk: set[int] = set()
    monkeypatch.setattr(os, "fdatasync", lambda file: on_disk.add(os.fstat(file).st_ino), raising=False)
    journal = Journal.create(tmp_path, "run")
    journal.describe("name: t")
    journal.write(STARTED)
    await journal.sync()
    journal.close()
    assert on_disk == {(tmp_path / "run" / name).stat().st_ino for name in (LOG, "team.yaml")}
