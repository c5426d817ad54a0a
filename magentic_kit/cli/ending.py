"""The end of a run on a terminal: the answer as Markdown, then where its report is and how to go on."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from magentic_kit.cli.output import say
from magentic_kit.runlog.result import RunResult
from magentic_kit.runlog.usage import tokens_of
from magentic_kit.views.wording import tokens_text


def print_answer(answer: str) -> None:
    """Prints the answer on standard output: drawn below a rule on a terminal that can, else as it is."""
    from magentic_kit.views.display import can_draw

    if not can_draw(sys.stdout):
        say(answer)
        return
    from magentic_kit.views.answer import draw_answer  # plain answers need no rich

    draw_answer(answer, sys.stdout)


def print_ending(result: RunResult) -> None:
    """Prints on standard error how a run ended and, on a terminal, its report, how it goes on, and its tokens."""
    if not sys.stderr.isatty():
        if result.run_dir:
            say(f"{result.outcome}: see {result.run_dir}", err=True)
        return
    lines = [("outcome", _outcome(result))]
    if result.run_dir:
        report = result.run_dir / "report.html"
        lines.append(("report", str(report if report.exists() else result.run_dir)))
        if command := next_command(result, result.run_dir):
            lines.append(("go on", command))
    lines.append(("tokens", _tokens(result)))
    say("\n" + "\n".join(f"{name:8} {text}" for name, text in lines), err=True)


def _outcome(result: RunResult) -> str:
    if result.reason:
        return f"{result.outcome} ({result.reason})"
    return result.outcome


def next_command(result: RunResult, run_dir: Path) -> str:
    """Returns the command that goes on with the run; nothing if it has come to its end."""
    if result.outcome in ("satisfied", "rejected"):
        return ""
    command = f"magentic-kit resume {shlex.quote(str(run_dir))}"
    used = {
        "max_rounds": result.rounds,
        "max_tokens": result.tokens,
        "max_resets": result.resets,
        "max_cost": result.cost,
    }
    if result.outcome != "limited" or result.reason not in used:
        return command
    # Twice as much: of the limit, or of what was used, if the limit had been raised before.
    limit = getattr(result.record.limits, result.reason) or 1
    more = 2 * max(limit, used[result.reason] or 0)
    written = f"{more:.4g}" if result.reason == "max_cost" else f"{more:d}"
    return f"{command} --{result.reason.replace('_', '-')} {written}"


def _tokens(result: RunResult) -> str:
    """Returns the tokens of a run, and how many of them were paid in an earlier one."""
    reused = tokens_of(result.record.reused)
    text = tokens_text(result.record).removesuffix(" tokens").removesuffix(" token").removeprefix("tokens ")
    if reused:
        return f"{text}, {reused:,} of them reused"
    return text
