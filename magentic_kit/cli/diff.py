"""`diff`: what became different between two runs."""

from __future__ import annotations

from pathlib import Path

import click

from magentic_kit.cli.output import say
from magentic_kit.cli.run_directory import RUN


@click.command()
@click.argument("before", type=RUN, metavar="RUN")
@click.argument("after", type=RUN, metavar="RUN")
def diff(before: Path, after: Path) -> None:
    """Compare two runs: how they ended, rounds, tokens and cost, plans, who was asked what, and answers.

    A RUN is a run directory, an id or its beginning, or `last`.
    """
    from magentic_kit.runlog.listing import effective_events
    from magentic_kit.runlog.record import RunRecord
    from magentic_kit.views.comparison import comparison

    records = [RunRecord.of(effective_events(run_dir)) for run_dir in (before, after)]
    say("\n".join(comparison(records[0], records[1])))
