"""The log of a queued run as its DBOS stream has it."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone

from magentic_kit import events as ev
from magentic_kit.events import AnyEvent

STREAM = "log"
"""The stream of a run: each value is a JSON list of what follows.

`{"worker": name}`: it takes the run; `{"waits": true}`: for a person; `{"run", "event"}`: an event of the run, or of
one inside it; `{"sha256", "content"}`: what is attached to its task.
"""


@dataclass(kw_only=True)
class History:
    """The stream of a run: how often workers have taken it, and the events by the run inside it, `""` for itself.

    `lost` counts the workers that did not bring it to its end or to a question; `ended` is whether its end is last.
    """

    takes: int = 0
    lost: int = 0
    ended: bool = False
    values: int = 0
    logs: dict[str, dict[int, AnyEvent]] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    """Of attachments, by their SHA-256."""

    def read(self, value: str) -> None:
        """Adds what a value of the stream has."""
        from magentic_kit.runlog.event_json import from_dict  # Pydantic, which nobody needs who reads no log

        self.values += 1
        for item in json.loads(value):
            if "worker" in item:
                self.takes += 1
                self.lost += 1
            elif "waits" in item:
                self.lost, self.ended = 0, False
            elif "sha256" in item:
                self.contents[item["sha256"]] = b64decode(item["content"])
            else:
                self.add(item["run"], from_dict(item["event"]))

    def add(self, run: str, event: AnyEvent) -> None:
        """Adds an event. One that was written twice, as the connection was lost, counts once."""
        self.logs.setdefault(run, {})[event.seq] = event
        if not run:
            self.ended = isinstance(event, ev.RunFinished)
            if self.ended:
                self.lost = 0

    def log(self, run: str = "") -> list[AnyEvent]:
        """The events of the run, or of the one that a call of it has begun."""
        return list(self.logs.get(run, {}).values())

    def end(self, state: str, at: float | None) -> None:
        """Gives the log of a run that was cancelled its last event, which DBOS takes from no worker any more."""
        log = self.log()
        if state == "cancelled" and log and not self.ended:
            time = datetime.fromtimestamp(at or 0, timezone.utc).isoformat(timespec="milliseconds")
            end = ev.RunFinished(outcome="cancelled", answer="", seq=log[-1].seq + 1, run_id=log[0].run_id)
            self.add("", replace(end, time=time.replace("+00:00", "Z")))

    def is_idle(self, questions: Iterable[str]) -> bool:
        """Whether no function is under way but those inside which these questions are asked."""
        paths = {next(iter(log.values())).run_id: run for run, log in self.logs.items()}
        asking = []
        for question in questions:
            run_id, _, name = question.partition("/")
            asking.append(f"{paths.get(run_id, '')}/{name}".removeprefix("/"))
        for run in self.logs:
            calls = set()
            for event in ev.effective(self.log(run)):
                if isinstance(event, ev.ToolCallStarted):
                    calls.add(event.call)
                elif isinstance(event, ev.ToolCallFinished | ev.ToolCallFailed):
                    calls.discard(event.call)
            for call in calls:
                inside = f"{run}/{call}.".removeprefix("/")
                if not any(name.startswith(inside) for name in asking):
                    return False
        return True
