"""The log of a queued run as its DBOS stream has it."""

from __future__ import annotations

import json
from base64 import b64decode
from dataclasses import dataclass, field

from magentic_kit.events import AnyEvent, from_dict


@dataclass(kw_only=True)
class History:
    """The stream of a run: how often workers have taken it, and the events by the run inside it, `""` for itself."""

    takes: int = 0
    logs: dict[str, dict[int, AnyEvent]] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    """Of attachments, by their SHA-256."""

    def read(self, value: str) -> None:
        """Adds what a value of the stream has."""
        for item in json.loads(value):
            if "worker" in item:
                self.takes += 1
            elif "sha256" in item:
                self.contents[item["sha256"]] = b64decode(item["content"])
            else:
                self.add(item["run"], from_dict(item["event"]))

    def add(self, run: str, event: AnyEvent) -> None:
        """Adds an event. One that was written twice, as the connection was lost, counts once."""
        self.logs.setdefault(run, {})[event.seq] = event

    def log(self, run: str = "") -> list[AnyEvent]:
        """The events of the run, or of the one that a call of it has begun."""
        return list(self.logs.get(run, {}).values())
