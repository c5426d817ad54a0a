"""The run directory is its owner's alone, and its log is plain text that no terminal obeys."""

import json

import pytest
from support import sample_events as sample
from support.mutations import ATTACK

from magentic_kit import events as ev
from magentic_kit.errors import ConfigError, JournalError
from magentic_kit.runlog.directory import Journal
from magentic_kit.runlog.files import open_private, open_regular, read_regular, write_private
from magentic_kit.runlog.reader import read_log


def mode(path):
    return path.stat().st_mode & 0o777


def journal(out, events, run_id="run"):
    written = Journal.create(out, run_id)
    written.describe("name: x\n")
    for event in events:
        if event.logged:
            written.write(event)
    return written


def test_only_the_owner_gets_at_a_run(tmp_path):
    run = journal(tmp_path / "runs", sample.satisfied())
    inner = run.inside("Desk#1.0", "desk")
    inner.close()
    run.close()
    directories = [run.path.parent, inner.path.parent]
    assert [mode(path) for path in directories] == [0o700, 0o700]
    files = [path for directory in directories for path in directory.iterdir() if path.is_file()]
    assert {path.name for path in files} >= {"events.jsonl", "team.yaml", "caller"}
    assert {mode(path) for path in files} == {0o600}


def test_what_a_terminal_obeys_is_escaped_in_the_log(tmp_path):
    events = sample.stamp(sample.started(task=f"é ☃ {ATTACK}\u2066"))
    run = journal(tmp_path, events)
    run.close()
    text = run.path.read_text("utf-8")
    assert "é ☃ \\u001b]0;x\\u0007\\u009b2J\\u202e\\u007f\\r\\u2066" in text
    assert read_log(run.path.parent)[0] == events


def test_a_call_finds_the_run_that_it_has_begun(tmp_path):
    run = journal(tmp_path, sample.satisfied())
    inner = run.inside("Desk#1.0", "desk")
    inner.close()
    again = run.inside("Desk#1.0", "desk")
    assert again.path == inner.path
    again.close()
    run.close()


def test_a_second_process_is_kept_away(tmp_path):
    run = journal(tmp_path, sample.satisfied())
    with pytest.raises(ConfigError, match="another process is at work on this run"):
        Journal(run.path.parent)
    run.close()


def test_a_damaged_line_is_named(tmp_path):
    run = journal(tmp_path, sample.satisfied())
    run.close()
    lines = run.path.read_bytes().splitlines(keepends=True)
    run.path.write_bytes(b"".join([*lines[:4], lines[4].replace(b"manager", b"mangler"), *lines[5:]]))
    with pytest.raises(JournalError, match=r"events\.jsonl:5: the log is damaged: the checksum does not fit"):
        read_log(run.path.parent)


def test_a_torn_last_line_is_left_out(tmp_path):
    run = journal(tmp_path, sample.limited())
    run.close()
    data = run.path.read_bytes()
    run.path.write_bytes(data[:-20])
    events, whole = read_log(run.path.parent)
    assert [*events] == [event for event in sample.limited() if event.logged][:-1]
    assert whole == data[:-1].rfind(b"\n") + 1


def test_a_file_is_opened_only_if_it_is_regular_and_small_enough(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_regular(path, 5) == b"12345"
    with pytest.raises(OSError, match="has more than 4 bytes"):
        read_regular(path, 4)
    with pytest.raises(OSError, match="is not a regular file"):
        open_regular(tmp_path)


@pytest.mark.parametrize("append", [False, True])
def test_nothing_is_written_through_a_link(append, tmp_path):
    elsewhere, link = tmp_path / "elsewhere", tmp_path / "link"
    elsewhere.write_text("precious")
    link.symlink_to(elsewhere)
    with pytest.raises(OSError, match="is a link"):
        open_private(link, append=append)
    write_private(link, b"own")
    assert (elsewhere.read_text(), link.read_text(), link.is_symlink()) == ("precious", "own", False)


def test_every_line_of_the_log_is_json(tmp_path):
    run = journal(tmp_path, sample.hostile())
    run.close()
    events = [json.loads(line) for line in run.path.read_text("utf-8").split("\n") if line]
    assert [event["type"] for event in events] == [event.type for event in sample.hostile() if event.logged]
    assert all(event["v"] == ev.VERSION for event in events)
