"""A run directory is a stranger's gift: whatever it holds, there is a clear error or a right result."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import sample_events as sample
from support.mutations import FORBIDDEN, mutated, write_log

from magentic_kit import TeamFactory
from magentic_kit import events as ev
from magentic_kit.errors import KitError
from magentic_kit.runlog.reader import read_log
from magentic_kit.runlog.record import RunRecord
from magentic_kit.views.display import make_console
from magentic_kit.views.report import write_reports

RUNS = [sample.satisfied, sample.limited, sample.failed_in_the_plan, sample.cancelled, sample.hostile]
LOGS = [[ev.to_dict(event) for event in run() if event.logged] for run in RUNS]
DEMO = Path(__file__).parents[2] / "configs" / "sales_analysis.yaml"
CLI = [sys.executable, "-m", "magentic_kit"]


class Screen(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


def shown(events, mode, verbosity="normal"):
    stream = Screen()
    console = make_console(stream=stream, mode=mode, verbosity=verbosity)
    sample.feed(console, events)
    console.close()
    return stream.getvalue()


@pytest.mark.parametrize("tens", [*range(5), *(pytest.param(n, marks=pytest.mark.slow) for n in range(5, 10))])
def test_a_changed_log_gives_one_clear_error_or_a_right_result(tens, tmp_path):
    read = 0
    for seed in range(100 * tens, 100 * tens + 100):
        lines = mutated(LOGS[seed % len(LOGS)], seed)
        run_dir = write_log(tmp_path / str(seed), lines, plain=seed % 2 == 0)
        try:
            events = ev.effective(read_log(run_dir)[0])
        except KitError as error:
            assert re.search(r"events\.jsonl:\d+: the log is damaged: .", str(error)), seed
            continue
        read += 1
        record = RunRecord.of(events)
        write_reports(run_dir, record, ["md", "html", "json"])
        texts = {path.name: path.read_text("utf-8") for path in run_dir.iterdir() if path.name != "events.jsonl"}
        assert json.loads(texts["result.json"])["v"] == ev.VERSION
        texts |= {verbosity: shown(events, "plain", verbosity) for verbosity in ("quiet", "normal", "full")}
        texts["rich"] = shown(events, "rich")
        for name, text in texts.items():
            assert not [control for control in FORBIDDEN if control in text], (seed, name)
    assert read > 10, "else nothing but the reader is tested"


@pytest.fixture(scope="module")
def real_run(tmp_path_factory):
    """The events of a whole run of the demo, and its directory."""
    import asyncio

    async def demo():
        async with TeamFactory.from_yaml(DEMO, overrides={"services.default.delay": "1ms"}) as factory:
            return await factory.run(out=tmp_path_factory.mktemp("runs"))

    run_dir = asyncio.run(demo()).run_dir
    lines = (run_dir / "events.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines], run_dir


def without_sums(events):
    return [{name: value for name, value in event.items() if name != "sum"} for event in events]


@pytest.mark.parametrize("tens", [*range(2), *(pytest.param(n, marks=pytest.mark.slow) for n in range(2, 5))])
async def test_a_changed_log_is_gone_on_with_or_refused_in_words(tens, real_run, tmp_path, caplog):
    events, original = real_run
    for seed in range(20 * tens, 20 * tens + 20):
        run_dir = write_log(tmp_path / str(seed), mutated(without_sums(events[: -1 - seed % 7]), seed))
        shutil.copy(original / "team.yaml", run_dir)
        try:
            async with TeamFactory.from_run(run_dir) as factory:
                result = await factory.resume(run_dir).result()
        except KitError:
            continue
        assert (result.error or {}).get("kind") != "internal", seed
        assert "Traceback" not in caplog.text, seed


def strange(tmp_path):
    """Directories whose log is no regular file, or is far too large, and one that is whole."""
    for name in ("fifo", "device", "directory", "dangling", "socket", "loop", "sparse"):
        (tmp_path / name).mkdir()
    os.mkfifo(tmp_path / "fifo" / "events.jsonl")
    (tmp_path / "device" / "events.jsonl").symlink_to("/dev/zero")
    (tmp_path / "directory" / "events.jsonl").mkdir()
    (tmp_path / "dangling" / "events.jsonl").symlink_to("nowhere")
    (tmp_path / "loop" / "events.jsonl").symlink_to("events.jsonl")
    with (tmp_path / "sparse" / "events.jsonl").open("wb") as file:
        file.truncate(2**40)
    for seed in range(12):
        write_log(tmp_path / f"changed-{seed}", mutated(LOGS[0], seed))
    write_log(tmp_path / "whole", LOGS[0])


def test_one_damaged_directory_takes_no_other_with_it(tmp_path):
    strange(tmp_path)
    listed = subprocess.run([*CLI, "list", str(tmp_path)], capture_output=True, timeout=180)
    assert listed.returncode == 0 and b"Traceback" not in listed.stderr
    lines = listed.stdout.decode().splitlines()
    assert any(re.search(r"/whole +satisfied ", line) for line in lines)
    for name in ("fifo", "device", "directory", "sparse"):
        assert any(re.search(f"/{name} +damaged ", line) for line in lines), name
    assert not [control for control in FORBIDDEN if control in listed.stdout.decode()]


@pytest.mark.slow
def test_a_list_of_a_thousand_changed_logs_has_them_all(tmp_path):
    for seed in range(1_000):
        write_log(tmp_path / f"run-{seed:03}", mutated(LOGS[seed % len(LOGS)], seed))
    listed = subprocess.run([*CLI, "list", str(tmp_path)], capture_output=True, timeout=180)
    assert listed.returncode == 0 and b"Traceback" not in listed.stderr
    assert sum("/run-" in line for line in listed.stdout.decode().splitlines()) == 1_000
    assert not [control for control in FORBIDDEN if control in listed.stdout.decode()]


@pytest.mark.parametrize("command", ["show", "report", pytest.param("resume", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["fifo", "device", "directory", "sparse"])
def test_what_is_no_log_is_told_in_one_line(command, name, tmp_path):
    strange(tmp_path)
    done = subprocess.run([*CLI, command, str(tmp_path / name)], capture_output=True, timeout=180)
    assert done.returncode in (1, 2), done
    assert len(done.stderr.splitlines()) == 1 and b"events.jsonl" in done.stderr, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_the_commands_end_in_order_on_a_changed_log(seed, real_run, tmp_path):
    events, original = real_run
    run_dir = write_log(tmp_path / "run", mutated(without_sums(events), seed))
    shutil.copy(original / "team.yaml", run_dir)
    for command in ("list", "show", "report", "resume"):
        target = tmp_path if command == "list" else run_dir
        done = subprocess.run([*CLI, command, str(target)], capture_output=True, timeout=120)
        assert b"Traceback" not in done.stderr, (command, done.stderr)
        assert not [c for c in FORBIDDEN if c.encode() in done.stdout + done.stderr], command


@pytest.mark.parametrize("name", ["team.yaml", "teams", ".lock"])
async def test_resume_opens_nothing_that_is_no_regular_file(name, real_run, tmp_path):
    events, original = real_run
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("precious")
    run_dir = write_log(tmp_path / "run", without_sums(events[:-1]))
    shutil.copy(original / "team.yaml", run_dir)
    if name == "team.yaml":
        (run_dir / name).unlink()
        os.mkfifo(run_dir / name)
    else:
        (run_dir / name).symlink_to(elsewhere)
    try:
        async with TeamFactory.from_run(run_dir) as factory:
            await factory.resume(run_dir).result()
    except KitError as error:
        assert name != "teams" and "regular file" in str(error)
    assert elsewhere.read_text() == "precious"


async def test_a_log_that_is_a_link_is_read_but_not_written(real_run, tmp_path):
    events, original = real_run
    other = write_log(tmp_path / "other", without_sums(events[:-9])) / "events.jsonl"
    before = other.read_bytes()
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    shutil.copy(original / "team.yaml", run_dir)
    (run_dir / "events.jsonl").symlink_to(other)
    assert len(read_log(run_dir)[0]) == len(events) - 9
    async with TeamFactory.from_run(run_dir) as factory:
        result = await factory.resume(run_dir).result()
    assert (result.error or {})["kind"] == "log"
    assert other.read_bytes() == before
