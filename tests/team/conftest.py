"""A folder with what the team files of these tests name."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.team_files import FILES


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path
