"""What `doctor` finds, and how it is printed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from magentic_kit.cli.output import say
from magentic_kit.text import one_line


class Finding(NamedTuple):
    """What was looked at, whether it is well, what was found, and what mends it if it is not.

    What is not `needed` by the team is shown and is no fault of it.
    """

    what: str
    ok: bool
    found: str
    mend: str = ""
    needed: bool = True

    @property
    def is_fault(self) -> bool:
        """Whether the team cannot work because of it."""
        return self.needed and not self.ok

    def _cells(self) -> list[str]:
        if self.ok:
            state, mend = "ok", ""
        else:
            state, mend = ("missing" if self.needed else "unused"), self.mend
        return [one_line(cell) for cell in (state, self.what, self.found, mend)]


def print_findings(findings: Sequence[Finding]) -> None:
    """Prints a table on a terminal, else a line for each finding."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console, table = Console(), Table("", "what", "found", "mend it with")
    for finding in findings:
        state, what, found, mend = finding._cells()
        style = "red" if finding.is_fault else ""
        table.add_row(Text(state), Text(what), Text(found), Text(mend), style=style)
        if not console.is_terminal:
            advice = f"; {mend}" if mend else ""
            say(f"{state:8} {what:24} {found}{advice}")
    if console.is_terminal:
        console.print(table)
