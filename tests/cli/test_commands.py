"""`list`, `show`, `report`, completion and the first page: what is told of runs, by real commands on real logs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

import click
import pexpect
import pytest
from recordings.record import DEMO, WIDTHS, play, text_of
from support import sample_events as sample
from support.console_text import GOLDEN

from magentic_kit import events as ev
from magentic_kit.cli import app
from magentic_kit.cli.commands import COMMANDS
from magentic_kit.errors import ConfigError
from magentic_kit.runlog.directory import Journal
from magentic_kit.runlog.reader import LOG

Invoke: TypeAlias = Callable[..., Any]
COMMAND = [sys.executable, "-m", "magentic_kit"]


@pytest.fixture
def invoke(capsys: pytest.CaptureFixture[str]) -> Invoke:
    """Runs the command in this process; what it wrote to standard output and standard error."""

    def invoke(*arguments: object) -> Any:
        with suppress(SystemExit):  # --help
            app.run([str(argument) for argument in arguments])
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


def test_the_runs_of_a_batch_and_of_all_batches_are_listed(invoke: Invoke, tmp_path: Path) -> None:
    for batch, run in (("b1", "1"), ("b1", "4"), ("b2", "3")):
        write(tmp_path / batch / "tasks" / f"000{run}-t", f"2025{run}", sample.satisfied())
    for folder, runs in ((tmp_path, ["20254", "20253", "20251"]), (tmp_path / "b1", ["20254", "20251"])):
        assert [Path(run["run"]).name for run in json.loads(invoke("list", folder, "--json").out)] == runs


def on_a_terminal(columns: int, cwd: Path, *arguments: object) -> list[str]:
    """The lines that a command shows on a terminal of that width."""
    environment: Any = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    line = [*COMMAND[1:], *map(str, arguments)]
    child = pexpect.spawn(COMMAND[0], line, dimensions=(40, columns), cwd=cwd, env=environment, encoding="utf-8")
    child.expect(pexpect.EOF, timeout=180)
    return child.before.splitlines()


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_on_a_terminal_runs_are_listed_in_named_columns_that_fit(columns: int, tmp_path: Path) -> None:
    for name in ("20250601T120000Z-sales-aaaaaa", "20250601T120000Z-sales-abcdef", "20250602T120000Z-sales-aaaaaa"):
        write(tmp_path / "runs", name, sample.satisfied())
    head, *rows = on_a_terminal(columns, tmp_path, "list")
    assert max(map(len, [head, *rows])) <= columns
    assert len(rows) == 3
    if columns > 40:
        assert head.split() == ["RUN", "AGE", "OUTCOME", "TOKENS", "TASK"]
        ids = ["20250602", "20250601T120000Z-sales-ab", "20250601T120000Z-sales-aa"]
        assert [row.split()[0] for row in rows] == ids
        assert all(re.search(r" \d+ d  satisfied +728  Which reg", row) for row in rows)
        for run_id in ids:
            assert "North grew" in "".join(on_a_terminal(columns, tmp_path, "show", run_id, "--plain"))


@pytest.fixture
def three_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with runs and a batch, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "runs", "20250601T120000Z-sales-abc123", sample.satisfied())
    write(tmp_path / "runs", "20250602T120000Z-sales-ffffff", sample.limited())
    write(tmp_path / "batches" / "b" / "tasks" / "0001-t", "20260101T000000Z-sales-dddddd", sample.satisfied())
    return tmp_path


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("last", "runs/20250602T120000Z-sales-ffffff"),
        ("runs/last", "runs/20250602T120000Z-sales-ffffff"),
        ("20250601T120000Z-sales-abc123", "runs/20250601T120000Z-sales-abc123"),
        ("20250601", "runs/20250601T120000Z-sales-abc123"),
        ("runs/20250601", "runs/20250601T120000Z-sales-abc123"),
        ("20260101", "batches/b/tasks/0001-t/20260101T000000Z-sales-dddddd"),
        ("batches/b/last", "batches/b/tasks/0001-t/20260101T000000Z-sales-dddddd"),
        ("runs/20250601T120000Z-sales-abc123", "runs/20250601T120000Z-sales-abc123"),
    ],
)
def test_a_run_is_named_by_last_its_id_or_a_beginning(invoke: Invoke, three_runs: Path, word: str, found: str) -> None:
    told = invoke("report", word, "--format", "json").out
    assert told == f"{Path(found) / 'result.json'}\n"


@pytest.mark.parametrize("command", ["show", "report", "resume", "diff", "run"])
def test_a_word_that_means_no_run_or_several_is_one_error_with_the_nearest(three_runs: Path, command: str) -> None:
    for word, problem in {
        "2025": "2 runs begin so: 20250602T120000Z-sales-ffffff, 20250601T120000Z-sales-abc123; give more of the id",
        "abc123": "there is no run here; the nearest: 20250601T120000Z-sales-abc123, ",
    }.items():
        line = {"diff": [word, "last"], "run": ["team.yaml", "task", "--from", word]}.get(command, [word])
        with pytest.raises(ConfigError) as caught:
            app.run([command, *line])
        (told,) = caught.value.problems
        assert str(told).startswith(f"{word}: {problem}")


def test_last_among_no_runs_tells_the_way_to_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="there is no run in runs; `magentic-kit run TEAM` makes one"):
        app.run(["show", "last"])


def test_two_runs_are_compared(invoke: Invoke, three_runs: Path) -> None:
    told = invoke("diff", "20250601", "last").out
    assert re.search(r"^! outcome +satisfied +limited \(max_rounds\)$", told, re.MULTILINE)
    assert re.search(r"^! rounds +3 +1$", told, re.MULTILINE)
    assert re.search(r"^! tokens +728 +550$", told, re.MULTILINE)
    assert re.search(r"^  cost +unknown +unknown$", told, re.MULTILINE)
    assert "\nplan:\n@@ -1 +1,2 @@\n-- Ask why\n+- Query\n+- Write\n" in told
    assert "\n 1. Analyst: Sum the sales by region.\n-2. Writer: Write it up.\n-3. Analyst: Find out why.\n" in told
    assert "-North, because of **new stores**.\n+North, as far as we know.\n" in told
    same = invoke("diff", "last", "last").out
    assert "plan: the same\n\nrounds: the same\n\nanswer: the same\n" in same and "!" not in same


def test_no_text_of_a_run_passes_for_a_line_of_the_comparison(invoke: Invoke, three_runs: Path) -> None:
    write(three_runs / "runs", "20250603T120000Z-hostile", sample.hostile())
    told = invoke("diff", "20250601", "last").out
    assert "\x1b" not in told and "plan: the same" not in told
    assert not re.search("^(<script|# Answer)", told, re.MULTILINE)


def test_a_report_is_opened_in_the_browser(invoke: Invoke, three_runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = three_runs / "browser"
    browser.write_text('#!/bin/sh\nprintf "%s" "$1" > "$(dirname "$0")/opened"\n')
    browser.chmod(0o755)
    environment = {**os.environ, "BROWSER": str(browser)}
    subprocess.run([*COMMAND, "report", "last", "--format", "md", "--open"], env=environment, check=True)
    page = Path((three_runs / "opened").read_text().removeprefix("file://"))
    assert page.is_file() and page == three_runs / "runs/20250602T120000Z-sales-ffffff/report.html"


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
    assert f"the log ends here; `magentic-kit resume {tmp_path / 'run'}` continues it" in shown.err


def test_a_run_is_played_at_the_speed_asked_for(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    run = write(tmp_path, "run", sample.satisfied())
    assert invoke("show", run, "--speed", "50").err == GOLDEN[sample.satisfied]
    began, *_, ended = (datetime.strptime(event.time, "%Y-%m-%dT%H:%M:%S.%fZ") for event in sample.satisfied())
    assert sum(slept) == pytest.approx((ended - began).total_seconds() / 50, rel=0.1)


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
    follower.communicate(timeout=30)
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


def test_a_report_that_cannot_be_written_is_one_line(invoke: Invoke, tmp_path: Path) -> None:
    run = write(tmp_path, "run", sample.satisfied())
    (run / "report.md").mkdir()  # as nobody but root can write everywhere
    with pytest.raises(ConfigError) as caught:
        invoke("report", run)
    assert str(caught.value) == f"{run}: cannot be written: Is a directory"


def test_the_command_alone_prints_a_page_that_helps(invoke: Invoke, tmp_path: Path) -> None:
    page = invoke().out
    assert len(page.splitlines()) < 12
    assert all(f"  magentic-kit {command} " in page for command in ("init", "run", "list"))
    assert "magentic-kit --help" in page


def test_every_command_is_listed_and_can_be_asked_for_help(invoke: Invoke) -> None:
    listed = invoke("--help").out
    for name, (_, does) in COMMANDS.items():
        assert does in listed
        page = invoke(name, "--help").out
        assert page.startswith(f"Usage: magentic-kit {name}")
        assert max(map(len, page.splitlines())) <= 80


def click_says(make: Callable[[], object]) -> str:
    """What click itself says of a wrong value: its wording is its own."""
    with pytest.raises(click.UsageError) as caught:
        make()
    text = caught.value.message.rstrip(".")
    return text[0].lower() + text[1:]


NO_MORE = click_says(lambda: click.Command("list").make_context("list", ["b"]))
TOO_SMALL = click_says(lambda: click.IntRange(min=1)("0"))
TOO_SLOW = click_says(lambda: click.FloatRange(min=0, min_open=True)("0"))
MISTAKES = {
    "shw": "magentic-kit: there is no command shw; did you mean 'show'?",
    "--verison": "magentic-kit: there is no option --verison; did you mean '--version'?",
    "list --jso": "magentic-kit list: there is no option --jso; did you mean '--json'?",
    "run team.yaml t --max-round=3": "magentic-kit run: there is no option --max-round; did you mean '--max-rounds'?",
    "list a b": f"magentic-kit list: {NO_MORE}; see magentic-kit list --help",
    "show": "magentic-kit show: RUN is missing; see magentic-kit show --help",
    "show r --speed 0": f"magentic-kit show: argument --speed: {TOO_SLOW}; see magentic-kit show --help",
    "show r --speed nan": "magentic-kit show: argument --speed: nan is not a finite number; "
    "see magentic-kit show --help",
    "show . --speed 2 --follow": "command line: give --follow or --speed, not both",
    "batch": "command line: give TEAM and TASKS, or --resume DIR",
    "batch a b --junit no/where": "magentic-kit batch: argument --junit: 'no/where' cannot be written: "
    "No such file or directory; see magentic-kit batch --help",
    "batch a b --rpm 0": f"magentic-kit batch: argument --rpm: {TOO_SMALL}; see magentic-kit batch --help",
    "status": "command line: which? Give --database, or set MAGENTIC_KIT_DATABASE",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_one_line_that_says_what_to_do(line: str, tmp_path: Path) -> None:
    done = subprocess.run([*COMMAND, *line.split()], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{MISTAKES[line]}\n")


def test_options_stand_before_or_after_arguments(invoke: Invoke, tmp_path: Path) -> None:
    run = write(tmp_path, "run", sample.satisfied())
    for line in (["--verbosity", "quiet", run], [run, "--verbosity=quiet"], ["--verbosity", "quiet", "--", run]):
        assert "Let me look." not in invoke("show", *line).err


def test_a_value_or_a_task_may_begin_with_a_dash(invoke: Invoke, tmp_path: Path) -> None:
    for line in (["--plain", "t"], ["--", "--odd"], ["--set=limits.deadline=-1", "t"], ["--deadline", "-1", "t"]):
        with pytest.raises(ConfigError, match=r"nothing\.yaml: cannot be read"):  # so the line itself was understood
            invoke("run", tmp_path / "nothing.yaml", *line)


def test_trouble_is_red_on_a_terminal_that_shows_colours(tmp_path: Path) -> None:
    for env, told in (({}, "\x1b[31mmagentic-kit: there"), ({"NO_COLOR": "1"}, "magentic-kit: there")):
        child = pexpect.spawn(
            COMMAND[0], [*COMMAND[1:], "shw"], env={**os.environ, "TERM": "xterm", **env}, timeout=180
        )
        assert child.read().decode().startswith(told)


COMPLETED = {  # what is typed before Tab -> what the line is then, or what is offered
    "re": ["report", "result", "resume"],
    "--v": ["magentic-kit --version "],
    "run --re": ["magentic-kit run --review-plan "],
    "show --verbosity ": ["full", "normal", "quiet"],
    "completion ": ["bash", "fish", "zsh"],
    "run te": ["magentic-kit run team.yaml "],
    "report --format md te": ["magentic-kit report --format md team.yaml "],
}


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[pexpect.spawn[str]]:
    """An interactive bash in a folder with a team file, which completes the command."""
    (tmp_path / "team.yaml").touch()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "PS1": "ready> ", "TERM": "dumb", "INPUTRC": os.devnull}
    child = pexpect.spawn("bash", ["--norc", "--noprofile"], cwd=tmp_path, env=env, encoding="utf-8", timeout=180)
    child.setwinsize(50, 200)
    child.sendline('eval "$(magentic-kit completion bash)"; bind "set bell-style none"; PS1="now""> "')
    child.expect_exact("now> ")
    yield child
    child.close(force=True)


@pytest.mark.parametrize("typed", COMPLETED)
def test_bash_completes_commands_options_choices_and_paths(shell: pexpect.spawn[str], typed: str) -> None:
    line = f"magentic-kit {typed}"
    shell.send(f"{line}\t\t")
    if len(COMPLETED[typed]) == 1:
        shell.expect_exact(COMPLETED[typed][0])
    else:
        shell.expect_exact("now> ")  # the choices stand above a new prompt
        _, _, offered = shell.before.partition(line)
        assert sorted(offered.split()) == COMPLETED[typed]


@pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish"])
def test_what_a_shell_needs_says_where_it_goes(invoke: Invoke, shell_name: str) -> None:
    source = invoke("completion", shell_name).out
    assert source.startswith(f"# to install: magentic-kit completion {shell_name} >> ~/.")
    assert "_MAGENTIC_KIT_COMPLETE" in source


TEAM = """
name: small
services: {default: {provider: openai, model: m}}
agents: [{name: Solo, description: Answers.}]
"""
ODD = TEAM.replace("Answers.", "Answers., tools: [{id: x, type: code_interpreter}]")


def test_validate_tells_of_every_file_and_strictly_of_warnings_too(tmp_path: Path, invoke: Invoke) -> None:
    for name, text in {"good": TEAM, "odd": ODD, "bad": TEAM.replace("agents", "agent")}.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    good, odd, bad = (tmp_path / f"{name}.yaml" for name in ("good", "odd", "bad"))
    told = invoke("validate", good, odd, bad)
    assert told.out.splitlines() == [f"{file}: ok, 1 agents, 1 services" for file in (good, odd)]
    assert f"warning: {odd}:4:" in told.err and f"{bad}:4:1: unknown key 'agent'" in told.err
    assert app.run(["validate", str(odd)]) == 0
    assert app.run(["validate", "--strict", str(odd)]) == 2 == app.run(["validate", str(good), str(bad)])
    assert "warning" not in invoke("validate", "--strict", odd).err.splitlines()[-1]


def test_validate_tells_editors_and_scripts_in_json(tmp_path: Path, invoke: Invoke) -> None:
    (tmp_path / "odd.yaml").write_text(ODD)
    (problem,) = json.loads(invoke("validate", "--json", tmp_path / "odd.yaml").out)
    assert problem.pop("message") == "agent 'Solo' has a tool of type 'code_interpreter', which is ignored"
    assert problem == {"level": "warning", "file": str(tmp_path / "odd.yaml"), "line": 4, "column": 54}
    assert json.loads(invoke("validate", "--json", "--strict", tmp_path / "odd.yaml").out)[0]["level"] == "error"


HEAVY = {"semantic_kernel", "pydantic", "rich", "yaml", "jinja2", "asyncio", "logging"}
UNTOUCHED = {  # command -> what its start would pay for and never use
    (): HEAVY | {"argparse", "json", "dataclasses", "pathlib"},
    ("--help",): HEAVY | {"argparse", "json", "dataclasses", "pathlib"},  # click 8.2 brings shutil
    ("list", "."): (HEAVY - {"pydantic", "asyncio", "logging"}) | {"filelock"},  # pydantic 2.11 brings two
    ("show", "run"): (HEAVY - {"pydantic", "asyncio", "logging"}) | {"filelock"},
    ("report", "run"): HEAVY - {"pydantic", "jinja2", "yaml", "asyncio", "logging"},
    ("validate", "team.yaml"): (HEAVY - {"yaml", "pydantic", "asyncio", "logging"})
    | {"difflib", "hashlib"},  # pydantic 2.11 brings two
}


@pytest.mark.parametrize("line", UNTOUCHED, ids=" ".join)
def test_a_command_loads_nothing_that_it_does_not_use(line: tuple[str, ...], tmp_path: Path) -> None:
    write(tmp_path, "run", sample.satisfied())
    (tmp_path / "team.yaml").write_text(TEAM)
    code = (
        f"import sys; from magentic_kit.cli import app; code = app.run({line!r}); print(*sys.modules); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not UNTOUCHED[line] & set(done.stdout.splitlines()[-1].split())


@pytest.mark.slow
@pytest.mark.parametrize("columns", WIDTHS)
def test_the_demo_looks_like_its_recording(columns: int, tmp_path: Path) -> None:
    screen = play("run", str(DEMO), columns=columns, folder=tmp_path)
    recording = DEMO.parent.parent / "tests" / "recordings" / f"demo-{columns}.txt"
    assert text_of(screen) == recording.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize(
    "task", ["word " * 60, "漢字" * 60, "x" * 200, "➤ 日本 é " * 30], ids=["words", "wide", "one", "mixed"]
)
def test_a_long_task_never_wraps_to_the_margin(task: str, tmp_path: Path) -> None:
    """A line at the margin is ours: what others wrote could pass for one there."""
    screen = text_of(play("run", str(DEMO), task, columns=40, folder=tmp_path))
    first, *rest = screen.split("scripted replies")[0].rstrip("\n").split("\n")
    assert first.startswith("sales-analysis: ") and len(rest) > 2
    assert [line for line in rest if not line.startswith("  ")] == []
    shown = "".join([first.removeprefix("sales-analysis: "), *rest])
    assert shown.replace(" ", "") == task.replace(" ", "")


def test_nothing_is_lost_when_the_terminal_is_resized(tmp_path: Path) -> None:
    run = write(tmp_path, "run", sample.satisfied())
    sizes = iter([(20, 60), (40, 120), (30, 50)] * 1000)

    def resize(child, screen) -> None:
        lines, columns = next(sizes)
        child.setwinsize(lines, columns)

    shown = text_of(play("show", str(run), "--speed", "20", columns=160, folder=tmp_path, step=resize))
    for text in ("• Write", "Let me look.", "North grew fastest.", "Ask why", "New stores.", "run satisfied: 3 rounds"):
        assert shown.count(text) == 1, shown


@pytest.mark.parametrize("odd", ["2024-02-30", "!!bool x", "!!timestamp x", "[" * 3000])
def test_what_yaml_cannot_read_is_taken_as_text(invoke: Invoke, odd: str) -> None:
    with pytest.raises(ConfigError, match="max_rounds should be a whole number, not '"):
        invoke("run", DEMO, "--set", f"manager.max_rounds={odd}")
