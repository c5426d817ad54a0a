"""`inbox` and `answer`: what queued runs ask people, and what these say."""

from __future__ import annotations

import click

from magentic_kit.cli.environment import open_database
from magentic_kit.cli.options import UnknownCallOptions, database_option, unknown_call_options
from magentic_kit.cli.output import say

_HOW = {
    "plan": "approve | revise TEXT | reject [TEXT]",
    "tool": "approve | approve-for-run | deny [TEXT]",
    "turn": "text TEXT",
    "outcome": "--repeat-tool | --skip-tool RESULT",
    "problem": "retry",
}
"""How a question of each kind is answered."""


@click.command()
@click.argument("run_id", required=False, metavar="[ID]")
@database_option
def inbox(run_id: str | None, url: str | None) -> None:
    """Show what runs ask people, or run ID alone: plans, tool calls, turns, and what keeps them from going on."""
    database = open_database(url)
    entries = database.waiting() if run_id is None else [database.entry(run_id)]
    if not any(entry.questions for entry in entries):
        say("nobody is asked anything", err=True)
    for entry in entries:
        for question in entry.questions:
            say(f"{entry.id}: {question.kind} ({question.id})\n")
            say("\n".join(f"    {line}".rstrip() for line in question.text.splitlines()))
            say(f"\n    magentic-kit answer {entry.id} {_HOW[question.kind]}\n")


@click.command()
@click.argument("run_id", metavar="ID")
@click.argument("decision", default="", metavar="[DECISION]")
@click.argument("text", default="", metavar="[TEXT]")
@click.option("--question", default="", metavar="NAME", help="Of several questions; default: the first.")
@unknown_call_options
@database_option
def answer(
    run_id: str, decision: str, text: str, question: str, unknown_calls: UnknownCallOptions, url: str | None
) -> None:
    """Answer what run ID asks: approve, approve-for-run, revise, reject, deny, or text, which is a person's turn.

    retry lets a run go on that failed or was cancelled, or that could not go on for the reason that `inbox` shows.
    """
    open_database(url).answer(run_id, decision, text, calls=unknown_calls.results(), question=question)
