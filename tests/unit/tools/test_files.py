"""Files of one folder for an agent: what it reads, finds and writes, and that no path leads out of the folder."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest
from support.pictures import picture

from magentic_kit.errors import ConfigError
from magentic_kit.tools.builtin import files

SECRET = "the-secret"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with every kind of trap, and a secret beside it."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.txt").write_text(SECRET)
    root = tmp_path / "root"
    (root / "docs" / "deep").mkdir(parents=True)
    (root / "docs" / "a.md").write_text("# Title\nneedle one\n")
    (root / "docs" / "deep" / "b.md").write_text("\ufeffNeedle two\n", encoding="utf-8")
    (root / "docs" / "long.txt").write_text("".join(f"line {n}\n" for n in range(1, 1001)))
    (root / "binary.bin").write_bytes(b"needle\0\x01")
    (root / "latin.txt").write_bytes("Müller needle".encode("latin-1"))
    (root / "large.txt").write_bytes(b"needle " * 1_000_000)
    (root / "link.txt").symlink_to(tmp_path / "outside" / "secret.txt")
    (root / "relative.txt").symlink_to("../outside/secret.txt")
    (root / "linked").symlink_to(tmp_path / "outside")
    (root / "docs" / "up").symlink_to("../..")
    (root / "loop").symlink_to("loop")
    (root / "zero").symlink_to("/dev/zero")
    (root / "itself").symlink_to(".")
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(root)  # a socket's path may have no more than 108 bytes
        listener.bind("socket")
        os.chdir(here)
    return root


TRICKS = [
    "/etc/passwd",
    "//etc/passwd",
    "../outside/secret.txt",
    "docs/../../outside/secret.txt",
    "docs/..",
    "./../outside/secret.txt",
    "~/secret.txt",
    "~root/.profile",
    "link.txt",
    "relative.txt",
    "linked/secret.txt",
    "docs/up/outside/secret.txt",
    "itself/docs/a.md",
    "loop",
    "loop/a",
    "zero",
    "fifo",
    "socket",
    "docs/a.md\0.png",
    "docs\0/../../outside/secret.txt",
    "..\\outside\\secret.txt",
    "C:\\Windows\\win.ini",
    "C:secret.txt",
    "\\\\server\\share\\secret.txt",
    "docs/a.md/b",
    "docs",
    ".",
    "",
]
LITERAL = [
    "%2e%2e/outside/secret.txt",
    "..%2foutside%2fsecret.txt",
    "\uff0e\uff0e/outside/secret.txt",
    "file:///etc/passwd",
]


@pytest.mark.parametrize("path", [*TRICKS, *LITERAL], ids=repr)
def test_no_path_leads_out_of_the_root(root: Path, path: str) -> None:
    plugin = files.FilesPlugin(root)
    for call in (plugin.read, plugin.list_files):
        if (call, path) not in [(plugin.list_files, place) for place in (".", "", "docs")]:
            with pytest.raises(OSError, match=r".: \w") as refusal:
                call(path)
            assert SECRET not in str(refusal.value)
            assert "outside" not in str(refusal.value).replace(repr(path), "")


@pytest.mark.parametrize("path", TRICKS, ids=repr)
def test_no_path_writes_out_of_the_root_or_over_what_is_no_file(root: Path, path: str) -> None:
    before = picture(root.parent)
    with pytest.raises(OSError, match=r".: \w"):
        files.FilesPlugin(root, write=True).write(path, "overwritten")
    assert picture(root.parent) == before


@pytest.mark.parametrize("path", LITERAL)
def test_a_name_that_is_no_trick_here_is_just_a_name(root: Path, path: str) -> None:
    outside = picture(root.parent / "outside")
    files.FilesPlugin(root, write=True).write(path, "text")
    assert files.FilesPlugin(root).read(path) == "text"
    assert picture(root.parent / "outside") == outside


def test_writing_over_a_hard_link_leaves_the_other_name_as_it_was(root: Path) -> None:
    secret = root.parent / "outside" / "secret.txt"
    os.link(secret, root / "hard.txt")
    files.FilesPlugin(root, write=True).write("hard.txt", "new")
    assert (secret.read_text(), (root / "hard.txt").read_text()) == (SECRET, "new")


def test_a_folder_that_becomes_a_link_between_two_steps_does_not_lead_out(root: Path) -> None:
    """A second thread swaps `swap` between a folder and a link to the outside as fast as it can."""
    plugin, swap, done = files.FilesPlugin(root, write=True), root / "swap", threading.Event()
    (root / "real").mkdir()
    (root / "real" / "secret.txt").write_text("harmless")
    (root / "trap").symlink_to(root.parent / "outside")

    def keep_swapping() -> None:
        while not done.is_set():
            for name in ("real", "trap"):
                os.rename(root / name, swap)
                os.rename(swap, root / name)

    thread = threading.Thread(target=keep_swapping)
    thread.start()
    read = set()
    try:
        for _ in range(2_000):
            for call in (lambda: plugin.read("swap/secret.txt"), lambda: plugin.search("secret", "swap/*")):
                try:
                    read.add(call())
                except OSError:
                    continue
    finally:
        done.set()
        thread.join()
    assert not any(SECRET in text for text in read)


def test_a_root_given_as_a_link_is_the_folder_it_names(root: Path) -> None:
    (root.parent / "alias").symlink_to(root)
    assert files.FilesPlugin(root.parent / "alias").read("docs/a.md").startswith("# Title")


def test_a_root_that_is_no_folder_is_a_config_error(root: Path) -> None:
    for path in (root / "none", root / "docs" / "a.md"):
        with pytest.raises(ConfigError, match="root is no folder"):
            files.FilesPlugin(path)


def test_a_file_is_read_by_lines_and_says_where_it_goes_on(root: Path) -> None:
    read = files.FilesPlugin(root).read
    assert read("docs/deep/b.md") == "Needle two\n"
    assert read("docs/long.txt", 999) == "line 999\nline 1000\n"
    assert read("docs/long.txt", 2, 2) == "line 2\nline 3\n\n[1,000 lines in all; go on with start_line=4]"
    assert read("docs/long.txt").endswith("[1,000 lines in all; go on with start_line=401]")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("binary.bin", "not a UTF-8 text file"),
        ("latin.txt", "not a UTF-8 text file"),
        ("large.txt", "larger than 5,000,000 bytes"),
        ("none.txt", "No such file"),
        ("fifo", "not a regular file"),
        ("link.txt", "a symbolic link, which is not followed"),
        ("x" * 300, "name too long"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_sentence(root: Path, name: str, reason: str) -> None:
    with pytest.raises(OSError, match=f"'{name}': .*{reason}"):
        files.FilesPlugin(root).read(name)


def test_files_are_listed_by_folder_and_by_pattern(root: Path) -> None:
    listed = files.FilesPlugin(root).list_files
    assert listed("docs") == "deep/\nup/\na.md\nlong.txt"
    assert listed(pattern="**/*.md") == "docs/a.md\ndocs/deep/b.md"
    assert listed("docs", "*.md") == "a.md"
    assert listed("docs", "*.py") == "nothing found"


def test_a_search_tells_file_and_line_and_passes_over_what_it_cannot_read(root: Path) -> None:
    search = files.FilesPlugin(root).search
    assert search("NEEDLE") == "docs/a.md:2: needle one\ndocs/deep/b.md:1: Needle two"
    assert search("needle", "*/a.md") == "docs/a.md:2: needle one"
    assert search(SECRET) == "nothing found"
    found = search("line").splitlines()
    assert (len(found), found[-1]) == (501, "[only the first 500; narrow the pattern]")


def test_writing_makes_folders_and_replaces_the_whole_file(root: Path) -> None:
    plugin = files.FilesPlugin(root, write=True)
    assert plugin.write("new/folder/note.md", "one, größer") == "wrote 13 bytes to new/folder/note.md"
    plugin.write("new/folder/note.md", "two")
    assert picture(root / "new") == {"folder": "", "folder/note.md": b"two"}
    with pytest.raises(OSError, match="5,000,000 bytes"):
        plugin.write("new/large.txt", "x" * 5_000_001)
    assert not (root / "new" / "large.txt").exists()
