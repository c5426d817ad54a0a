"""`list`: the runs of a directory, as lines for programs, as a table that fits a terminal, or as JSON."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from magentic_kit.cli.options import PATH, json_option
from magentic_kit.cli.output import complain, say, say_json
from magentic_kit.cli.run_directory import RUNS, unique_beginnings
from magentic_kit.text import duration, one_line

_AGES = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_LEAST_TASK = 10  # characters


@click.command("list")
@click.argument("folder", type=PATH, default=RUNS, metavar="[DIR]")
@json_option(help="Print JSON.")
def list_runs(folder: Path, as_json: bool) -> None:
    """List the runs in DIR (default: runs), the newest first: id, age, outcome, tokens, task.

    DIR may also be the directory of a batch, or of several. The id is as much of a run's name as other commands need.
    Where standard output is no terminal, each line is the run directory, outcome, time, tokens and task.
    """
    from magentic_kit.runlog.listing import runs_below, summary_of

    runs = [vars(summary_of(run_dir)) | {"run": str(run_dir)} for run_dir in runs_below(folder)]
    if as_json:
        say_json(runs)
        return
    if not runs:
        complain(f"there are no runs in {folder}; `magentic-kit run TEAM` makes one")
    elif sys.stdout.isatty():
        say("\n".join(_table(runs, shutil.get_terminal_size().columns)))
    else:
        say("\n".join(map(_line, runs)))


def _line(run: dict[str, Any]) -> str:
    took = "" if run["seconds"] is None else duration(run["seconds"])
    row = one_line(f"{run['run']}  {run['outcome']:10}") + f" {took:>12} {_tokens(run):>9}  "
    return row + one_line(run["error"] or run["task"])


def _table(runs: Sequence[dict[str, Any]], width: int) -> list[str]:
    """A line of names and one for each run, of `width` columns at most."""
    names = [Path(run["run"]).name for run in runs]
    rows = [["RUN", "AGE", "OUTCOME", "TOKENS", "TASK"]]
    for run, run_id in zip(runs, unique_beginnings(names), strict=True):
        cells = (run_id, _age(run["started"]), run["outcome"], _tokens(run))
        rows.append([*map(one_line, cells), one_line(run["error"] or run["task"])])
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    left = max(width - sum(widths) - 2 * len(widths), _LEAST_TASK)
    lines = []
    for run_id, age, outcome, tokens, task in rows:
        cells = (f"{run_id:{widths[0]}}", f"{age:>{widths[1]}}", f"{outcome:{widths[2]}}", f"{tokens:>{widths[3]}}")
        lines.append(_cut("  ".join((*cells, one_line(task, left))), width))
    return lines


def _cut(line: str, width: int) -> str:
    """The line, cut to the width, its spaces kept."""
    if len(line) <= width:
        return line
    return line[: max(width - 1, 0)] + "…"


def _tokens(run: dict[str, Any]) -> str:
    if run["tokens"] is None:
        return "?"
    return f"{run['tokens']:,}"


def _age(started: str) -> str:
    """How long ago a run began, in its largest unit: `42 s`, `5 min`, `3 h`, `12 d`."""
    from magentic_kit.events import seconds

    if not started:
        return ""
    ago = max(time.time() - seconds(started), 0)
    return next((f"{int(ago // size)} {unit}" for size, unit in _AGES if ago >= size), "now")
