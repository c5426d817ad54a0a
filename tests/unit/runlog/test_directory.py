"""The run directory is its owner's alone, and its log is plain text that no terminal obeys."""

import hashlib
import json
import os
import re
import zlib
from pathlib import Path

import pytest
from support import sample_events as sample
from support.mutations import ATTACK

from magentic_kit import events as ev
from magentic_kit.errors import ConfigError, JournalError
from magentic_kit.runlog.directory import Journal, new_run_id
from magentic_kit.runlog.files import (
    lock_directory,
    make_directory,
    open_private,
    open_regular,
    read_regular,
    write_private,
)
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


@pytest.fixture
def synced(monkeypatch):
    """The names of the files that the disk was told to keep, in their order."""
    names = []
    to_disk = os.fdatasync

    def noted(descriptor):
        names.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        to_disk(descriptor)

    monkeypatch.setattr(os, "fdatasync", noted)
    return names


async def test_what_cannot_be_had_again_is_on_the_disk_before_the_run_goes_on(tmp_path, synced):
    run = Journal.create(tmp_path, "run")
    run.describe("name: x\n")
    paid = {"run_started", "plan_reviewed", "tool_reviewed", "model_call_finished"}
    paid |= {"tool_call_started", "tool_call_finished", "tool_call_failed"}
    for event in [event for run in (sample.satisfied, sample.limited) for event in run() if event.logged]:
        run.write(event)
        before = len(synced)
        await run.sync()
        await run.sync()
        assert len(synced) - before == (event.type in paid) + (synced[before:][:1] == ["team.yaml"]), event.type
        if event.type == "run_finished":
            assert synced[before - 1] == "events.jsonl", "after which nobody waits for anything"
    assert synced.count("team.yaml") == 1 and synced.index("team.yaml") < synced.index("events.jsonl")
    run.close()


def test_a_resumed_log_goes_on_behind_its_last_whole_line(tmp_path):
    events = [event for event in sample.satisfied() if event.logged]
    run = journal(tmp_path, events[:3])
    run.close()
    whole = run.path.read_bytes()
    run.path.write_bytes(whole + b'{"torn')
    again = Journal.existing(run.path.parent)
    assert again.read() == events[:3] and run.path.read_bytes() == whole + b'{"torn', "who only reads changes nothing"
    again.describe("name: y\n")
    assert (run.path.parent / "team.yaml").read_text() == "name: x\n"
    for event in events[3:]:
        again.write(event)
        assert again.read()[-1] == event
    again.close()
    assert read_log(run.path.parent)[0] == events
    assert (run.path.parent / "team.yaml").read_text() == "name: y\n"


def test_a_log_that_was_removed_or_cannot_be_written_stops_the_run(tmp_path):
    run = journal(tmp_path, sample.satisfied()[:1])
    run.path.unlink()
    with pytest.raises(JournalError) as stopped:
        run.write(sample.satisfied()[0])
    assert str(stopped.value) == f"cannot write {run.path}: it was removed while the run went on"
    run.close()
    run.close()
    (tmp_path / "file").write_text("")
    for make in (lambda: Journal.create(tmp_path / "file", "run"), lambda: Journal(tmp_path / "file")):
        with pytest.raises(
            ConfigError, match=r"cannot write here: (Not a directory|File exists); choose another --out"
        ):
            make()
    with pytest.raises(ConfigError) as missing:
        Journal.existing(tmp_path / "none")
    assert str(missing.value) == (
        f"{tmp_path / 'none' / 'events.jsonl'}: there is no run here: No such file or directory;"
        " `magentic-kit list` shows runs"
    )


def test_a_link_is_neither_locked_nor_entered(tmp_path):
    run = journal(tmp_path, sample.satisfied())
    (tmp_path / "elsewhere").mkdir()
    (run.path.parent / "teams").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="cannot write here: is a link, which is not followed"):
        run.inside("Desk#1.0", "desk")
    run.close()
    (tmp_path / "precious").write_text("text")
    (run.path.parent / ".lock").unlink(missing_ok=True)
    (run.path.parent / ".lock").symlink_to(tmp_path / "precious")
    with pytest.raises(ConfigError, match=r"cannot write here: \.lock is not a regular file"):
        Journal(run.path.parent)
    assert (tmp_path / "precious").read_text() == "text" and list((tmp_path / "elsewhere").iterdir()) == []


def test_a_call_has_a_run_of_its_own_whose_name_says_when_and_which(tmp_path):
    run = journal(tmp_path, sample.satisfied())
    inner = [run.inside(call, "The Désk!  2") for call in ("Desk#1.0", "Desk#1.1")]
    for one in inner:
        assert one.path.parent.parent == run.path.parent / "teams"
        assert re.fullmatch(r"\d{8}T\d{6}Z-the-d-sk-2-[0-9a-f]{6}", one.path.parent.name)
        one.close()
    assert [one.path.with_name("caller").read_bytes() for one in inner] == [b"Desk#1.0", b"Desk#1.1"]
    run.close()
    for team, slug in (("", "team"), ("--", "team"), ("x" * 50, "x" * 40), ("A_b", "a-b")):
        assert new_run_id(team).split("Z-", 1)[1][:-7] == slug


def test_a_content_is_kept_once_and_read_back(tmp_path):
    run = journal(tmp_path, sample.satisfied())
    sha256 = hashlib.sha256(b"content").hexdigest()
    for content in (b"content", b"other"):
        run.keep(sha256, content)
    assert run.kept(sha256) == b"content" == (run.path.parent / "attachments" / sha256).read_bytes()
    with pytest.raises(JournalError, match="is no SHA-256"):
        run.kept("../team.yaml")
    with pytest.raises(JournalError, match=r"cannot read .*: No such file or directory"):
        run.kept("0" * 64)
    run.close()


def test_a_line_has_its_checksum_and_what_json_cannot_say_as_text(tmp_path):
    run = Journal.create(tmp_path, "run")
    arguments = {"path": Path("x"), "é": "\x7f\ud800"}
    run.write(ev.ToolCallStarted(call="c", who="A", function="f", arguments=arguments, seq=0, time=ev.now()))
    run.close()
    line = run.path.read_bytes()
    body, _, checksum = line.partition(b', "sum": "')
    assert checksum == b'%08x"}\n' % zlib.crc32(body + b"}")
    assert b'"arguments": {"path": "x", "\xc3\xa9": "\\u007f\\ud800"}' in body


def test_a_private_file_appears_whole_or_not_at_all(tmp_path, synced):
    path = tmp_path / "file"
    write_private(path, b"one", durable=True)
    assert len(synced) == 1 and synced[0].startswith(".file.") and (path.read_bytes(), mode(path)) == (b"one", 0o600)
    write_private(path, b"two")
    assert len(synced) == 1 and path.read_bytes() == b"two"
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        write_private(tmp_path / "folder", b"three")
    assert sorted(it.name for it in tmp_path.iterdir()) == ["file", "folder"]
    with open_private(path, append=True) as file:
        file.write(b" three")
    assert path.read_bytes() == b"two three"
    with open_private(path) as file:
        file.write(b"4")
    assert path.read_bytes() == b"4"
    for opened in (open_private, lambda it: open_private(it, append=True), open_regular):
        os.mkfifo(tmp_path / "fifo")
        with pytest.raises(OSError, match=r"is not a regular file|No such device"):
            opened(tmp_path / "fifo")
        (tmp_path / "fifo").unlink()


def test_a_directory_is_made_once_unless_it_may_be_there(tmp_path):
    make_directory(tmp_path / "a" / "b")
    assert mode(tmp_path / "a" / "b") == 0o700
    make_directory(tmp_path / "a" / "b", exist_ok=True)
    with pytest.raises(FileExistsError):
        make_directory(tmp_path / "a" / "b")
    lock = lock_directory(tmp_path / "a", "batch")
    with pytest.raises(ConfigError) as busy:
        lock_directory(tmp_path / "a", "batch")
    assert str(busy.value) == f"{tmp_path / 'a'}: another process is at work on this batch"
    assert mode(tmp_path / "a" / ".lock") == 0o600
    lock.release()
    lock_directory(tmp_path / "a", "batch").release()
