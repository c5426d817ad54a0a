"""`run`, `resume` and `plan`: the commands that let a team work."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magentic_kit.cli.arguments import PATH, argument, command, flag
from magentic_kit.cli.common import (
    INPUT,
    OUT,
    TASK_OPTIONS,
    TEAM_OPTIONS,
    VERBOSITY_OPTIONS,
    WORD_OPTIONS,
    inputs_of,
    overrides_of,
    quiet_logs,
    read,
    run_to_end,
    say,
    task_of,
    words_of,
    writing,
)
from magentic_kit.team.loading import Team, load_team

if TYPE_CHECKING:
    from magentic_kit.events import AnyEvent
    from magentic_kit.factory import TeamFactory
    from magentic_kit.orchestration.options import RunOptions
    from magentic_kit.run import Run, RunResult

EXIT_CODES = {"satisfied": 0, "limited": 3, "rejected": 3, "cancelled": 130, "failed": 1}
"""Outcome of a run -> exit code; 2 is a usage or configuration error, or a log that does not fit."""

_REVIEW = "review.plan=true"
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
    flag("--review-plan", dest="settings", action="append_const", const=_REVIEW, help=f"Same as --set {_REVIEW}."),
    argument("--plan", **PATH, help="Carry out this plan, made by `plan` and edited."),
    argument("--from", dest="reuse", type=Path, metavar="RUN", help="Reuse the steps of this run that are unchanged."),
)
def run(team: Path, out: Path, plan: Path | None, reuse: Path | None, **given: Any) -> int:
    """Run TEAM (a YAML file) on TASK; `-` reads the task from standard input.

    Progress goes to standard error, the answer to standard output. Exit code: 0 satisfied, 3 limited or
    rejected, 1 failed, 130 cancelled, 2 nothing was started.
    """
    task, inputs = task_of(**given)
    overrides = overrides_of(beside=team, **given)
    options: RunOptions = {"inputs": inputs, "out": out}
    if plan is not None:
        from magentic_kit.team.plan import TaskLedger

        options["plan"] = TaskLedger.from_markdown(read(plan), file=str(plan))
    if reuse is not None:
        options["reuse"] = reuse
    checked = load_team(team, overrides=overrides)

    def start(factory: TeamFactory, people: RunOptions) -> Run:
        people.update(options)
        return factory.start(task, **people)

    return _follow(partial(_factory, checked), start, given)


@command(argument("run_dir", type=Path, metavar="RUN"), INPUT, *WORD_OPTIONS, *TEAM_OPTIONS, *_SHOW_OPTIONS)
def resume(run_dir: Path, **given: Any) -> int:
    """Go on with RUN (a run directory) from where it stopped; nothing that is in its log is paid again."""
    overrides = overrides_of(beside=run_dir, **given)

    def load() -> TeamFactory:
        from magentic_kit.factory import TeamFactory

        return TeamFactory.from_run(run_dir, overrides=overrides)

    def start(factory: TeamFactory, people: RunOptions) -> Run:
        people["unknown_tools"] = words_of(**given)
        people["inputs"] = inputs_of(**given)
        return factory.resume(run_dir, **people)

    return _follow(load, start, given)


@command(
    _TEAM,
    *TASK_OPTIONS,
    *TEAM_OPTIONS,
    argument("-o", "--output", **PATH, default=Path("plan.md"), help="File to write; default: plan.md."),
)
def plan(team: Path, output: Path, **given: Any) -> int:
    """Make the task ledger of TEAM for TASK only, as Markdown to edit and to give to `run --plan`."""
    task, inputs = task_of(**given)
    checked = load_team(team, overrides=overrides_of(beside=team, **given))

    async def make() -> str:
        async with _factory(checked) as factory:
            ledger = await factory.plan(task, inputs=inputs)
            members = {agent.name: agent.description for agent in checked.config.agents}
            return ledger.to_markdown(team=checked.config.name, members=members)

    import asyncio

    quiet_logs()
    with writing(output), output.open("a", encoding="utf-8") as file:  # told before anything is paid
        made = asyncio.run(make())
        file.truncate(0)
        file.write(made)
    say(f"wrote {output}; edit it, then: magentic-kit run {team} --plan {output}")
    return 0


def _factory(checked: Team) -> TeamFactory:
    from magentic_kit.factory import TeamFactory  # takes seconds to import: what is wrong with the file is told before

    return TeamFactory(checked)


def _follow(
    load: Callable[[], TeamFactory], start: Callable[[TeamFactory, RunOptions], Run], given: Mapping[str, Any]
) -> int:
    """Runs to the end, with the console on standard error and the answer on standard output."""
    from magentic_kit.cli.terminal import by_terminal, on_signals
    from magentic_kit.views.console import Mode, make_console
    from magentic_kit.views.otel import otel_sinks

    form, show = given["form"], given["show"]
    mode: Mode = "quiet" if show == "quiet" or form == "jsonl" else "plain" if show else "auto"
    console = make_console(mode=mode, verbosity=given["verbosity"], show_reasons=given["show_reasons"])
    people = by_terminal(console, approve=given["approve"], approve_plan=given["approve_plan"])
    people["sinks"] = [console, *([_print_event] if form == "jsonl" else []), *otel_sinks(asked=given["otel"])]

    async def whole() -> int:
        try:
            async with load() as factory:
                run = start(factory, people)
                on_signals(run.cancel, console.close)
                result = await run.result()
        finally:
            console.close()
        return _tell(result, form, quiet=show == "quiet")

    quiet_logs()
    return run_to_end(whole)


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
