"""Queued runs as whoever submits, follows or ends them sees them: each is a DBOS workflow, its log a DBOS stream."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypedDict

import sqlalchemy as sa
from dbos import DBOS, DBOSClient, DBOSPortableJSONSerializer, EnqueueOptions, WorkflowStatus
from dbos import error as dbos_error

from magentic_kit.cluster.history import History
from magentic_kit.cluster.limits import GET_LIMITS, SET_LIMIT, TABLES, reason_of
from magentic_kit.cluster.queueable import require_queueable
from magentic_kit.errors import ConfigError, JournalError
from magentic_kit.runlog.directory import new_run_id

if TYPE_CHECKING:
    from magentic_kit.factory import TeamFactory

APPLICATION = QUEUE = "magentic-kit"
"""Our name in a DBOS database, which several applications may share, and the queue of all runs."""
WORKFLOW = "magentic_kit.run"
"""Name of the DBOS workflow that a run is."""
VERSION = "1"
"""Of what workers have to agree on. Pinned: a hash of the code, as DBOS takes, lets a new worker pass old runs by."""
STREAM = "log"
"""The stream of a run: each value is a JSON list of `{"worker": name}` (it takes the run) or `{"run", "event"}`."""
OUTCOMES = ("satisfied", "limited", "rejected", "cancelled", "failed")
CONNECT = {"connect_timeout": 10, "tcp_user_timeout": 30_000}
"""A host that vanished is noticed in half a minute, not in the quarter of an hour that TCP takes."""
_STATES = {"ENQUEUED": "queued", "DELAYED": "queued", "PENDING": "running", "CANCELLED": "cancelled"}
_POLL = 0.25  # seconds between a worker's looks for runs that are queued


class Spec(TypedDict):
    """What is to be run: a team file, resolved, and the folder that its paths are relative to."""

    team: str
    base_dir: str
    task: str
    inputs: dict[str, Any]
    people: dict[str, Any]  # what needs nobody's yes: `approve`, `approve_plan`


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A run of the queue. `state` is `queued`, `running`, `parked` (a person is needed: `note`) or its outcome.

    `words` are a person's on tool calls of unknown outcome, said when workers had taken the run `settled` times.
    """

    id: str
    state: str
    note: str
    worker: str
    settled: int
    words: dict[str, str | None]

    @classmethod
    def of(cls, status: WorkflowStatus) -> Entry:
        """The entry of a workflow."""
        output: Mapping[str, str] = {"state": _STATES.get(status.status, "failed"), "note": str(status.error or "")}
        if status.status == "SUCCESS":
            output = status.output or output
        settled, words = (status.attributes or {}).get("settled", (0, {}))
        worker = status.executor_id or ""
        return cls(id=status.workflow_id, worker=worker, settled=settled, words=words, **output)


class Database:
    """The queue, and the log of each run. While the database is away its methods wait, as DBOS does."""

    def __init__(self, url: str) -> None:
        """Opens the database, and makes its tables. Raises `ConfigError` if it cannot be opened."""
        try:
            parsed = sa.make_url(url)
            if parsed.get_backend_name() != "postgresql":
                hint = "should be postgresql://…; one machine needs no database: see `magentic-kit batch`"
                raise ConfigError.one(hint, file="--database")
            self.url = parsed.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
            self.engine = sa.create_engine(self.url, connect_args=CONNECT, pool_pre_ping=True)
            with self.engine.begin() as connection:
                connection.execute(sa.text(TABLES))
            DBOS.migrate(self.url)
        except sa.exc.SQLAlchemyError as error:
            raise ConfigError.one(f"cannot be opened: {reason_of(error)}", file="--database") from error
        self.client = self.connect()

    def connect(self, *, wait: bool = True) -> DBOSClient:
        """A client; one that does not `wait` raises SQLAlchemy's errors while the database is away."""
        return DBOSClient(
            system_database_engine=self.engine,
            serializer=DBOSPortableJSONSerializer(),
            application_name=APPLICATION,
            retry_connection_errors=wait,
        )

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
        `priority` begin first, then those of a lower number (from 1), none before `delay` seconds have passed.
        Raises `ConfigError`, also if that id is taken by a run of something else, or there is a secret in it.
        """
        blueprint, run = factory.blueprint, id or new_run_id(factory.blueprint.config.name)
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,99}", run, re.ASCII):
            raise ConfigError.one(f"'{run}' should be up to 100 letters, digits, '.', '_' and '-'", file="--id")
        require_queueable(blueprint, task, inputs or {})
        spec: Spec = {
            "team": blueprint.team.stored(blueprint.redactor().spans),
            "base_dir": str(blueprint.team.base_dir.resolve()),
            "task": task or "",  # the worker fills in the team's own
            "inputs": json.loads(json.dumps(dict(inputs or {}), default=str)),
            "people": {"approve": [*approve], "approve_plan": approve_plan},
        }
        options = EnqueueOptions(workflow_name=WORKFLOW, queue_name=QUEUE, workflow_id=run, app_version=VERSION)
        if priority is not None:
            options["priority"] = priority
        if delay:
            options["delay_seconds"] = delay
        self.client.enqueue(options, json.dumps(spec))  # as text: a lone surrogate has no place in a database
        if self.spec(run) != spec:
            raise ConfigError.one(f"there is a run '{run}' already, of another team, task or inputs", file="--id")
        return run

    def entry(self, id: str) -> Entry:
        """The run of that id. Raises `ConfigError` if there is none."""
        return Entry.of(self._status(id, load_input=False))

    def entries(self, prefix: str = "") -> list[Entry]:
        """All runs whose ids begin so, the oldest first."""
        found = self.client.list_workflows(name=WORKFLOW, workflow_id_prefix=prefix or None, load_input=False)
        return [Entry.of(status) for status in found]

    def spec(self, id: str) -> Spec:
        """What the run of that id is to do. Raises `ConfigError` if there is none."""
        inputs = self._status(id, load_input=True).input
        assert inputs is not None
        spec: Spec = json.loads(inputs["args"][0])
        return spec

    def history(self, id: str) -> History:
        """The log of a run so far. Raises `ConfigError` if there is none, `JournalError` if it is damaged."""
        history = History()
        self._status(id, load_input=False)
        try:
            for value in self.client.read_stream(id, STREAM, timeout_seconds=0):
                history.read(value)
        except dbos_error.DBOSStreamTimeoutError:
            pass  # the run goes on
        except (ValueError, KeyError, TypeError) as error:
            raise JournalError(f"the log of {id} is damaged: {error}") from error
        return history

    def cancel(self, id: str) -> str:
        """Cancels a run that has not ended; returns the state it is then in. Raises `ConfigError`."""
        if self.entry(id).state == "parked":  # which DBOS takes for the end
            self.client.rewind_workflow(id, queue_name=QUEUE)
        self.client.cancel_workflow(id)
        return self.entry(id).state

    def settle(self, id: str, words: Mapping[str, str | None]) -> None:
        """Queues a run again that is parked, or that failed or was cancelled: it goes on from where it stopped.

        `words` has for tool calls of unknown outcome (`*`: all others) a result, or None if they are to be repeated.
        Raises `ConfigError` if the run is in another state.
        """
        if (state := self.entry(id).state) not in ("parked", "failed", "cancelled"):
            raise ConfigError.one(f"run '{id}' is {state}: nobody has to settle it", file=id)
        settled = [self.history(id).takes, dict(words)]
        self.client.update_workflow_attributes(id, {"settled": settled}, merge=True)
        try:
            self.client.rewind_workflow(id, queue_name=QUEUE)
        except dbos_error.DBOSException as error:
            raise ConfigError.one(f"somebody else has just settled run '{id}'", file=id) from error

    def purge(self, ended_before: datetime) -> list[str]:
        """Deletes the runs that have ended before then, with their logs, and returns their ids. Parked ones stay."""
        before = ended_before.isoformat()
        found = self.client.list_workflows(name=WORKFLOW, completed_before=before, load_input=False)
        ids = [status.workflow_id for status in found if Entry.of(status).state in OUTCOMES]
        self.client.delete_workflows(ids)
        return ids

    def limit(self, **limits: int | None) -> dict[str, int]:
        """Sets those limits that are not None; 0 lifts one. Returns all.

        `concurrency` is of runs under way in all workers, `worker_concurrency` of those in one (4 if not set);
        `rpm` and `tpm` are requests and tokens a minute of each service. Raises `ConfigError` if one is out of range.
        """
        changes = {name: value for name, value in limits.items() if value is not None}
        for name, value in changes.items():
            if not 0 <= value < 2**31:
                raise ConfigError.one(f"should be from 0 to {2**31 - 1}, not {value}", file=f"--{name}")
        with self.engine.begin() as connection:
            for name, value in changes.items():
                connection.execute(sa.text(SET_LIMIT), {"name": name, "value": value})
            rows = connection.execute(sa.text(GET_LIMITS)).all()
        current: dict[str, int] = {row.name: row.value for row in rows}
        each, overall = current.get("worker_concurrency", 4), current.get("concurrency")
        if overall is not None:
            each = min(each, overall)  # DBOS refuses a worker more than all together
        how: dict[str, Any] = {"worker_concurrency": each, "polling_interval_sec": _POLL}
        self.client.register_queue(QUEUE, global_concurrency=overall, **how)
        return current

    def _status(self, id: str, *, load_input: bool) -> WorkflowStatus:
        for status in self.client.list_workflows(workflow_ids=[id], name=WORKFLOW, load_input=load_input):
            return status
        raise ConfigError.one(f"there is no run '{id}'", file="--database")
