"""`run`, `resume` and `plan`: the commands that let a team work."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from magentic_kit.cli.announce import announce_again, announce_team
from magentic_kit.cli.environment import load_environment
from magentic_kit.cli.files import read_text, writing
from magentic_kit.cli.follow import OutputOptions, follow, output_options
from magentic_kit.cli.loading import loading
from magentic_kit.cli.options import (
    PATH,
    ConsoleOptions,
    TaskOptions,
    TeamOptions,
    UnknownCallOptions,
    attach_option,
    console_options,
    inputs_option,
    out_option,
    read_inputs,
    task_options,
    team_argument,
    team_options,
    unknown_call_options,
)
from magentic_kit.cli.output import complain, say
from magentic_kit.cli.run_directory import RUN, run_argument
from magentic_kit.team.loading import load_team
from magentic_kit.text import MASK, count

if TYPE_CHECKING:
    from magentic_kit.factory import TeamFactory
    from magentic_kit.orchestration.options import ResumeOptions
    from magentic_kit.run import Run


@click.command()
@click.argument("team", type=PATH, required=False)
@task_options
@attach_option
@team_options
@output_options
@console_options
@out_option
@click.option(
    "--continue", "earlier", type=RUN, metavar="RUN", help="Go on from this run with a new task; TEAM may be left out."
)
@click.option("--review-plan", is_flag=True, help="Same as --set review.plan=true.")
@click.option("--plan", type=PATH, help="Carry out this plan, made by `plan` and edited.")
@click.option("--from", "reuse", type=RUN, metavar="RUN", help="Reuse the steps of this run that are unchanged.")
def run(
    team: Path | None,
    task: TaskOptions,
    attach: tuple[Path, ...],
    earlier: Path | None,
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
    team, task = _team_and_task(team, task, earlier)
    text, inputs = task.read()
    load_environment(options.env_file, beside=team or earlier or Path())
    overrides = options.overrides()
    if review_plan:
        overrides["review.plan"] = True
    ledger = None
    if plan is not None:
        from magentic_kit.team.plan import TaskLedger

        ledger = TaskLedger.from_markdown(read_text(plan), file=str(plan))
        if text is None:
            text = ledger.task
    # Its errors come before the seconds of Semantic Kernel's import.
    if team is not None:
        loaded = load_team(team, overrides=overrides)
    else:
        from magentic_kit.runlog.stored_team import stored_team

        data, base_dir = stored_team(earlier or Path())
        loaded = load_team(data, base_dir=base_dir, overrides=overrides)
    announced = "" if output.is_quiet else announce_team(loaded, text, inputs, plain=display.plain)
    console = display.console(quiet=output.is_quiet, announced=announced)

    def load() -> TeamFactory:
        from magentic_kit.factory import TeamFactory

        return TeamFactory(loaded)

    def start(factory: TeamFactory, shared: ResumeOptions) -> Run:
        return factory.start(
            text, inputs=inputs, out=out, plan=ledger, reuse=reuse, attach=attach, history=earlier, **shared
        )

    return follow(load, start, options, output, console)


def _team_and_task(team: Path | None, task: TaskOptions, earlier: Path | None) -> tuple[Path | None, TaskOptions]:
    """Tells which word is which: with an earlier run, one word alone is the task.

    Raises `click.MissingParameter`.
    """
    if earlier is not None and team is not None and task.task is None and task.task_file is None:
        return None, replace(task, task=str(team))
    if earlier is None and team is None:
        raise click.MissingParameter(param_type="argument", param_hint="'TEAM'")
    return team, task


@click.command()
@run_argument
@inputs_option
@unknown_call_options
@team_options
@output_options
@console_options
def resume(
    run_dir: Path,
    inputs: tuple[str, ...],
    unknown_calls: UnknownCallOptions,
    options: TeamOptions,
    output: OutputOptions,
    display: ConsoleOptions,
) -> int:
    """Continue RUN (a run directory, an id or its beginning, or `last`) from where it stopped.

    Nothing that is in its log is paid again.
    """
    load_environment(options.env_file, beside=run_dir)
    overrides = options.overrides()
    announced = "" if output.is_quiet else announce_again(run_dir, plain=display.plain)
    console = display.console(quiet=output.is_quiet, announced=announced)

    def load() -> TeamFactory:
        from magentic_kit.factory import TeamFactory

        return TeamFactory.from_run(run_dir, overrides=overrides)

    def start(factory: TeamFactory, shared: ResumeOptions) -> Run:
        shared["unknown_tools"] = unknown_calls.results()
        return factory.resume(run_dir, inputs=read_inputs(inputs), **shared)

    return follow(load, start, options, output, console)


@click.command()
@team_argument
@task_options
@attach_option
@team_options
@click.option("-o", "--output", type=PATH, default=Path("plan.md"), show_default=True, help="File to write.")
def plan(team: Path, task: TaskOptions, attach: tuple[Path, ...], options: TeamOptions, output: Path) -> None:
    """Make the task ledger of TEAM for TASK only, as Markdown to edit and to give to `run --plan`."""
    import asyncio

    text, inputs = task.read()
    load_environment(options.env_file, beside=team)
    loaded = load_team(team, overrides=options.overrides())
    announce_team(loaded, text, inputs)

    from magentic_kit.cli.process import quiet_logs
    from magentic_kit.views.display import make_console

    console = make_console()

    async def make() -> str:
        with loading(console):
            from magentic_kit.factory import TeamFactory

        async with TeamFactory(loaded) as factory:
            ledger = await factory.plan(text, inputs=inputs, attach=attach)
            members = {agent.name: agent.description for agent in loaded.config.agents}
            markdown = ledger.to_markdown(team=loaded.config.name, members=members)
            return factory.blueprint.redactor(inputs).text(markdown)

    quiet_logs()
    with writing(output), output.open("a", encoding="utf-8") as file:  # fails before anything is paid
        markdown = asyncio.run(make())
        file.truncate(0)
        file.write(markdown)
    if masks := markdown.count(MASK):
        complain(
            f"{count(masks, 'secret')} masked as {MASK} in {output}: replace each before it is run", colour="yellow"
        )
    say(f"wrote {output}; edit it, then: magentic-kit run {team} --plan {output}")
