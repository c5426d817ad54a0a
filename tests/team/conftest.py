"""A folder with what the team files of these tests name."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.team_files import with_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return with_files(tmp_path)
