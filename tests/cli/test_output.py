"""What commands print: nobody's control sequences, and no traceback in an encoding that lacks a character."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pexpect
import pytest
import yaml
from support import sample_events as sample

from magentic_kit import events as ev
from magentic_kit.runlog.directory import Journal

COMMAND = [sys.executable, "-m", "magentic_kit"]
CLIPBOARD = "\x1b]52;c;ZXZpbA==\x07"  # writes to the clipboard of whoever's terminal shows it
NAME = f"An{CLIPBOARD}alyst"


def run_command(*arguments: object, cwd: Path, **env: str) -> subprocess.CompletedProcess[bytes]:
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env={**os.environ, **env}, capture_output=True, timeout=180)


def write_run(folder: Path, name: str, *events: ev.AnyEvent) -> Path:
    journal = Journal.create(folder, name)
    for event in events:
        if event.logged:
            journal.write(event)
    journal.close()
    return folder / name


def hostile_run(folder: Path) -> Path:
    """A run whose team, task, agents, speakers and outcome hold an escape sequence, and so does its directory."""
    events: list[ev.AnyEvent] = []
    for event in sample.satisfied():
        changes = {name: NAME for name in ("who", "agent") if getattr(event, name, "") == "Analyst"}
        if isinstance(event, ev.RunStarted):
            agents = {NAME: event.agents["Analyst"]}
            changes |= {"team": NAME, "task": f"Which{CLIPBOARD}?", "agents": agents}
        if isinstance(event, ev.RunFinished):
            changes |= {"outcome": f"fine{CLIPBOARD}"}
        events.append(replace(event, **changes))
    return write_run(folder, f"run{CLIPBOARD}", *events)


def test_escape_sequences_of_a_run_directory_reach_no_pipe(tmp_path: Path) -> None:
    run_dir = hostile_run(tmp_path / "runs")
    for arguments in (["list"], ["show", run_dir], ["show", "--verbosity", "full", run_dir], ["report", run_dir]):
        done = run_command(*arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        printed = (done.stdout + done.stderr).decode()
        assert "␛]52;c;" in printed and "\x1b" not in printed and "\x07" not in printed
    unfinished = write_run(tmp_path / "runs", f"other{CLIPBOARD}", *sample.satisfied()[:5])
    assert b"\x1b" not in run_command("show", unfinished, cwd=tmp_path).stderr


@pytest.mark.parametrize("arguments", [["list"], ["show", "--speed", "40"]], ids=" ".join)
def test_escape_sequences_of_a_run_directory_reach_no_terminal(arguments: list[str], tmp_path: Path) -> None:
    run_dir = hostile_run(tmp_path / "runs")
    more = [str(run_dir)] if arguments[0] == "show" else []
    env = {**os.environ, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"}
    size = (30, 160)
    child = pexpect.spawn(
        COMMAND[0], [*COMMAND[1:], *arguments, *more], cwd=tmp_path, env=env, timeout=180, dimensions=size
    )
    printed = child.read().decode()
    child.close()
    assert child.exitstatus == 0 and "␛]52;c;" in printed
    assert "\x1b]52" not in printed and "\x07" not in printed


def test_escape_sequences_of_a_batch_reach_no_pipe(tmp_path: Path) -> None:
    write_scripted_team(tmp_path, answer=f"No{CLIPBOARD}thing.")
    tasks = [{"id": "a", "task": f"Which{CLIPBOARD}?", "expect": {"contains": f"all{CLIPBOARD}"}}]
    (tmp_path / "tasks.yaml").write_text(yaml.safe_dump(tasks))
    done = run_command("batch", "team.yaml", "tasks.yaml", "--out", f"out{CLIPBOARD}", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    printed = (done.stdout + done.stderr).decode()
    assert "1/1 a: satisfied" in printed and f"see out{CLIPBOARD}".replace("\x1b", "␛").replace("\x07", "␇") in printed
    assert "\x1b" not in printed and "\x07" not in printed


def test_a_complaint_holds_no_escape_sequence_but_its_own_colour(tmp_path: Path) -> None:
    env = {**os.environ, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"}
    child = pexpect.spawn(COMMAND[0], [*COMMAND[1:], "list", CLIPBOARD], cwd=tmp_path, env=env, timeout=180)
    assert child.read().decode().startswith("\x1b[31mthere are no runs in ␛]52;c;ZXZpbA==␇;")


def test_a_complaint_does_not_quote_a_key(tmp_path: Path) -> None:
    key = "sk-proj-Ab12Cd34Ef56Gh78"
    write_scripted_team(tmp_path, answer="a")
    with (tmp_path / "team.yaml").open("a") as file:
        file.write(f"manager: {{service: {key}}}\n")
    done = run_command("validate", "team.yaml", cwd=tmp_path)
    assert done.returncode == 2 and b"there is no service '[secret]'" in done.stderr, done
    assert key.encode() not in done.stdout + done.stderr


def write_scripted_team(folder: Path, *, answer: str) -> None:
    script = {
        "manager": {"facts": "f", "plan": "事実 → 計画", "ledger": [{"ledger": {"satisfied": True}}], "answer": answer}
    }
    team = {
        "name": "scripted",
        "services": {"default": {"provider": "scripted", "script": script}},
        "agents": [{"name": "Solo", "description": "答える。"}],
    }
    (folder / "team.yaml").write_text(yaml.safe_dump(team))


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1:strict"])
def test_what_the_encoding_lacks_is_escaped(encoding: str, tmp_path: Path) -> None:
    events = sample.satisfied()
    run_dir = write_run(tmp_path / "runs", "1", replace(events[0], task="成長 → ?"), *events[1:])
    write_scripted_team(tmp_path, answer="東 → 西")
    (tmp_path / "誤り.yaml").write_text("名: x\n", encoding="utf-8")
    expected = {
        "list": (["list"], 0, r"\u6210\u9577 \u2192 ?"),
        "show": (["show", run_dir], 0, r"\u6210\u9577 \u2192 ?"),
        "validate": (["validate", "誤り.yaml", "team.yaml"], 2, r"\u8aa4\u308a.yaml:1:1: unknown key '\u540d'"),
    }
    if encoding == "cp1252":
        expected["run"] = (["run", "team.yaml", "質問"], 0, r"\u6771 \u2192 \u897f")
    for arguments, code, text in expected.values():
        done = run_command(*arguments, cwd=tmp_path, PYTHONIOENCODING=encoding)
        printed = (done.stdout + done.stderr).decode("latin-1")
        assert (done.returncode, "Traceback" in printed) == (code, False), printed
        assert text in printed


def test_json_is_whole_in_any_encoding(tmp_path: Path) -> None:
    events = sample.satisfied()
    write_run(tmp_path / "runs", "1", replace(events[0], task=f"成長{CLIPBOARD}"), *events[1:])
    done = run_command("list", "--json", cwd=tmp_path, PYTHONIOENCODING="cp1252")
    assert json.loads(done.stdout)[0]["task"] == f"成長{CLIPBOARD}"
    done = run_command("schema", cwd=tmp_path, PYTHONIOENCODING="cp1252")
    assert json.loads(done.stdout)["type"] == "object"
