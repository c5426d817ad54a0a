"""Records the demo in a real pseudo-terminal: `uv run python tests/recordings/record.py` writes the snapshots anew."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pexpect
import pyte

HERE = Path(__file__).parent
DEMO = HERE.parent.parent / "configs" / "sales_analysis.yaml"
WIDTHS = (60, 100, 160)
_ENVIRONMENT = {"TERM": "xterm-256color", "LANG": "C.UTF-8", "PYTHONIOENCODING": "utf-8"}
_CHANGING = {
    r"\([\d.]+ s\) → .*": "(N s) → …",  # the time's length tells how much of the result fits
    r"[\d.]+ s$": "N s",
    r"\d{8}T\d{6}Z(-[a-z-]+-)[0-9a-f]{6}": r"TIME\1ID",
}


def play(
    *arguments: str, columns: int, folder: Path, step: Callable[[pexpect.spawn, pyte.Screen], None] | None = None
) -> pyte.Screen:
    """The command in a terminal of 30 lines; the screen has all that scrolled off as well.

    `step` is called after each piece of output.
    """
    screen = pyte.Screen(columns, 300)
    stream = pyte.Stream(screen)
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    child = pexpect.spawn(
        sys.executable,
        ["-m", "magentic_kit", *arguments],
        dimensions=(30, columns),
        env=environment | _ENVIRONMENT,
        cwd=folder,
        encoding="utf-8",
        timeout=180,
    )
    try:
        while True:
            stream.feed(child.read_nonblocking(65536, 60))
            if step:
                step(child, screen)
    except pexpect.EOF:
        child.close()
    return screen


def text_of(screen: pyte.Screen) -> str:
    """What stands on the screen, without what differs from run to run."""
    text = "\n".join(line.rstrip() for line in screen.display).rstrip() + "\n"
    for pattern, shown in _CHANGING.items():
        text = re.sub(pattern, shown, text, flags=re.MULTILINE)
    return text


if __name__ == "__main__":
    for width in WIDTHS:
        with tempfile.TemporaryDirectory() as folder:
            screen = play("run", str(DEMO), columns=width, folder=Path(folder))
        (HERE / f"demo-{width}.txt").write_text(text_of(screen), encoding="utf-8")
