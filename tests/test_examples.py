"""Every example runs as its user would run it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = {
    "embed.py": "satisfied: There are 3 lamps left.",
    "mcp_team.py": "satisfied: You can borrow The Dispossessed and Solaris today.",
    "plan_review.py": "satisfied: 1. Mend the lamp.",
    "stream.py": "satisfied: **East grew fastest",
}


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_the_example_runs(name: str, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "examples" / name)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert EXAMPLES[name] in done.stdout


def test_embedding_takes_under_20_lines() -> None:
    text = (ROOT / "examples" / "embed.py").read_text()
    added = text.partition("# --- what the app adds\n")[2].partition("# --- end of what the app adds")[0]
    assert 0 < len(added.splitlines()) < 20
