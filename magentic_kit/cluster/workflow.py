"""A queued run as a DBOS workflow: parts that are carried out, and between them waits for people."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypedDict

from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, Queue, StepOptions
from dbos._sys_db import SystemDatabase
from sqlalchemy.exc import SQLAlchemyError

from magentic_kit.cluster.database import CONNECT, Database
from magentic_kit.cluster.entry import APPLICATION, NOBODY, PEOPLE, QUEUE, VERSION, WORKFLOW, Answer, unpack_questions
from magentic_kit.cluster.limits import in_turn

_ASK_AGAIN = 3600.0
"""Seconds after which a run that waits for a person looks whether it is still this worker's."""


class State(TypedDict):
    """Where a run stands: `state` and `note` as for `Entry`, and what its next part has to know."""

    state: str
    note: str
    questions: str  # packed
    elapsed: float


CarryOut = Callable[[str, Sequence[Answer], float], Coroutine[Any, Any, State]]
"""Carries out a part of a run: its spec, people's answers so far, the seconds of its deadline that are used up."""


class RunWorkflow:
    """The workflow in this process, a DBOS executor of that name; `launch` and the rest in one event loop."""

    def __init__(self, database: Database, executor: str, carry_out: CarryOut) -> None:
        self._database, self._executor, self._carry_out = database, executor, carry_out
        self._stopped = False
        self._waiting: set[asyncio.Task[Any] | None] = set()

    def launch(self) -> None:
        """Makes this process a DBOS executor whose workflows go on in this event loop."""
        config: DBOSConfig = {
            "name": APPLICATION,
            "system_database_url": self._database.url,
            "db_engine_kwargs": {"connect_args": CONNECT},
            "executor_id": self._executor,
            "application_version": VERSION,
            "serializer": DBOSPortableJSONSerializer(),
            "log_level": "ERROR",  # what it warns of, again and again, is that the database is away
        }
        DBOS(config=config)
        DBOS.listen_queues([QUEUE, PEOPLE])

        @DBOS.workflow(name=WORKFLOW, max_recovery_attempts=None)  # we count what DBOS forgets at a resume
        async def run(spec: str) -> dict[str, str]:
            answers, elapsed = list[Answer](), 0.0
            while True:
                carry_out: StepOptions = {"name": "carry out", "preemptible": True}
                state = await DBOS.run_step_async(carry_out, self._carry_out, spec, answers, elapsed)
                if state["state"] != "waiting":
                    return {"state": state["state"], "note": state["note"]}
                answers, elapsed = [*answers, await self._answer(state)], state["elapsed"]

        _keep_to_limits()
        DBOS.launch()

    def stop_waiting(self) -> None:
        """Leaves the runs that wait for a person to other workers, or to this one's successor.

        An answer that comes before they take them over waits in the database.
        """
        self._stopped = True
        for task in self._waiting:
            if task is not None:
                task.cancel()

    # -- people

    async def _answer(self, state: State) -> Answer:
        """Waits for a person, in the queue of the runs that do."""
        id, questions = DBOS.workflow_id, state["questions"]
        assert id is not None
        await DBOS.update_workflow_attributes_async(id, {"questions": questions, "answered": NOBODY}, merge=True)
        await DBOS.run_step_async({"name": "wait for a person"}, self._move, id, PEOPLE)
        asked = {question.id for question in unpack_questions(questions)}
        answer: Answer | None = None
        while answer is None or answer["question"] not in asked:
            answer = await self._receive()
        await DBOS.run_step_async({"name": "go on"}, self._move, id, QUEUE)
        return answer

    async def _move(self, id: str, queue: str) -> str:
        """A step that is done once the workflow is in that queue, from which any worker takes it."""
        client = self._database.client
        (status,) = await asyncio.to_thread(client.list_workflows, workflow_ids=[id], load_input=False)
        if status.queue_name == queue:
            return queue
        if status.status == "PENDING" and status.executor_id == self._executor:
            await asyncio.to_thread(client.resume_workflow, id, queue_name=queue)
        raise asyncio.CancelledError  # here it is over; an error would be its outcome

    async def _receive(self) -> Answer | None:
        """The next answer that a person gives; None after a while, for another look."""
        if self._stopped:
            raise asyncio.CancelledError
        task = asyncio.current_task()
        self._waiting.add(task)
        try:
            packed = await DBOS.recv_async(timeout_seconds=_ASK_AGAIN)
        finally:
            self._waiting.discard(task)
        if packed is None:
            return None
        answer: Answer = json.loads(packed)
        return answer


_dequeue = SystemDatabase.start_queued_workflows


def _keep_to_limits() -> None:
    """Lets DBOS dequeue runs by the limits that are in force then, in one process at a time.

    It has them from before it waited for its next poll, and two processes that dequeue at once may each take the last
    place for another run. There is no public means: this depends on DBOS's own names.
    """

    def dequeue(system: SystemDatabase, queue: Queue, *arguments: Any, **options: Any) -> Any:
        if queue.name != QUEUE:
            return _dequeue(system, queue, *arguments, **options)
        dequeued = None
        try:
            with in_turn(system.engine):
                dequeued = _dequeue(system, system.get_queue(QUEUE) or queue, *arguments, **options)
        except SQLAlchemyError:
            if dequeued is None:
                raise
            # They are this worker's already, though the turn was lost: if DBOS did not begin them, nobody would.
        return dequeued

    SystemDatabase.start_queued_workflows = dequeue  # type: ignore[assignment,method-assign]
