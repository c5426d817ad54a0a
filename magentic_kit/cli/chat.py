"""`chat`: a conversation with a team at the terminal, a run for each message."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from magentic_kit.cli.ending import print_answer, print_ending
from magentic_kit.cli.environment import load_environment
from magentic_kit.cli.loading import loading
from magentic_kit.cli.options import (
    ConsoleOptions,
    TeamOptions,
    attach_option,
    console_options,
    inputs_option,
    out_option,
    read_inputs,
    team_argument,
    team_options,
)
from magentic_kit.cli.run_directory import RUN
from magentic_kit.team.loading import load_team

if TYPE_CHECKING:
    from magentic_kit.runlog.result import RunResult

_ASK = "What is to be done? (an empty line, or Ctrl-D, ends the conversation)"


@click.command()
@team_argument
@inputs_option
@attach_option
@team_options
@console_options
@out_option
@click.option("--continue", "earlier", type=RUN, metavar="RUN", help="Go on from this run.")
def chat(
    team: Path,
    inputs: tuple[str, ...],
    attach: tuple[Path, ...],
    options: TeamOptions,
    display: ConsoleOptions,
    out: Path,
    earlier: Path | None,
) -> int:
    """Talk with TEAM (a YAML file): each message is a task for a run of its own, which knows the runs before.

    Files of --attach go with the first message. Ctrl-C cancels the run under way, and then the conversation.
    Without a terminal each line of standard input is a message.
    """
    load_environment(options.env_file, beside=team)
    loaded = load_team(team, overrides=options.overrides())
    given = read_inputs(inputs)

    from magentic_kit.cli.process import quiet_logs, run_to_end

    async def talk() -> int:
        from magentic_kit.cli.process import on_signals
        from magentic_kit.cli.terminal import by_terminal

        last: RunResult | Path | None = earlier
        files = attach
        with loading(display.console()):
            from magentic_kit.factory import TeamFactory
        async with TeamFactory(loaded) as factory:
            while message := await _next_message():
                console = display.console()
                shared = by_terminal(console, approve=options.approve, approve_plan=options.approve_plan)
                shared["views"] = [console]
                try:
                    run = factory.start(message, inputs=given, out=out, attach=files, history=last, **shared)
                    on_signals(run.cancel, console.close)
                    result = await run.result()
                finally:
                    console.close()
                if result.answer:
                    print_answer(result.answer)
                print_ending(result)
                last, files = result, ()
        return 0

    quiet_logs()
    return run_to_end(talk)


def _cancel(waiting: asyncio.Future[str | None]) -> None:
    waiting.cancel()


async def _next_message() -> str:
    """Returns the next message; "" at the end of the conversation, which Ctrl-C is too."""
    from magentic_kit.cli.keyboard import read_answer
    from magentic_kit.cli.process import on_signals

    waiting = asyncio.ensure_future(read_answer(_ASK))
    on_signals(lambda: _cancel(waiting), lambda: None)
    try:
        return (await waiting or "").strip()
    except asyncio.CancelledError:
        return ""
