"""`validate` finds what is wrong in a project, names the place and the nearest name, and imports nothing of it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from magentic_kit.cli import app

PLUGIN = r"team\.yaml:13:\d+: plugins\.tickets\."

BREAKAGES = {  # what to write, in place of what, in which file; and what is found, where
    "class": (
        ("plugins/tickets.py", "class Tickets", "class Ticket"),
        PLUGIN + r"target: plugins.tickets has no 'Tickets'; did you mean 'Ticket'\?",
    ),
    "module": (
        ("team.yaml", "plugins.tickets:", "plugins.ticket:"),
        PLUGIN + r"target: there is no module 'plugins.ticket'; did you mean 'plugins.tickets'\?",
    ),
    "data file": (
        ("team.yaml", "data/tickets.csv", "data/ticket.csv"),
        PLUGIN + r"args.file: there is no file 'data/ticket.csv'; did you mean 'data/tickets.csv'\?",
    ),
    "argument": (
        ("team.yaml", "{file: data", "{fil: data"),
        PLUGIN + r"args: Tickets has no argument 'fil'; did you mean 'file'\?",
    ),
    "syntax": (
        ("plugins/tickets.py", "class Tickets:", "class Tickets"),
        PLUGIN + r"target: plugins/tickets.py:11:\d+: this is not valid Python: .*",
    ),
    "agent in a script": (
        ("offline.yaml", "next: Analyst", "next: Analist"),
        r"offline.yaml:\d+:22: there is no agent 'Analist'; did you mean 'Analyst'\?",
    ),
}


@pytest.mark.parametrize("name", BREAKAGES)
def test_what_breaks_a_fresh_project_is_found_with_its_place(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app.run(["init", ".", "--provider", "openai", "--model", "m"])
    assert app.run(["validate", "--strict", "team.yaml"]) == 0
    (file, good, bad), found = BREAKAGES[name]
    text = Path(file).read_text()
    assert text.count(good) == 1
    Path(file).write_text(text.replace(good, bad))
    capsys.readouterr()
    assert app.run(["validate", "--strict", "team.yaml"]) == 2
    assert re.search(f"^{found}$", capsys.readouterr().err, re.MULTILINE)
    assert not any(str(tmp_path) in str(getattr(module, "__file__", "")) for module in sys.modules.values())
