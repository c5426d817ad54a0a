"""Counts how dense the package's code is, per 100 lines of code: `python tests/house/density.py [FOLDER]`."""

from __future__ import annotations

import ast
import io
import statistics
import sys
import tokenize
from collections import Counter
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "magentic_kit"

_NO_CODE = (
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
)
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def code_lines(source: str) -> int:
    """The lines of a module that hold code: no blank line, comment or docstring."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, _DOCUMENTED) and node.body and _is_docstring(node.body[0]):
            lines -= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return len(lines)


def _is_docstring(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def count(source: str) -> Counter[str]:
    """What a module holds: its code lines, and how often each dense construct stands in it."""
    counts: Counter[str] = Counter({"code lines": code_lines(source)})
    counts["comments"] = sum(
        token.type == tokenize.COMMENT for token in tokenize.generate_tokens(io.StringIO(source).readline)
    )
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.IfExp):
            counts["conditional expressions"] += 1
        elif isinstance(node, _COMPREHENSIONS):
            counts["comprehensions"] += 1
        elif isinstance(node, ast.Dict):
            counts["merges"] += None in node.keys
        elif isinstance(node, ast.Name) and node.id == "Any":
            counts["Any"] += 1
    return counts


def function_lengths(source: str) -> dict[str, int]:
    """The lines of each function of a module, by its name and line."""
    return {
        f"{node.name}:{node.lineno}": (node.end_lineno or node.lineno) - node.lineno + 1
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def modules(folder: Path = PACKAGE) -> list[Path]:
    """The Python modules below a folder, without the templates of projects."""
    return sorted(path for path in folder.rglob("*.py") if "templates" not in path.parts)


@cache
def density(folder: Path = PACKAGE) -> dict[str, float]:
    """Each construct per 100 code lines of all modules below a folder, and `code lines` themselves."""
    total: Counter[str] = Counter()
    for path in modules(folder):
        total += count(path.read_text(encoding="utf-8"))
    lines = total["code lines"]
    per_100 = {name: round(100 * number / lines, 2) for name, number in total.items()}
    return {**per_100, "code lines": lines}


def main(folder: Path) -> None:
    """Prints the densities of the whole, and those of each module that stands above them."""
    whole = density(folder)
    lengths: list[int] = []
    for path in modules(folder):
        source = path.read_text(encoding="utf-8")
        lengths += function_lengths(source).values()
        counts = count(source)
        most = {name: counts[name] for name in ("conditional expressions", "merges", "Any") if counts[name] > 3}
        print(f"{path.relative_to(folder).as_posix():38} {counts['code lines']:4} code lines  {most or ''}")
    print(whole)
    cuts = statistics.quantiles(lengths, n=20)
    print(f"function lines: median {statistics.median(lengths):.0f}, p95 {cuts[-1]:.0f}, max {max(lengths)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PACKAGE)
