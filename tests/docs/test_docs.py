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
SEARCH_PATH = os.environ["PATH"]
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
    """A copy of what the documents talk about, as the current directory of a shell that has uv and no more.

    This `uv run` takes the packages of the tests, whichever versions they are.
    """
    for folder in ("configs", "examples"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "uv").write_text(UV.format(python=sys.executable))
    (tmp_path / "bin" / "uv").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    return tmp_path


UV = """\
#!/bin/sh
test "$1" = run || exit 9
shift
PATH="$(dirname {python}):$PATH"
case "$1" in
    python) shift; exec {python} "$@" ;;
    magentic-kit) shift; exec {python} -m magentic_kit "$@" ;;
    pytest) shift; exec {python} -m pytest -p no:cacheprovider "$@" ;;
esac
exit 9
"""


def type_in(*commands: str, **environment: str) -> str:
    """Runs commands in one shell; each has to succeed. Returns their standard output."""
    done = subprocess.run(
        ["sh", "-euxc", "\n".join(commands)], env={**os.environ, **environment}, capture_output=True, text=True,
        timeout=280, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
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
@pytest.mark.parametrize("uv", ["of these packages", "itself"])
def test_the_tour_s_commands_run_in_their_order(uv: str, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if uv == "itself":
        real = shutil.which("uv", path=SEARCH_PATH)
        if real is None or Path(sys.prefix) != ROOT / ".venv":
            pytest.skip("needs uv and the checkout's own environment")
        (checkout / "bin" / "uv").write_text(f'#!/bin/sh\nexec {real} "$@"\n')
        monkeypatch.delenv("PYTHONPATH")
        monkeypatch.setenv("UV_PROJECT", str(ROOT))
        monkeypatch.setenv("UV_NO_SYNC", "1")  # as other tests use the environment too
    with OpenAIServer(lambda r: ledger(satisfied=True) if r.purpose == "ledger" else f"{r.who}: {r.purpose}") as server:
        told = type_in(*commands(TOUR), OPENAI_API_KEY="sk-test", OPENAI_BASE_URL=server.base_url)
    assert {request.who for request in server.requests} >= {"Checker", "Judge"}
    assert "Three findings in" in told and "1 passed" in told
    assert "East grew fastest" in (checkout / "answer.md").read_text()
    assert '"outcome": "limited"' in (checkout / "result.json").read_text()
