"""Queued runs as whoever submits, follows or ends them sees them: each is a DBOS workflow, its log a DBOS stream."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from dbos import DBOS, DBOSClient, DBOSPortableJSONSerializer, EnqueueOptions, WorkflowStatus
from dbos import error as dbos_error

from magentic_kit.cluster.entry import (
    ACTIVE,
    APPLICATION,
    NOBODY,
    OUTCOMES,
    PEOPLE,
    QUEUE,
    VERSION,
    WORKFLOW,
    Answer,
    Entry,
    Spec,
)
from magentic_kit.cluster.history import STREAM, History
from magentic_kit.cluster.limits import GET_LIMITS, SET_LIMIT, TABLES, in_turn, reason_of
from magentic_kit.errors import ConfigError, JournalError
from magentic_kit.events import AnyEvent, effective
from magentic_kit.runlog.directory import new_run_id

if TYPE_CHECKING:
    from magentic_kit.factory import TeamFactory

CONNECT = {"connect_timeout": 10, "tcp_user_timeout": 30_000}
"""A host that vanished is noticed in half a minute, not in the quarter of an hour that TCP takes."""
_POLL = 0.25
"""Seconds between a worker's looks for runs that are queued."""


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
        attach: Sequence[str | Path] = (),
        id: str = "",
        approve: Sequence[str] = (),
        approve_plan: bool = False,
        priority: int | None = None,
        delay: float = 0,
    ) -> str:
        """Queues a run of the team as it is now, and returns its id; the same id again is the same run.

        What the files `attach` have is queued with it. The functions that `approve` names and, with `approve_plan`,
        plans need nobody's yes. Runs without a `priority` begin first, then those of a lower number (from 1), none
        before `delay` seconds have passed. Raises `ConfigError`, also if that id is taken by a run of something else,
        or there is a secret in it.
        """
        blueprint, run = factory.blueprint, id or new_run_id(factory.blueprint.config.name)
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,99}", run, re.ASCII):
            raise ConfigError.one(f"'{run}' should be up to 100 letters, digits, '.', '_' and '-'", file="--id")
        from magentic_kit.cluster.queueable import spec_of  # Semantic Kernel, which no other method needs

        people = {"approve": [*approve], "approve_plan": approve_plan}
        spec = spec_of(blueprint, task, inputs or {}, attach, people)
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

    def entries(self, prefix: str = "", *, newest: int | None = None) -> list[Entry]:
        """All runs whose ids begin so, the oldest first; or so many of the `newest`, the newest first."""
        found = self.client.list_workflows(
            name=WORKFLOW, workflow_id_prefix=prefix or None, limit=newest, sort_desc=bool(newest), load_input=False
        )
        return [Entry.of(status) for status in found]

    def spec(self, id: str) -> Spec:
        """What the run of that id is to do. Raises `ConfigError` if there is none."""
        inputs = self._status(id, load_input=True).input
        assert inputs is not None
        spec: Spec = json.loads(inputs["args"][0])
        return spec

    def waiting(self) -> list[Entry]:
        """The runs that wait for a person, the oldest first."""
        found = self.client.list_workflows(
            name=WORKFLOW, status=ACTIVE, attributes={"answered": NOBODY}, load_input=False, load_output=False
        )
        return [Entry.of(status) for status in found]

    def history(self, id: str, known: History | None = None) -> History:
        """The log of a run so far, and what is `known`. Raises `ConfigError` if there is none, else `JournalError`."""
        history = known or History()
        entry = self.entry(id)
        try:
            for _ in self._read(id, history, timeout_seconds=0):
                pass
        except dbos_error.DBOSStreamTimeoutError:
            pass  # the run goes on
        history.end(entry.state, entry.ended)
        return history

    def follow(self, id: str) -> Iterator[AnyEvent]:
        """The events of a run that hold, then those that are written until it ends. Raises as `history`."""
        history = self.history(id)
        log = history.log()
        yield from effective(log)
        if history.ended:
            return
        for _ in self._read(id, history):
            new = history.log()[len(log) :]
            yield from new
            log += new
        entry = self.entry(id)
        history.end(entry.state, entry.ended)
        yield from history.log()[len(log) :]

    def _read(self, id: str, history: History, timeout_seconds: float | None = None) -> Iterator[None]:
        try:
            for value in self.client.read_stream(id, STREAM, offset=history.values, timeout_seconds=timeout_seconds):
                history.read(value)
                yield
        except (ValueError, KeyError, TypeError) as error:
            raise JournalError(f"the log of {id} is damaged: {error}") from error

    def cancel(self, id: str) -> str:
        """Cancels a run that has not ended; returns the state it is then in. Raises `ConfigError`."""
        self.entry(id)
        self.client.cancel_workflow(id)
        return self.entry(id).state

    def answer(
        self,
        id: str,
        decision: str = "",
        text: str = "",
        *,
        calls: Mapping[str, str | None] = {},
        question: str = "",
    ) -> None:
        """Answers the first question of a run, or that of the id `question`; the first answer to it counts.

        `calls` has for tool calls of unknown outcome (`*`: all others) a result, or None if they are to be repeated.
        The decision `retry` also lets a run go on that failed or was cancelled. Raises `ConfigError` if the run does
        not ask that.
        """
        entry = self.entry(id)
        if entry.state in ("failed", "cancelled") and decision == "retry":
            self._retry(id)
            return
        asked = [one for one in entry.questions if question in ("", one.id)]
        if not asked:
            raise ConfigError.one(f"run '{id}' is {entry.state}: nobody is asked {question or 'anything'}", file=id)
        asked[0].check(id, decision, text, calls)
        answer: Answer = {"question": asked[0].id, "decision": decision, "text": text, "calls": {**calls}}
        # As text: a lone surrogate has no place in a database. A second answer is none of DBOS's messages.
        self.client.send(id, json.dumps(answer), idempotency_key=f"{id} {asked[0].id}")
        self.client.update_workflow_attributes(id, {"answered": asked[0].id}, merge=True)

    def _retry(self, id: str) -> None:
        attributes = {"retried": self.history(id).takes, "answered": None}
        self.client.update_workflow_attributes(id, attributes, merge=True)
        try:
            self.client.rewind_workflow(id, queue_name=QUEUE)
        except dbos_error.DBOSException as error:
            raise ConfigError.one(f"somebody else has just let run '{id}' go on", file=id) from error

    def purge(self, ended_before: datetime) -> list[str]:
        """Deletes the runs that have ended before then, with their logs, and returns their ids. Others stay."""
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
        with in_turn(self.engine) as connection:  # nobody gives DBOS what somebody else has changed meanwhile
            for name, value in changes.items():
                connection.execute(sa.text(SET_LIMIT), {"name": name, "value": value})
            current: dict[str, int] = {row.name: row.value for row in connection.execute(sa.text(GET_LIMITS))}
            each, overall = current.get("worker_concurrency", 4), current.get("concurrency")
            if overall is not None:
                each = min(each, overall)  # DBOS refuses a worker more than all together
            how: dict[str, Any] = {"worker_concurrency": each, "polling_interval_sec": _POLL}
            self.client.register_queue(QUEUE, global_concurrency=overall, **how)
            self.client.register_queue(PEOPLE, polling_interval_sec=_POLL)
        return current

    def _status(self, id: str, *, load_input: bool) -> WorkflowStatus:
        for status in self.client.list_workflows(workflow_ids=[id], name=WORKFLOW, load_input=load_input):
            return status
        raise ConfigError.one(f"there is no run '{id}'", file="--database")
