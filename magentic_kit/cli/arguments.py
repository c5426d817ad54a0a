"""How a command says what arguments it takes, and what is read from the command line by it."""

from __future__ import annotations

from argparse import SUPPRESS, ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from magentic_kit.errors import ConfigError
from magentic_kit.team.problems import nearest

Argument: TypeAlias = tuple[tuple[str, ...], dict[str, Any]]
"""What `ArgumentParser.add_argument` is called with."""


PATH: dict[str, Any] = {"type": Path, "metavar": "PATH"}
"""How an option is a path."""


def argument(*names: str, **how: Any) -> Argument:
    """An option, or without a dash an argument; `how` is as `ArgumentParser.add_argument` has it."""
    return names, ({} if names[0].startswith("-") else {"metavar": names[0].upper()}) | how


def repeated(name: str, **how: Any) -> Argument:
    """An option that may be given several times."""
    return argument(name, action="append", default=[], **how)


def flag(name: str, **how: Any) -> Argument:
    """An option without a value; with `const`, which value it stands for."""
    return argument(name, **{"action": "store_const" if "const" in how else "store_true", **how})


def number(kind: type[int] | type[float], holds: Callable[[Any], bool], wanted: str) -> Callable[[str], float]:
    """The type of an option that is a number for which `holds` is true, as `wanted` says."""

    def convert(text: str) -> float:
        try:
            if holds(value := kind(text)):
                return value
        except ValueError:
            pass
        raise ArgumentTypeError(f"'{text}' should be {wanted}")

    return convert


POSITIVE = number(int, lambda n: n >= 1, "a whole number from 1")


class Command:
    """A function with keyword parameters, as a command that takes these arguments; its help is the docstring."""

    def __init__(self, work: Callable[..., int | None], arguments: Sequence[Argument]) -> None:
        self.arguments = arguments
        self._work = work

    def __call__(self, name: str, given: Sequence[str]) -> int:
        """Does the work and returns the exit code. Raises `ConfigError`."""
        values = vars(Parser(f"magentic-kit {name}", self._work.__doc__ or "", self.arguments).parse(given))
        return self._work(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}) or 0


def command(*arguments: Argument) -> Callable[[Callable[..., int | None]], Command]:
    """Makes a command of a function."""
    return lambda work: Command(work, arguments)


def unknown(what: str, name: str, known: Iterable[str], *, prog: str) -> ConfigError:
    """The error about a name that is not one of those `known`."""
    hint = nearest(name, known, list_all=False) or f"; see {prog} --help"
    return ConfigError.one(f"there is no {what} {name}{hint}", file=prog)


class Parser(ArgumentParser):
    """Options before or after arguments, none abbreviated; what is wrong is a `ConfigError`."""

    def __init__(self, prog: str, about: str = "", arguments: Sequence[Argument] = ()) -> None:
        form = partial(RawDescriptionHelpFormatter, max_help_position=32, width=80)
        super().__init__(prog, description=about, formatter_class=form, add_help=False, allow_abbrev=False)
        self._options = [name for names, _ in arguments for name in names if name.startswith("-")]
        shown = [how["metavar"] for names, how in arguments if names[0] not in self._options]
        self.usage = " ".join([prog, "[OPTIONS]", *shown])
        group = self.add_argument_group("Options")
        for names, how in arguments:
            how = how if names[0] in self._options else how | {"help": SUPPRESS}  # the usage names it
            group.add_argument(*names, **how)
        group.add_argument("-h", "--help", action="help", help="Show this message and exit.")

    def parse(self, given: Sequence[str]) -> Any:
        """The values by name. Raises `ConfigError`."""
        values, rest = self.parse_known_intermixed_args(given)
        for option in (text.partition("=")[0] for text in rest if text.startswith("-")):
            raise unknown("option", option, self._options, prog=self.prog)
        if rest:
            self.error(f"that is more than it takes: {' '.join(rest)}")
        return values

    def error(self, message: str) -> NoReturn:
        """Raises in place of printing and leaving."""
        raise ConfigError.one(f"{message}; see {self.prog} --help", file=self.prog)

    def format_help(self) -> str:
        """What `--help` prints; the paragraphs of a docstring stay paragraphs."""
        import textwrap

        fold = textwrap.TextWrapper(78, initial_indent="  ", subsequent_indent="  ")
        paragraphs = (self.description or "").split("\n\n")
        self.description = "\n\n".join(fold.fill(" ".join(paragraph.split())) for paragraph in paragraphs)
        return super().format_help().replace("usage:", "Usage:", 1)
