"""Carries out the run of one workflow, to its end or to a question that only a person can answer."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import yaml
from dbos import DBOS

from magentic_kit import events as ev
from magentic_kit.cluster.database import Database
from magentic_kit.cluster.entry import Answer, Question, Spec, pack_questions
from magentic_kit.cluster.folders import AllowedFolders
from magentic_kit.cluster.limits import SharedPace
from magentic_kit.cluster.log import StreamLog
from magentic_kit.cluster.people import QueuedPeople
from magentic_kit.cluster.queueable import attached_to, contents_of
from magentic_kit.cluster.workflow import State
from magentic_kit.errors import JournalError, KitError, UnknownToolError
from magentic_kit.factory import TeamFactory
from magentic_kit.orchestration.options import ResumeArguments, Task
from magentic_kit.orchestration.task import RunTask
from magentic_kit.run import Run
from magentic_kit.runlog.result import RunResult
from magentic_kit.services.pool import Pool
from magentic_kit.team.loading import load_team
from magentic_kit.text import one_line

logger = logging.getLogger(__name__)

_NOTE = 2000  # characters
_LOST = 5
"""So many workers may be lost with a run before a person is asked."""
_POLL = 0.1
"""Seconds between looks whether a run asks a person."""


class Carrier:
    """What the runs of one worker share: teams, connections and limits. Closed with `opened`."""

    def __init__(
        self,
        database: Database,
        worker: str,
        folders: AllowedFolders,
        opened: AsyncExitStack,
        tell: Callable[[str], None],
    ) -> None:
        self._database, self._worker, self._folders, self._tell = database, worker, folders, tell
        self._factories: dict[tuple[str, str], TeamFactory] = {}
        self._pool = Pool(lambda service: SharedPace(database.engine, service))
        self._opened = opened
        opened.push_async_callback(self._pool.close)

    async def carry_out(self, text: str, answers: Sequence[Answer], elapsed: float) -> State:
        """Carries out the run of this workflow, as one step of it. It is cancelled if the workflow is.

        `answers` are those of people so far; `elapsed` seconds of the run's deadline are used up. Raises
        `JournalError` if its log cannot be written.
        """
        id, spec = DBOS.workflow_id, json.loads(text)
        assert id is not None
        entry = await asyncio.to_thread(self._database.entry, id)
        history = await asyncio.to_thread(self._database.history, id)
        lost = history.lost
        is_over = history.ended and entry.retried != history.takes
        self._tell(f"{id}: taken" + (f" over, for the {lost + 1}. time" if lost else ""))
        history.contents |= contents_of(spec)  # which are there, and not written once more
        log = StreamLog(history)
        try:
            await log.take(self._worker)
            if lost >= _LOST:
                state = await self._ask(log, "problem", f"{_LOST} workers were lost with it", elapsed)
            elif is_over and isinstance(end := log.read()[-1], ev.RunFinished):
                state = _end(end.outcome, end.error)
            else:
                # What a person said of calls of unknown outcome holds once: they may have been made since.
                held = answers if not lost else [answer for answer in answers if not answer["calls"]]
                state = await self._run(id, spec, log, held, elapsed)
            await log.sync()
        except JournalError as error:
            self._tell(f"{id}: given up: {error}")
            raise
        except asyncio.CancelledError:
            self._tell(f"{id}: cancelled")
            raise
        note = f": {state['note']}" if state["note"] else ""
        self._tell(f"{id}: {state['state']}{note}")
        return state

    async def _run(self, id: str, spec: Spec, log: StreamLog, answers: Sequence[Answer], elapsed: float) -> State:
        try:
            factory = await self._factory(spec)
            redactor = factory.blueprint.redactor(spec["inputs"])
            people = QueuedPeople(spec["people"], answers, redactor.text)
            calls = answers[-1]["calls"] if answers else {}
            options = ResumeArguments(unknown_tools=calls, **people.options())
            task: Task = spec["task"]
            if files := attached_to(spec):
                task = RunTask(spec["task"], files).message
            run = Run.over(factory.blueprint, log, task, options, id, inputs=spec["inputs"])
            run.clock.used = elapsed  # it begins in a task of its own, which has not begun
            log.on_broken = run.cancel  # no call more is paid for
            result = await self._result(run, log, people)
            if log.broken is not None:
                raise log.broken
            if result is None:
                return _waiting([*people.open.values()], run.clock.elapsed)
            if result.error and result.error["kind"] == UnknownToolError.kind:  # of a run inside it
                return await self._ask(log, "outcome", result.failure, run.clock.elapsed)
            return _end(result.outcome, result.error)
        except JournalError:
            raise
        except UnknownToolError as error:
            return await self._ask(log, "outcome", str(error), elapsed)
        except KitError as error:  # a team that cannot run here, a log that does not fit
            return await self._ask(log, "problem", str(error), elapsed)
        except Exception as error:
            logger.exception("run %s", id)
            return await self._ask(log, "problem", f"{type(error).__name__}: {error}", elapsed)

    async def _result(self, run: Run, log: StreamLog, people: QueuedPeople) -> RunResult | None:
        """Waits for the run's end, or leaves it, and returns None, when it does nothing but to wait for a person."""
        ending = asyncio.ensure_future(run.result())
        try:
            while not ending.done():
                if people.open and log.history.is_idle(people.open):
                    await log.leave()
                    run.cancel()
                    await ending
                    return None
                await asyncio.wait([ending], timeout=_POLL)
        except BaseException:
            run.cancel()
            await run.result()
            raise
        return ending.result()

    async def _ask(self, log: StreamLog, kind: str, text: str, elapsed: float) -> State:
        """Asks a person how the run is to go on. Each time is another question: its answer holds once."""
        await log.leave()
        return _waiting([Question(id=f"{kind} {log.history.takes + 1}", kind=kind, text=text)], elapsed)

    async def _factory(self, spec: Spec) -> TeamFactory:
        """One factory for the runs of a team. Raises `ConfigError`."""
        key = spec["team"], spec["base_dir"]
        if key not in self._factories:
            self._folders.check_base(Path(key[1]))
            team = load_team(yaml.safe_load(key[0]), base_dir=Path(key[1]))
            self._folders.check(team)
            factory = TeamFactory(team, pool=self._pool)
            self._factories[key] = await self._opened.enter_async_context(factory)
        return self._factories[key]


def _waiting(questions: list[Question], elapsed: float) -> State:
    note = one_line(questions[0].text, _NOTE)
    return {"state": "waiting", "note": note, "questions": pack_questions(questions), "elapsed": elapsed}


def _end(outcome: str, error: ev.ErrorDetails | None) -> State:
    note = one_line(error["message"], _NOTE) if error else ""
    return {"state": outcome, "note": note, "questions": "", "elapsed": 0.0}
