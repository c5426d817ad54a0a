"""Runs of many machines: a queue and the runs' logs in one database, SQLite for one machine, Postgres for many.

Every change is one statement that commits by itself. So a worker that is frozen between two of them holds no lock,
and each can be made again when the connection was lost before anybody knew whether it was done.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import exc

from magentic_kit.cluster.pace import PaceTable, limit_of
from magentic_kit.cluster.store import EVENTS, LIMITS, RUNS
from magentic_kit.errors import ConfigError, JournalError
from magentic_kit.events import AnyEvent, event_of, to_dict
from magentic_kit.runlog.directory import new_run_id

if TYPE_CHECKING:
    from magentic_kit.factory import TeamFactory

OUTCOMES = ("satisfied", "limited", "rejected", "cancelled", "failed")


def _free_slot() -> Any:
    held, before = RUNS.alias(), RUNS.alias()
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


class Database(PaceTable):
    """The queue, the log of each run, and the pace of services.

    Its methods raise `JournalError` if the database is away for long.
    """

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
        blueprint = factory.blueprint
        run = id or new_run_id(blueprint.config.name)
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,99}", run, re.ASCII):
            raise ConfigError.one(f"'{run}' should be up to 100 letters, digits, '.', '_' and '-'", file="--id")
        spec: dict[str, Any] = {
            "team": blueprint.team.stored(blueprint.redactor().spans),
            "base_dir": str(blueprint.team.base_dir.resolve()),
            "task": blueprint.fill_task(task, blueprint.fill_inputs(inputs or {})),
            "inputs": json.loads(json.dumps(dict(inputs or {}), default=str)),
            "people": {"approve": [*approve], "approve_plan": approve_plan},
        }
        now = datetime.now(timezone.utc).isoformat()
        self.insert(RUNS, {"id": run, "spec": spec, "created": now, "state": "queued"})
        if self.entries(run)[0].spec != spec:
            raise ConfigError.one(f"there is a run '{run}' already, of another team, task or inputs", file="--id")
        return run

    def entries(self, id: str | None = None) -> list[Entry]:
        """All runs, the oldest first, or the one of that id. Raises `ConfigError` if it is not there."""
        asked = sa.select(RUNS).order_by(RUNS.c.created, RUNS.c.id)
        if id is not None:
            asked = asked.where(RUNS.c.id == id)
        found = [Entry(**row._mapping) for row in self.all(asked)]
        if id is not None and not found:
            raise ConfigError.one(f"there is no run '{id}'", file="--database")
        return found

    def states(self, prefix: str) -> dict[str, tuple[str, str]]:
        """State and note of each run whose id begins so."""
        asked = sa.select(RUNS.c.id, RUNS.c.state, RUNS.c.note).where(RUNS.c.id.startswith(prefix, autoescape=True))
        return {row.id: (row.state, row.note) for row in self.all(asked)}

    def log(self, id: str) -> list[AnyEvent]:
        """The events so far of a run, or of one that a call of it has begun (`id/call`)."""
        asked = sa.select(EVENTS.c.body).where(EVENTS.c.run == id).order_by(EVENTS.c.seq)
        try:
            return [event_of(row.body) for row in self.all(asked)]
        except ValueError as error:
            raise JournalError(f"the log of {id} is damaged: {error}") from error

    def inner(self, id: str) -> list[str]:
        """The runs that calls of a run have begun, each after the one that began it."""
        asked = sa.select(EVENTS.c.run).where(EVENTS.c.run.startswith(f"{id}/", autoescape=True)).distinct()
        return sorted(row.run for row in self.all(asked))

    def cancel(self, id: str) -> str:
        """Cancels a run, or asks its worker to; returns the state it is then in. Raises `ConfigError`."""
        then = sa.case((RUNS.c.state == "running", "running"), else_="cancelled")
        cancelled = sa.update(RUNS).where(RUNS.c.id == id, RUNS.c.state.not_in(OUTCOMES))
        self.changed(cancelled.values(cancel=True, state=then))
        return self.entries(id)[0].state

    def settle(self, id: str, words: Mapping[str, str | None]) -> None:
        """Queues a run again that is parked, or that failed or was cancelled: it goes on from where it stopped.

        `words` has for tool calls of unknown outcome (`*`: all others) a result, or None if they are to be repeated.
        Raises `ConfigError` if the run is in another state.
        """
        stopped = sa.update(RUNS).where(RUNS.c.id == id, RUNS.c.state.in_(("parked", "failed", "cancelled")))
        again = {"state": "queued", "note": "", "takes": 0, "cancel": False}
        said = {"settled": dict(words), "settled_at": RUNS.c.epoch}
        if not self.changed(stopped.values(**again, **said)):
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
                self.insert(LIMITS, {"name": name})
                self.changed(sa.update(LIMITS).where(LIMITS.c.name == name).values(value=value or None))
        return {row.name: row.value for row in self.all(sa.select(LIMITS).where(LIMITS.c.value.is_not(None)))}

    # -- for workers

    def take(self, worker: str, dead: Collection[Pulse] = ()) -> Entry | None:
        """Takes the oldest run that is queued, or that one of the `dead` still had; its old worker is out then.

        While as many run as may, none is taken but one of the dead, whose place it keeps.
        """
        of = RUNS.alias()
        lost = sa.and_(of.c.state == "running", sa.tuple_(of.c.id, of.c.epoch, of.c.beat).in_(dead))
        begins = sa.and_(of.c.state == "queued", sa.func.coalesce(limit_of("concurrency") > _FREE_SLOT, sa.true()))
        free = sa.select(of.c.id).where(sa.or_(begins, lost)).order_by(of.c.created, of.c.id)
        one = free.limit(1).with_for_update(skip_locked=True).scalar_subquery()
        counts = {"epoch": RUNS.c.epoch + 1, "takes": RUNS.c.takes + 1}
        slot = sa.func.coalesce(RUNS.c.slot, _FREE_SLOT)
        taken = sa.update(RUNS).where(RUNS.c.id == one).values(state="running", worker=worker, slot=slot, **counts)

        def take(connection: sa.Connection) -> list[Any]:
            while True:
                with suppress(exc.IntegrityError):  # another worker has just taken a run, and with it this slot
                    return list(connection.execute(taken.returning(*RUNS.c)).all())

        found = self.do(take)
        return Entry(**found[0]._mapping) if found else None

    def beat(self, live: Collection[tuple[str, int]]) -> dict[tuple[str, int], bool]:
        """Tells that these runs (id, epoch) live; returns those still held, with whether somebody cancels them."""
        held = sa.update(RUNS).where(sa.tuple_(RUNS.c.id, RUNS.c.epoch).in_(live), RUNS.c.state == "running")
        beaten = held.values(beat=RUNS.c.beat + 1).returning(RUNS.c.id, RUNS.c.epoch, RUNS.c.cancel)
        return {(row.id, row.epoch): row.cancel for row in self.all(beaten)}

    def pulses(self) -> set[Pulse]:
        """Every run that a worker has."""
        asked = sa.select(RUNS.c.id, RUNS.c.epoch, RUNS.c.beat).where(RUNS.c.state == "running")
        return {Pulse(*row) for row in self.all(asked)}

    def write(self, held: Entry, event: AnyEvent, *, to: str = "") -> None:
        """Adds an event to the log of the run, or to that of one that it has begun.

        Raises `JournalError`, also if another worker has taken the run over.
        """
        body = json.dumps(to_dict(event), default=str)
        # The lock lets a take wait for this statement, or this one see the take: none comes in between.
        run = to or held.id
        mine = sa.select(sa.literal(run), sa.literal(event.seq), sa.literal(body))
        mine = mine.where(RUNS.c.id == held.id, RUNS.c.epoch == held.epoch).with_for_update(read=True)
        added = sa.insert(EVENTS).from_select(["run", "seq", "body"], mine).returning(EVENTS.c.seq)
        there = sa.select(EVENTS.c.body).where(EVENTS.c.run == run, EVENTS.c.seq == event.seq)

        def insert(connection: sa.Connection) -> bool:
            try:
                return bool(connection.execute(added).all())
            except exc.IntegrityError:  # it was added when the connection was lost, before anybody knew
                return connection.scalar(there) == body

        if not self.do(insert):
            raise JournalError(f"another worker has taken {held.id} over")

    def leave(self, held: Entry, state: str, note: str = "") -> bool:
        """Ends a worker's hold of a run: with its outcome, or `parked`. False if it did not hold it any more."""
        mine = sa.update(RUNS).where(RUNS.c.id == held.id, RUNS.c.epoch == held.epoch, RUNS.c.state == "running")
        return self.changed(mine.values(state=state, note=note, slot=None))
