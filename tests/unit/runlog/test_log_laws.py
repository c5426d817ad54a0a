"""A log that was cut or changed anywhere is read as far as it is whole, or refused; never read as something else."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import sample_events as sample
from support.mutations import write_log

from magentic_kit import events as ev
from magentic_kit.errors import ConfigError, JournalError, KitError
from magentic_kit.runlog import reader
from magentic_kit.runlog.reader import LOG, LogTail, read_log, read_start

RUNS = [sample.satisfied, sample.limited, sample.hostile]


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, bytes, list[ev.AnyEvent]]]:
    made = []
    for run in RUNS:
        folder = write_log(tmp_path_factory.mktemp("log"), [ev.to_dict(event) for event in run() if event.logged])
        made.append((folder, (folder / LOG).read_bytes(), read_log(folder)[0]))
    return made


@given(data=st.data())
def test_a_log_that_was_cut_is_whole_before_the_cut(
    data: st.DataObject, logs: list[tuple[Path, bytes, list[ev.AnyEvent]]]
) -> None:
    folder, whole, events = data.draw(st.sampled_from(logs))
    cut = data.draw(st.integers(0, len(whole)))
    (folder / LOG).write_bytes(whole[:cut])
    read, size = read_log(folder)
    assert read == events[: whole[:cut].count(b"\n")]
    assert size == whole[:cut].rfind(b"\n") + 1


@given(data=st.data(), bits=st.integers(1, 255))
def test_a_flipped_byte_is_never_read_as_something_else(
    data: st.DataObject, bits: int, logs: list[tuple[Path, bytes, list[ev.AnyEvent]]]
) -> None:
    folder, whole, events = data.draw(st.sampled_from(logs))
    at = data.draw(st.integers(0, len(whole) - 1))
    (folder / LOG).write_bytes(whole[:at] + bytes([whole[at] ^ bits]) + whole[at + 1 :])
    try:
        read, size = read_log(folder)
    except JournalError as error:
        assert is_told_of(error, whole[:at])
    else:  # the last line does not end any more: it was torn
        assert at == len(whole) - 1 and read == events[:-1] and size == whole[:-1].rfind(b"\n") + 1


@given(data=st.data(), byte=st.binary(min_size=1, max_size=1))
def test_a_byte_too_many_is_told(
    data: st.DataObject, byte: bytes, logs: list[tuple[Path, bytes, list[ev.AnyEvent]]]
) -> None:
    folder, whole, _ = data.draw(st.sampled_from(logs))
    at = data.draw(st.integers(0, len(whole) - 1))
    (folder / LOG).write_bytes(whole[:at] + byte + whole[at:])
    with pytest.raises(JournalError) as caught:
        read_log(folder)
    assert is_told_of(caught.value, whole[:at])


def is_told_of(error: JournalError, before: bytes) -> bool:
    """Whether the error names the line that begins in `before`, or the next one, if that line ends earlier now."""
    line = before.count(b"\n") + 1
    return f"{LOG}:{line}: the log is damaged" in str(error) or f"{LOG}:{line + 1}: " in str(error)


def test_each_bit_of_a_checksum_counts(logs: list[tuple[Path, bytes, list[ev.AnyEvent]]]) -> None:
    folder, whole, _ = logs[0]
    for end in [at for at, byte in enumerate(whole) if byte == ord("\n")][:2]:
        for at, bit in product(range(end - len(', "sum": "01234567"}'), end), range(8)):
            (folder / LOG).write_bytes(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :])
            with pytest.raises(JournalError):
                read_log(folder)


@given(st.binary(max_size=300))
def test_whatever_else_a_log_is_there_is_one_clear_error(data: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / LOG).write_bytes(data + b"\n")
        with pytest.raises(KitError) as caught:
            read_log(Path(folder))
    assert f"{LOG}:1: the log is damaged" in str(caught.value)


def test_lines_in_another_order_are_refused(tmp_path: Path) -> None:
    events = [ev.to_dict(event) for event in sample.satisfied() if event.logged]
    write_log(tmp_path, [events[0], events[2], events[1]])
    with pytest.raises(JournalError, match=rf"{LOG}:2: the log is damaged"):
        read_log(tmp_path)


def test_a_line_needs_its_own_checksum(tmp_path: Path) -> None:
    events = [ev.to_dict(event) for event in sample.satisfied() if event.logged]
    lines = (write_log(tmp_path, events) / LOG).read_bytes().splitlines(keepends=True)
    without = json.dumps(events[0]).encode() + b"\n"
    for changed in (without, lines[0].replace(b'"sum": "', b'"sum": "0'), lines[0][:-14] + lines[1][-14:]):
        (tmp_path / LOG).write_bytes(changed + b"".join(lines[1:]))
        with pytest.raises(JournalError, match=rf"{LOG}:1: the log is damaged"):
            read_log(tmp_path)


def test_a_run_without_a_log_is_a_mistake_of_the_command_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        read_log(tmp_path)


def test_a_log_that_is_written_meanwhile_is_read_from_where_it_was_left(tmp_path: Path) -> None:
    events = [ev.to_dict(event) for event in sample.satisfied() if event.logged]
    whole = (write_log(tmp_path, events) / LOG).read_bytes()
    lines = whole.splitlines(keepends=True)
    tail, read = LogTail(tmp_path), []
    for size in (0, len(lines[0]) - 1, len(lines[0]), len(lines[0]) + 5, len(b"".join(lines[:4])), len(whole)):
        (tmp_path / LOG).write_bytes(whole[:size])
        read += tail.read()
        assert (tail.events, tail.size) == (len(read), whole[:size].rfind(b"\n") + 1)
    assert read == read_log(tmp_path)[0] and len(read) == len(lines)


def test_the_start_of_a_run_is_read_alone(tmp_path: Path) -> None:
    events = [ev.to_dict(event) for event in sample.satisfied() if event.logged]
    whole = (write_log(tmp_path, events) / LOG).read_bytes()
    first, second = whole.splitlines(keepends=True)[:2]
    started = read_log(tmp_path)[0][0]
    for text in (whole, first, first + b"what is behind it"):
        (tmp_path / LOG).write_bytes(text)
        assert read_start(tmp_path) == started
    for text in (b"", first[:-1]):
        (tmp_path / LOG).write_bytes(text)
        assert read_start(tmp_path) is None
    write_log(tmp_path, [{**events[1], "seq": 0}])
    assert read_start(tmp_path) is None, "it begins with something else"
    for text, told in (
        (b"x" + first, "the checksum does not fit"),
        (second, "event 1 stands in the place of 0"),
        (b"{}\n", "the line has no checksum"),
        (b"\xff\n", ""),
    ):
        (tmp_path / LOG).write_bytes(text)
        with pytest.raises(JournalError, match=rf"{LOG}:1: the log is damaged: {told}"):
            read_start(tmp_path)
        with pytest.raises(JournalError, match=rf"{LOG}:1: the log is damaged: {told}"):
            read_log(tmp_path)


@pytest.mark.parametrize("read", [read_log, read_start])
def test_where_no_log_is_the_file_is_named_and_what_lists_runs(read: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path)
    (problem,) = caught.value.problems
    assert problem.file == str(tmp_path / LOG)
    assert problem.message == "there is no run here: No such file or directory; `magentic-kit list` shows runs"


@pytest.mark.parametrize("read", [read_log, read_start])
def test_a_line_without_end_is_refused_before_it_fills_the_memory(
    read: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "_LONGEST_LINE", 1000)
    for size in (1000, 5000):
        (tmp_path / LOG).write_bytes(b"x" * size + b"\n")
        with pytest.raises(JournalError, match="the line has more than 1,000 bytes"):
            read(tmp_path)
    (tmp_path / LOG).write_bytes(b"x" * 999)
    assert read(tmp_path) in (([], 0), None)
