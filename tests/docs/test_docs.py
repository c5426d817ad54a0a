"""The reference is what the models say, its examples are valid, and the tour's commands run as they stand."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from docs.generate import TARGET, reference
from support.openai_server import OpenAIServer, ledger

from magentic_kit.team.loading import load_team

ROOT = Path(__file__).parents[2]
TOUR = ROOT / "examples" / "README.md"
SMALLEST = {
    "name": "smallest",
    "services": {"default": {"provider": "scripted", "script": {}}},
    "agents": [{"name": "Reader", "description": "Reads."}],
}


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", document.read_text("utf-8"), re.DOTALL)


def commands(document: Path) -> list[str]:
    """What a reader would type, each in its turn."""
    return [line[2:] for block in blocks(document, "console") for line in block.splitlines() if line.startswith("$ ")]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what the documents talk about, as the current directory; both commands are on the path."""
    for folder in ("configs", "examples"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "bin").mkdir()
    for name, runs in {"magentic-kit": f"{sys.executable} -m magentic_kit", "python": sys.executable}.items():
        (tmp_path / "bin" / name).write_text(f'#!/bin/sh\nexec {runs} "$@"\n')
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def type_in(command: str, **environment: str) -> str:
    """Runs a command as a shell does; it has to succeed. Returns its standard output."""
    done = subprocess.run(
        command, shell=True, env={**os.environ, **environment}, capture_output=True, text=True, timeout=90,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_reference_is_current() -> None:
    assert TARGET.read_text("utf-8") == reference(), "run `python tests/docs/generate.py`"


@pytest.mark.parametrize("example", [b for b in blocks(TARGET, "yaml") if not b.startswith("#")])
def test_every_example_of_the_reference_is_valid(example: str, checkout: Path) -> None:
    (checkout / "recorded").mkdir()
    load_team({**SMALLEST, **yaml.safe_load(example)}, base_dir=checkout / "configs", env={})


def test_every_key_of_a_team_file_is_in_the_reference() -> None:
    text, schema = TARGET.read_text("utf-8"), json.loads((ROOT / "configs" / "team.schema.json").read_text("utf-8"))
    parts = [schema, *schema["$defs"].values()]
    assert [
        key for part in parts for key in part["properties"] if f"`{key}`" not in text and f"{key}: " not in text
    ] == []


@pytest.mark.parametrize("document", [TARGET, TOUR, ROOT / "README.md"], ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", document.read_text("utf-8")):
        path, _, anchor = "".join(link).partition("#")
        if path.startswith("http"):
            continue
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), link
        headings = re.findall(r"^#+ (.+)$", target.read_text("utf-8"), re.MULTILINE) if anchor else []
        assert not anchor or anchor in {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}, link


def test_the_tour_visits_every_example() -> None:
    text = TOUR.read_text("utf-8")
    shown = [*(ROOT / "configs").glob("*.yaml"), *(ROOT / "examples").glob("*.*")]
    assert [path.name for path in shown if f"{path.name})" not in text and path != TOUR] == []


@pytest.mark.slow
def test_the_tour_s_commands_run_in_their_order(checkout: Path) -> None:
    with OpenAIServer(lambda r: ledger(satisfied=True) if r.purpose == "ledger" else f"{r.who}: {r.purpose}") as server:
        model = {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": server.base_url}
        for command in commands(TOUR):
            runs = sorted((checkout / "runs").glob("*")) if (checkout / "runs").exists() else []
            type_in(command, RUN=str(runs[0]) if runs else "", **model)
    assert {request.who for request in server.requests} >= {"Checker", "Judge"}
    assert "East grew fastest" in (checkout / "answer.md").read_text()
    assert '"outcome": "limited"' in (checkout / "result.json").read_text()
