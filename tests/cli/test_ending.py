"""The command that goes on with a run can be pasted as it stands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support import sample_events as sample

from magentic_kit import events as ev
from magentic_kit.cli.ending import next_command
from magentic_kit.runlog.record import RunRecord
from magentic_kit.runlog.result import RunResult


def result_of(outcome: str, reason: str, limits: ev.RunLimits) -> RunResult:
    log = [event for event in sample.limited() if event.logged]
    log[0] = replace(log[0], limits=limits)  # type: ignore[call-arg]
    log[-1] = replace(log[-1], outcome=outcome, reason=reason)  # type: ignore[call-arg]
    return RunResult.of(RunRecord.of(log), None)


@pytest.mark.parametrize(
    ("outcome", "reason", "limits", "options"),
    [
        ("limited", "max_rounds", ev.RunLimits(max_rounds=20), " --max-rounds 40"),
        ("limited", "max_resets", ev.RunLimits(max_resets=0), " --max-resets 2"),
        ("limited", "max_tokens", ev.RunLimits(max_tokens=1_000_000), " --max-tokens 2000000"),
        ("limited", "max_cost", ev.RunLimits(max_cost=0.25), " --max-cost 0.5"),
        ("limited", "deadline", ev.RunLimits(deadline=1.0), ""),
        ("failed", "service", ev.RunLimits(), ""),
        ("cancelled", "", ev.RunLimits(), ""),
    ],
)
def test_a_run_that_has_not_come_to_its_end_names_a_command(
    outcome: str, reason: str, limits: ev.RunLimits, options: str
) -> None:
    command = next_command(result_of(outcome, reason, limits), Path("runs/a b"))
    assert command == f"magentic-kit resume 'runs/a b'{options}"


@pytest.mark.parametrize("outcome", ["satisfied", "rejected"])
def test_one_that_has_names_none(outcome: str) -> None:
    assert next_command(result_of(outcome, "", ev.RunLimits()), Path("runs/a")) == ""


def test_a_limit_that_had_been_raised_before_is_raised_further() -> None:
    result = replace(result_of("limited", "max_rounds", ev.RunLimits(max_rounds=1)), rounds=8)
    assert next_command(result, Path("r")) == "magentic-kit resume r --max-rounds 16"
