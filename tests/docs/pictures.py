"""Makes the README's pictures from real runs: what a terminal shows, the report and the live page in Chromium."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from itertools import groupby
from pathlib import Path

import pexpect
import pyte
from playwright.sync_api import Page
from rich.console import Console
from rich.style import Style
from rich.text import Text

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.browser import chromium

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "examples" / "images"
COLUMNS, LINES = 100, 80
COLOURS = {"brown": "yellow", "default": None} | {f"bright{c}": f"bright_{c}" for c in ("red", "green", "blue", "cyan")}


def run_in_terminal(folder: Path) -> pyte.Screen:
    """The demo in a pseudo-terminal; its screen after the end, without what went to standard output."""
    (folder / "configs").symlink_to(ROOT / "configs")
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.Stream(screen)
    environment = {**os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8"}
    environment.pop("NO_COLOR", None)
    command = f"{sys.executable} -m magentic_kit run configs/sales_analysis.yaml >/dev/null"
    size = (LINES, COLUMNS)
    child = pexpect.spawn(
        "sh", ["-c", command], dimensions=size, env=environment, cwd=folder, encoding="utf-8", timeout=180
    )
    while True:
        try:
            stream.feed(child.read_nonblocking(4096, 30))
        except pexpect.EOF:
            return screen


def as_svg(screen: pyte.Screen) -> str:
    """The screen down to its last line, as a picture."""
    console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True)
    rows = [[screen.buffer[y][x] for x in range(COLUMNS)] for y in range(LINES)]
    while rows and not "".join(char.data for char in rows[-1]).strip():
        rows.pop()
    for row in rows:
        parts = groupby(row, key=lambda char: (char.fg, char.bold, char.italics, char.underscore))
        line = Text.assemble(*(("".join(c.data for c in chars), style_of(*look)) for look, chars in parts))
        line.rstrip()
        console.print(line)
    return console.export_svg(title="magentic-kit run configs/sales_analysis.yaml", unique_id="console")


def style_of(colour: str, bold: bool, italic: bool, underline: bool) -> Style:
    named = COLOURS.get(colour, colour)
    hexadecimal = named is not None and len(named) == 6 and all(c in "0123456789abcdef" for c in named)
    return Style(color=f"#{named}" if hexadecimal else named, bold=bold, italic=italic, underline=underline)


@contextmanager
def browser_view() -> Iterator[Page]:
    """A window of Chromium."""
    with chromium() as browser:
        yield browser.new_page(viewport={"width": 1000, "height": 1000}, device_scale_factor=1.25)


def screenshot(page: Path, target: Path) -> None:
    """The top of the report, as a browser shows it."""
    with browser_view() as view:
        view.goto(page.as_uri())
        view.screenshot(path=target)


def live_screenshot(folder: Path, target: Path) -> None:
    """The live page of a run that asks whether a file may be written."""
    shutil.copytree(ROOT / "configs", folder / "own")  # its notes are read and written
    command = [sys.executable, "-m", "magentic_kit", "ui", "own/plan_review.yaml", "--no-open", "--port", "0"]
    server = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    address = next(found[0] for line in server.stderr if (found := re.search(r"http://\S+", line)))
    with browser_view() as view:
        view.goto(address)
        view.click("text=workshop")
        view.click("button[value=run]")
        view.click(".ask [value=approve]")
        view.wait_for_selector("text=May Foreman call")
        view.wait_for_selector("#now .meters")
        view.mouse.move(0, 0)
        view.screenshot(path=target, animations="disabled")
    server.send_signal(signal.SIGINT)
    server.wait()


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        screen = run_in_terminal(Path(folder))
        (IMAGES / "console.svg").write_text(as_svg(screen), encoding="utf-8")
        live_screenshot(Path(folder), IMAGES / "live.png")
        screenshot(next(Path(folder).glob("runs/*/report.html")), IMAGES / "report.png")
