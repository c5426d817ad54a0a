"""What a folder holds, to be compared later."""

from __future__ import annotations

import os
from pathlib import Path


def picture(folder: Path) -> dict[str, bytes | str]:
    """What is in a folder, links as links."""
    return {
        str(path.relative_to(folder)): os.readlink(path)
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else ""
        for path in folder.rglob("*")
    }
