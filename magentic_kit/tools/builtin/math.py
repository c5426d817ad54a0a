"""Arithmetic for agents: a formula is computed, never run as code."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Iterator
from typing import Annotated, Any

from semantic_kernel.functions.kernel_function_decorator import kernel_function

MAX_LENGTH = 1_000
"""Characters of a formula."""
MAX_BITS = 4_096
"""Size of a whole number on the way, about 1,200 digits: `9**9**9` would take all memory."""


class MathPlugin:
    """Computes formulas. (Semantic Kernel's own `MathPlugin` adds and subtracts two numbers.)"""

    REPEATABLE = ("calculate",)

    @kernel_function(
        name="calculate",
        description="Computes a formula of numbers, + - * / // % ** and parentheses, with sqrt, log(x, base), exp, "
        "sin, cos, tan (radians), round, abs, min, max, sum, pi and e.",
    )
    def calculate(self, expression: Annotated[str, "The formula, such as 'round((232.8 - 167.6) / 167.6, 3)'"]) -> str:
        """The value, floats to 15 digits. Raises `ValueError` or another `ArithmeticError` with one sentence."""
        if len(expression) > MAX_LENGTH:
            raise ValueError(f"the formula is longer than {MAX_LENGTH:,} characters")
        try:
            value = _value(ast.parse(expression.strip(), mode="eval").body)
        except (SyntaxError, TypeError, RecursionError, MemoryError) as error:
            raise ValueError(f"this is no formula: {error}") from None
        except OverflowError:
            raise OverflowError("the number is too large") from None
        if isinstance(value, float):
            return f"{value:.15g}"
        return str(value)


def _value(node: ast.AST) -> Any:
    match node:
        case ast.Constant(value=value) if type(value) in (int, float):
            result: Any = value
        case ast.Name(id="pi" | "e" as name):
            result = getattr(math, name)
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _OPERATORS:
            result = _OPERATORS[type(op)](_value(operand))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            result = _OPERATORS[type(op)](_value(left), _value(right))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS:
            result = _FUNCTIONS[name](*map(_value, _flat(args)))
        case _:
            hint = "; a power is written **" if isinstance(getattr(node, "op", None), ast.BitXor) else ""
            raise ValueError(f"not part of a formula: {ast.unparse(node)[:60]}{hint}")
    if isinstance(result, complex):
        raise ValueError("the result is not a real number")
    if result.bit_length() > MAX_BITS if isinstance(result, int) else not math.isfinite(result):
        raise OverflowError
    return result


def _flat(args: list[ast.expr]) -> Iterator[ast.expr]:
    """Models write both `sum(1, 2)` and `sum([1, 2])`."""
    for arg in args:
        yield from arg.elts if isinstance(arg, ast.List | ast.Tuple) else [arg]


def _power(base: float, exponent: float) -> Any:
    if isinstance(base, int) and isinstance(exponent, int) and base.bit_length() * exponent > MAX_BITS:
        raise OverflowError
    return base**exponent


def _round(value: float, digits: float = 0) -> float:
    if abs(digits) > MAX_BITS:  # int.__round__ would compute 10**-digits
        raise OverflowError
    if digits:
        return round(value, int(digits))
    return round(value)


_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: getattr(math, name) for name in ("sqrt", "log", "exp", "sin", "cos", "tan")},
    "round": _round,
    "abs": abs,
    "min": lambda *values: min(values),
    "max": lambda *values: max(values),
    "sum": lambda *values: sum(values),
}
