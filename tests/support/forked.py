"""Commands of the tests in processes forked from one that has imported Semantic Kernel, which takes seconds otherwise.

`installed()` replaces how `subprocess`, `asyncio` and `pexpect` start `python -m magentic_kit …` and the scripts of
`PRELOADED`. A process is a child of the test as ever: it has its own arguments, environment, files, directory and
terminal, and is waited for, signalled and killed by its id. Where more differs than that (another Python environment,
another locale, another system than Linux) it is started in the ordinary way, and so it is inside `fresh()`.
"""

from __future__ import annotations

import atexit
import ctypes
import fcntl
import json
import os
import pty
import socket
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pexpect
import ptyprocess

ROOT = Path(__file__).parents[2]
PRELOADED = [Path(__file__).with_name("mcp_server.py"), *(ROOT / "examples").glob("*.py")]
PR_SET_CHILD_SUBREAPER = 36
TERMINALS = 3  # the first three descriptors of a process

_ordinary = subprocess.Popen
_fresh = threading.local()


def own_terminal() -> None:
    """For `preexec_fn`: the process leads a session whose terminal is its standard input."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Origin:
    """The process that the others are forked from."""

    def __init__(self) -> None:
        self._socket, far = socket.socketpair()
        self._lock = threading.Lock()
        self.environment = dict(os.environ)
        command = [sys.executable, str(Path(__file__).with_name("origin.py")), str(far.fileno()), " " * 8000]
        self._process = _ordinary(command, pass_fds=[far.fileno()], stdin=subprocess.DEVNULL, cwd=ROOT)
        far.close()
        self._lines = self._socket.makefile("r")
        self._prctl = ctypes.CDLL(None, use_errno=True).prctl
        atexit.register(self.close)

    def close(self) -> None:
        self._lines.close()
        self._socket.close()
        self._process.wait(10)

    def fork(self, files: Sequence[int], **what: Any) -> int:
        """The id of a new child of this process, which does what `origin.Order` says."""
        line = json.dumps(what).encode() + b"\n"
        with self._lock:
            # Whoever forks the child ends at once; the child then belongs to its nearest ancestor that takes orphans.
            self._prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            try:
                socket.send_fds(self._socket, [len(line).to_bytes(4, "big")], list(files))
                self._socket.sendall(line)
                return int(self._lines.readline())
            finally:
                self._prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


_origin: Origin | None = None


def origin() -> Origin:
    global _origin
    if _origin is None:
        _origin = Origin()
    return _origin


def decides_how_python_starts(name: str) -> bool:
    return name.startswith(("PYTHON", "LC_", "COV_", "COVERAGE", "LD_", "OPENBLAS")) or name in ("LANG", "TZ")


def can_be_forked(arguments: Sequence[Any], environment: Mapping[str, str] | None) -> bool:
    words = [os.fsdecode(word) for word in arguments]
    if getattr(_fresh, "on", False) or sys.platform != "linux" or words[:1] != [sys.executable]:
        return False
    if words[1:3] != ["-m", "magentic_kit"] and (len(words) < 2 or Path(words[1]) not in PRELOADED):
        return False
    own = dict(os.environ if environment is None else environment)
    if own.get("PYTHONIOENCODING", "").lower() == "utf-8":
        del own["PYTHONIOENCODING"]  # as it is without
    here = origin().environment
    return all(own.get(name) == here.get(name) for name in own.keys() | here if decides_how_python_starts(name))


def order(arguments: Sequence[Any], cwd: Any, environment: Mapping[str, str] | None, session: str) -> dict[str, Any]:
    return {
        "arguments": [os.fsdecode(word) for word in arguments],
        "cwd": os.fsdecode(cwd) if cwd is not None else os.getcwd(),
        "environment": dict(os.environ if environment is None else environment),
        "session": session,
    }


class Popen(subprocess.Popen):  # type: ignore[type-arg]
    """Forks where it can; all else is the standard library's."""

    def _execute_child(  # type: ignore[no-untyped-def]
        self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo, creationflags, shell,
        p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite, *rest,
    ) -> None:  # fmt: skip
        new_session = rest[5]  # after restore_signals, gid, gids, uid, umask
        plain = not (shell or executable or pass_fds or isinstance(args, (str, bytes, os.PathLike)))
        if not (plain and preexec_fn in (None, own_terminal) and can_be_forked(args, env)):
            super()._execute_child(  # type: ignore[misc]
                args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo, creationflags, shell,
                p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite, *rest,
            )  # fmt: skip
            return
        session = "terminal" if preexec_fn else "session" if new_session else ""
        files = [own if own != -1 else number for number, own in enumerate((p2cread, c2pwrite, errwrite))]
        self.pid = origin().fork(files, **order(args, cwd, env, session))
        self._child_created = True
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)  # type: ignore[attr-defined]


def _spawnpty(self: pexpect.spawn, args: list[Any], **options: Any) -> ptyprocess.PtyProcess:
    if options.get("preexec_fn") or not options["echo"] or not can_be_forked(args, options["env"]):
        return ptyprocess.PtyProcess.spawn(args, **options)
    near, far = pty.openpty()
    try:
        pid = origin().fork([far] * TERMINALS, **order(args, options["cwd"], options["env"], "terminal"))
    finally:
        os.close(far)
    child = ptyprocess.PtyProcess(pid, near)
    child.setwinsize(*options.get("dimensions", (24, 80)))
    return child


@contextmanager
def installed() -> Iterator[None]:
    """While it lasts, whoever starts a process of these gets a forked one."""
    with patch.object(subprocess, "Popen", Popen), patch.object(pexpect.spawn, "_spawnpty", _spawnpty):
        yield


@contextmanager
def fresh() -> Iterator[None]:
    """While it lasts, a process imports what it needs itself."""
    _fresh.on = True
    try:
        yield
    finally:
        _fresh.on = False
