"""The command in a real terminal and as a real process: Ctrl-C wherever it comes, exit codes, standard output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pexpect
import pytest
import yaml
from support.openai_server import OpenAIServer, Reply, TeamBrain, ToolCall, error, ledger

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "magentic_kit"]

PLUGIN = """
import asyncio, pathlib, time
from semantic_kernel.functions import kernel_function

class Slow:
    @kernel_function(description="Waits for ever.")
    def wait(self) -> str:
        pathlib.Path("entered").touch()
        time.sleep(600)
"""


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "OPENAI_API_KEY": "sk-test-0123456789abcdef", "TERM": "xterm-256color", **more}


def write_team(folder: Path, base_url: str, **changes: Any) -> Path:
    data = {
        "name": "tty",
        "services": {"default": {"provider": "openai", "model": "m", "base_url": base_url}},
        "plugins": {"slow": {"type": "python", "target": "slow:Slow"}},
        "agents": [
            {"name": "Solo", "description": "d", "instructions": "Do.", "tools": [{"id": "slow.wait"}]},
        ],
        "limits": {"retries": 0},
        **changes,
    }
    (folder / "slow.py").write_text(PLUGIN)
    path = folder / "team.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


def brain() -> TeamBrain:
    return TeamBrain(rounds=[("Solo", "go")], agents={"Solo": ["hello there"]}, answer="the answer")


def only_run(folder: Path) -> Path:
    (run_dir,) = (folder / "runs").iterdir()
    return run_dir


def outcome(folder: Path) -> str:
    run_dir = only_run(folder)
    last = json.loads((run_dir / "events.jsonl").read_text().splitlines()[-1])
    assert last["type"] == "run_finished"
    assert f"outcome: {last['outcome']}" in (run_dir / "report.md").read_text()
    return str(last["outcome"])


@pytest.mark.parametrize("where", ["plan", "stream", "tool"])
def test_ctrl_c_ends_the_run_in_order(where: str, tmp_path: Path) -> None:
    replies = {
        "plan": brain().on("manager", "plan", None, Reply(hang="before")),
        "stream": brain().on("Solo", "turn", None, Reply("one two three four", hang="in_stream")),
        "tool": brain().on("Solo", "turn", 0, Reply(tool_calls=[ToolCall("slow-wait")])),
    }
    with OpenAIServer(replies[where]) as server:
        team = write_team(tmp_path, server.base_url)
        child = pexpect.spawn(
            COMMAND[0], [*COMMAND[1:], "run", str(team), "t"], cwd=tmp_path, env=environment(), timeout=20
        )
        if where == "tool":
            server.wait_for(lambda _: (tmp_path / "entered").exists(), 20)
        else:
            server.wait_for(lambda s: s.hanging, 20)
        child.sendintr()
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 130
        server.wait_for(lambda s: not s.open_connections)
    assert outcome(tmp_path) == "cancelled"


STUBBORN = """
import asyncio, pathlib
from semantic_kernel.functions import kernel_function

class Slow:
    @kernel_function(description="Does not let itself be cancelled.")
    async def wait(self) -> str:
        pathlib.Path("entered").touch()
        while True:
            try:
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                pathlib.Path("asked").touch()
"""


def test_a_second_ctrl_c_leaves_at_once(tmp_path: Path) -> None:
    with OpenAIServer(brain().on("Solo", "turn", 0, Reply(tool_calls=[ToolCall("slow-wait")]))) as server:
        team = write_team(tmp_path, server.base_url)
        (tmp_path / "slow.py").write_text(STUBBORN)
        child = pexpect.spawn(
            COMMAND[0], [*COMMAND[1:], "run", str(team), "t"], cwd=tmp_path, env=environment(), timeout=20
        )
        server.wait_for(lambda _: (tmp_path / "entered").exists(), 20)
        child.sendintr()
        server.wait_for(lambda _: (tmp_path / "asked").exists(), 20)
        child.sendintr()
        child.expect(pexpect.EOF, timeout=1.5)
        child.close()
        assert child.exitstatus == 130


def run_command(*args: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *args], cwd=cwd, env=environment(**env), capture_output=True, text=True, timeout=180
    )


@pytest.mark.parametrize(
    ("make", "args", "code"),
    [
        (brain, (), 0),
        (lambda: brain().on("manager", "ledger", None, ledger("Solo", "go")), ("--max-rounds", "1"), 3),
        (lambda: brain().on("manager", "facts", None, error(401)), (), 1),
        (brain, ("--max-rounds", "0"), 2),
    ],
)
def test_the_exit_code_tells_the_outcome(make: Any, args: tuple[str, ...], code: int, tmp_path: Path) -> None:
    with OpenAIServer(make()) as server:
        team = write_team(tmp_path, server.base_url)
        done = run_command("run", str(team), "t", *args, cwd=tmp_path)
        assert done.returncode == code, done.stderr
        assert done.stdout == ("the answer\n" if code in (0, 3) else "")
        assert "Traceback" not in done.stderr
        if code == 2:
            assert not server.requests and not (tmp_path / "runs").exists()


def test_standard_output_has_nothing_but_the_answer(tmp_path: Path) -> None:
    with OpenAIServer(brain()) as server:
        team = write_team(tmp_path, server.base_url)
        as_json = run_command("run", str(team), "t", "--json", "--out", "elsewhere", cwd=tmp_path)
        assert json.loads(as_json.stdout)["answer"] == "the answer"
        as_lines = run_command("run", str(team), "t", "--jsonl", "--no-report", cwd=tmp_path)
        kinds = [json.loads(line)["type"] for line in as_lines.stdout.splitlines()]
        assert kinds[0] == "run_started" and kinds[-1] == "run_finished"
        assert not (only_run(tmp_path) / "report.md").exists()
        quiet = run_command("run", str(team), "t", "--quiet", cwd=tmp_path)
        assert (quiet.stdout, quiet.stderr) == ("the answer\n", "")


@pytest.mark.slow
def test_a_task_may_come_from_a_file_or_standard_input(tmp_path: Path) -> None:
    with OpenAIServer(brain()) as server:
        team = write_team(tmp_path, server.base_url)
        (tmp_path / "task.txt").write_text("from <a> file")
        run_command("run", str(team), "--task-file", "task.txt", "--quiet", cwd=tmp_path)
        subprocess.run(
            [*COMMAND, "run", str(team), "-"],
            cwd=tmp_path,
            env=environment(),
            input="from <a> pipe",
            text=True,
            capture_output=True,
            timeout=180,
            check=True,
        )
        assert {request.task for request in server.requests} == {"from <a> file", "from <a> pipe"}


def test_settings_on_the_command_line_win(tmp_path: Path) -> None:
    with OpenAIServer(brain()) as server:
        team = write_team(tmp_path, server.base_url, inputs={"who": "nobody"}, task="Ask {{$who}}")
        (tmp_path / "my.env").write_text(f"OPENAI_BASE_URL={server.base_url}\nSOME_MODEL=from-env\n")
        done = run_command(
            *("run", str(team), "--input", "who=everybody", "--set", "agents.Solo.instructions=Hurry."),
            *("--service", "default=openai:other-model", "--env-file", "my.env", "--deadline", "30s"),
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        assert {(r.task, r.model) for r in server.requests} == {("Ask everybody", "other-model")}
        assert any("Hurry." in str(request.messages) for request in server.requests)


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (("run", "none.yaml", "t"), "none.yaml"),
        (("run", "team.yaml", "t", "--task-file", "x"), "give TASK or --task-file, not both"),
        (("run", "team.yaml", "t", "--input", "x"), "'x' should be name=value"),
        (("run", "team.yaml", "t", "--set", "manager.max_round=1"), "max_rounds"),
        (("run", "team.yaml", "t", "--env-file", "none"), "there is no such environment file"),
        (("run", "team.yaml", "t", "--deadline", "soon"), "deadline"),
        (("validate", "none.yaml"), "none.yaml"),
        (("rnu",), "rnu"),
    ],
)
def test_a_mistake_is_one_clear_line_and_nothing_is_sent(args: tuple[str, ...], complaint: str, tmp_path: Path) -> None:
    with OpenAIServer(brain()) as server:
        write_team(tmp_path, server.base_url)
        done = run_command(*args, cwd=tmp_path)
        assert done.returncode == 2 and complaint in done.stderr, done.stderr
        assert "Traceback" not in done.stderr and not server.requests
