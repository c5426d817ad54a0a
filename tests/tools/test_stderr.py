"""Which line of a failed server's stderr says why it failed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from magentic_kit.tools.stderr import telling_line

NODE = """node:internal/modules/cjs/loader:1228
  throw err;
  ^

Error: Cannot find module '/x/server.js'
    at Module._resolveFilename (node:internal/modules/cjs/loader:1225:15) {
  code: 'MODULE_NOT_FOUND',
  requireStack: []
}

Node.js v20.11.0
"""
GROUP = """  + Exception Group Traceback (most recent call last):
  |   File "server.py", line 3, in <module>
  |     main()
  | ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "server.py", line 9, in main
    |     raise ValueError("no database")
    | ValueError: no database
    +------------------------------------
"""
NPM = """npm error code E404
npm error 404 '@some/server' is not in this registry.
npm error 404
npm error A complete log of this run can be found in: /home/me/.npm/_logs/a.log
"""
GO = "panic: no configuration\n\ngoroutine 1 [running]:\nmain.main()\n\t/server.go:4 +0x1d\nexit status 2\n"
RUST = "thread 'main' panicked at src/main.rs:2:5:\nno configuration\nnote: run with `RUST_BACKTRACE=1` to see more\n"
UV = "error: Failed to fetch the list of versions\n  Caused by: no route\nhint: Consider another network\n"


@pytest.mark.parametrize(
    ("stderr", "line"),
    [
        (NODE, "Error: Cannot find module '/x/server.js'"),
        (GROUP, "ValueError: no database"),
        (NPM, "npm error 404 '@some/server' is not in this registry."),
        (GO, "panic: no configuration"),
        (RUST, "no configuration"),
        (UV, "error: Failed to fetch the list of versions"),
        ("still loading\n", "still loading"),
        ("", ""),
        ("\n  \n", ""),
    ],
    ids=["node", "exception group", "npm", "go", "rust", "uv", "one line", "nothing", "blank"],
)
def test_the_line_is_the_one_that_says_why(stderr: str, line: str) -> None:
    assert telling_line(stderr) == line


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise SystemExit('the database is not there')", "the database is not there"),
        ("try:\n  1 / 0\nexcept Exception as e:\n  raise OSError('two\\nlines') from e", "OSError: two lines"),
    ],
)
def test_a_traceback_of_python_is_its_last_message_whole(code: str, line: str) -> None:
    stderr = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stderr
    assert telling_line(stderr) == line


@pytest.mark.parametrize("piece", ["(", "| ", "a(", "Traceback (most recent call last):\n", "\n", " +-"])
def test_hostile_stderr_is_cut(piece: str) -> None:
    assert len(telling_line(piece * 20_000)) <= 500
