"""What a worker makes of a run, of one that another worker has left behind, and of a person's word."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from support.cluster import MODEL_CALLS, NOTES, abandon, at_work, brain, leave_behind, state, states, team, wait_for
from support.openai_server import OpenAIServer, Reply

from magentic_kit import TeamFactory
from magentic_kit import events as ev
from magentic_kit.cluster.adoption import Liveness
from magentic_kit.cluster.database import Database
from magentic_kit.cluster.entry import QUEUE
from magentic_kit.cluster.queued import derive
from magentic_kit.runlog.event_json import from_dict
from magentic_kit.runlog.reader import read_log

pytestmark = pytest.mark.slow


def test_a_run_is_of_its_team_as_it_was_submitted(database: Database, tmp_path: Path, server: OpenAIServer) -> None:
    database.submit(team(tmp_path, server), "job", id="run")
    (tmp_path / "team.yaml").write_text("name: other")
    with at_work(database):
        wait_for(lambda: state(database, "run") == "satisfied")
    assert len(server.requests) == MODEL_CALLS
    assert (tmp_path / "effects").read_text().split() == [f"job/{name}" for name in NOTES]
    log = database.history("run").log()
    assert [event.seq for event in log] == list(range(len(log))) and isinstance(log[-1], ev.RunFinished)


def test_text_that_no_database_holds_is_logged_as_it_is(database: Database, tmp_path: Path) -> None:
    odd = ev.AgentStarted(seq=0, agent="Writer", round=1, instruction="snow ☃ \x00 \ud800")
    database.submit(team(tmp_path), odd.instruction, inputs={}, id="run")
    leave_behind(database, tmp_path, {"run": {"": [odd]}})
    assert database.history("run").log() == [from_dict(ev.to_dict(odd))]


def test_a_team_that_cannot_run_here_waits_for_a_person(
    database: Database, tmp_path: Path, server: OpenAIServer
) -> None:
    database.submit(team(tmp_path, server), "job", id="run")
    (tmp_path / "notes.py").rename(tmp_path / "elsewhere.py")
    sys.modules.pop("notes", None)
    with at_work(database):
        wait_for(lambda: state(database, "run") == "waiting")
        assert "notes" in database.entry("run").note
        (tmp_path / "elsewhere.py").rename(tmp_path / "notes.py")
        database.answer("run", "retry")
        wait_for(lambda: state(database, "run") == "satisfied")


def test_who_has_lost_a_run_cannot_write_into_it(database: Database, tmp_path: Path) -> None:
    first: list[str] = []

    def replies(request: Any) -> Any:
        if not first:
            first.append(request.purpose)
            return Reply(hang="before")
        return brain(request)

    with OpenAIServer(replies) as server:
        database.submit(team(tmp_path, server, limits={"model_timeout": "3s"}), "job", id="run")
        with at_work(database) as told:
            wait_for(lambda: server.hanging)
            database.client.resume_workflow("run", queue_name=QUEUE)  # as if its worker had been silent
            wait_for(lambda: state(database, "run") == "satisfied")
            wait_for(lambda: "run: given up: another worker has taken run over" in told)
        assert "run: taken over, for the 2. time" in told
        assert len(server.requests) == MODEL_CALLS + 1, "the old one made no call more"
    log = database.history("run").log()
    assert [event.seq for event in log] == list(range(len(log)))
    assert (tmp_path / "effects").read_text().split() == [f"job/{name}" for name in NOTES]


def whole_log(database: Database, tmp_path: Path, server: OpenAIServer, **changes: Any) -> list[ev.AnyEvent]:
    """The log of a whole run of `job`; its effects are forgotten."""
    database.submit(team(tmp_path, server, **changes), "job", id="whole")
    with at_work(database):
        wait_for(lambda: state(database, "whole") == "satisfied")
    (tmp_path / "effects").write_text("")
    return database.history("whole").log()


def test_a_run_that_lost_its_worker_anywhere_is_finished(
    database: Database, tmp_path: Path, server: OpenAIServer
) -> None:
    log = whole_log(database, tmp_path, server)
    factory, paid, due, unknown, logs = team(tmp_path, server), len(server.requests), 0, set(), {}
    for at in range(0, len(log) + 1, 6):
        database.submit(factory, "job", id=f"run-{at}")
        logs[f"run-{at}"] = {"": log[:at]}
        due += MODEL_CALLS - sum(isinstance(event, ev.ModelCallFinished) for event in log[:at])
        unknown |= {f"run-{at}"} if at and isinstance(log[at - 1], ev.ToolCallStarted) else set()
    leave_behind(database, tmp_path, logs)
    with at_work(database, concurrency=8):
        wait_for(lambda: not states(database) & {"queued", "running"})
        assert {entry.id for entry in database.entries() if entry.state == "waiting"} == unknown
        for id in unknown:
            database.answer(id, calls={"*": None})
        wait_for(lambda: states(database) == {"satisfied"})
    assert len(server.requests) - paid == due, "what was finished is not paid for again"
    answers = {ev.to_dict(database.history(entry.id).log()[-1])["answer"] for entry in database.entries()}
    assert answers == {"the answer of job"}


@pytest.mark.parametrize(
    ("repeatable", "word", "noted"),
    [
        ([], {"Writer#0.0": None}, ["job/two", "job/three"]),
        ([], {"Writer#0.0": "noted by hand"}, ["job/three"]),
        (["add"], None, ["job/two", "job/three"]),
    ],
    ids=["a person lets it be repeated", "a person tells its result", "it may be repeated"],
)
def test_a_tool_of_unknown_outcome_is_not_repeated_silently(
    repeatable: list[str], word: Any, noted: list[str], database: Database, tmp_path: Path, server: OpenAIServer
) -> None:
    plugin = {"type": "python", "target": "notes:Notes", "args": {"file": str(tmp_path / "effects")}}
    plugins = {"plugins": {"notes": {**plugin, "repeatable": repeatable}}}
    log = whole_log(database, tmp_path, server, **plugins)
    began = next(e.seq for e in log if isinstance(e, ev.ToolCallStarted) and e.arguments == {"text": "job/two"})
    database.submit(team(tmp_path, server, **plugins), "job", id="run")
    leave_behind(database, tmp_path, {"run": {"": log[: began + 1]}})
    with at_work(database):
        if word:
            wait_for(lambda: state(database, "run") == "waiting")
            note = database.entry("run").note
            assert "nobody knows whether notes.add(text='job/two'), called by Writer, had its effect" in note
            assert (tmp_path / "effects").read_text() == ""
            database.answer("run", calls={"Writer#7.0": None})  # which is none of those
            wait_for(lambda: database.history("run").takes == 3 and state(database, "run") == "waiting")
            assert f"--call {next(iter(word))}" in database.entry("run").note
            database.answer("run", calls=word)
        wait_for(lambda: state(database, "run") == "satisfied")
    assert (tmp_path / "effects").read_text().split() == noted
    assert ("noted by hand" in str(server.requests[-1].messages)) == ("noted by hand" in str(word))


@pytest.mark.slow
def test_a_persons_word_holds_once(database: Database, tmp_path: Path, server: OpenAIServer) -> None:
    log = whole_log(database, tmp_path, server)
    began = next(e.seq for e in log if isinstance(e, ev.ToolCallStarted))
    database.submit(team(tmp_path, server), "job", id="run")
    with pytest.raises(Exception, match="run 'run' is queued: nobody is asked anything"):
        database.answer("run", calls={"*": None})
    leave_behind(database, tmp_path, {"run": {"": log[: began + 1]}})
    with at_work(database):
        wait_for(lambda: state(database, "run") == "waiting")
    database.answer("run", calls={"*": None})
    abandon(database, tmp_path, {"run": [[{"worker": "lost"}]]})  # who may have made the call once more
    with at_work(database):
        wait_for(lambda: state(database, "run") == "waiting")
        assert (tmp_path / "effects").read_text() == ""
        database.answer("run", calls={"*": "by hand"})
        wait_for(lambda: state(database, "run") == "satisfied")


@pytest.mark.slow
def test_a_team_inside_a_run_that_lost_its_worker_goes_on_too(
    database: Database, tmp_path: Path, server: OpenAIServer
) -> None:
    team(tmp_path, server)
    (tmp_path / "team.yaml").rename(tmp_path / "inner.yaml")
    member = {"type": "team", "name": "Desk", "description": "Helps.", "team": "inner.yaml"}
    rounds = [{"ledger": {"next": "Desk", "instruction": "help"}}, {"ledger": {"satisfied": True}}]
    script = {"manager": {"facts": "f", "plan": "p", "ledger": rounds, "answer": "all done"}}
    services = {"default": {"provider": "scripted", "script": script}}
    outer = {"name": "office", "task": "t", "services": services, "agents": [member]}
    factory, inner = TeamFactory.from_dict(outer, base_dir=tmp_path), "Desk#0.0"
    database.submit(factory, id="whole")
    with at_work(database):
        wait_for(lambda: state(database, "whole") == "satisfied")
    whole = database.history("whole")
    assert set(whole.logs) == {"", inner} and len(server.requests) == MODEL_CALLS
    log, inner_log = whole.log(), whole.log(inner)
    asked = next(e.seq for e in log if isinstance(e, ev.ModelCallStarted) and e.who == "Desk")
    tool = next(e.seq for e in inner_log if isinstance(e, ev.ToolCallStarted))
    (tmp_path / "effects").write_text("")
    paid, due, logs = len(server.requests), 0, {}
    for at in (0, tool, tool + 1, len(inner_log)):
        database.submit(factory, id=f"run-{at}")
        logs[f"run-{at}"] = {"": log[: asked + 1], inner: inner_log[:at]}
        due += MODEL_CALLS - sum(isinstance(event, ev.ModelCallFinished) for event in inner_log[:at])
    leave_behind(database, tmp_path, logs)
    parked = f"run-{tool + 1}"
    with at_work(database):
        wait_for(lambda: not states(database) & {"queued", "running"})
        assert [entry.id for entry in database.entries() if entry.state == "waiting"] == [parked]
        assert f"{inner}/Analyst#0.0: nobody knows whether notes.add(" in database.entry(parked).note
        database.answer(parked, calls={f"{inner}/Analyst#0.0": "noted by hand"})
        wait_for(lambda: states(database) == {"satisfied"})
    assert len(server.requests) - paid == due, "what was finished is not paid for again"
    derive(database, parked, tmp_path / "out", ["json"])
    (found,) = (tmp_path / "out" / parked / "teams").iterdir()
    assert read_log(found)[0] == database.history(parked).log(inner) and (found / "result.json").exists()


def test_a_run_that_costs_every_worker_its_life_is_parked(database: Database, tmp_path: Path) -> None:
    database.submit(team(tmp_path), "job", id="run")
    abandon(database, tmp_path, {"run": [[{"worker": f"lost-{n}"}] for n in range(5)]})
    with at_work(database, lease=0.5):
        wait_for(lambda: state(database, "run") == "waiting")
        assert database.entry("run").note == "5 workers were lost with it"


def test_a_worker_that_comes_back_has_time_to_show_that_it_lives(database: Database, tmp_path: Path) -> None:
    database.submit(team(tmp_path), "job", id="run")
    taken = {"run": [[{"worker": "lost"}]]}
    abandon(database, tmp_path, taken)
    adopter = Liveness(database, "adopter", lease=1.0, patience=1.0, lost=print)
    with database.engine.connect() as session:
        while state(database, "run") == "running":
            adopter._adopt(session)
        abandon(database, tmp_path, taken)  # by a worker of the same name, whose lock is free once more
        adopter._adopt(session)
    assert state(database, "run") == "running"
