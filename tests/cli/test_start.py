"""How a command begins and how its process ends: the first line, closed streams, readers and terminals that leave."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pexpect
import pytest
import yaml
from support.openai_server import OpenAIServer, Reply, TeamBrain

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "magentic_kit"]
MODEL = {"OPENAI_API_KEY": "sk-test-0123456789abcdef"}
SCRIPT = {
    "manager": {"facts": "f", "plan": "p", "ledger": [{"ledger": {"satisfied": True}}], "answer": "the answer"},
}

SLOW_IMPORT = """
import os, pathlib, sys, time

class Gate:
    def find_spec(self, name, path, target=None):
        if name in os.environ["GATED"].split():
            pathlib.Path("importing").touch()
            while not pathlib.Path("go").exists():
                time.sleep(0.01)

sys.meta_path.insert(0, Gate())
"""
"""What is `GATED` is not imported before the test says so."""


def write_team(folder: Path, **changes: Any) -> Path:
    team = {
        "name": "small",
        "task": "Ask {{$who}}",
        "inputs": {"who": "nobody"},
        "services": {"default": {"provider": "scripted", "script": SCRIPT}},
        "agents": [{"name": "Solo", "description": "Answers."}],
        "limits": {"retries": 0},
        **changes,
    }
    (folder / "team.yaml").write_text(yaml.safe_dump(team))
    return folder / "team.yaml"


@pytest.fixture
def slow_import(tmp_path: Path) -> dict[str, str]:
    """The environment of a command that waits for the file `go` when it imports Semantic Kernel."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SLOW_IMPORT)
    (tmp_path / "tasks.jsonl").write_text('{"task": "A."}')
    return {
        **os.environ,
        "GATED": "semantic_kernel",
        "PYTHONPATH": str(tmp_path / "site"),
        "TERM": "xterm-256color",
        "PYTHONIOENCODING": "utf-8",
    }


FIRST = {
    "run team.yaml": "small: Ask nobody",
    "run team.yaml --input who=me": "small: Ask me",
    "run team.yaml another --plain": "small: another",
    "plan team.yaml": "small: Ask nobody",
    "batch team.yaml tasks.jsonl": "small: tasks of tasks.jsonl",
}


@pytest.mark.slow
@pytest.mark.parametrize("line", FIRST)
def test_team_and_task_stand_there_before_semantic_kernel_is_imported(
    line: str, tmp_path: Path, slow_import: dict[str, str]
) -> None:
    write_team(tmp_path)
    slow_import["GATED"] = "semantic_kernel rich magentic_kit.events"  # all that takes long
    with subprocess.Popen(
        [*COMMAND, *line.split()],
        cwd=tmp_path,
        env=slow_import,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr and process.stderr.readline() == f"{FIRST[line]}\n"
        (tmp_path / "go").touch()
        rest = process.stderr.read()
    assert process.returncode == 0 and FIRST[line] not in rest, rest


@pytest.mark.slow
def test_a_resumed_run_begins_with_its_team_and_task(tmp_path: Path, slow_import: dict[str, str]) -> None:
    write_team(tmp_path)
    (tmp_path / "go").touch()
    subprocess.run([*COMMAND, "run", "team.yaml", "--max-rounds=1"], cwd=tmp_path, env=slow_import, check=True)
    (tmp_path / "go").unlink()
    (run_dir,) = (tmp_path / "runs").iterdir()
    with subprocess.Popen(
        [*COMMAND, "resume", run_dir], cwd=tmp_path, env=slow_import, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr and process.stderr.readline() == "small: Ask nobody\n"
        (tmp_path / "go").touch()
        assert "small: Ask nobody" not in process.stderr.read()


def test_a_terminal_shows_what_is_waited_for(tmp_path: Path, slow_import: dict[str, str]) -> None:
    write_team(tmp_path)
    child = pexpect.spawn(COMMAND[0], [*COMMAND[1:], "run", "team.yaml"], cwd=tmp_path, env=slow_import, timeout=180)
    child.expect("small: Ask nobody.*loading Semantic Kernel")
    (tmp_path / "go").touch()
    child.expect("run satisfied.*the answer")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


@pytest.mark.parametrize("command", ["run", "plan", "batch"])
def test_errors_of_the_team_file_come_before_that_import(
    command: str, tmp_path: Path, slow_import: dict[str, str]
) -> None:
    write_team(tmp_path, manager={"max_round": 1})
    line = [*COMMAND, command, "team.yaml", "tasks.jsonl"]
    done = subprocess.run(line, cwd=tmp_path, env=slow_import, capture_output=True, text=True, timeout=180)
    assert done.returncode == 2 and "max_rounds" in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "importing").exists()


def last_event(folder: Path) -> dict[str, Any]:
    (run_dir,) = (folder / "runs").iterdir()
    assert (run_dir / "report.md").exists()
    event: dict[str, Any] = json.loads((run_dir / "events.jsonl").read_text().splitlines()[-1])
    return event


def test_a_reader_of_events_who_leaves_ends_the_run_in_order(tmp_path: Path) -> None:
    left = threading.Event()

    def facts(request: object) -> str:
        left.wait(60)
        return "Facts."

    brain = TeamBrain(rounds=[("Solo", "go")], agents={"Solo": ["hello"]}).on("manager", "facts", None, facts)
    with OpenAIServer(brain) as server:
        service = {"provider": "openai", "model": "m", "base_url": server.base_url}
        write_team(tmp_path, services={"default": service})
        process = subprocess.Popen(
            [*COMMAND, "run", "team.yaml", "--jsonl"],
            cwd=tmp_path,
            env={**os.environ, **MODEL},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout and process.stderr
        assert json.loads(process.stdout.readline())["type"] == "run_started"
        process.stdout.close()
        left.set()
        printed = process.stderr.read()
        assert process.wait(60) == 130
        process.stderr.close()
    assert last_event(tmp_path)["outcome"] == "cancelled"
    assert "Traceback" not in printed and "BrokenPipe" not in printed


@pytest.mark.slow
@pytest.mark.parametrize("closed", ["<&- 2>&-", "<&- >&-"])
def test_a_closed_standard_stream_harms_nothing(closed: str, tmp_path: Path) -> None:
    write_team(tmp_path)
    line = f"{shlex.join(COMMAND)} run team.yaml {closed}"
    done = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ("the answer\n" if "2" in closed else "")
    assert "Traceback" not in done.stderr
    assert last_event(tmp_path)["outcome"] == "satisfied"


@pytest.mark.parametrize("closed", ["<&-", "2>&-", ">&-"])
def test_a_command_does_without_a_standard_stream(closed: str, tmp_path: Path) -> None:
    for line, code in (("list", 0), ("show nothing", 2), ("--help", 0)):
        command = f"{shlex.join(COMMAND)} {line} {closed}"
        done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=180)
        assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr


@pytest.mark.parametrize("how", ["signal", "terminal"])
def test_a_hangup_ends_the_run_in_order(how: str, tmp_path: Path) -> None:
    brain = TeamBrain(rounds=[("Solo", "go")], agents={}).on("manager", "plan", None, Reply(hang="before"))
    with OpenAIServer(brain) as server:
        service = {"provider": "openai", "model": "m", "base_url": server.base_url}
        write_team(tmp_path, services={"default": service})
        env = {**os.environ, **MODEL, "TERM": "xterm-256color"}
        child = pexpect.spawn(COMMAND[0], [*COMMAND[1:], "run", "team.yaml"], cwd=tmp_path, env=env, timeout=180)
        server.wait_for(lambda s: s.hanging, 60)
        if how == "signal":
            child.kill(signal.SIGHUP)
            child.expect(pexpect.EOF)
            child.close()
            assert child.exitstatus == 130
        else:
            child.ptyproc.fileobj.close()
            child.ptyproc.wait()
        server.wait_for(lambda s: not s.open_connections)
    assert last_event(tmp_path)["outcome"] == "cancelled"


@pytest.mark.parametrize("how", ["removed", "moved"])
def test_a_run_directory_that_is_gone_in_mid_run_is_an_error(how: str, tmp_path: Path) -> None:
    def facts(request: object) -> str:
        if how == "removed":
            shutil.rmtree(tmp_path / "runs")
        else:
            (tmp_path / "runs").rename(tmp_path / "elsewhere")
        return "Facts."

    brain = TeamBrain(rounds=[("Solo", "go")], agents={"Solo": ["hello"]}).on("manager", "facts", None, facts)
    with OpenAIServer(brain) as server:
        service = {"provider": "openai", "model": "m", "base_url": server.base_url}
        agents = [{"name": "Solo", "description": "Answers.", "instructions": "Do."}]
        write_team(tmp_path, services={"default": service}, agents=agents)
        command = [*COMMAND, "run", "team.yaml", "t", "--plain"]
        done = subprocess.run(
            command, cwd=tmp_path, env={**os.environ, **MODEL}, capture_output=True, text=True, timeout=180
        )
        asked = len(server.requests)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "the run directory was removed while the run went on" in done.stderr
    assert "satisfied: see" not in done.stderr and not (tmp_path / "runs").exists()
    if how == "removed":  # nothing more is paid for what nobody can read
        assert asked == 1 and "events.jsonl: it was removed while the run went on" in done.stderr


@pytest.mark.parametrize(
    "line", ["run team.yaml t 2>&1 | head -1", "run team.yaml t 2>/dev/null | head -0", "list | head -0"]
)
def test_a_reader_who_leaves_sees_no_traceback(line: str, tmp_path: Path) -> None:
    write_team(tmp_path)
    command = f"{shlex.join(COMMAND)} {line}"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=180)
    assert "Traceback" not in done.stdout + done.stderr and "BrokenPipe" not in done.stderr
    if line.startswith("run"):
        assert last_event(tmp_path)["outcome"] == "satisfied"
