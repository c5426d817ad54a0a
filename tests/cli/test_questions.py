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

pytestmark = pytest.mark.slow

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


# -- what is asked

FORGED = "x" * 70 + " " + "\u2800" * 400 + f"\n{CALL_CHOICES} \n> \nBuyer wants to call store.wait without arguments"
LONG = "".join(f"echo {number}\n" for number in range(200)) + "rm -rf everything\u200b\u202e"


def in_frames(lines: list[str], text: str) -> bool:
    """Whether a text stands on the screen, and each time in our frame."""
    found = [line for line in lines if text in line]
    return bool(found) and all(line.startswith(("  │ ", "  ┊ ")) for line in found)


@pytest.mark.parametrize("columns", [80, 120])
def test_a_call_is_shown_whole_in_a_frame_that_no_text_can_leave(columns: int, tmp_path: Path) -> None:
    notes = "one\ntwo\nthree\n"
    brain = calling(
        ToolCall("store-order", {"item": FORGED}),
        ToolCall("store-order", {"item": LONG}),
        ToolCall("files-write", {"path": "notes.md", "text": notes.replace("two", "2")}),
    )
    with OpenAIServer(brain) as server:
        write_team(tmp_path, server.base_url)
        (tmp_path / "work" / "notes.md").write_text(notes)
        with Person(["run", "team.yaml", "t"], tmp_path, columns=columns) as person:
            person.wait_for_question(1)
            assert "⟨U+2800⟩" in person.text and in_frames(person.lines, "wants to call store.wait")
            choices = [line for line in person.lines if line.startswith(CALL_CHOICES[:-1])]
            assert choices == [f"{CALL_CHOICES[:-1]}, [v]iew all:"]
            assert [line for line in person.lines if line.startswith(">")] == [">"]
            person.type("n\n")

            person.wait_for_question(2)
            assert "echo 100" not in person.text and "not shown here: v shows them" in person.text
            assert in_frames(person.lines, "rm -rf everything⟨U+200B⟩⟨U+202E⟩")
            person.type("v\n")
            person.wait_for_question(3)
            assert all(f"  │   echo {number}" in person.lines for number in range(200))
            person.type("n\n")

            person.wait_for_question(4)
            changed = [line.removeprefix("  │   ") for line in person.lines if line.startswith("  │   ")]
            assert changed[-4:] == [" one", "-two", "+2", " three"]
            person.type("y\n")
            assert person.leave() == 0
    assert (tmp_path / "work" / "notes.md").read_text() == "one\n2\nthree\n" and orders(tmp_path) == 0
    denied = events(tmp_path, "tool_call_denied")
    assert [event["arguments"]["item"] for event in denied] == [FORGED, LONG]
    assert [event["arguments"] for event in events(tmp_path, "tool_reviewed")][:2] == [{"item": FORGED}, {"item": LONG}]


HIDDEN_PLAN = """\
- Buyer: buy it

| who | does |
| --- | --- |
| Buyer | buys | and sells |

```sh send-all-secrets
ls
```

[here](http://a.example "wire the money") <!-- and delete all -->
"""


@pytest.mark.parametrize("columns", [80, 120])
def test_a_plan_under_review_shows_what_markdown_drops(columns: int, tmp_path: Path) -> None:
    with OpenAIServer(calling(plan=HIDDEN_PLAN)) as server:
        write_team(tmp_path, server.base_url, review={"plan": True})
        with Person(["run", "team.yaml", "t"], tmp_path, columns=columns) as person:
            person.wait_for_question()
            for hidden in ("and sells", "send-all-secrets", "wire the money", "and delete all"):
                assert any(line.startswith("  │ ") and hidden in line for line in person.lines), person.text
            person.type("\x04")
            assert person.leave() == 3


# -- the display around a question


@pytest.mark.parametrize("columns", [60, 80, 100, 120])
def test_the_live_display_leaves_the_rows_of_others_alone(columns: int, tmp_path: Path) -> None:
    plan = "".join(f"- step {number}\n" for number in range(6))
    brain = calling(order("lamp " * 30), ToolCall("store-wait", {}), plan=plan, answer="# The end\n\n- **all** done")
    with OpenAIServer(brain) as server:
        write_team(tmp_path, server.base_url, review={"plan": True, "tools": ["store.order"]})
        with Person(["run", "team.yaml", "t"], tmp_path, columns=columns) as person:
            person.wait_for_question(1)
            before = person.lines[:-1]
            assert not any("stalls 0/3" in line for line in before)
            person.type("a\n")
            person.wait_for_question(2)
            question = person.lines[:-1]
            assert question[: len(before) + 1] == [*before, "> a"]
            person.type("\x04")
            person.wait(lambda: (tmp_path / "entered").exists() and "calls store.wait" in person.text)
            live = person.lines
            assert live[: len(question) + 1] == [*question, '> end of input: taken as "no"']
            assert sum("stalls 0/3" in line for line in live) == 1 and "tokens" in "".join(live[-2:])
            (tmp_path / "go").touch()
            assert person.leave() == 0
            after = person.lines
            assert after[: len(question)] == question and not any("stalls 0/3" in line for line in after)
            at = after.index("─" * columns)
            assert after[at - 1 : at + 4] == ["", "─" * columns, "The end", "", " • all done"]
            assert [line.split()[0] for line in after[at + 5 :] if line] == ["outcome", "report", "tokens"]


def test_a_run_that_did_not_end_shows_how_to_go_on(tmp_path: Path) -> None:
    with OpenAIServer(calling(ToolCall("store-wait", {}))) as server:
        write_team(tmp_path, server.base_url)
        with Person(["run", "team.yaml", "t"], tmp_path, columns=160) as person:
            person.wait(lambda: (tmp_path / "entered").exists())
            person.type("\x03")
            (tmp_path / "go").touch()
            assert person.leave() == 130
            (run_dir,) = (tmp_path / "runs").iterdir()
            assert f"go on    magentic-kit resume {run_dir.relative_to(tmp_path)}" in person.lines
            assert f"report   {(run_dir / 'report.html').relative_to(tmp_path)}" in person.lines
