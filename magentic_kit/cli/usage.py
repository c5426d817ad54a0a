"""What is wrong with a command line, as one sentence."""

from __future__ import annotations

import click

from magentic_kit.team.problems import nearest


def usage_message(error: click.ClickException) -> str:
    """Returns one line: the command, what is wrong with its arguments, and the nearest name or where help is."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    path = context.command_path if context else "magentic-kit"
    help_hint = f"; see {path} --help"
    match error:
        case click.NoSuchOption():
            options = [option for param in _params(context) for option in param.opts]
            hint = nearest(error.option_name, options, list_all=False) or help_hint
            return f"{path}: there is no option {error.option_name}{hint}"
        case click.MissingParameter(param=click.Parameter() as param):
            return f"{path}: {param.human_readable_name} is missing{help_hint}"
        case click.BadParameter():
            return f"{path}: argument {_name(error)}: {error.message.rstrip('.')}{help_hint}"
        case _:
            text = error.format_message().rstrip(".")
            return f"{path}: {text[:1].lower()}{text[1:]}{help_hint}"


def _params(context: click.Context | None) -> list[click.Parameter]:
    if context:
        return context.command.get_params(context)
    return []


def _name(error: click.BadParameter) -> object:
    if isinstance(error.param, click.Option):
        return error.param.opts[-1]
    if error.param:
        return error.param.human_readable_name
    return error.param_hint
