"""A plugin in plain Semantic Kernel: read-only SQL over a CSV file."""

import csv
import sqlite3
from pathlib import Path
from typing import Annotated

from semantic_kernel.functions import kernel_function


class SalesPlugin:
    """Answers SQL questions about one table, `sales(year, region, product, revenue)`."""

    def __init__(self, csv_file: str) -> None:
        path = Path(__file__).parent.parent / csv_file
        with path.open(newline="", encoding="utf-8") as file:
            self._rows = [tuple(row.values()) for row in csv.DictReader(file)]

    @kernel_function(name="query", description="Runs one SELECT on sales(year, region, product, revenue).")
    def query(self, sql: Annotated[str, "A single SQLite SELECT statement."]) -> str:
        """Returns the result as a Markdown table."""
        connection = sqlite3.connect(":memory:")
        connection.execute("CREATE TABLE sales (year INTEGER, region TEXT, product TEXT, revenue INTEGER)")
        connection.executemany("INSERT INTO sales VALUES (?, ?, ?, ?)", self._rows)
        connection.execute("PRAGMA query_only = ON")
        cursor = connection.execute(sql)
        head = [column[0] for column in cursor.description]
        lines = [head, ["---"] * len(head), *cursor.fetchmany(50)]
        connection.close()
        return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
