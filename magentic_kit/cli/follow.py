"""A run under way: the console on standard error, the answer or the events on standard output, the exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from magentic_kit.cli.loading import loading
from magentic_kit.cli.options import TeamOptions, option_group
from magentic_kit.cli.output import complain, discard_output, say, say_json

if TYPE_CHECKING:
    from magentic_kit.events import AnyEvent
    from magentic_kit.factory import TeamFactory
    from magentic_kit.orchestration.options import ResumeOptions
    from magentic_kit.run import Run
    from magentic_kit.runlog.result import RunResult
    from magentic_kit.views.console import Console

EXIT_CODES = {"satisfied": 0, "limited": 3, "rejected": 3, "cancelled": 130, "failed": 1}
"""Outcome of a run -> exit code; 2 is a usage or configuration error, or a log that does not fit."""


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """What of a run goes to standard output, and whether anything else is shown or exported."""

    form: str | None
    quiet: bool
    otel: bool

    @property
    def is_quiet(self) -> bool:
        """Whether the console shows nothing."""
        return self.quiet or self.form == "jsonl"


output_options = option_group(
    "output",
    OutputOptions,
    click.option("--json", "form", flag_value="json", help="Print the whole result as JSON in place of the answer."),
    click.option("--jsonl", "form", flag_value="jsonl", help="Print every event as a line of JSON as it comes."),
    click.option("--quiet", is_flag=True, help="Show nothing of the run; print the answer."),
    click.option("--otel", is_flag=True, help="Export traces and metrics by OTLP, as OTEL_* variables say."),
)


def follow(
    load: Callable[[], TeamFactory],
    start: Callable[[TeamFactory, ResumeOptions], Run],
    options: TeamOptions,
    output: OutputOptions,
    console: Console,
) -> int:
    """Runs to the end, with the console on standard error and the answer on standard output."""
    from magentic_kit.cli.process import on_signals, quiet_logs, run_to_end
    from magentic_kit.cli.terminal import by_terminal
    from magentic_kit.views.otel import otel_views

    shared = by_terminal(console, approve=options.approve, approve_plan=options.approve_plan)
    shared["views"] = [console, *otel_views(asked=output.otel)]
    printer = EventPrinter()
    if output.form == "jsonl":
        shared["sinks"] = [printer]

    async def whole() -> int:
        try:
            with loading(console):
                factory = load()
            async with factory:
                run = start(factory, shared)
                printer.cancel = run.cancel
                on_signals(run.cancel, console.close)
                result = await run.result()
        finally:
            console.close()
        return _print_result(result, output)

    quiet_logs()
    return run_to_end(whole)


def _print_result(result: RunResult, output: OutputOptions) -> int:
    """Prints the answer, where the run directory is and how to go on; returns the exit code."""
    from magentic_kit.cli.ending import print_answer, print_ending

    if output.form == "json":
        say_json(result.record.to_dict())
    elif output.form is None and result.answer:
        print_answer(result.answer)
    if result.run_dir and not result.run_dir.is_dir():
        complain(f"{result.run_dir}: the run directory was removed while the run went on: its log is lost")
        return 1
    if not output.quiet:
        print_ending(result)
    return EXIT_CODES[result.outcome]


class EventPrinter:
    """Prints every event as a line of JSON; a reader who leaves cancels the run."""

    def __init__(self) -> None:
        self.cancel: Callable[[], None] = lambda: None

    def __call__(self, event: AnyEvent) -> None:
        """Prints the event."""
        from magentic_kit.events import to_dict

        try:
            say(json.dumps(to_dict(event)))
        except BrokenPipeError:  # as of `| head -1`
            discard_output()
            self.cancel()
