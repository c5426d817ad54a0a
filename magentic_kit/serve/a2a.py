"""Teams as A2A agents: a run is a task, at `/a2a/TEAM`, beside the agent card."""

from __future__ import annotations

from collections import deque
from typing import Any

from a2a.helpers import (
    get_artifact_text,
    get_data_parts,
    get_message_text,
    new_task_from_user_message,
    new_text_part,
)
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.context import ServerCallContext
from a2a.server.events import EventQueue
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import ListTasksRequest, Message, Task, TaskState
from google.protobuf.json_format import MessageToDict

from magentic_kit import events as ev
from magentic_kit.embed import task_of
from magentic_kit.errors import ConfigError
from magentic_kit.runlog.result import RunResult
from magentic_kit.serve.questions import Question
from magentic_kit.serve.teams import ServedRun, ServedTeams, Step
from magentic_kit.views.progress import progress_of
from magentic_kit.views.reply import ending_data, reply_of

_ENDINGS = {
    "satisfied": TaskState.TASK_STATE_COMPLETED,
    "limited": TaskState.TASK_STATE_FAILED,  # its answer is an artifact all the same
    "failed": TaskState.TASK_STATE_FAILED,
    "rejected": TaskState.TASK_STATE_REJECTED,
    "cancelled": TaskState.TASK_STATE_CANCELED,
}
_KEPT = 1000
"""Tasks that have ended and can still be read."""


class RecentTasks(InMemoryTaskStore):
    """Tasks in memory; of those that have ended, the oldest are forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self._ended: deque[str] = deque()

    async def save(self, task: Task, context: ServerCallContext) -> None:
        """Saves a task."""
        await super().save(task, context)
        if task.status.state in _ENDINGS.values() and task.id not in self._ended:
            self._ended.append(task.id)
            if len(self._ended) > _KEPT:
                await self.delete(self._ended.popleft(), context)


class TeamExecutor(AgentExecutor):
    """Carries out the tasks of one team. The run of a task that needs input waits for the next message."""

    def __init__(self, teams: ServedTeams, name: str, tasks: RecentTasks) -> None:
        self._teams = teams
        self._name = name
        self._tasks = tasks
        self._runs: dict[str, ServedRun] = {}

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Begins the run of a task, or gives it the answer that it waits for, and follows it."""
        assert context.message is not None and context.task_id is not None
        # A message of a task may leave out its context, for which the SDK makes up another.
        context_id = (context.current_task or context).context_id
        updater = TaskUpdater(event_queue, context.task_id, context_id or "")
        if context.current_task is None:
            await event_queue.enqueue_event(new_task_from_user_message(context.message))
            run = await self._start(context, updater)
        else:
            run = await self._answered(context, updater)
        if run is None:
            return
        try:
            await updater.start_work()
            async for step in run.steps():
                if await self._tell(step, updater):
                    break
        except BaseException:
            self._runs.pop(context.task_id, None)
            await run.cancel()
            raise

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Cancels the run of a task."""
        updater = TaskUpdater(event_queue, context.task_id or "", context.context_id or "")
        run = self._runs.pop(updater.task_id, None)
        if run is not None:
            await run.cancel()
        await updater.cancel(_message(updater, "The team was cancelled; there is no answer."))

    async def _start(self, context: RequestContext, updater: TaskUpdater) -> ServedRun | None:
        """Begins a run; a task that cannot begin is rejected, and says why."""
        try:
            task, inputs = await self._task(context), _inputs(context)
            run = await self._teams.start(self._name, task or None, inputs, can_ask=True)
        except ConfigError as error:
            await updater.reject(_message(updater, str(error)))
            return None
        self._runs[updater.task_id] = run
        run.ended.add_done_callback(lambda _: self._forget(updater.task_id, run))
        return run

    def _forget(self, task_id: str, run: ServedRun) -> None:
        """Forgets a run that ended while it waited: nobody follows it."""
        if run.question is not None:
            self._runs.pop(task_id, None)

    async def _task(self, context: RequestContext) -> str:
        """What the message asks for, and what was said before in its context. Raises `ConfigError`."""
        assert context.message is not None
        if any(part.WhichOneof("content") != "text" for part in context.message.parts):
            raise ConfigError.one("a team is given text alone", file="message.parts")
        earlier = await self._tasks.list(ListTasksRequest(context_id=context.context_id), context.call_context)
        said: list[tuple[str, str]] = []
        for task in reversed(earlier.tasks):
            if task.id != context.task_id:
                said += [("user", get_message_text(entry)) for entry in task.history[:1]]
                said += [("agent", get_artifact_text(artifact)) for artifact in task.artifacts]
        return task_of([*said, ("user", get_message_text(context.message))])

    async def _answered(self, context: RequestContext, updater: TaskUpdater) -> ServedRun | None:
        """Gives the run the person's answer; asks again if it cannot be read."""
        assert context.message is not None
        run = self._runs.get(updater.task_id)
        if run is None or run.question is None:
            await updater.cancel(_message(updater, "The run was cancelled: nobody had answered in time."))
            return None
        data = get_data_parts(context.message.parts)
        try:
            run.answer(run.question.read(data[0] if data else get_message_text(context.message)))
        except ValueError as error:
            await updater.requires_input(_message(updater, f"{error}\n\n{run.question.text}"))
            return None
        return run

    async def _tell(self, step: Step, updater: TaskUpdater) -> bool:
        """Tells the client of a step. Returns whether it is the last one before the next message."""
        if isinstance(step, Question):
            metadata = {"magentic-kit": {"question": step.kind, "schema": step.schema}}
            message = _message(updater, step.text)
            await updater.update_status(TaskState.TASK_STATE_INPUT_REQUIRED, message, metadata=metadata)
            return True
        if isinstance(step, RunResult):
            await self._finish(step, updater)
            return True
        text = progress_of(step)
        if isinstance(step, ev.AgentMessage):
            text = f"{step.agent}: {step.text}"
        if text:
            await updater.start_work(_message(updater, text))
        return False

    async def _finish(self, result: RunResult, updater: TaskUpdater) -> None:
        if self._runs.pop(updater.task_id, None) is None:
            return  # `cancel` tells of it
        message = None
        if result.answer:
            await updater.add_artifact([new_text_part(result.answer)], name="answer", last_chunk=True)
        if result.outcome != "satisfied":
            message = _message(updater, reply_of(result))
        await updater.update_status(_ENDINGS[result.outcome], message, metadata=ending_data(result))


def _inputs(context: RequestContext) -> dict[str, Any]:
    """The team's inputs, of the metadata of the message or the request. Raises `ConfigError`."""
    metadata = context.metadata
    if context.message is not None:
        metadata.update(MessageToDict(context.message.metadata))
    inputs = metadata.get("inputs", {})
    if not isinstance(inputs, dict):
        raise ConfigError.one("should be an object", file="metadata.inputs")
    return {name: _whole(value) for name, value in inputs.items()}


def _whole(value: object) -> object:
    """A number as it was sent: protobuf knows no integers in metadata."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _message(updater: TaskUpdater, text: str) -> Message:
    return updater.new_agent_message([new_text_part(text)])
