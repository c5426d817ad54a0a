"""The table of commands, and a click group that imports a command when it is called."""

from __future__ import annotations

import importlib

import click

from magentic_kit.errors import ConfigError
from magentic_kit.team.problems import nearest

COMMANDS = {
    "init": ("init:init", "Write a small team that runs at once, without a key."),
    "run": ("run:run", "Let a team work on a task."),
    "resume": ("run:resume", "Continue a run that stopped; nothing is paid twice."),
    "chat": ("chat:chat", "Talk with a team; a run for each message."),
    "plan": ("run:plan", "Make a team's plan only, to edit and carry out later."),
    "batch": ("batch:batch", "Let a team work on many tasks, and check the answers."),
    "list": ("list:list_runs", "List runs: age, outcome, tokens, task."),
    "show": ("show:show", "Play a run on the console, or follow a live one."),
    "report": ("report:report", "Write a run's report again, and open it."),
    "diff": ("diff:diff", "Compare two runs: plans, rounds, answers, tokens."),
    "validate": ("validate:validate", "Report every error in team files at once."),
    "schema": ("validate:schema", "Print the JSON Schema of the team file."),
    "doctor": ("doctor:doctor", "Check the installation, keys and services."),
    "export": ("export:export", "Write a team as a project for Microsoft Agent Framework."),
    "ui": ("ui:ui", "Watch and steer teams on a page in the browser."),
    "mcp": ("mcp:mcp", "Serve teams as tools of an MCP server."),
    "serve": ("serve:serve", "Serve teams by MCP, A2A, AG-UI and an OpenAI-compatible API."),
    "worker": ("cluster:worker", "Carry out queued runs; on as many hosts as you like."),
    "submit": ("cluster:submit", "Queue a run for the workers."),
    "status": ("cluster:status", "Show the state of queued runs."),
    "result": ("cluster:result", "Get a queued run's answer, log and reports."),
    "cancel": ("cluster:cancel", "Cancel a queued run."),
    "inbox": ("inbox:inbox", "Show what queued runs ask people."),
    "answer": ("inbox:answer", "Answer a queued run, or let it go on after its end."),
    "limits": ("cluster:limits", "Set what all workers together may do at most."),
    "purge": ("cluster:purge", "Delete queued runs that ended some time ago."),
    "completion": ("completion:completion", "Print what makes a shell complete all this."),
}
"""Command -> its module and function under `magentic_kit.cli`, and what it does."""


class LazyGroup(click.Group):
    """The commands of the table; its help page imports none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns all names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports the command's module and returns the command; None if there is no such name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, function = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(f"magentic_kit.cli.{module}"), function)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the command that `args` begin with. Raises `ConfigError` with the nearest name."""
        if args[0] not in COMMANDS and not ctx.resilient_parsing:
            hint = nearest(args[0], COMMANDS, list_all=False) or f"; see {ctx.command_path} --help"
            raise ConfigError.one(f"there is no command {args[0]}{hint}", file=ctx.command_path)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])
