"""A worker: a DBOS process that carries out queued runs, and finishes those of workers that died."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, StepOptions

from magentic_kit.cluster.adoption import Liveness
from magentic_kit.cluster.carrier import Carrier, State
from magentic_kit.cluster.database import CONNECT, Database
from magentic_kit.cluster.entry import APPLICATION, PEOPLE, QUEUE, VERSION, WORKFLOW, Answer, unpack_questions
from magentic_kit.cluster.folders import AllowedFolders
from magentic_kit.errors import JournalError

_DRAIN = 10**9
"""Seconds that `stop` leaves to the runs under way: as many as they need."""
_ASK_AGAIN = 3600.0
"""Seconds after which a run that waits for a person looks whether it is still this worker's."""


class Worker:
    """Carries out runs until `stop`; one for each process, since DBOS is one for each process.

    `concurrency` is the number of runs at once in one worker: DBOS has it at the queue, so that the last one that
    is given holds for all workers. A worker that is silent for `lease` seconds loses its runs to others, who go on
    from what is in their logs; should it come back, it is refused at its next step. The database may be away for
    `patience` seconds. Teams may load code and read files below the folders `allow` alone (default: any). `tell`
    gets a line for what happens.
    """

    def __init__(
        self,
        database: Database,
        *,
        concurrency: int | None = None,
        lease: float = 10.0,
        patience: float = 90.0,
        allow: Sequence[Path] | None = None,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._database, self._concurrency = database, concurrency
        self._lease, self._patience = lease, patience
        self._opened = AsyncExitStack()
        self._carrier = Carrier(database, self.name, AllowedFolders(allow), self._opened, tell)
        self._stopped = asyncio.Event()
        self._waiting: set[asyncio.Task[Any] | None] = set()  # tasks of runs that wait for a person

    def stop(self) -> None:
        """Takes no more runs; `work` ends with those that are under way."""
        self._stopped.set()

    async def work(self) -> None:
        """Carries out runs until `stop` is called.

        Raises `JournalError` if the database is away for too long. The process has to end then, by `os._exit`: the
        threads of DBOS try again without end.
        """
        loop = asyncio.get_running_loop()
        lost: asyncio.Future[None] = loop.create_future()
        await asyncio.to_thread(self._database.limit, worker_concurrency=self._concurrency)
        liveness = Liveness(
            self._database,
            self.name,
            lease=self._lease,
            patience=self._patience,
            lost=lambda why: loop.call_soon_threadsafe(lost.set_exception, JournalError(why)),
        )
        liveness.start()
        try:
            async with self._opened:
                self._launch()
                await _unless(lost, self._stopped.wait())
                for task in self._waiting:
                    if task is not None:
                        task.cancel()  # another worker waits on, or this one's successor
                # In a thread: it waits for the runs under way, which go on in this loop.
                drain = partial(DBOS.destroy, destroy_registry=True, workflow_completion_timeout_sec=_DRAIN)
                await _unless(lost, asyncio.to_thread(drain))
                loop.set_default_executor(ThreadPoolExecutor())  # DBOS had put its own there, and has closed it
        finally:
            liveness.end()

    def _launch(self) -> None:
        """Makes this process a DBOS executor whose workflows go on in this event loop."""
        config: DBOSConfig = {
            "name": APPLICATION,
            "system_database_url": self._database.url,
            "db_engine_kwargs": {"connect_args": CONNECT},
            "executor_id": self.name,
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
                state = await DBOS.run_step_async(carry_out, self._carrier.carry_out, spec, answers, elapsed)
                if state["state"] != "waiting":
                    return {"state": state["state"], "note": state["note"]}
                answers, elapsed = [*answers, await self._answer(state)], state["elapsed"]

        DBOS.launch()

    # -- people

    async def _answer(self, state: State) -> Answer:
        """Waits for a person, in the queue of the runs that do."""
        id, questions = DBOS.workflow_id, state["questions"]
        assert id is not None
        await DBOS.update_workflow_attributes_async(id, {"questions": questions, "answered": ""}, merge=True)
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
        if status.status == "PENDING" and status.executor_id == self.name:
            await asyncio.to_thread(client.resume_workflow, id, queue_name=queue)
        raise asyncio.CancelledError  # here it is over; an error would be its outcome

    async def _receive(self) -> Answer | None:
        """The next answer that a person gives; None after a while, for another look."""
        if self._stopped.is_set():
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


async def _unless(lost: asyncio.Future[None], awaitable: Awaitable[Any]) -> None:
    """Waits for the one or the other, and raises what `lost` has."""
    waiting: asyncio.Future[Any] = asyncio.ensure_future(awaitable)
    await asyncio.wait([lost, waiting], return_when=asyncio.FIRST_COMPLETED)
    if lost.done():
        lost.result()
