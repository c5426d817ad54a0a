"""Debian's PostgreSQL on loopback, in a directory of its own."""

from __future__ import annotations

import glob
import os
import shutil
import socket
import subprocess
from pathlib import Path


def installed() -> bool:
    return bool(glob.glob("/usr/lib/postgresql/*/bin/postgres"))


class Postgres:
    """A server; as root it runs as the user `postgres`, which it insists on."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._data = folder / "data"
        if os.getuid() == 0:
            shutil.chown(folder, "postgres")
        self._call("initdb", "-D", self._data, "-A", "trust", "-U", "postgres", "--no-sync")
        self.control("start")

    def url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def control(self, action: str, *more: str) -> None:
        options = f"-p {self.port} -k {self._data} -c listen_addresses=127.0.0.1"
        self._call("pg_ctl", action, "-D", self._data, "-w", "-l", self._data / "log", "-o", options, *more)

    def _call(self, program: str, *arguments: str | Path) -> None:
        path = max(glob.glob(f"/usr/lib/postgresql/*/bin/{program}"))
        user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        # No pipe: the server would hold it open.
        subprocess.run([*user, path, *arguments], check=True, cwd="/", stdout=subprocess.DEVNULL)
