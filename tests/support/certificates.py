"""The authority that the processes of these tests trust, and no other: every client reads the authorities that it
trusts when it is made, and a system's take fifty times longer than this one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
SYSTEM = {name: os.environ[name] for name in VARIABLES if name in os.environ}
"""What they are outside: for commands that ask a package index."""


@contextmanager
def trusted(folder: Path) -> Iterator[trustme.CA]:
    """While it lasts, this process and its children trust this authority alone, as a user says it."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SSL_CERT_DIR", raising=False)
        patch.setenv("SSL_CERT_FILE", str(folder / "authority.pem"))
        yield authority


def trusting_the_system(environment: dict[str, str]) -> dict[str, str]:
    """The environment of a command that leaves this machine."""
    return {name: value for name, value in environment.items() if name not in VARIABLES} | SYSTEM
