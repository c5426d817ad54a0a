"""A plan file says what it was given, whatever that is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magentic_kit.errors import ConfigError
from magentic_kit.team.plan import TaskLedger

PIECES = st.one_of(
    st.sampled_from(
        ["## Task", "## Plan", "\\## Facts", "\\\\## Team ", "# Plan of t", "## Plan\t", "```", "- **A**: b"]
    ),
    st.text(max_size=8),
)
TEXTS = st.lists(PIECES, min_size=1, max_size=5).map("\n".join).map(str.strip).filter(bool)


@given(task=TEXTS, facts=TEXTS, plan=TEXTS, members=st.dictionaries(TEXTS, TEXTS, max_size=2))
def test_what_is_written_is_read(task: str, facts: str, plan: str, members: dict[str, str]) -> None:
    made = TaskLedger(task=task, facts=facts, plan=plan)
    assert TaskLedger.from_markdown(made.to_markdown(team="t", members=members), file="plan.md") == made


@given(st.lists(PIECES, max_size=12).map("\n".join))
def test_any_text_is_a_ledger_or_one_clear_error(text: str) -> None:
    try:
        ledger = TaskLedger.from_markdown(text, file="plan.md")
    except ConfigError as error:
        assert str(error).startswith("plan.md: the section '## ")
    else:
        assert ledger.task and ledger.facts and ledger.plan


@pytest.mark.parametrize("line", ["## Task", "## Plan ", "\\## Task", "\\\\\\## Plan"])
def test_a_line_that_looks_like_a_heading_gets_one_backslash(line: str) -> None:
    made = TaskLedger(task=line.strip(), facts="f", plan="p")
    assert f"\n\\{line.strip()}\n" in made.to_markdown(team="t", members={})
