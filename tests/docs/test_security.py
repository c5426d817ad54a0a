"""What SECURITY.md says of commands and of files of strangers holds."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.openai_server import OpenAIServer, TeamBrain
from test_docs import ROOT

from magentic_kit.cli.app import cli

COMMAND = [sys.executable, "-m", "magentic_kit"]
TEXT = (ROOT / "SECURITY.md").read_text("utf-8")
PLUGIN = """
from semantic_kernel.functions import kernel_function

class Desk:
    @kernel_function
    def look(self) -> str: ...
"""
MARK = "import pathlib\npathlib.Path('imported').touch()\n"


def write_team(folder: Path, base_url: str, **more: Any) -> None:
    """A team whose plugins and services leave a mark when anything of them is imported, started or asked."""
    for module in ("desk", "model"):
        (folder / f"{module}.py").write_text(f"{MARK}class {module.capitalize()}:\n    pass\n")
    touch = {"type": "mcp", "transport": "stdio", "command": "touch", "args": [str(folder / "started")]}
    team = {
        "name": "stranger",
        "services": {
            "default": {"provider": "openai", "model": "m", "base_url": base_url},
            "own": {"provider": "python", "target": "model:Model"},
        },
        "plugins": {
            "desk": {"type": "python", "target": "desk:Desk"},
            "touch": touch,
            "web": {"type": "mcp", "transport": "http", "url": base_url},
            "api": {"type": "openapi", "spec": f"{base_url}/spec.json"},
        },
        "agents": [
            {
                "name": "Solo",
                "description": "Helps.",
                "instructions": "Do.",
                "tools": [{"id": f"{name}.*"} for name in ("desk", "touch", "web", "api")],
            }
        ],
        "limits": {"retries": 0},
        **more,
    }
    (folder / "team.yaml").write_text(yaml.safe_dump(team))


def run(line: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> subprocess.CompletedProcess[str]:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")
    return subprocess.run([*COMMAND, *shlex.split(line)], cwd=folder, capture_output=True, text=True, timeout=180)


def marks(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} & {"imported", "started"}


def test_validate_imports_starts_and_asks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with OpenAIServer(TeamBrain(rounds=[("Solo", "go")], agents={})) as server:
        write_team(tmp_path, server.base_url)
        done = run("validate --strict team.yaml", tmp_path, monkeypatch)
        assert done.returncode == 0, done.stderr
        assert not server.requests and not server.open_connections
    assert marks(tmp_path) == set()


def test_show_list_and_report_import_and_call_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with OpenAIServer(TeamBrain(rounds=[("Solo", "go")], agents={"Solo": ["hello"]})) as server:
        plugins = {"desk": {"type": "python", "target": "desk:Desk"}}
        agent = {"name": "Solo", "description": "Helps.", "instructions": "Do."}
        write_team(tmp_path, server.base_url, plugins=plugins, agents=[{**agent, "tools": [{"id": "desk.*"}]}])
        (tmp_path / "desk.py").write_text(MARK + PLUGIN)
        done = run("run team.yaml t", tmp_path, monkeypatch)
        assert done.returncode == 0 and marks(tmp_path) == {"imported"}, done.stderr
        (tmp_path / "imported").unlink()
        asked = len(server.requests)
        (run_dir,) = (tmp_path / "runs").iterdir()
        for line in (f"show {run_dir}", "list", f"report {run_dir}"):
            done = run(line, tmp_path, monkeypatch)
            assert done.returncode == 0, done.stderr
        assert len(server.requests) == asked and not server.open_connections
    assert marks(tmp_path) == set()


def test_every_command_and_option_named_there_exists() -> None:
    options = {option for name in cli.list_commands(None) for option in _options(name)}  # type: ignore[arg-type]
    named = set(re.findall(r"`[^`\n]*?(--[a-z-]+)", TEXT))
    assert named and named <= options
    assert "(SECURITY.md)" in (ROOT / "README.md").read_text("utf-8")


def _options(command: str) -> list[str]:
    found = cli.get_command(None, command)  # type: ignore[arg-type]
    assert found is not None
    return [option for parameter in found.params for option in parameter.opts]
