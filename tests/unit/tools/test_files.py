"""Files of one folder for an agent: what it reads, finds and writes, and that no path leads out of the folder."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from semantic_kernel.functions import KernelPlugin
from support.pictures import picture

from magentic_kit.errors import ConfigError
from magentic_kit.tools.builtin import files, folders

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


@pytest.mark.parametrize("path", [*TRICKS, *LITERAL], ids=lambda path: f"{path!r:.20}".encode().hex())
def test_no_path_leads_out_of_the_root(root: Path, path: str) -> None:
    plugin = files.FilesPlugin(root)
    for call in (plugin.read, plugin.list_files):
        if (call, path) not in [(plugin.list_files, place) for place in (".", "", "docs")]:
            with pytest.raises(OSError, match=r".: \w") as refusal:
                call(path)
            assert SECRET not in str(refusal.value)
            assert "outside" not in str(refusal.value).replace(repr(path), "")


@pytest.mark.parametrize("path", TRICKS, ids=lambda path: f"{path!r:.20}".encode().hex())
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


STEPS = ("open", "scandir", "stat", "mkdir", "replace")
"""The system calls between which others may act."""

CALLS: dict[str, Callable[[files.FilesPlugin], str]] = {
    "read": lambda plugin: plugin.read("swap/secret.txt"),
    "search": lambda plugin: plugin.search("secret", "swap/*"),
    "list": lambda plugin: plugin.list_files("swap"),
    "write": lambda plugin: plugin.write("swap/secret.txt", "written"),
    "write a new file": lambda plugin: plugin.write("swap/new/new.txt", "written"),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_folder_that_becomes_a_link_before_any_step_does_not_lead_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "secret.txt").write_text(SECRET)
    (outside / f"{SECRET}.md").touch()
    plugin, swap, kept = files.FilesPlugin(root, write=True), root / "swap", sorted(outside.iterdir())
    for step in range(99):
        swap.mkdir()
        (swap / "secret.txt").write_text("harmless")
        taken = 0

        def before(system: Callable[..., Any], step: int = step) -> Callable[..., Any]:
            def becomes_a_link(*arguments: Any, **options: Any) -> Any:
                nonlocal taken
                if taken == step:
                    swap.rename(tmp_path / f"was {step}")
                    swap.symlink_to(outside)
                taken += 1
                return system(*arguments, **options)

            return becomes_a_link

        with monkeypatch.context() as patch:
            for name in STEPS:
                patch.setattr(os, name, before(getattr(os, name)))
            try:
                said = CALLS[call](plugin)
            except OSError as error:
                said = str(error)
        assert SECRET not in said
        assert sorted(outside.iterdir()) == kept and (outside / "secret.txt").read_text() == SECRET
        if taken <= step:
            assert step >= 3, "it was tried before each step"
            return
        swap.unlink()


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


@pytest.mark.parametrize(
    ("start", "lines", "text"),
    [
        (1, 1, "1\n\n[3 lines in all; go on with start_line=2]"),
        (0, 1, "1\n\n[3 lines in all; go on with start_line=2]"),
        (-5, 2, "1\n2\n\n[3 lines in all; go on with start_line=3]"),
        (2, 0, "2\n\n[3 lines in all; go on with start_line=3]"),
        (2, -1, "2\n\n[3 lines in all; go on with start_line=3]"),
        (2, 2, "2\n3"),
        (3, 400, "3"),
        (4, 1, ""),
    ],
)
def test_any_lines_can_be_asked_for(tmp_path: Path, start: int, lines: int, text: str) -> None:
    (tmp_path / "a.txt").write_text("1\n2\n3")
    assert files.FilesPlugin(tmp_path).read("a.txt", start, lines) == text


def test_a_preview_shows_what_writing_would_change(tmp_path: Path) -> None:
    preview = files.FilesPlugin(tmp_path, write=True).write.preview  # type: ignore[attr-defined]
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.txt").write_text("one\ntwo\n")
    assert preview("sub/a.txt", "one\nthree\n") == {"text": "@@ -1,3 +1,3 @@\n one\n-two\n+three\n "}
    assert preview("sub/a.txt", "one\ntwo\n") == {"text": "nothing: the file has this content"}
    (tmp_path / "long.txt").write_text("\n" * 1999)
    assert preview("long.txt", "\n" * 1999) == {"text": "nothing: the file has this content"}
    assert preview("long.txt", "\n" * 2000) == {}, "it is too long to compare"
    for path in ("none.txt", "sub", "../x"):
        with pytest.raises(OSError, match=f"'{path}': "):
            preview(path, "text")
    assert not (tmp_path / "none.txt").exists()


def test_what_cannot_be_written_leaves_everything_as_it_was(tmp_path: Path) -> None:
    plugin = files.FilesPlugin(tmp_path, write=True)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.txt").write_text("old")
    (tmp_path / "sub" / "link").symlink_to("a.txt")
    before = picture(tmp_path)
    for path, text, reason in (
        ("sub", "new", "not a regular file"),
        ("sub/link", "new", "a symbolic link, which is not followed"),
        ("sub/a.txt/b", "new", "not a folder, or a symbolic link, which is not followed"),
        ("sub/a.txt", "x" * 5_000_001, "more than 5,000,000 bytes are not written"),
        ("sub/a.txt", "é" * 2_500_001, "more than 5,000,000 bytes are not written"),
    ):
        with pytest.raises(OSError) as refused:
            plugin.write(path, text)
        assert str(refused.value) == f"{path!r}: {reason}"
        assert picture(tmp_path) == before
    assert plugin.write("sub/a.txt", "x" * 5_000_000) == "wrote 5,000,000 bytes to sub/a.txt"
    assert files.FilesPlugin(tmp_path).read("sub/a.txt").startswith("xxx")
    assert picture(tmp_path).keys() == before.keys()


def test_a_new_file_is_as_private_as_files_are_here(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        files.FilesPlugin(tmp_path, write=True).write("new/a.txt", "text")
    finally:
        os.umask(before)
    assert (tmp_path / "new" / "a.txt").stat().st_mode & 0o777 == 0o640


def test_what_an_agent_is_told_of_the_functions() -> None:
    plugin = KernelPlugin.from_object("files", files.FilesPlugin(".", write=True))
    told = {
        name: (function.description, {it.name: (it.description, it.is_required) for it in function.parameters})
        for name, function in plugin.functions.items()
    }
    pattern = ("Which files: '*.md' by name; '**/' crosses folders, as in 'docs/**/*.md'", False)
    assert told == {
        "read": (
            "Reads lines of a text file.",
            {
                "path": ("Relative path", True),
                "start_line": ("First line, from 1", False),
                "lines": ("How many lines", False),
            },
        ),
        "list": (
            "Lists a folder's files and, with a slash at the end, its folders.",
            {"path": ("Relative path of a folder", False), "pattern": pattern},
        ),
        "search": (
            "Finds the lines of text files that contain a text, in any case.",
            {"text": ("Text to find, taken literally", True), "pattern": pattern},
        ),
        "write": (
            "Writes a text file whole, making its folders.",
            {"path": ("Relative path", True), "text": ("The new content", True)},
        ),
    }


LONGEST = "/".join(["d"] * 32)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("x" * 1001, f"'{'x' * 60}…': refused; a path or pattern has no more than 1,000 characters"),
        (f"{LONGEST}/d", f"'{LONGEST}/d': refused; a path has no more than 32 parts"),
        (LONGEST, f"'{LONGEST}': No such file or directory"),
        ("../x", "'../x': refused; a path starts in the plugin's folder and stays there, as in 'notes/a.md'"),
        ("C:x", "'C:x': refused; a path starts in the plugin's folder and stays there, as in 'notes/a.md'"),
        ("x" * 1000, f"'{'x' * 1000}': File name too long"),
        ("link", "'link': not a folder, or a symbolic link, which is not followed"),
    ],
)
def test_a_refusal_names_the_path_and_the_bound(tmp_path: Path, path: str, told: str) -> None:
    (tmp_path / "link").symlink_to("link")
    with pytest.raises(OSError) as refused:
        files.FilesPlugin(tmp_path).read(path)
    assert str(refused.value) == told
    with pytest.raises(OSError):
        files.FilesPlugin(tmp_path).list_files(path)
    if len(path) > 1000:
        with pytest.raises(OSError, match="a path or pattern has no more than 1,000 characters"):
            files.FilesPlugin(tmp_path).list_files(".", path)


@pytest.fixture
def bounds(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets the bounds of a walk to small numbers."""
    return lambda **most: [monkeypatch.setattr(folders, name, value) for name, value in most.items()] and None


def test_lists_have_bounds_and_say_where_they_end(tmp_path: Path, bounds: Callable[..., None]) -> None:
    plugin = files.FilesPlugin(tmp_path)
    for name in "abcdef":
        (tmp_path / f"{name}.txt").write_text("hit")
    bounds(MAX_FOUND=6)
    assert plugin.list_files() == "a.txt\nb.txt\nc.txt\nd.txt\ne.txt\nf.txt"
    bounds(MAX_FOUND=5)
    assert plugin.list_files() == "a.txt\nb.txt\nc.txt\nd.txt\ne.txt\n[only the first 5; narrow the pattern]"
    bounds(MAX_CHARACTERS=10)
    assert plugin.list_files() == "a.txt\nb.txt\n[only the first 2; narrow the pattern]"
    bounds(MAX_FOUND=500, MAX_CHARACTERS=1000, MAX_ENTRIES=6)
    assert plugin.search("HIT").splitlines()[-1] == "f.txt:1: hit"
    bounds(MAX_ENTRIES=4)
    listed = plugin.list_files().splitlines()
    assert (len(listed), listed[-1]) == (5, "[only the first 4 files and folders were looked at]")


def test_a_walk_counts_what_it_looks_at_in_all_folders(tmp_path: Path, bounds: Callable[..., None]) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.txt").write_text("hit\n" * 3)
    plugin = files.FilesPlugin(tmp_path)
    every = "a/\nb/\nc/\na/x.txt\nb/x.txt\nc/x.txt"
    bounds(MAX_ENTRIES=6)
    assert plugin.list_files(pattern="**/*") == every
    bounds(MAX_ENTRIES=5)
    left = "[only the first 5 files and folders were looked at]"
    assert plugin.list_files(pattern="**/*") == every.removesuffix("\nc/x.txt") + f"\n{left}"
    bounds(MAX_ENTRIES=100, MAX_DEPTH=1)
    assert plugin.list_files(pattern="**/*") == ("a/\nb/\nc/\n[what is deeper than 1 folders was not looked at]")
    bounds(MAX_DEPTH=2, MAX_SEARCHED=12)
    assert plugin.search("hit", "*/x.txt").splitlines()[3:] == [
        *(f"b/x.txt:{number}: hit" for number in (1, 2, 3)),
        "[only the first 12 characters were searched]",
    ]


def test_a_folder_that_cannot_be_entered_is_passed_over(root: Path) -> None:
    listed = files.FilesPlugin(root).list_files(pattern="**/*").splitlines()
    assert "linked/" in listed and "itself/" in listed and "loop" in listed and "docs/up/" in listed
    assert not any(path.startswith(("linked/s", "itself/d", "docs/up/")) for path in listed if path != "docs/up/")
    assert "docs/deep/b.md" in listed
    assert files.FilesPlugin(root).list_files("docs", "deep/*") == "deep/b.md"


def test_names_and_lines_that_a_terminal_would_obey_are_shown_on_one_line(tmp_path: Path) -> None:
    (tmp_path / "a\nb.txt").write_text(f"hit {'x' * 400}\n")
    plugin = files.FilesPlugin(tmp_path)
    assert len(plugin.list_files().splitlines()) == len(plugin.search("hit").splitlines()) == 1
    assert len(plugin.search("hit")) < 330


def test_no_descriptor_is_left_open(root: Path) -> None:
    def opened() -> int:
        return len(os.listdir("/proc/self/fd"))

    plugin, before = files.FilesPlugin(root, write=True), opened()
    for path in [*TRICKS, "docs/a.md", "new/x/y"]:
        for call in (plugin.read, plugin.list_files, lambda it: plugin.write(it, "x"), lambda it: plugin.search("x")):
            with suppress(OSError):
                call(path)
    assert opened() == before
