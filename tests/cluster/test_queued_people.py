"""What queued runs ask people, and what becomes of the answers."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import run as call
from typing import Any

import pytest
import yaml
from support.cluster import MODEL_CALLS, NOTES, at_work, brain, state, team, wait_for
from support.openai_server import OpenAIServer, Reply, Request, ToolCall

from magentic_kit import ConfigError, TeamFactory
from magentic_kit import events as ev
from magentic_kit.cli import app
from magentic_kit.cluster.database import Database
from magentic_kit.cluster.entry import Question

pytestmark = pytest.mark.slow


def asked(database: Database, id: str, kind: str) -> Question:
    """The question of that kind, once it is the run's first."""
    wait_for(lambda: any(entry.id == id and entry.questions[0].kind == kind for entry in database.waiting()))
    return database.entry(id).questions[0]


def test_a_plan_and_calls_wait_for_a_person_and_take_nobodys_place(
    database: Database, url: str, tmp_path: Path, server: OpenAIServer, capsys: pytest.CaptureFixture[str]
) -> None:
    reviewed = team(tmp_path, server, review={"plan": True, "tools": ["notes.*"]}, limits={"deadline": "60s"})
    database.submit(reviewed, "job", id="run")
    with at_work(database, concurrency=1):
        plan = asked(database, "run", "plan")
        assert "the plan of job" in plan.text and plan.id.endswith("/plan-1")
        database.submit(team(tmp_path, server), "other", id="other")
        wait_for(lambda: state(database, "other") == "satisfied")
    # No worker waits: the answer does.
    assert state(database, "run") == "waiting" and len(server.requests) == 2 + MODEL_CALLS
    (tmp_path / "effects").unlink()
    with pytest.raises(ConfigError, match="the answer should be approve or revise or reject"):
        database.answer("run", "deny")
    with pytest.raises(ConfigError, match="revise needs a text"):
        database.answer("run", "revise")
    assert app.run(["answer", "run", "revise", "shorter", "--database", url]) == 0
    assert state(database, "run") == "queued" and not database.waiting()
    with pytest.raises(ConfigError, match="run 'run' is queued: nobody is asked anything"):
        database.answer("run", "reject")
    with at_work(database, concurrency=1), ThreadPoolExecutor(1) as pool:
        wait_for(lambda: any(entry.questions[0].id.endswith("/plan-2") for entry in database.waiting()))
        assert "shorter" in str(server.requests[-1].messages)
        database.answer("run", "approve")
        following = pool.submit(lambda: list(database.follow("run")))
        call = asked(database, "run", "tool")
        assert 'Analyst calls notes.add with {\n  "text": "job/one"\n}' in call.text
        assert app.run(["inbox", "--database", url]) == 0
        assert '      "text": "job/one"\n' in capsys.readouterr().out
        database.answer("run", "deny", "not this one", question=call.id)
        wait_for(lambda: asked(database, "run", "tool") != call)
        database.answer("run", "approve-for-run")
        wait_for(lambda: state(database, "run") == "satisfied")
    with pytest.raises(ConfigError, match="run 'run' is satisfied: nobody is asked anything"):
        database.answer("run", "approve")
    assert (tmp_path / "effects").read_text().split() == ["job/two", "job/three"]
    log = database.history("run").log()
    assert following.result() == log and [event.seq for event in log] == list(range(len(log)))
    reviews = [event.decision for event in log if isinstance(event, ev.PlanReviewed | ev.ToolReviewed)]
    assert reviews == ["revise", "approve", "deny", "approve_for_run"]
    assert sum(isinstance(event, ev.RunFinished) for event in log) == 1
    calls = [event.call for event in log if isinstance(event, ev.ModelCallFinished)]
    paid = sum(request.task == "job" for request in server.requests)
    assert len(calls) == len(set(calls)) == paid, "no call is paid twice"


def test_what_is_under_way_ends_before_a_run_is_left_for_a_person(database: Database, tmp_path: Path) -> None:
    def two(request: Request) -> Any:
        if request.purpose == "turn" and request.who == "Analyst" and not request.last_tool_results:
            slow = ToolCall("notes-add", {"text": "slow"})
            return Reply("Both.", tool_calls=[slow, ToolCall("reviewed-add", {"text": "asked"})])
        return brain(request)

    plugin = {"type": "python", "target": "notes:Notes", "args": {"file": str(tmp_path / "effects")}}
    tools = [{"id": "notes.add"}, {"id": "reviewed.add"}]
    agents = [
        {"name": name, "description": "Works.", "instructions": "Work.", "tools": tools}
        for name in ("Analyst", "Writer")
    ]
    changes = {"plugins": {"notes": plugin, "reviewed": plugin}, "agents": agents, "review": {"tools": ["reviewed.*"]}}
    with OpenAIServer(two) as server:
        factory = team(tmp_path, server, **changes)
        (tmp_path / "notes.py").write_text((tmp_path / "notes.py").read_text().replace("0.05", "0.5"))
        sys.modules.pop("notes", None)
        database.submit(factory, "job", id="run")
        with at_work(database):
            while state(database, "run") != "satisfied":
                wait_for(lambda: state(database, "run") not in ("queued", "running"))
                for entry in database.waiting():
                    assert entry.questions[0].kind == "tool", "no call is of unknown outcome"
                    database.answer("run", "approve-for-run")
    noted = (tmp_path / "effects").read_text().split()
    assert noted.count("slow") == noted.count("asked") == 2 and "job/two" in noted


def office(name: str, agent: dict[str, str], **changes: Any) -> dict[str, Any]:
    """A team whose one agent has one turn; no model is asked."""
    rounds: list[Any] = [{"ledger": {"next": agent["name"], "instruction": "Decide."}}, {"ledger": {"satisfied": True}}]
    script = {"manager": {"facts": "f", "plan": "p", "ledger": rounds, "answer": f"all done in {name}"}}
    services = {"default": {"provider": "scripted", "script": script}}
    return {"name": name, "task": "t", "services": services, "agents": [{"description": "Helps.", **agent}], **changes}


def test_people_of_a_team_inside_are_asked_and_the_deadline_waits(database: Database, url: str, tmp_path: Path) -> None:
    limits = {"deadline": "4s"}
    inner = office("inner", {"name": "Boss", "type": "human"}, limits=limits, review={"plan": True})
    (tmp_path / "inner.yaml").write_text(yaml.safe_dump(inner))
    outer = office("outer", {"name": "Desk", "type": "team", "team": "inner.yaml"}, limits=limits)
    database.submit(TeamFactory.from_dict(outer, base_dir=tmp_path), id="run")
    with at_work(database):
        assert "Plan:\np" in asked(database, "run", "plan").text
    began = ev.seconds(ev.now())
    wait_for(lambda: ev.seconds(ev.now()) > began + 4)  # longer than the deadline
    database.answer("run", "approve")
    with at_work(database):
        assert "Decide." in asked(database, "run", "turn").text
        assert app.run(["answer", "run", "text", "Yes.", "--database", url]) == 0
        wait_for(lambda: state(database, "run") == "satisfied")
    history = database.history("run")
    (turn,) = [event for event in history.log("Desk#0.0") if isinstance(event, ev.AgentMessage)]
    assert (turn.agent, turn.text) == ("Boss", "Yes.")
    for run, name in {"": "outer", "Desk#0.0": "inner"}.items():
        (end,) = [event for event in history.log(run) if isinstance(event, ev.RunFinished)]
        assert (end.outcome, end.answer) == ("satisfied", f"all done in {name}") and end.seconds < 4


def test_a_waiting_run_is_cancelled_and_goes_on_again(
    database: Database, url: str, tmp_path: Path, server: OpenAIServer
) -> None:
    database.submit(team(tmp_path, server, review={"plan": True}), "job", id="run")
    with at_work(database):
        asked(database, "run", "plan")
        for command in ("cancel", "resume"):
            call(["dbos", "workflow", command, "run", "--sys-db-url", url], check=True, cwd=tmp_path)
        asked(database, "run", "plan")
        assert database.cancel("run") == "cancelled"
        assert isinstance(database.history("run").log()[-1], ev.RunFinished)
        database.answer("run", "retry")
        asked(database, "run", "plan")
        database.answer("run", "approve")
        wait_for(lambda: state(database, "run") == "satisfied")
    assert len(server.requests) == MODEL_CALLS
    assert (tmp_path / "effects").read_text().split() == [f"job/{name}" for name in NOTES]
