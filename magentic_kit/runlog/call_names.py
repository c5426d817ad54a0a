"""Names in the log of function calls within a turn that is one step."""

from __future__ import annotations

import hashlib
import json


def call_name(turn: str, function: str, arguments: object, made: dict[str, int]) -> str:
    """A name in the log for a call within a turn that is one step: the same for the same call, should it come again.

    `made` counts the calls of the turn that are alike.
    """
    text = json.dumps([function, arguments], default=str, sort_keys=True)
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    number = made.get(digest, 0)
    made[digest] = number + 1
    return f"{turn}.{digest}-{number}"
