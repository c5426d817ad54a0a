"""What the agents may do: functions over data/tickets.csv. A plugin of your own looks the same."""

import csv
from collections import Counter
from pathlib import Path
from typing import Annotated

from semantic_kernel.functions import kernel_function


class Tickets:
    """Counts support tickets."""

    def __init__(self, file: str) -> None:
        with (Path(__file__).parent.parent / file).open(newline="", encoding="utf-8") as rows:
            self._tickets = list(csv.DictReader(rows))

    @kernel_function(description="Counts the tickets that have a status, by the values of one column.")
    def count(
        self,
        by: Annotated[str, "The column: topic, product or status."],
        status: Annotated[str, "open, closed or any."] = "any",
    ) -> str:
        """Returns a Markdown list of `value: number`, the largest number first."""
        counted = Counter(ticket[by] for ticket in self._tickets if status in ("any", ticket["status"]))
        return "\n".join(f"- {value}: {number}" for value, number in counted.most_common())
