"""The README's commands and code work as they stand, and the files it promises are what it says."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import yaml

from magentic_kit.check import load_team

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_first_command_runs_the_demo(tmp_path: Path) -> None:
    first, second = re.findall(r"^\$ uv run (.*)$", blocks("console")[0], re.MULTILINE)
    assert second == "pytest"
    command = shlex.split(first)
    assert command[0] == "magentic-kit"
    done = subprocess.run(
        [sys.executable, "-m", "magentic_kit", *command[1:], "--out", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert blocks("text")[0] in done.stdout
    (run_dir,) = tmp_path.iterdir()
    assert {"events.jsonl", "report.md", "result.json", "team.yaml"} <= {path.name for path in run_dir.iterdir()}


def test_the_team_file_shown_is_valid(tmp_path: Path) -> None:
    for folder in ("agents", "plugins", "data"):
        (tmp_path / folder).symlink_to(ROOT / "configs" / folder)
    (tmp_path / "team.yaml").write_text(blocks("yaml")[0])
    assert load_team(tmp_path / "team.yaml", env={}).config.name == "sales-analysis"


def test_the_python_shown_runs(tmp_path: Path) -> None:
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    done = subprocess.run(
        [sys.executable, "-c", blocks("python")[0]], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("satisfied **East") and "run_finished" in done.stdout


def test_every_team_in_configs_is_valid() -> None:
    for path in sorted((ROOT / "configs").glob("*.yaml")):
        assert "agents" in yaml.safe_load(path.read_text())
        load_team(path)


def test_the_readme_stays_short_and_names_what_exists() -> None:
    assert len(README.splitlines()) < 150
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
