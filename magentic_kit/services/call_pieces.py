"""Puts the streamed pieces of function calls together."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from magentic_kit.events import FunctionCall


@dataclass
class _Call:
    id: str
    index: object
    name: str
    arguments: str = ""

    @property
    def whole(self) -> bool:
        return _is_object(self.arguments)


class CallPieces:
    """Puts the pieces of function calls together; tells calls apart that share an index or an id."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []

    def add(self, piece: dict[str, Any]) -> None:
        """Takes in a piece of a call, or a whole one."""
        inner = piece.get("function")
        function: dict[str, Any] = inner if isinstance(inner, dict) else piece
        name, arguments = str(function.get("name") or ""), _arguments(function.get("arguments"))
        id, index = str(piece.get("id") or ""), piece.get("index")
        call = next((c for c in reversed(self._calls) if index is None or c.index == index), None)
        if call is None or self._begins(call, id, name, arguments):
            self._calls.append(_Call(id, index, name, arguments))
        elif not (call.whole and call.arguments == arguments and id and id == call.id):  # else said twice
            call.id, call.name = call.id or id, call.name or name
            call.arguments += arguments

    def take(self) -> list[FunctionCall]:
        """The calls, each with an id of its own."""
        taken: list[FunctionCall] = []
        for number, call in enumerate(filter(lambda call: call.name, self._calls)):
            used = {made["id"] for made in taken}
            own = call.id if call.id and call.id not in used else f"call{number:05}"
            taken.append({"id": own, "index": number, "name": call.name, "arguments": call.arguments or "{}"})
        return taken

    @staticmethod
    def _begins(call: _Call, id: str, name: str, arguments: str) -> bool:
        if id and call.id and id != call.id:
            return True
        if not name or not call.name:
            return False
        if name != call.name:
            return True
        return call.whole and _is_object(arguments) and not (id and id == call.id and arguments == call.arguments)


def _arguments(value: object) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
