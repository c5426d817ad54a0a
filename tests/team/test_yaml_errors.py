"""Where YAML cannot be read, the usual cause is named in words."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from support.team_files import refusals

from magentic_kit.team.yaml_errors import syntax_problem

CASES: dict[str, tuple[str, int, str]] = {
    "colon in a text": ("name: x\ndescription: Reads: all\n", 2, "since it contains ': ', such as 'Reads: all'"),
    "colon in an item": ("agents:\n  - name: A\n    instructions: Do: that\n", 3, "contains ': ', such as 'Do: that'"),
    "deeper": ("name: x\n  description: y\n", 2, "indentation: this line is indented deeper than the one above"),
    "key of an item": ("agents:\n  - name: A\n   description: y\n", 3, "indentation: a key of a list item begins in"),
    "between": ("manager:\n  max_rounds: 3\n max_stalls: 4\n", 3, "indentation: this line begins in no column of"),
    "list in a mapping": ("agents:\n  name: B\n  - name: A\n", 3, "indentation: a list item stands among the keys"),
    "tab": ("manager:\n\tmax_rounds: 3\n", 2, "a tab stands where YAML wants spaces"),
    "no space": ("name:x\nservices: {}\n", 2, "a space is missing behind a colon: 'name: x'"),
    "no space later": ("services: {}\nname:x\nagents: []\n", 3, "a space is missing behind a colon: 'name: x'"),
    "star": ("hosts: [*.example.org]\n", 1, "quote it: a text without quotes cannot begin with '*'"),
    "at": ("name: @home\n", 1, "quote it: a text without quotes cannot begin with '@'"),
    "backtick": ("name: `x`\n", 1, "quote it: a text without quotes cannot begin with '`'"),
    "percent": ("name: %x\n", 1, "quote it: a text without quotes cannot begin with '%'"),
    "template": ("task: {{$year}} now\n", 1, "quote the text: without quotes it cannot begin with '{'"),
    "open quote": ("name: 'it is\nagents: []\n", 3, "the quote that opens in line 1 is never closed"),
    "quote in quotes": ("name: 'it's here'\n", 1, "the text goes on behind its closing quote"),
    "open bracket": ("agents: [a, b\nname: x\n", 2, "the [ that opens in line 1 is not closed, or a comma is missing"),
    "open brace": ("limits: {retries: 1\nname: x\n", 2, "the { that opens in line 1 is not closed, or a comma"),
    "bracket too many": ("agents: [a]]\n", 1, "nothing is open that this ] could close"),
    "escape": ('name: "C:\\data"\n', 1, "a backslash begins an escape: write '…' instead"),
    "block": ("task: | text\n", 1, "the text of | begins in the next line, indented"),
    "no colon": ("name: b\nc\nd: e\n", 3, "line 2 has no ': ' behind its key"),
    "two documents": ("name: x\n---\nname: y\n", 2, "a second document begins here; a file holds one"),
    "control character": ("name: x\ntask: a\x07b\n", 2, "the character U+0007 cannot stand in YAML; leave it out"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_usual_cause_is_named_with_its_line(case: str, folder: Path) -> None:
    text, line, cause = CASES[case]
    (said,) = refusals(folder, text)
    assert said.startswith(f"team.yaml:{line}:") and ": this is not valid YAML: " in said and cause in said


def test_a_file_in_another_encoding_is_named_so(folder: Path) -> None:
    (said,) = refusals(folder, b"name: caf\xe9\n")
    assert said.endswith("the file is not UTF-8 text; save it as UTF-8")


@pytest.mark.parametrize("case", CASES)
def test_the_parser_without_libyaml_leads_to_the_same_cause(case: str) -> None:
    text, _, cause = CASES[case]
    with pytest.raises(yaml.YAMLError) as caught:
        yaml.compose(text.encode(), Loader=yaml.SafeLoader)
    assert cause in syntax_problem(caught.value, "team.yaml", text.encode()).message
