"""The results of a batch as one self-contained page: no network, no script, every text escaped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from markupsafe import Markup

from magentic_kit.runlog.usage import sum_known
from magentic_kit.text import printable
from magentic_kit.views.environment import environment_of, read_template
from magentic_kit.views.html import sha256

_TEXT_LIMIT = 600  # characters of an answer or an error; results.jsonl has all of it


@dataclass(frozen=True, kw_only=True)
class BatchRow:
    """How one task ended. `report` is the address of its report from the page, empty if there is none.

    `checks` are names of checks with why each failed, empty if it passed; `cost` is in US dollars.
    """

    id: str
    outcome: str
    answer: str
    error: str
    seconds: float
    tokens: int | None
    cost: float | None
    report: str
    checks: Sequence[tuple[str, str]] = field(default=())

    @property
    def failed(self) -> list[tuple[str, str]]:
        """The checks that failed."""
        return [(check, problem) for check, problem in self.checks if problem]


def batch_html(name: str, tasks: int, rows: Sequence[BatchRow]) -> str:
    """The page of a batch of so many tasks, whose rows are those that have ended."""
    environment = environment_of(
        autoescape=True, finalize=lambda value: value if isinstance(value, Markup) else printable(str(value))
    )
    style = read_template("report.css")
    checks = [problem for row in rows for _, problem in row.checks]
    return environment.get_template("batch.html.j2").render(
        name=name,
        tasks=tasks,
        rows=rows,
        numbered=list(enumerate(rows, 1)),
        outcomes=Counter(row.outcome for row in rows).most_common(),
        checks=len(checks),
        passed=checks.count(""),
        tokens=sum_known(row.tokens for row in rows),
        cost=sum_known(row.cost for row in rows),
        unknown_costs=sum(row.cost is None for row in rows),
        median=median([row.seconds for row in rows] or [0.0]),
        longest=max([row.seconds for row in rows] or [0.0]),
        limit=_TEXT_LIMIT,
        style=Markup(style),
        hash=sha256(style),
    )
