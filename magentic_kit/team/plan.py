"""`plan.md`: a task ledger as clean Markdown that a person edits, and that a run carries out as edited."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from magentic_kit.errors import ConfigError, Problem
from magentic_kit.text import MASK

_SECTIONS = ("Task", "Team", "Facts", "Plan")
_HEADING = re.compile(rf"^(\\*)## ({'|'.join(_SECTIONS)})\s*$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class TaskLedger:
    """The facts and the plan to begin with."""

    task: str
    facts: str
    plan: str

    def to_markdown(self, *, team: str, members: Mapping[str, str]) -> str:
        """The file; `members` are names and descriptions, for the reader only."""
        texts = (self.task, "\n".join(f"- **{n}**: {d}" for n, d in members.items()), self.facts, self.plan)
        # A line of a text that looks like one of our headings gets a backslash, which reading takes away.
        parts = [
            f"## {name}\n\n{_HEADING.sub(lambda m: chr(92) + m[0], text.strip())}"
            for name, text in zip(_SECTIONS, texts, strict=True)
        ]
        return f"# Plan of {team}\n\n" + "\n\n".join(parts) + "\n"

    @classmethod
    def from_markdown(cls, text: str, *, file: str) -> TaskLedger:
        """The ledger in an edited file.

        Raises `ConfigError` if a section is missing, twice or empty, or has the mask of a secret: agents would take
        that for the secret itself.
        """
        found = [match for match in _HEADING.finditer(text) if not match[1]]
        names = [match[2] for match in found]
        ends = [match.start() for match in found[1:]] + [len(text)]
        texts = {m[2]: text[m.end() : end].strip() for m, end in zip(found, ends, strict=False)}
        for name in ("Task", "Facts", "Plan"):
            if names.count(name) != 1 or not texts[name]:
                told = "is there twice" if names.count(name) > 1 else "is missing or empty"
                raise ConfigError.one(f"the section '## {name}' {told}", file=file)
        for number, line in enumerate(text.splitlines(), 1):
            if MASK in line:
                problem = f"{MASK} stands where a secret was masked: write what is meant, or take it out"
                raise ConfigError([Problem(file, number, line.index(MASK) + 1, problem)])
        plain = {name: _HEADING.sub(lambda m: m[0][1:], body) for name, body in texts.items()}
        return cls(task=plain["Task"], facts=plain["Facts"], plan=plain["Plan"])
