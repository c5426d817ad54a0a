"""What a run has done already, and whether it is now asked the same again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from magentic_kit import events as ev
from magentic_kit.errors import ReplayError
from magentic_kit.runlog.attachments import Attachments
from magentic_kit.runlog.requests import Request, Requests, difference

_NOT_OFFERED = "this function is not offered to this agent"
"""The reason that 0.1 logged for a function name that it did not know, before Semantic Kernel looked for it."""

UnknownTools = Mapping[str, str | None]
"""What became of tool calls that began and never ended, by the call's name (`*`: all others).

It is the result to go on with, or None if the call is to be made again.
"""


class RecordedSteps:
    """The finished steps of an earlier run, by name, from the events of its log that still hold.

    `strict` is for going on with that run: a request that differs raises `ReplayError`. Otherwise, for a run
    of a changed team, the first difference ends the reuse for good; `folder` is where that run's contents are.
    """

    def __init__(
        self,
        log: Sequence[ev.AnyEvent] = (),
        *,
        strict: bool = True,
        next_seq: int = 0,
        unknown_tools: UnknownTools | None = None,
        folder: Path | None = None,
    ) -> None:
        self.attachments = Attachments.beside(folder)
        self.next_seq = next_seq
        self.requests = Requests()
        self.unfinished: dict[str, ev.ToolCallStarted] = {}
        self.unknown_tools: UnknownTools = unknown_tools or {}
        self.has_log = bool(log)
        """Whether there is such a log: what a model says may then come from it, with secrets masked."""
        self._strict = strict
        self._logged: set[tuple[Any, ...] | None] = set()
        self._resume_point: int | None = None
        self._asked: dict[str, Request] = {}
        self._done: dict[tuple[str, Any], ev.AnyEvent] = {}
        self._denied_unresolved: set[str] = set()
        self._live = False
        self._failed: ev.ModelCallFailed | None = None
        self.dialects: dict[str, list[str]] = {}
        """What was found of each service's dialect, by the service's name."""
        self._plan: tuple[str, str] = ("", "")
        for event in log:
            self._take(event)
        if log and strict:  # the new events go behind the old ones
            self._logged = {event.key for event in log} - {None}
            self._resume_point = log[-1].seq
        else:
            self.requests = Requests()

    @property
    def is_resumed(self) -> bool:
        """Whether the log that these steps come from is the one that the run goes on with."""
        return bool(self._logged)

    def is_logged(self, event: ev.AnyEvent) -> bool:
        """Whether the log has this event already."""
        return event.key in self._logged

    def is_request_logged(self, event: ev.ModelCallStarted, request: Request) -> bool:
        """Whether the log has the start of this call, and with this request."""
        if not self.is_logged(event):
            return False
        if self.asked(event.call) == request:
            return True
        self._logged.discard(event.key)  # it broke off, and is now asked differently
        return False

    def take_resume_point(self) -> int | None:
        """The number of the last event that the log had, when this is first called; None if the run is new."""
        point, self._resume_point = self._resume_point, None
        return point

    def _take(self, event: ev.AnyEvent) -> None:
        match event:
            case ev.ModelCallStarted():
                self._asked[event.call] = self.requests.unpack(event.who, event.request)
                if self._failed and self._failed.call != event.call:  # the run got over it: a refused ledger tier
                    self._done.setdefault(("model", self._failed.call), self._failed)
            case ev.ModelCallFailed(kind="service"):
                self._failed = event
            case ev.DialectFound():
                self.dialects.setdefault(event.service, []).append(event.name)
            case ev.ToolCallStarted():
                self.unfinished[event.call] = event
            case ev.ModelCallFinished():
                self._done["model", event.call] = event
            case ev.ToolCallDenied(reason=reason) if reason == _NOT_OFFERED:
                self._denied_unresolved.add(event.call)
            case ev.ToolCallFinished() | ev.ToolCallFailed() | ev.ToolCallDenied():
                self.unfinished.pop(event.call, None)
                self._done["tool", event.call] = event
            case ev.ToolReviewed():
                self._done["tool review", event.call] = event
            case ev.PlanReviewed():
                self._done["plan review", (event.version, *self._plan)] = event
            case ev.PlanCreated() | ev.Replanned():
                self._plan = (event.facts, event.plan)
        self.requests.learn(event)

    def asked(self, call: str) -> Request:
        """The recorded request of a call. Raises `ReplayError` if the log has no such call."""
        if call not in self._asked:
            raise ReplayError(call, "the log has no such call")
        return self._asked[call]

    def reply(self, call: str, request: Request) -> ev.ModelCallFinished | ev.ModelCallFailed | None:
        """The recorded reply to this request, or the failure that the run got over; None if it has to be asked.

        Raises `ReplayError` if the log has another request under this name.
        """
        found: ev.ModelCallFinished | ev.ModelCallFailed | None = self.find("model", call)
        asked = self._asked.get(call, {})
        if found and asked == request:
            return found
        self._live = True
        if found and self._strict:
            raise ReplayError(call, difference(asked, request) if asked else "the log does not have its request")
        return None

    def tools(self, call: str) -> Any:
        """What was offered to the model in a call whose reply is recorded; None if it has to be asked."""
        if self._live or ("model", call) not in self._done:
            return None
        return self._asked.get(call, {}).get("tools")

    def find(self, kind: str, name: Any) -> Any:
        """The recorded end of another step (`tool`, `tool review`, `plan review`), None if it is to be done."""
        # What another run's log has of a person's yes, which anybody may have written, lets no call be made.
        # In its own log a step that is made again may have finished ones inside it, or beside it in another agent.
        if not self._strict and (self._live or kind == "tool review"):
            return None
        return self._done.get((kind, name))

    def is_unresolved(self, call: str) -> bool:
        """Whether the log has a tool call whose name was left to Semantic Kernel to resolve, as 0.1 did."""
        return not self._live and call in self._denied_unresolved

    def settle(self, call: str, result: str) -> None:
        """Takes a person's word for the result of a tool call that never ended."""
        started = self.unfinished.pop(call)
        self._done["tool", call] = ev.ToolCallFinished(
            call=call, who=started.who, function=started.function, seconds=0.0, result=result
        )
