"""What is wrong with a command line, as one sentence."""

from __future__ import annotations

import click

from magentic_kit.team.problems import nearest


def usage_message(error: click.ClickException) -> str:
    """Returns one line: the command, what is wrong with its arguments, and the nearest name or where help is."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is None:
        return error.format_message()
    path = context.command_path
    help_hint = f"; see {path} --help"
    match error:
        case click.NoSuchOption():
            options = [option for param in context.command.get_params(context) for option in param.opts]
            hint = nearest(error.option_name, options, list_all=False) or help_hint
            return f"{path}: there is no option {error.option_name}{hint}"
        case click.MissingParameter(param=click.Parameter() as param):
            return f"{path}: {param.human_readable_name} is missing{help_hint}"
        case click.BadParameter(param=click.Parameter() as param):
            name = param.opts[-1] if isinstance(param, click.Option) else param.human_readable_name
            return f"{path}: argument {name}: {error.message.rstrip('.')}{help_hint}"
    text = error.format_message().rstrip(".")
    if isinstance(context.command, click.Group):  # its own message names what to do
        return f"{path}: {text}"
    return f"{path}: {text[:1].lower()}{text[1:]}{help_hint}"
