"""`list`, `show`, `report`, completion and the first page: what is told of runs, by real commands on real logs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import sample_events as sample
from recordings.record import DEMO, WIDTHS, play, text_of
from test_console import GOLDEN

from magentic_kit import cli
from magentic_kit import events as ev
from magentic_kit.journal import LOG, Journal

Invoke: TypeAlias = Callable[..., Any]
COMMAND = [sys.executable, "-m", "magentic_kit"]


@pytest.fixture
def invoke(capsys: pytest.CaptureFixture[str]) -> Invoke:
    """Runs the command in this process; what it wrote to standard output and standard error."""

    def invoke(*arguments: object) -> Any:
        with suppress(SystemExit):  # --help
            cli.run([str(argument) for argument in arguments])
        return capsys.readouterr()

    return invoke


def write(folder: Path, name: str, events: list[ev.AnyEvent]) -> Path:
    journal = Journal.create(folder, name)
    for event in events:
        if event.logged:
            journal.write(event)
    journal.close()
    return folder / name


def test_runs_are_listed_the_newest_first_also_damaged_and_unfinished_ones(invoke: Invoke, tmp_path: Path) -> None:
    write(tmp_path, "1-done", sample.satisfied())
    write(tmp_path, "2-torn", sample.satisfied()[:9])
    damaged = write(tmp_path, "3-damaged", sample.limited()) / LOG
    damaged.write_text(damaged.read_text().replace("North", "South"))
    rows = [line.split() for line in invoke("list", tmp_path).out.splitlines()]
    assert [(Path(row[0]).name, row[1]) for row in rows] == [
        ("3-damaged", "damaged"),
        ("2-torn", "unfinished"),
        ("1-done", "satisfied"),
    ]
    assert rows[2][2:6] == ["42", "s", "728", "Which"]
    runs = json.loads(invoke("list", tmp_path, "--json").out)
    assert "the log is damaged" in runs[0]["error"]
    assert runs[2] | {"run": ""} == {
        "run": "",
        "outcome": "satisfied",
        "tokens": 728,
        "error": "",
        "team": "sales",
        "task": sample.TASK,
        "started": "2025-06-01T12:00:00.000Z",
        "seconds": 42.4,
    }


def test_where_there_is_no_run_the_way_to_one_is_told(invoke: Invoke, tmp_path: Path) -> None:
    listed = invoke("list", tmp_path)
    assert listed.out == "" and "`magentic-kit run TEAM` makes one" in listed.err


@pytest.mark.parametrize("run", GOLDEN)
def test_a_run_is_shown_as_it_was(invoke: Invoke, run, tmp_path: Path) -> None:
    shown = invoke("show", write(tmp_path, "run", run()))
    assert (shown.out, shown.err) == ("", GOLDEN[run])


def test_what_an_agent_said_before_a_tool_call_is_shown_before_it(invoke: Invoke, tmp_path: Path) -> None:
    shown = invoke("show", write(tmp_path, "run", sample.satisfied())).err
    assert shown.index("Let me look.") < shown.index("tool: db.query") < shown.index("North grew")


def test_what_a_resumed_run_took_back_is_not_shown(invoke: Invoke, tmp_path: Path) -> None:
    begin = sample.satisfied()
    log = [event for event in begin[:-1] if event.logged]
    resumed = [*log, *sample.stamp(*[begin[0]] * len(log), ev.RunResumed(from_seq=8))[-1:]]
    shown = invoke("show", write(tmp_path, "run", resumed))
    assert "round 1/20" in shown.err and "Writer" not in shown.err
    assert f"the log ends here; `magentic-kit resume {tmp_path / 'run'}` goes on" in shown.err


def test_a_run_is_played_at_the_speed_asked_for(invoke: Invoke, tmp_path: Path) -> None:
    run = write(tmp_path, "run", sample.satisfied())
    began = time.monotonic()
    assert invoke("show", run, "--speed", "50").err == GOLDEN[sample.satisfied]
    assert 0.4 < time.monotonic() - began < 10  # the log tells of more than 30 seconds


def test_a_live_run_is_followed_from_another_terminal_to_its_end(tmp_path: Path) -> None:
    events = [event for event in sample.satisfied() if event.logged]
    journal = Journal.create(tmp_path, "run")  # its lock is held all the time
    for event in events[:10]:
        journal.write(event)
    follower = subprocess.Popen(
        [*COMMAND, "show", str(tmp_path / "run"), "--follow"], stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )
    assert follower.stderr is not None
    seen = ""
    while "round 1/20" not in seen:
        seen += follower.stderr.readline()
    for event in events[10:]:
        journal.write(event)
    seen += follower.stderr.read()
    follower.wait(30)
    journal.close()
    assert (seen, follower.returncode) == (GOLDEN[sample.satisfied], 0)


def test_a_report_is_derived_again(invoke: Invoke, tmp_path: Path) -> None:
    run = write(tmp_path, "run", sample.satisfied())
    names = ["report.md", "report.html", "result.json"]
    assert invoke("report", run).out.split() == [str(run / name) for name in names]
    before = (run / "report.md").read_bytes()
    for name in names:
        (run / name).unlink()
    invoke("report", run, "--format", "md", "--format", "json")
    assert (run / "report.md").read_bytes() == before
    assert not (run / "report.html").exists()
    assert json.loads((run / "result.json").read_text())["outcome"] == "satisfied"


def test_the_command_alone_prints_a_page_that_helps(invoke: Invoke, tmp_path: Path) -> None:
    page = invoke().out
    assert len(page.splitlines()) < 12
    assert all(f"  magentic-kit {command} " in page for command in ("init", "run", "list"))
    assert "magentic-kit --help" in page


def test_every_command_is_listed_and_can_be_asked_for_help(invoke: Invoke) -> None:
    listed = invoke("--help").out
    for name, (_, does) in cli.COMMANDS.items():
        assert does in listed
        assert invoke(name, "--help").out.startswith(f"Usage: magentic-kit {name}")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands_and_options(invoke: Invoke, shell: str) -> None:
    source = invoke("completion", shell).out
    assert source.startswith(f"# to install: magentic-kit completion {shell} >> ~/.")
    assert "_MAGENTIC_KIT_COMPLETE" in source


def test_looking_at_runs_needs_no_semantic_kernel(tmp_path: Path) -> None:
    run = write(tmp_path, "run", sample.satisfied())
    for command in (["show", str(run)], ["list", str(tmp_path)], ["report", str(run)], ["--help"]):
        code = f"import sys; from magentic_kit.cli import cli; cli.main({command!r}, standalone_mode=False)"
        code += "; sys.exit('semantic_kernel' in sys.modules or 'pydantic' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0, command


@pytest.mark.slow
@pytest.mark.parametrize("columns", WIDTHS)
def test_the_demo_looks_like_its_recording(columns: int, tmp_path: Path) -> None:
    screen = play("run", str(DEMO), columns=columns, folder=tmp_path)
    recording = DEMO.parent.parent / "tests" / "recordings" / f"demo-{columns}.txt"
    assert text_of(screen) == recording.read_text(encoding="utf-8")


def test_nothing_is_lost_when_the_terminal_is_resized(tmp_path: Path) -> None:
    run = write(tmp_path, "run", sample.satisfied())
    sizes = iter([(20, 60), (40, 120), (30, 50)] * 1000)

    def resize(child, screen) -> None:
        lines, columns = next(sizes)
        child.setwinsize(lines, columns)

    shown = text_of(play("show", str(run), "--speed", "20", columns=160, folder=tmp_path, step=resize))
    for text in ("• Write", "Let me look.", "North grew fastest.", "Ask why", "New stores.", "run satisfied: 3 rounds"):
        assert shown.count(text) == 1, shown
