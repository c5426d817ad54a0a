"""Queued runs as whoever submits, follows or ends them sees them: each is a DBOS workflow, its log a DBOS stream."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

from dbos import EnqueueOptions, WorkflowStatus
from dbos import error as dbos_error

from magentic_kit.cluster.connection import Connection
from magentic_kit.cluster.limits import QUEUE, SharedLimits
from magentic_kit.errors import ConfigError
from magentic_kit.events import AnyEvent, from_dict
from magentic_kit.runlog.directory import new_run_id

if TYPE_CHECKING:
    from magentic_kit.factory import TeamFactory

WORKFLOW = "magentic_kit.run"
"""Name of the DBOS workflow that a run is."""
VERSION = "1"
"""Of what workers have to agree on. Pinned: a hash of the code, as DBOS takes, lets a new worker pass old runs by."""
STREAM = "log"
"""The stream of a run: each value is a JSON list of `{"worker": name}` (it takes the run) or `{"run", "event"}`."""
OUTCOMES = ("satisfied", "limited", "rejected", "cancelled", "failed")
_STATES = {"ENQUEUED": "queued", "DELAYED": "queued", "PENDING": "running", "CANCELLED": "cancelled"}


class People(TypedDict):
    """What needs nobody's yes in a run: functions by name or pattern, and plans."""

    approve: list[str]
    approve_plan: bool


class Spec(TypedDict):
    """What is to be run: a team file, resolved, and the folder that its paths are relative to."""

    team: str
    base_dir: str
    task: str
    inputs: dict[str, Any]
    people: People


class Settlement(NamedTuple):
    """A person's decisions on tool calls of unknown outcome, after so many workers had taken the run."""

    takes: int
    words: dict[str, str | None]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A run of the queue. `state` is `queued`, `running`, `parked` (a person is needed: `note`) or its outcome."""

    id: str
    state: str
    note: str
    worker: str
    settlement: Settlement

    @classmethod
    def of(cls, status: WorkflowStatus) -> Entry:
        """The entry of a workflow."""
        output: Mapping[str, str] = {"state": _STATES.get(status.status, "failed"), "note": str(status.error or "")}
        if status.status == "SUCCESS":
            output = status.output or output
        settlement = Settlement(*(status.attributes or {}).get("settlement", (0, {})))
        worker = status.executor_id or ""
        return cls(id=status.workflow_id, worker=worker, settlement=settlement, **output)


@dataclass(kw_only=True)
class History:
    """The stream of a run: how often workers have taken it, and the events by the run inside it, `""` for itself."""

    takes: int = 0
    logs: dict[str, dict[int, AnyEvent]] = field(default_factory=dict)

    def read(self, value: str) -> None:
        """Adds what a value of the stream has."""
        for item in json.loads(value):
            if "worker" in item:
                self.takes += 1
            else:
                self.add(item["run"], from_dict(item["event"]))

    def add(self, run: str, event: AnyEvent) -> None:
        """Adds an event. One that was written twice, as the connection was lost, counts once."""
        self.logs.setdefault(run, {})[event.seq] = event

    def log(self, run: str = "") -> list[AnyEvent]:
        """The events of the run, or of the one that a call of it has begun."""
        return list(self.logs.get(run, {}).values())


class Database:
    """The queue, and the log of each run. Its methods raise `JournalError` if the database is away for long."""

    def __init__(self, url: str) -> None:
        """Opens the database, and makes its tables. Raises `ConfigError` if it cannot be opened."""
        self.connection = Connection(url)
        self.client = self.connection.client
        self.limits = SharedLimits(self.connection)

    def submit(
        self,
        factory: TeamFactory,
        task: str | None = None,
        *,
        inputs: Mapping[str, Any] | None = None,
        id: str = "",
        approve: Sequence[str] = (),
        approve_plan: bool = False,
        priority: int | None = None,
        delay: float = 0,
    ) -> str:
        """Queues a run of the team as it is now, and returns its id; the same id again is the same run.

        The functions that `approve` names and, with `approve_plan`, plans need nobody's yes. Runs without a
        `priority` begin first, then those of a lower number (from 1); none begins before `delay` seconds have
        passed. Raises `ConfigError`, also if that id is taken by a run of something else.
        """
        run = id or new_run_id(factory.team.config.name)
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,99}", run, re.ASCII):
            raise ConfigError.one(f"'{run}' should be up to 100 letters, digits, '.', '_' and '-'", file="--id")
        spec: Spec = {
            "team": factory.redactor().text(factory.team.resolved()),
            "base_dir": str(factory.team.base_dir.resolve()),
            "task": factory.task(task, factory.fill_inputs(inputs or {})),
            "inputs": json.loads(json.dumps(dict(inputs or {}), default=str)),
            "people": {"approve": [*approve], "approve_plan": approve_plan},
        }
        options: EnqueueOptions = {
            "workflow_name": WORKFLOW,
            "queue_name": QUEUE,
            "workflow_id": run,
            "app_version": VERSION,
        }
        if priority is not None:
            options["priority"] = priority
        if delay:
            options["delay_seconds"] = delay
        # As text: a lone surrogate has no place in a database.
        self.connection.patiently(lambda: self.client.enqueue(options, json.dumps(spec)))
        if self.spec(run) != spec:
            raise ConfigError.one(f"there is a run '{run}' already, of another team, task or inputs", file="--id")
        return run

    def entry(self, id: str) -> Entry:
        """The run of that id. Raises `ConfigError` if there is none."""
        return Entry.of(self._status(id, load_input=False))

    def entries(self, prefix: str = "") -> list[Entry]:
        """All runs whose ids begin so, the oldest first."""

        def query() -> list[WorkflowStatus]:
            return self.client.list_workflows(name=WORKFLOW, workflow_id_prefix=prefix or None, load_input=False)

        return [Entry.of(status) for status in self.connection.patiently(query)]

    def spec(self, id: str) -> Spec:
        """What the run of that id is to do. Raises `ConfigError` if there is none."""
        inputs = self._status(id, load_input=True).input
        assert inputs is not None
        spec: Spec = json.loads(inputs["args"][0])
        return spec

    def history(self, id: str) -> History:
        """The log of a run so far. Raises `ConfigError` if there is none."""

        def read() -> History:
            history = History()
            try:
                for value in self.client.read_stream(id, STREAM, timeout_seconds=0):
                    history.read(value)
            except dbos_error.DBOSStreamTimeoutError:
                pass  # the run goes on
            return history

        try:
            return self.connection.patiently(read)
        except dbos_error.DBOSException as error:
            raise _no_run(id) from error

    def cancel(self, id: str) -> str:
        """Cancels a run that has not ended; returns the state it is then in. Raises `ConfigError`."""
        if self.entry(id).state == "parked":  # which DBOS takes for the end
            self._queue_again(id)
        self.connection.patiently(lambda: self.client.cancel_workflow(id))
        return self.entry(id).state

    def settle(self, id: str, words: Mapping[str, str | None]) -> None:
        """Queues a run again that is parked, or that failed or was cancelled: it goes on from where it stopped.

        `words` has for tool calls of unknown outcome (`*`: all others) a result, or None if they are to be repeated.
        Raises `ConfigError` if the run is in another state.
        """
        if (state := self.entry(id).state) not in ("parked", "failed", "cancelled"):
            raise ConfigError.one(f"run '{id}' is {state}: nobody has to settle it", file=id)
        settlement = Settlement(self.history(id).takes, dict(words))
        attributes = {"settlement": list(settlement)}
        self.connection.patiently(lambda: self.client.update_workflow_attributes(id, attributes, merge=True))
        self._queue_again(id)

    def _queue_again(self, id: str) -> None:
        try:
            self.connection.patiently(lambda: self.client.rewind_workflow(id, queue_name=QUEUE))
        except dbos_error.DBOSException as error:  # somebody else was quicker
            raise ConfigError.one(f"run '{id}' is {self.entry(id).state}: nobody has to settle it", file=id) from error

    def _status(self, id: str, *, load_input: bool) -> WorkflowStatus:
        def query() -> list[WorkflowStatus]:
            return self.client.list_workflows(workflow_ids=[id], name=WORKFLOW, load_input=load_input)

        for status in self.connection.patiently(query):
            return status
        raise _no_run(id)


def _no_run(id: str) -> ConfigError:
    return ConfigError.one(f"there is no run '{id}'", file="--database")
