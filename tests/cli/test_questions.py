"""What a person at a terminal is asked: answers count from the question on, and all of it can be seen."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.openai_server import OpenAIServer, Reply, Request, TeamBrain, ToolCall
from support.screens import Person

PLUGIN = """
import pathlib, time
from semantic_kernel.functions import kernel_function

class Store:
    @kernel_function(description="Orders an item.")
    def order(self, item: str) -> str:
        with pathlib.Path("orders").open("a") as file:
            file.write("ordered\\n")
        return "ordered"

    @kernel_function(description="Waits for the file `go`.")
    def wait(self) -> str:
        pathlib.Path("entered").touch()
        while not pathlib.Path("go").exists():
            time.sleep(0.01)
        return "waited"
"""
SLOW_IMPORT = """
import pathlib, sys, time

class Gate:
    def find_spec(self, name, path, target=None):
        if name == "semantic_kernel":
            pathlib.Path("entered").touch()
            while not pathlib.Path("go").exists():
                time.sleep(0.01)

sys.meta_path.insert(0, Gate())
"""
PLAN_CHOICES = "[a]pprove, [r]evise and how, re[j]ect and why:"
CALL_CHOICES = "[y]es, [a]lways in this run, [n]o and why:"
TYPED = "a\na\n"


def write_team(folder: Path, base_url: str, **changes: Any) -> None:
    data = {
        "name": "asking",
        "services": {"default": {"provider": "openai", "model": "m", "base_url": base_url}},
        "plugins": {
            "store": {"type": "python", "target": "store:Store"},
            "files": {"type": "files", "root": "work", "write": True},
        },
        "agents": [
            {
                "name": "Buyer",
                "description": "Buys.",
                "instructions": "Buy.",
                "tools": [{"id": "store.*"}, {"id": "files.write"}],
            },
            {"type": "human", "name": "Boss", "description": "Decides.", "instructions": "Decide."},
        ],
        "review": {"tools": ["store.order", "files.write"]},
        "limits": {"retries": 0},
        **changes,
    }
    (folder / "work").mkdir(exist_ok=True)
    (folder / "store.py").write_text(PLUGIN)
    (folder / "team.yaml").write_text(yaml.safe_dump(data))


def calling(*calls: ToolCall, plan: str = "buy it", speaker: str = "Buyer", answer: str = "done") -> TeamBrain:
    """The Buyer makes these calls, one after another."""
    turn = [*(Reply("", tool_calls=[call]) for call in calls), "That is all."]
    return TeamBrain(rounds=[(speaker, "go")], agents={"Buyer": turn}, plan=plan, answer=answer)


def order(item: str) -> ToolCall:
    return ToolCall("store-order", {"item": item})


def orders(folder: Path) -> int:
    return len((folder / "orders").read_text().split()) if (folder / "orders").exists() else 0


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    (run_dir,) = (folder / "runs").iterdir()
    lines = map(json.loads, (run_dir / "events.jsonl").read_text().splitlines())
    return [event for event in lines if event["type"] == kind]


# -- what is older than the question


@pytest.mark.parametrize(
    ("review", "speaker", "refuse", "kind"),
    [
        ({"plan": True}, "Buyer", "j not so", "plan_reviewed"),
        ({"tools": ["store.order"]}, "Buyer", "n not so", "tool_reviewed"),
        ({}, "Boss", "said now", "agent_message"),
    ],
)
def test_what_is_typed_before_semantic_kernel_is_there_answers_nothing(
    review: dict[str, Any], speaker: str, refuse: str, kind: str, tmp_path: Path
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SLOW_IMPORT)
    with OpenAIServer(calling(order("lamp"), speaker=speaker)) as server:
        write_team(tmp_path, server.base_url, review=review)
        with Person(["run", "team.yaml", "t"], tmp_path, PYTHONPATH=str(tmp_path / "site")) as person:
            person.wait(lambda: (tmp_path / "entered").exists())
            person.type_ahead(TYPED)
            (tmp_path / "go").touch()
            person.wait_for_question()
            person.type(f"{refuse}\n")
            person.leave()
    (event,) = events(tmp_path, kind)
    assert refuse[2:] in (event.get("feedback") or event.get("reason") or event.get("text"))
    assert event.get("decision") in ("reject", "deny", None) and orders(tmp_path) == 0


@pytest.mark.parametrize("output", ["terminal", "pipe"])
def test_what_is_typed_during_a_model_call_answers_nothing(output: str, tmp_path: Path) -> None:
    asked, go = threading.Event(), threading.Event()

    def slow(request: Request) -> str:
        asked.set()
        go.wait(90)
        return "buy it"

    with OpenAIServer(calling(order("lamp")).on("manager", "plan", None, slow)) as server:
        write_team(tmp_path, server.base_url, review={"plan": True, "tools": ["store.order"]})
        with Person(["run", "team.yaml", "t"], tmp_path, to_pipe=output == "pipe") as person:
            person.wait(asked.is_set)
            person.type_ahead(TYPED)
            go.set()
            person.wait_for_question()
            person.type("j not so\n")
            assert person.leave() == 3
    (review,) = events(tmp_path, "plan_reviewed")
    assert (review["decision"], review["feedback"]) == ("reject", "not so")


def test_what_is_typed_during_a_tool_call_or_pasted_behind_an_answer_answers_nothing(tmp_path: Path) -> None:
    brain = calling(ToolCall("store-wait", {}), order("lamp"), order("chair"))
    with OpenAIServer(brain) as server:
        write_team(tmp_path, server.base_url)
        with Person(["run", "team.yaml", "t"], tmp_path) as person:
            person.wait(lambda: (tmp_path / "entered").exists())
            person.type_ahead(TYPED)
            (tmp_path / "go").touch()
            person.wait_for_question(1)
            assert orders(tmp_path) == 0
            person.type("y\na\na\n")
            person.wait_for_question(2)
            person.type("n too dear\n")
            assert person.leave() == 0
    assert orders(tmp_path) == 1
    assert [review["decision"] for review in events(tmp_path, "tool_reviewed")] == ["approve", "deny"]


# -- answers


@pytest.mark.parametrize(
    ("review", "code", "kind", "decision"),
    [
        ({"plan": True}, 3, "plan_reviewed", "reject"),
        ({"tools": ["store.order"]}, 0, "tool_reviewed", "deny"),
    ],
)
def test_the_end_of_input_means_no_and_says_so(
    review: dict[str, Any], code: int, kind: str, decision: str, tmp_path: Path
) -> None:
    with OpenAIServer(calling(order("lamp"))) as server:
        write_team(tmp_path, server.base_url, review=review)
        with Person(["run", "team.yaml", "t"], tmp_path) as person:
            person.wait_for_question()
            person.type("\x04")
            assert person.leave() == code
            assert '> end of input: taken as "no"' in person.text
    (event,) = events(tmp_path, kind)
    assert event["decision"] == decision and orders(tmp_path) == 0


def test_an_unknown_answer_names_those_there_are(tmp_path: Path) -> None:
    with OpenAIServer(calling(order("lamp"))) as server:
        write_team(tmp_path, server.base_url)
        with Person(["run", "team.yaml", "t"], tmp_path) as person:
            person.wait_for_question(1)
            person.type("perhaps so\n")
            person.wait_for_question(2)
            assert "'perhaps' is no answer; there are y (yes), a (always), n (no), v (view)" in person.text
            person.type("\n")
            person.wait_for_question(3)
            person.type("YES\n")
            assert person.leave() == 0
    assert orders(tmp_path) == 1


def test_a_line_can_be_edited_and_an_earlier_one_taken_again(tmp_path: Path) -> None:
    with OpenAIServer(calling(order("lamp"), order("lamp"))) as server:
        write_team(tmp_path, server.base_url)
        with Person(["run", "team.yaml", "t"], tmp_path) as person:
            person.wait_for_question(1)
            person.type("n dear\x1b[D\x1b[D\x1b[D\x1b[Dtoo \n")  # four times to the left
            person.wait_for_question(2)
            person.type("\x1b[A\n")  # up: the line before
            assert person.leave() == 0
    assert [review["reason"] for review in events(tmp_path, "tool_reviewed")] == ["too dear", "too dear"]


def test_ctrl_c_at_a_question_gives_the_terminal_back(tmp_path: Path) -> None:
    with OpenAIServer(calling(order("lamp"))) as server:
        write_team(tmp_path, server.base_url)
        with Person(["run", "team.yaml", "t"], tmp_path) as person:
            before = person.settings()
            person.wait_for_question()
            assert person.settings() != before  # a line is edited
            person.type("\x03")
            assert person.leave() == 130
            assert person.settings() == before
