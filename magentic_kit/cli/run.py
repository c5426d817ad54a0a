"""`run`, `resume` and `plan`: the commands that let a team work."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from magentic_kit.cli.announce import LOADING, announce, announce_again
from magentic_kit.cli.environment import load_environment
from magentic_kit.cli.files import read_text, writing
from magentic_kit.cli.options import (
    PATH,
    ConsoleOptions,
    TaskOptions,
    TeamOptions,
    UnknownCallOptions,
    console_options,
    option_group,
    out_option,
    run_argument,
    task_options,
    team_argument,
    team_options,
    unknown_call_options,
)
from magentic_kit.cli.output import discard_output, say, say_json
from magentic_kit.team.loading import load_team

if TYPE_CHECKING:
    from magentic_kit.events import AnyEvent
    from magentic_kit.factory import TeamFactory
    from magentic_kit.orchestration.options import RunOptions
    from magentic_kit.run import Run, RunResult
    from magentic_kit.runlog.context import Sink
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


_output_options = option_group(
    "output",
    OutputOptions,
    click.option("--json", "form", flag_value="json", help="Print the whole result as JSON in place of the answer."),
    click.option("--jsonl", "form", flag_value="jsonl", help="Print every event as a line of JSON as it comes."),
    click.option("--quiet", is_flag=True, help="Show nothing of the run; print the answer."),
    click.option("--otel", is_flag=True, help="Export traces and metrics by OTLP, as OTEL_* variables say."),
)


@click.command()
@team_argument
@task_options
@team_options
@_output_options
@console_options
@out_option
@click.option("--review-plan", is_flag=True, help="Same as --set review.plan=true.")
@click.option("--plan", type=PATH, help="Carry out this plan, made by `plan` and edited.")
@click.option("--from", "reuse", type=PATH, metavar="RUN", help="Reuse the steps of this run that are unchanged.")
def run(
    team: Path,
    task: TaskOptions,
    options: TeamOptions,
    output: OutputOptions,
    display: ConsoleOptions,
    out: Path,
    review_plan: bool,
    plan: Path | None,
    reuse: Path | None,
) -> int:
    """Run TEAM (a YAML file) on TASK; `-` reads the task from standard input.

    Progress goes to standard error, the answer to standard output. Exit code: 0 satisfied, 3 limited or
    rejected, 1 failed, 130 cancelled, 2 nothing was started.
    """
    text, inputs = task.read()
    load_environment(options.env_file, beside=team)
    overrides = options.overrides()
    if review_plan:
        overrides["review.plan"] = True
    run_options: RunOptions = {"inputs": inputs, "out": out}
    if plan is not None:
        from magentic_kit.team.plan import TaskLedger

        run_options["plan"] = TaskLedger.from_markdown(read_text(plan), file=str(plan))
        if text is None:
            text = run_options["plan"].task
    if reuse is not None:
        run_options["reuse"] = reuse
    loaded = load_team(team, overrides=overrides)  # its errors come before the seconds of Semantic Kernel's import
    console = display.console(quiet=output.is_quiet)
    announce(console, loaded, text, inputs)

    def load() -> TeamFactory:
        from magentic_kit.factory import TeamFactory

        return TeamFactory(loaded)

    def start(factory: TeamFactory, shared: RunOptions) -> Run:
        shared.update(run_options)
        return factory.start(text, **shared)

    return _follow(load, start, options, output, console)


@click.command()
@run_argument
@unknown_call_options
@team_options
@_output_options
@console_options
def resume(
    run_dir: Path,
    unknown_calls: UnknownCallOptions,
    options: TeamOptions,
    output: OutputOptions,
    display: ConsoleOptions,
) -> int:
    """Continue RUN (a run directory) from where it stopped; nothing that is in its log is paid again."""
    load_environment(options.env_file, beside=run_dir)
    overrides = options.overrides()
    console = display.console(quiet=output.is_quiet)
    announce_again(console, run_dir)

    def load() -> TeamFactory:
        from magentic_kit.factory import TeamFactory

        return TeamFactory.from_run(run_dir, overrides=overrides)

    def start(factory: TeamFactory, shared: RunOptions) -> Run:
        shared["unknown_tools"] = unknown_calls.results()
        return factory.resume(run_dir, **shared)

    return _follow(load, start, options, output, console)


@click.command()
@team_argument
@task_options
@team_options
@click.option("-o", "--output", type=PATH, default=Path("plan.md"), show_default=True, help="File to write.")
def plan(team: Path, task: TaskOptions, options: TeamOptions, output: Path) -> None:
    """Make the task ledger of TEAM for TASK only, as Markdown to edit and to give to `run --plan`."""
    import asyncio

    from magentic_kit.cli.process import quiet_logs
    from magentic_kit.views.console import make_console

    text, inputs = task.read()
    load_environment(options.env_file, beside=team)
    loaded = load_team(team, overrides=options.overrides())
    console = make_console()
    announce(console, loaded, text, inputs)

    async def make() -> str:
        with console.waiting(LOADING):
            from magentic_kit.factory import TeamFactory

        async with TeamFactory(loaded) as factory:
            ledger = await factory.plan(text, inputs=inputs)
            members = {agent.name: agent.description for agent in loaded.config.agents}
            return ledger.to_markdown(team=loaded.config.name, members=members)

    quiet_logs()
    with writing(output), output.open("a", encoding="utf-8") as file:  # fails before anything is paid
        markdown = asyncio.run(make())
        file.truncate(0)
        file.write(markdown)
    say(f"wrote {output}; edit it, then: magentic-kit run {team} --plan {output}")


def _follow(
    load: Callable[[], TeamFactory],
    start: Callable[[TeamFactory, RunOptions], Run],
    options: TeamOptions,
    output: OutputOptions,
    console: Console,
) -> int:
    """Runs to the end, with the console on standard error and the answer on standard output."""
    from magentic_kit.cli.process import on_signals, quiet_logs, run_to_end
    from magentic_kit.cli.terminal import by_terminal
    from magentic_kit.views.otel import otel_sinks

    shared = by_terminal(console, approve=options.approve, approve_plan=options.approve_plan)
    sinks: list[Sink] = [console, *otel_sinks(asked=output.otel)]
    printer = EventPrinter()
    if output.form == "jsonl":
        sinks.append(printer)
    shared["sinks"] = sinks

    async def whole() -> int:
        try:
            with console.waiting(LOADING):
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
    """Prints the answer and where the run directory is; returns the exit code."""
    if output.form == "json":
        say_json(result.record.to_dict())
    elif output.form is None and result.answer:
        say(result.answer)
    if result.run_dir and not output.quiet:
        say(f"{result.outcome}: see {result.run_dir}", err=True)
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
