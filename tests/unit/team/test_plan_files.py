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


@given(
    task=TEXTS,
    facts=TEXTS,
    plan=TEXTS,
    members=st.dictionaries(TEXTS, TEXTS, max_size=2),
    behind_headings=st.sampled_from(["", " ", "\t", "\r"]),
)
def test_what_is_written_is_read(
    task: str, facts: str, plan: str, members: dict[str, str], behind_headings: str
) -> None:
    made = TaskLedger(task=task, facts=facts, plan=plan)
    text = made.to_markdown(team="t", members=members)
    for name in ("Task", "Facts", "Plan"):  # editors put there what nobody sees
        text = text.replace(f"\n## {name}\n", f"\n## {name}{behind_headings}\n")
    assert TaskLedger.from_markdown(text, file="plan.md") == made


@given(st.lists(PIECES, max_size=12).map("\n".join))
def test_any_text_is_a_ledger_or_one_clear_error(text: str) -> None:
    try:
        ledger = TaskLedger.from_markdown(text, file="plan.md")
    except ConfigError as error:
        assert str(error).startswith("plan.md: the section '## ")
    else:
        assert ledger.task and ledger.facts and ledger.plan


NAMES = ("Task", "Team", "Facts", "Plan")


@given(
    names=st.tuples(st.permutations(NAMES), st.lists(st.sampled_from(NAMES), max_size=1)).map(lambda it: it[0] + it[1]),
    bodies=st.lists(st.sampled_from(["text", "more", " \n"]), min_size=2, max_size=5),
)
def test_each_section_must_be_there_once_and_say_something(names: list[str], bodies: list[str]) -> None:
    sections = list(zip(names, bodies, strict=False))  # not all of them
    found = {name: [body.strip() for known, body in sections if known == name] for name in ("Task", "Facts", "Plan")}
    wrong = [name for name, bodies in found.items() if len(bodies) != 1 or not bodies[0]]
    text = "\n".join(f"## {name}\n{body}" for name, body in sections)
    if wrong:
        told = "there twice" if len(found[wrong[0]]) > 1 else "missing or empty"
        with pytest.raises(ConfigError, match=f"^plan.md: the section '## {wrong[0]}' is {told}$"):
            TaskLedger.from_markdown(text, file="plan.md")
    else:
        made = TaskLedger(**{name.lower(): body for name, (body,) in found.items()})
        assert TaskLedger.from_markdown(text, file="plan.md") == made


@pytest.mark.parametrize("line", ["## Task", "## Plan ", "\\## Task", "\\\\\\## Plan"])
def test_a_line_that_looks_like_a_heading_gets_one_backslash(line: str) -> None:
    made = TaskLedger(task=line.strip(), facts="f", plan="p")
    assert f"\n\\{line.strip()}\n" in made.to_markdown(team="t", members={})
