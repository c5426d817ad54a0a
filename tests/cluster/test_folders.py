"""What a worker lets a queued team load and read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from magentic_kit import ConfigError
from magentic_kit.cluster.folders import AllowedFolders
from magentic_kit.team.loading import load_team

AGENT = {"name": "Writer", "description": "Writes.", "instructions": "Write."}
CODE = "class Notes:\n    pass\n"


def check(folder: Path, **changes: Any) -> None:
    data = {"name": "t", "task": "t", "services": {"s": {"provider": "openai", "model": "m"}}, "agents": [AGENT]}
    team = load_team({**data, **changes}, base_dir=folder)
    AllowedFolders([folder]).check(team)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "elsewhere.py").write_text(CODE)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "events.jsonl").touch()
    (tmp_path / "api.yaml").write_text("openapi: 3.0.0")
    (tmp_path / "script.yaml").write_text("manager: {answer: a}")
    (tmp_path / "server").write_text("#!/bin/sh\n")
    (tmp_path / "server").chmod(0o755)
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    for name in ("script.yaml", "server"):
        (allowed / name).write_text((tmp_path / name).read_text())
        (allowed / name).chmod(0o755)
    (allowed / "notes.py").write_text(CODE)
    (allowed / "linked.py").symlink_to(tmp_path / "elsewhere.py")
    return allowed


def plugin(**config: Any) -> dict[str, Any]:
    return {"plugins": {"p": config}}


def code(target: str, **args: Any) -> dict[str, Any]:
    return plugin(type="python", target=target, args=args)


def server(command: str, *args: str, **more: Any) -> dict[str, Any]:
    return plugin(type="mcp", transport="stdio", command=command, args=[*args], **more)


INSIDE: dict[str, dict[str, Any]] = {
    "code beside the team": code("notes:Notes", file="data/sales.db", about="a/b", url="https://host/x"),
    "a script": {"services": {"s": {"provider": "scripted", "script": "script.yaml"}}},
    "a server": server("./server", "--verbose", "data", cwd="."),
    "files": plugin(type="files", root="."),
    "a database file": plugin(type="sql", url="sqlite:///data/sales.db"),
    "another database": plugin(type="sql", url="postgresql://host/sales"),
    "no code": plugin(type="math"),
}
OUTSIDE: dict[str, dict[str, Any]] = {
    "code of the standard library": code("subprocess:Popen", args="true"),
    "code that is built in": code("sys:exit"),
    "installed code": code("click.testing:CliRunner"),
    "code that is linked": code("linked:Notes"),
    "an absolute path": code("notes:Notes", file="/etc/passwd"),
    "a path upwards": code("notes:Notes", files=["data/../../x.db"]),
    "a path in the home": code("notes:Notes", file="~/x"),
    "a callable as a service": {"services": {"s": {"provider": "python", "target": "os:system", "args": {"a": "b"}}}},
    "a script": {"services": {"s": {"provider": "scripted", "script": "../script.yaml"}}},
    "a recorded run": {"services": {"s": {"provider": "replay", "log": "../run"}}},
    "a program": server("sh", "-c", "true"),
    "a program by its path": server("../server", cwd="."),
    "a program's argument": server("./server", "--root=/", cwd="."),
    "a program's environment": server("./server", cwd=".", env={"LD_PRELOAD": "/tmp/x.so"}),
    "a program's folder": server("server", cwd=".."),
    "a document": plugin(type="openapi", spec="../api.yaml"),
    "files": plugin(type="files", root=".."),
    "a database file": plugin(type="sql", url="sqlite:////var/sales.db"),
}


@pytest.mark.parametrize("changes", INSIDE.values(), ids=INSIDE.keys())
def test_what_is_below_an_allowed_folder_is_loaded(changes: dict[str, Any], folder: Path) -> None:
    check(folder, **changes)


@pytest.mark.parametrize("changes", OUTSIDE.values(), ids=OUTSIDE.keys())
def test_what_is_elsewhere_is_refused(changes: dict[str, Any], folder: Path) -> None:
    with pytest.raises(ConfigError, match="outside the folders that this worker allows"):
        check(folder, **changes)


def test_a_member_team_is_checked_as_its_team_is(folder: Path) -> None:
    (folder / "inner.yaml").write_text(
        "name: inner\ntask: t\nservices: {s: {provider: openai, model: m}}\n"
        "plugins: {p: {type: python, target: 'subprocess:Popen'}}\n"
        "agents: [{name: A, description: d, instructions: i}]\n"
    )
    member = {"type": "team", "name": "Desk", "description": "Helps.", "team": str(folder / "inner.yaml")}
    with pytest.raises(ConfigError, match="plugin 'p': target 'subprocess:Popen' is outside"):
        check(folder, agents=[member])


def test_a_team_is_in_an_allowed_folder_itself(folder: Path) -> None:
    AllowedFolders([folder]).check_base(folder / "teams")
    with pytest.raises(ConfigError, match="the team's folder is outside the folders"):
        AllowedFolders([folder]).check_base(folder.parent)
