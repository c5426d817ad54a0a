"""A power cut: what the disk was told to keep is there afterwards, and nothing else has to be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

SYNC = "fdatasync" if hasattr(os, "fdatasync") else "fsync"


@dataclass
class Disk:
    """Knows how much of each file has been synced, and ends the `fails_at`-th sync with an error."""

    fails_at: int | None = None
    syncs: int = 0
    _kept: dict[int, int] = field(default_factory=dict)  # bytes by inode

    def sync(self, descriptor: int) -> None:
        number, self.syncs = self.syncs, self.syncs + 1
        if number == self.fails_at:
            raise OSError(5, "Input/output error")
        about = os.fstat(descriptor)
        _sync(descriptor)
        self._kept[about.st_ino] = about.st_size

    def after_a_cut(self, directory: Path) -> dict[str, bytes]:
        """The files of a directory as a power cut just now would leave them at worst; they only grow by their ends."""
        return {path.name: path.read_bytes()[: self._kept.get(path.stat().st_ino, 0)] for path in files(directory)}


def files(directory: Path) -> Iterator[Path]:
    return (path for path in directory.iterdir() if path.is_file() and not path.name.startswith("."))


@contextmanager
def watched(fails_at: int | None = None) -> Iterator[Disk]:
    """The disk, for as long as the body runs."""
    disk = Disk(fails_at)
    with patch.object(os, SYNC, disk.sync):
        yield disk


_sync = getattr(os, SYNC)
