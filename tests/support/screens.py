"""A command in a terminal whose screen a test reads, and at whose keyboard it types."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyte
from support.forked import own_terminal

COMMAND = [sys.executable, "-m", "magentic_kit"]
PROMPT = "\n> "


class Person:
    """`with Person(["run", …], folder) as person:` starts the command; the screen keeps all that scrolls off."""

    def __init__(
        self,
        arguments: Sequence[str],
        folder: Path,
        *,
        columns: int = 80,
        rows: int = 30,
        to_pipe: bool = False,
        **env: str,
    ) -> None:
        self._keyboard, self._line = os.openpty()
        fcntl.ioctl(self._line, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._screen = pyte.Screen(columns, 600)
        self._stream = pyte.ByteStream(self._screen)
        self.raw = b""
        own = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
        shown: dict[str, Any] = {"TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"}
        shown["OPENAI_API_KEY"] = "sk-test-0123456789abcdef"
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=folder,
            env=own | shown | env,
            stdin=self._line,
            stdout=subprocess.DEVNULL if to_pipe else self._line,
            stderr=self._line,
            preexec_fn=own_terminal,
        )

    def __enter__(self) -> Person:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._keyboard)
        os.close(self._line)

    @property
    def text(self) -> str:
        """What stands on the screen."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip()

    @property
    def lines(self) -> list[str]:
        return self.text.split("\n")

    def wait(self, state: str | Callable[[], object], seconds: float = 90) -> None:
        """Returns once a text stands on the screen, or a function says so."""
        end = time.monotonic() + seconds
        while not (state in self.text if isinstance(state, str) else state()):
            assert time.monotonic() < end, f"no {state!r} on:\n{self.text}"
            if select.select([self._keyboard], [], [], 0.02)[0]:
                output = os.read(self._keyboard, 65536)
                self.raw += output
                self._stream.feed(output)

    def wait_for_question(self, number: int = 1) -> None:
        """Returns once that many prompts have been shown and the last one waits for its answer."""
        self.wait(lambda: f"{self.text}\n".replace(">\n", "> \n").count(PROMPT) >= number and self.lines[-1] == ">")

    def type(self, text: str) -> None:
        os.write(self._keyboard, text.encode())

    def type_ahead(self, text: str) -> None:
        """Types lines that nobody reads, and returns once the terminal keeps them all for the next reader."""
        self.type(text)
        waiting = bytearray(4)

        def arrived() -> bool:
            fcntl.ioctl(self._line, termios.FIONREAD, waiting)
            return int.from_bytes(waiting, sys.byteorder) == len(text)

        self.wait(arrived)

    def settings(self) -> list[Any]:
        """The settings of the terminal, such as whether it echoes."""
        return termios.tcgetattr(self._line)

    def leave(self) -> int:
        """Waits for the end of the command and returns its exit code."""
        self.wait(lambda: self.process.poll() is not None)
        self.wait(lambda: not select.select([self._keyboard], [], [], 0)[0])
        return self.process.returncode
