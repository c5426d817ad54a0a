"""Every example runs as its user would run it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.openai_server import OpenAIServer, Reply, TeamBrain, ToolCall

ROOT = Path(__file__).parents[2]
EXAMPLES = {
    "embed.py": "satisfied: There are 3 lamps left.",
    "mcp_team.py": "satisfied: You can borrow The Dispossessed and Solaris today.",
    "plan_review.py": "satisfied: 1. Mend the lamp.",
    "stream.py": "satisfied: **East grew fastest",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_the_example_runs(name: str, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "examples" / name)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    assert EXAMPLES[name] in done.stdout


REAL = {  # script -> its argument, who speaks, what the first calls, and what the model is told of it
    "research_writing.py": (
        "tides",
        ["Researcher", "Writer", "Checker"],
        ToolCall("web-get", {"url": "https://elsewhere.example"}),
        "elsewhere.example",
    ),
    "code_review.py": (
        str(ROOT / "configs" / "plugins"),
        ["Guide", "Judge"],
        ToolCall("code-read", {"path": "sales.py"}),
        "class SalesPlugin",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(REAL))
def test_the_example_for_a_real_model_asks_it(name: str, tmp_path: Path) -> None:
    given, speakers, call, told = REAL[name]
    first = [Reply(tool_calls=[call]), lambda request: "".join(request.last_tool_results)]
    brain = TeamBrain(
        rounds=[(who, "go on") for who in speakers],
        agents={**dict.fromkeys(speakers, "Seen."), speakers[0]: first},
        answer=lambda request: f"As told: {told in str(request.messages)}",
    )
    with OpenAIServer(brain) as server:
        done = run(name, given, tmp_path, OPENAI_API_KEY="sk-test", OPENAI_BASE_URL=server.base_url)
    assert (done.returncode, done.stdout) == (0, "As told: True\n"), done.stderr


@pytest.mark.parametrize("name", sorted(REAL))
def test_the_example_for_a_real_model_says_what_it_lacks(name: str, tmp_path: Path) -> None:
    done = run(name, REAL[name][0], tmp_path, OPENAI_API_KEY="")
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "set OPENAI_API_KEY" in done.stderr


def run(name: str, given: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "examples" / name), given]
    env = {**os.environ, **environment}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=180)


def test_embedding_takes_under_20_lines() -> None:
    text = (ROOT / "examples" / "embed.py").read_text()
    added = text.partition("# --- what the app adds\n")[2].partition("# --- end of what the app adds")[0]
    assert 0 < len(added.splitlines()) < 20
