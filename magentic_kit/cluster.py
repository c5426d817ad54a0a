"""Runs of many machines: a queue and the runs' logs in one database, SQLite for one machine, Postgres for many.

Every change is one statement that commits by itself. So a worker that is frozen between two of them holds no lock,
and each can be made again when the connection was lost before anybody knew whether it was done.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import sqlalchemy as sa
from sqlalchemy import exc

from magentic_kit.errors import ConfigError, JournalError
from magentic_kit.events import AnyEvent, from_dict, to_dict
from magentic_kit.journal import new_run_id
from magentic_kit.redaction import Redactor

if TYPE_CHECKING:
    from magentic_kit.factory import TeamFactory

_T = TypeVar("_T")

OUTCOMES = ("satisfied", "limited", "rejected", "cancelled", "failed")
PATIENCE = 60.0
"""Seconds that a database may be away before what needs it is given up."""

_DRIVERS: dict[str, tuple[str, dict[str, Any]]] = {
    "sqlite": ("sqlite+pysqlite", {"timeout": 30}),
    # A host that vanished is noticed in half a minute, not in the quarter of an hour that TCP takes.
    "postgresql": ("postgresql+psycopg", {"connect_timeout": 10, "tcp_user_timeout": 30_000}),
}
"""Kind of database -> SQLAlchemy's name for it with the driver, and how to connect."""
_METADATA = sa.MetaData()
_RUNS = sa.Table(
    "magentic_runs",
    _METADATA,
    sa.Column("id", sa.String(100), primary_key=True),
    sa.Column("spec", sa.JSON, nullable=False),
    sa.Column("created", sa.String(40), nullable=False),
    sa.Column("state", sa.String(20), nullable=False, index=True),
    sa.Column("note", sa.Text, nullable=False, default=""),
    sa.Column("worker", sa.String(200), nullable=False, default=""),
    sa.Column("epoch", sa.Integer, nullable=False, default=0),  # of its worker: who holds a lower one is out
    sa.Column("beat", sa.Integer, nullable=False, default=0),  # moves as long as its worker lives
    sa.Column("takes", sa.Integer, nullable=False, default=0),
    sa.Column("cancel", sa.Boolean, nullable=False, default=False),
    # While it runs: the lowest that is free, so that two cannot exceed a limit.
    sa.Column("slot", sa.Integer, unique=True),
    sa.Column("settled", sa.JSON),  # a person's words on tool calls of unknown outcome
    sa.Column("settled_at", sa.Integer),  # the epoch they were given at; they hold for the next one alone
)
_EVENTS = sa.Table(
    "magentic_events",
    _METADATA,
    sa.Column("run", sa.String(500), primary_key=True),  # its id, or `id/call` for one that this call has begun
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("body", sa.Text, nullable=False),
)
_LIMITS = sa.Table(
    "magentic_limits",
    _METADATA,
    sa.Column("name", sa.String(20), primary_key=True),
    sa.Column("value", sa.Integer),
)
_SERVICES = sa.Table(  # when the next call to each may be made, in seconds by the database's clock
    "magentic_services",
    _METADATA,
    sa.Column("name", sa.String(64), primary_key=True),
    *(sa.Column(name, sa.Float, nullable=False, default=0.0) for name in ("next_call", "paid_until", "reopens")),
)


def _limit(name: str) -> Any:
    return sa.select(_LIMITS.c.value).where(_LIMITS.c.name == name).scalar_subquery()


def _seconds_each(limit: str) -> Any:
    """How far calls or tokens are apart under a limit a minute."""
    return sa.func.coalesce(sa.literal_column("60.0", sa.Float) / _limit(limit), 0.0)


def _free_slot() -> Any:
    held, before = _RUNS.alias(), _RUNS.alias()
    after = sa.select(before.c.slot + 1).where(before.c.slot.is_not(None))
    slots = sa.union(sa.select(sa.literal_column("0").label("slot")), after).subquery()
    taken = sa.select(held.c.slot).where(held.c.slot.is_not(None))
    return sa.select(sa.func.min(slots.c.slot)).where(slots.c.slot.not_in(taken)).scalar_subquery()


_FREE_SLOT = _free_slot()


class Pulse(NamedTuple):
    """A run that a worker has, and how far its beat has come: one that stands still has lost its worker."""

    id: str
    epoch: int
    beat: int


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A run of the queue. `state` is `queued`, `running`, `parked` (a person is needed: `note`) or its outcome.

    `epoch` counts the workers that took it, `takes` those since a person last looked.
    """

    id: str
    spec: dict[str, Any]
    created: str
    state: str
    note: str
    worker: str
    epoch: int
    beat: int
    takes: int
    cancel: bool
    slot: int | None
    settled: dict[str, str | None] | None
    settled_at: int | None

    @property
    def words(self) -> dict[str, str | None] | None:
        """What a person said for this take, of tool calls of unknown outcome; None if nobody has looked."""
        return self.settled if self.settled_at == self.epoch - 1 else None


class Database:
    """The queue, and the log of each run. Its methods raise `JournalError` if the database is away for long."""

    def __init__(self, url: str) -> None:
        """Opens the database, and makes its tables. Raises `ConfigError` if it cannot be had."""
        try:
            parsed = sa.make_url(url)
            if (kind := parsed.get_backend_name()) not in _DRIVERS:
                raise ConfigError.one("should be sqlite:///FILE or postgresql://…", file="--database")
            name, connect = _DRIVERS[kind]
            self._engine = sa.create_engine(
                parsed.set(drivername=name), isolation_level="AUTOCOMMIT", connect_args=connect
            )
            self._engine.connect().close()
            for _ in range(2):  # each may fail once where another process is making the same table
                with suppress(exc.DBAPIError):
                    _METADATA.create_all(self._engine)
            _METADATA.create_all(self._engine)
        except exc.SQLAlchemyError as error:
            cause = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
            raise ConfigError.one(f"cannot be opened: {cause}", file="--database") from error
        if kind == "sqlite":
            self._do(lambda connection: connection.exec_driver_sql("PRAGMA journal_mode = WAL"))
            self._greatest: Any = sa.func.max
            self._now: Any = sa.literal_column("(julianday('now') - 2440587.5) * 86400.0", sa.Float)
        else:
            self._greatest = sa.func.greatest
            self._now = sa.literal_column("extract(epoch from clock_timestamp())::float8", sa.Float)

    # -- for those who want something done

    def submit(
        self,
        factory: TeamFactory,
        task: str | None = None,
        *,
        inputs: Mapping[str, Any] | None = None,
        id: str = "",
        approve: Sequence[str] = (),
        approve_plan: bool = False,
    ) -> str:
        """Queues a run of the team as it is now, and returns its id; the same id again is the same run.

        The functions that `approve` names and, with `approve_plan`, plans need nobody's yes. Raises `ConfigError`,
        also if that id is taken by a run of something else.
        """
        run = id or new_run_id(factory.team.config.name)
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,99}", run, re.ASCII):
            raise ConfigError.one(f"'{run}' should be up to 100 letters, digits, '.', '_' and '-'", file="--id")
        spec: dict[str, Any] = {
            "team": Redactor.from_environment().text(factory.team.resolved()),
            "base_dir": str(factory.team.base_dir.resolve()),
            "task": factory.task(task, factory.fill_inputs(inputs or {})),
            "inputs": json.loads(json.dumps(dict(inputs or {}), default=str)),
            "people": {"approve": [*approve], "approve_plan": approve_plan},
        }
        now = datetime.now(timezone.utc).isoformat()
        self._insert(_RUNS, {"id": run, "spec": spec, "created": now, "state": "queued"})
        if self.entries(run)[0].spec != spec:
            raise ConfigError.one(f"there is a run '{run}' already, of another team, task or inputs", file="--id")
        return run

    def entries(self, id: str | None = None) -> list[Entry]:
        """All runs, the oldest first, or the one of that id. Raises `ConfigError` if it is not there."""
        asked = sa.select(_RUNS).order_by(_RUNS.c.created, _RUNS.c.id)
        if id is not None:
            asked = asked.where(_RUNS.c.id == id)
        found = [Entry(**row._mapping) for row in self._all(asked)]
        if id is not None and not found:
            raise ConfigError.one(f"there is no run '{id}'", file="--database")
        return found

    def states(self, prefix: str) -> dict[str, tuple[str, str]]:
        """State and note of each run whose id begins so."""
        asked = sa.select(_RUNS.c.id, _RUNS.c.state, _RUNS.c.note).where(_RUNS.c.id.startswith(prefix, autoescape=True))
        return {row.id: (row.state, row.note) for row in self._all(asked)}

    def log(self, id: str) -> list[AnyEvent]:
        """The events so far of a run, or of one that a call of it has begun (`id/call`)."""
        asked = sa.select(_EVENTS.c.body).where(_EVENTS.c.run == id).order_by(_EVENTS.c.seq)
        return [from_dict(json.loads(row.body)) for row in self._all(asked)]

    def inner(self, id: str) -> list[str]:
        """The runs that calls of a run have begun, each after the one that began it."""
        asked = sa.select(_EVENTS.c.run).where(_EVENTS.c.run.startswith(f"{id}/", autoescape=True)).distinct()
        return sorted(row.run for row in self._all(asked))

    def cancel(self, id: str) -> str:
        """Cancels a run, or asks its worker to; returns the state it is then in. Raises `ConfigError`."""
        then = sa.case((_RUNS.c.state == "running", "running"), else_="cancelled")
        cancelled = sa.update(_RUNS).where(_RUNS.c.id == id, _RUNS.c.state.not_in(OUTCOMES))
        self._changed(cancelled.values(cancel=True, state=then))
        return self.entries(id)[0].state

    def settle(self, id: str, words: Mapping[str, str | None]) -> None:
        """Queues a run again that is parked, or that failed or was cancelled: it goes on from where it stopped.

        `words` has for tool calls of unknown outcome (`*`: all others) a result, or None if they are to be repeated.
        Raises `ConfigError` if the run is in another state.
        """
        stopped = sa.update(_RUNS).where(_RUNS.c.id == id, _RUNS.c.state.in_(("parked", "failed", "cancelled")))
        again = {"state": "queued", "note": "", "takes": 0, "cancel": False}
        said = {"settled": dict(words), "settled_at": _RUNS.c.epoch}
        if not self._changed(stopped.values(**again, **said)):
            raise ConfigError.one(f"run '{id}' is {self.entries(id)[0].state}: nobody has to settle it", file=id)

    def limit(self, **limits: int | None) -> dict[str, int]:
        """Sets limits that hold for all workers together, but for those that are None; 0 lifts one. Returns all.

        `concurrency` is of runs, `rpm` and `tpm` are requests and tokens a minute of each service.
        Raises `ConfigError` if one is more than a database holds.
        """
        for name, value in limits.items():
            if value is not None:
                if not 0 <= value < 2**31:
                    raise ConfigError.one(f"should be from 0 to {2**31 - 1}, not {value}", file=f"--{name}")
                self._insert(_LIMITS, {"name": name})
                self._changed(sa.update(_LIMITS).where(_LIMITS.c.name == name).values(value=value or None))
        return {row.name: row.value for row in self._all(sa.select(_LIMITS).where(_LIMITS.c.value.is_not(None)))}

    # -- for workers

    def take(self, worker: str, dead: Collection[Pulse] = ()) -> Entry | None:
        """Takes the oldest run that is queued, or that one of the `dead` still had; its old worker is out then.

        While as many run as may, none is taken but one of the dead, whose place it keeps.
        """
        of = _RUNS.alias()
        lost = sa.and_(of.c.state == "running", sa.tuple_(of.c.id, of.c.epoch, of.c.beat).in_(dead))
        begins = sa.and_(of.c.state == "queued", sa.func.coalesce(_limit("concurrency") > _FREE_SLOT, sa.true()))
        free = sa.select(of.c.id).where(sa.or_(begins, lost)).order_by(of.c.created, of.c.id)
        one = free.limit(1).with_for_update(skip_locked=True).scalar_subquery()
        counts = {"epoch": _RUNS.c.epoch + 1, "takes": _RUNS.c.takes + 1}
        slot = sa.func.coalesce(_RUNS.c.slot, _FREE_SLOT)
        taken = sa.update(_RUNS).where(_RUNS.c.id == one).values(state="running", worker=worker, slot=slot, **counts)

        def take(connection: sa.Connection) -> list[Any]:
            while True:
                with suppress(exc.IntegrityError):  # another worker has just taken a run, and with it this slot
                    return list(connection.execute(taken.returning(*_RUNS.c)).all())

        found = self._do(take)
        return Entry(**found[0]._mapping) if found else None

    def beat(self, live: Collection[tuple[str, int]]) -> dict[tuple[str, int], bool]:
        """Tells that these runs (id, epoch) live; returns those still held, with whether somebody cancels them."""
        held = sa.update(_RUNS).where(sa.tuple_(_RUNS.c.id, _RUNS.c.epoch).in_(live), _RUNS.c.state == "running")
        beaten = held.values(beat=_RUNS.c.beat + 1).returning(_RUNS.c.id, _RUNS.c.epoch, _RUNS.c.cancel)
        return {(row.id, row.epoch): row.cancel for row in self._all(beaten)}

    def pulses(self) -> set[Pulse]:
        """Every run that a worker has."""
        asked = sa.select(_RUNS.c.id, _RUNS.c.epoch, _RUNS.c.beat).where(_RUNS.c.state == "running")
        return {Pulse(*row) for row in self._all(asked)}

    def write(self, held: Entry, event: AnyEvent, *, to: str = "") -> None:
        """Adds an event to the log of the run, or to that of one that it has begun.

        Raises `JournalError`, also if another worker has taken the run over.
        """
        body = json.dumps(to_dict(event), default=str)
        # The lock lets a take wait for this statement, or this one see the take: none comes in between.
        run = to or held.id
        mine = sa.select(sa.literal(run), sa.literal(event.seq), sa.literal(body))
        mine = mine.where(_RUNS.c.id == held.id, _RUNS.c.epoch == held.epoch).with_for_update(read=True)
        added = sa.insert(_EVENTS).from_select(["run", "seq", "body"], mine).returning(_EVENTS.c.seq)
        there = sa.select(_EVENTS.c.body).where(_EVENTS.c.run == run, _EVENTS.c.seq == event.seq)

        def insert(connection: sa.Connection) -> bool:
            try:
                return bool(connection.execute(added).all())
            except exc.IntegrityError:  # it was added when the connection was lost, before anybody knew
                return connection.scalar(there) == body

        if not self._do(insert):
            raise JournalError(f"another worker has taken {held.id} over")

    def leave(self, held: Entry, state: str, note: str = "") -> bool:
        """Ends a worker's hold of a run: with its outcome, or `parked`. False if it did not hold it any more."""
        mine = sa.update(_RUNS).where(_RUNS.c.id == held.id, _RUNS.c.epoch == held.epoch, _RUNS.c.state == "running")
        return self._changed(mine.values(state=state, note=note, slot=None))

    # -- the pace of services, by one clock for all

    def enter(self, service: str) -> float:
        """Seconds to wait before this is asked again; 0 if a call may be made now, which then counts."""
        this = _SERVICES.c.name == service
        opens = self._greatest(_SERVICES.c.next_call, _SERVICES.c.paid_until, _SERVICES.c.reopens)
        now = sa.update(_SERVICES).where(this, opens <= self._now)
        if self._changed(now.values(next_call=self._now + _seconds_each("rpm"))):
            return 0.0
        for row in self._all(sa.select((opens - self._now).label("wait")).where(this)):
            return max(float(row.wait), 0.001)
        self._insert(_SERVICES, {"name": service})
        return 0.001

    def replied(self, service: str, tokens: int) -> None:
        """Tells that a service has answered."""
        paid = self._greatest(_SERVICES.c.paid_until, self._now) + tokens * _seconds_each("tpm")
        self._changed(sa.update(_SERVICES).where(_SERVICES.c.name == service).values(paid_until=paid))

    def refused(self, service: str, seconds: float) -> None:
        """Tells that a service has asked for so much time."""
        reopens = self._greatest(_SERVICES.c.reopens, self._now + seconds)
        self._changed(sa.update(_SERVICES).where(_SERVICES.c.name == service).values(reopens=reopens))

    def _insert(self, table: sa.Table, row: dict[str, Any]) -> None:
        def insert(connection: sa.Connection) -> None:
            with suppress(exc.IntegrityError):  # it is there already
                connection.execute(sa.insert(table).values(row))

        self._do(insert)

    def _changed(self, update: sa.Update) -> bool:
        return self._do(lambda connection: connection.execute(update).rowcount > 0)

    def _all(self, statement: sa.Executable) -> list[Any]:
        return self._do(lambda connection: list(connection.execute(statement).all()))

    def _do(self, work: Callable[[sa.Connection], _T]) -> _T:
        """Does it; and again for a while when the database is away. It blocks: what is not logged may not happen."""
        began, wait = time.monotonic(), 0.05
        while True:
            try:
                with self._engine.connect() as connection:
                    return work(connection)
            except exc.SQLAlchemyError as error:
                if time.monotonic() + wait > began + PATIENCE:
                    raise JournalError(f"the database does not answer: {error}") from error
            time.sleep(wait)
            wait = min(2 * wait, 1.0)
