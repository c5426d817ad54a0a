"""`run`, `resume` and `plan`: the commands that let a team work."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magentic_kit.commands.arguments import PATH, argument, command, flag
from magentic_kit.commands.common import (
    OUT,
    TASK_OPTIONS,
    TEAM_OPTIONS,
    VERBOSITY_OPTIONS,
    WORD_OPTIONS,
    overrides_of,
    pair,
    quiet_logs,
    read,
    run_to_end,
    say,
    task_of,
    words_of,
    writing,
)

if TYPE_CHECKING:
    from magentic_kit.events import AnyEvent
    from magentic_kit.factory import TeamFactory
    from magentic_kit.options import RunOptions
    from magentic_kit.run import Run, RunResult

EXIT_CODES = {"satisfied": 0, "limited": 3, "rejected": 3, "cancelled": 130, "failed": 1}
"""Outcome of a run -> exit code; 2 is a usage or configuration error, or a log that does not fit."""

_TEAM = argument("team", type=Path)
_SHOW_OPTIONS = (
    flag("--json", dest="form", const="json", help="Print the whole result as JSON in place of the answer."),
    flag("--jsonl", dest="form", const="jsonl", help="Print every event as a line of JSON as it comes."),
    flag("--quiet", dest="show", const="quiet", help="Show nothing of the run; print the answer."),
    flag("--plain", dest="show", const="plain", help="Plain lines: no colour, no live display."),
    *VERBOSITY_OPTIONS,
    flag("--otel", help="Export traces and metrics by OTLP, as OTEL_* variables say."),
)


@command(
    _TEAM,
    *TASK_OPTIONS,
    *TEAM_OPTIONS,
    *_SHOW_OPTIONS,
    OUT,
    flag("--review-plan", help="Same as --set review.plan=true."),
    argument("--plan", **PATH, help="Carry out this plan, made by `plan` and edited."),
    argument("--from", dest="reuse", type=Path, metavar="RUN", help="Reuse the steps of this run that are unchanged."),
)
def run(
    team: Path,
    task: str | None,
    task_file: Path | None,
    inputs: tuple[str, ...],
    out: Path,
    review_plan: bool,
    plan: Path | None,
    reuse: Path | None,
    form: str | None,
    show: str | None,
    **team_options: Any,
) -> int:
    """Run TEAM (a YAML file) on TASK; `-` reads the task from standard input.

    Progress goes to standard error, the answer to standard output. Exit code: 0 satisfied, 3 limited or
    rejected, 1 failed, 130 cancelled, 2 nothing was started.
    """
    text = task_of(task, task_file)
    overrides = overrides_of(beside=team, **team_options) | ({"review.plan": True} if review_plan else {})
    options: RunOptions = {"inputs": dict(pair(value, "--input") for value in inputs), "out": out}
    if plan is not None:
        from magentic_kit.plan import TaskLedger

        options["plan"] = TaskLedger.from_markdown(read(plan), file=str(plan))
    if reuse is not None:
        options["reuse"] = reuse
    _check(team, overrides)

    def start(factory: TeamFactory, people: RunOptions) -> Run:
        people.update(options)
        return factory.start(text, **people)

    return _follow(_loader(team, overrides), start, form, show, team_options)


@command(argument("run_dir", type=Path, metavar="RUN"), *WORD_OPTIONS, *TEAM_OPTIONS, *_SHOW_OPTIONS)
def resume(
    run_dir: Path,
    repeat_tool: bool,
    skip_tool: str | None,
    calls: tuple[str, ...],
    form: str | None,
    show: str | None,
    **team_options: Any,
) -> int:
    """Go on with RUN (a run directory) from where it stopped; nothing that is in its log is paid again."""
    overrides = overrides_of(beside=run_dir, **team_options)

    def load() -> TeamFactory:
        from magentic_kit.factory import TeamFactory

        return TeamFactory.from_run(run_dir, overrides=overrides)

    def start(factory: TeamFactory, people: RunOptions) -> Run:
        from magentic_kit.resume import words

        people["unknown_tools"] = words(words_of(repeat_tool=repeat_tool, skip_tool=skip_tool, calls=calls))
        return factory.resume(run_dir, **people)

    return _follow(load, start, form, show, team_options)


@command(
    _TEAM,
    *TASK_OPTIONS,
    *TEAM_OPTIONS,
    argument("-o", "--output", **PATH, default=Path("plan.md"), help="File to write; default: plan.md."),
)
def plan(
    team: Path, task: str | None, task_file: Path | None, inputs: tuple[str, ...], output: Path, **options: Any
) -> int:
    """Make the task ledger of TEAM for TASK only, as Markdown to edit and to give to `run --plan`."""
    text = task_of(task, task_file)
    overrides = overrides_of(beside=team, **options)
    given = dict(pair(value, "--input") for value in inputs)
    _check(team, overrides)

    async def make() -> str:
        async with _loader(team, overrides)() as factory:
            ledger = await factory.plan(text, inputs=given)
            members = {agent.name: agent.description for agent in factory.team.config.agents}
            return ledger.to_markdown(team=factory.team.config.name, members=members)

    import asyncio

    quiet_logs()
    with writing(output), output.open("a", encoding="utf-8") as file:  # told before anything is paid
        made = asyncio.run(make())
        file.truncate(0)
        file.write(made)
    say(f"wrote {output}; edit it, then: magentic-kit run {team} --plan {output}")
    return 0


def _loader(team: Path, overrides: Mapping[str, Any]) -> Callable[[], TeamFactory]:
    def load() -> TeamFactory:
        from magentic_kit.factory import TeamFactory

        return TeamFactory.from_yaml(team, overrides=overrides)

    return load


def _check(team: Path, overrides: Mapping[str, Any]) -> None:
    """Tells what is wrong with the file before the seconds that importing Semantic Kernel takes."""
    from magentic_kit.check import load_team

    load_team(team, overrides=overrides)


def _follow(
    load: Callable[[], TeamFactory],
    start: Callable[[TeamFactory, RunOptions], Run],
    form: str | None,
    show: str | None,
    flags: Mapping[str, Any],
) -> int:
    """Runs to the end, with the console on standard error and the answer on standard output."""

    from magentic_kit.console import Mode, make_console
    from magentic_kit.otel import otel_sinks
    from magentic_kit.terminal import by_terminal, on_signals

    mode: Mode = "quiet" if show == "quiet" or form == "jsonl" else "plain" if show else "auto"
    console = make_console(mode=mode, verbosity=flags["verbosity"], show_reasons=flags["show_reasons"])
    people = by_terminal(console, approve=flags["approve"], approve_plan=flags["approve_plan"])
    people["sinks"] = [console, *([_print_event] if form == "jsonl" else []), *otel_sinks(asked=flags["otel"])]

    async def whole() -> int:
        async with load() as factory:
            run = start(factory, people)
            on_signals(run.cancel, console.close)
            result = await run.result()
        console.close()
        return _tell(result, form, quiet=show == "quiet")

    quiet_logs()
    try:
        return run_to_end(whole)
    finally:
        console.close()


def _tell(result: RunResult, form: str | None, *, quiet: bool) -> int:
    from magentic_kit.text import printable

    if form == "json":
        say(json.dumps(result.record.to_dict(), indent=2, default=str))
    elif form is None and result.answer:
        say(printable(result.answer))
    if result.run_dir and not quiet:
        say(f"{result.outcome}: see {result.run_dir}", aside=True)
    return EXIT_CODES[result.outcome]


def _print_event(event: AnyEvent) -> None:
    from magentic_kit.events import to_dict

    say(json.dumps(to_dict(event)))
