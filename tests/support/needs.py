"""Programs that some tests need: a developer may lack them, CI may not."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def lacking(what: str, remedy: str) -> NoReturn:
    """Skips the test; with `CI` set the test fails, because a stage that runs nothing hides what it should show."""
    if os.environ.get("CI"):
        pytest.fail(f"CI has no {what}: {remedy}", pytrace=False)
    pytest.skip(f"no {what} here: {remedy}")
