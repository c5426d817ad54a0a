"""The process that `support.forked` forks others from: imports once, and then forks one child an order."""

from __future__ import annotations

import ctypes
import fcntl
import importlib
import io
import json
import os
import runpy
import socket
import sys
import termios
import threading
from pathlib import Path
from typing import Any


def receive(near: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    size, files, _, _ = socket.recv_fds(near, 4, 3)
    if not size:
        return None
    data = b""
    while len(data) < int.from_bytes(size, "big"):
        data += near.recv(1 << 20)
    return json.loads(data), files


def serve(near: socket.socket) -> dict[str, Any] | None:
    """Forks a child for each order; returns in each child what it is to do, and None when nobody orders any more."""
    while received := receive(near):
        order, files = received
        reading, writing = os.pipe()
        between = os.fork()
        if not between:
            child = os.fork()
            if child:
                os.write(writing, f"{child}\n".encode())
                os._exit(0)
            os.close(reading)
            os.close(writing)
            near.close()
            become(order, files)
            return order
        os.waitpid(between, 0)  # the child has its new parent once this one has ended
        near.sendall(os.read(reading, 32))
        os.close(reading)
        os.close(writing)
        for file in files:
            os.close(file)
    return None


def become(order: dict[str, Any], files: list[int]) -> None:
    """Gives this process the files, session, directory, environment and arguments of the order."""
    for number, file in enumerate(files):
        os.dup2(file, number)
    for file in files:
        os.close(file)
    if order["session"]:
        os.setsid()
    if order["session"] == "terminal":
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["environment"])
    show_arguments(order["arguments"])
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        before = getattr(sys, name)
        raw = open(number, "wb" if number else "rb", closefd=False)  # noqa: SIM115
        line_buffering = number == 2 or os.isatty(number)
        text = io.TextIOWrapper(raw, before.encoding, before.errors, line_buffering=line_buffering)
        text.mode = "w" if number else "r"  # type: ignore[attr-defined]
        setattr(sys, name, text)
        setattr(sys, f"__{name}__", text)


def show_arguments(arguments: list[str]) -> None:
    """Has `ps` show these arguments in place of this process's own."""
    numbers = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(numbers[45]), int(numbers[46])  # arg_start and arg_end of proc(5), after pid and name
    shown = b"\0".join(map(os.fsencode, arguments))[: end - start - 1]
    ctypes.memmove(start, shown.ljust(end - start, b"\0"), end - start)


def main() -> None:
    near = socket.socket(fileno=int(sys.argv[1]))
    importlib.import_module("preloaded")
    assert threading.active_count() == 1, "a process with threads cannot be forked safely"
    order = serve(near)
    if order is None:
        return
    _, first, *rest = order["arguments"]
    if first == "-m":
        sys.path[0] = order["cwd"]
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = str(Path(first).parent)
        sys.argv = [first, *rest]
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    main()
