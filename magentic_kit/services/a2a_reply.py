"""What a remote agent's task brings, as the text of a turn."""

from __future__ import annotations

import json
from collections.abc import Iterable

from a2a.types import Artifact, Part, StreamResponse, Task, TaskState
from google.protobuf.json_format import MessageToDict

_INTERRUPTED = {
    TaskState.TASK_STATE_INPUT_REQUIRED: "it waits for an answer, which is what it is told next",
    TaskState.TASK_STATE_AUTH_REQUIRED: "it waits for credentials, which only a person can give it",
}
_ENDED = {
    TaskState.TASK_STATE_COMPLETED: "",
    TaskState.TASK_STATE_FAILED: "its task failed",
    TaskState.TASK_STATE_REJECTED: "it rejected the task",
    TaskState.TASK_STATE_CANCELED: "its task was cancelled there",
}
_NOTES = _INTERRUPTED | _ENDED
"""States in which nothing more comes -> what the reader has to know; "" for a task that is done."""


class TaskReply:
    """The reply of one turn, collected from the events of its task: its artifacts, else its last message."""

    def __init__(self) -> None:
        self.task = Task()
        """The task as far as it is known; without an id if the agent replied by a message alone."""
        self.context_id = ""
        self._message: str | None = None
        self._artifacts: dict[str, str] = {}
        self._shown = ""

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes."""
        return self._message is not None or self.task.status.state in _NOTES

    @property
    def is_running(self) -> bool:
        """Whether a task has begun, and its end is not known."""
        return bool(self.task.id) and not self.is_over

    @property
    def needs_input(self) -> bool:
        """Whether the task goes on with the next message."""
        return self.task.status.state in _INTERRUPTED

    def take(self, event: StreamResponse) -> str:
        """Takes in an event; returns the text that can be shown now."""
        if event.HasField("message"):
            self._message = text_of(event.message.parts)
            self.context_id = event.message.context_id
        elif event.HasField("task"):
            return self.take_task(event.task)
        elif event.HasField("status_update"):
            update = event.status_update
            self._know(update.task_id, update.context_id)
            self.task.status.CopyFrom(update.status)
        elif event.HasField("artifact_update"):
            self._know(event.artifact_update.task_id, event.artifact_update.context_id)
            self._add(event.artifact_update.artifact, append=event.artifact_update.append)
        return self._new()

    def take_task(self, task: Task) -> str:
        """Takes in the task as it is now; returns the text that can be shown now."""
        self._know(task.id, task.context_id)
        self.task.CopyFrom(task)
        for artifact in task.artifacts:
            self._add(artifact, append=False)
        return self._new()

    def rest(self) -> str:
        """What is left of the text at the end, and how the task ended."""
        text = self._text()
        last = text_of(self.task.status.message.parts)
        note = _NOTES.get(self.task.status.state, "")
        if self._message is not None:
            text = self._message
        elif self.task.status.state in _ENDED and note and last:
            note = f"{note}: {last}"
        elif last and not (text and not note):
            text = "\n\n".join(filter(None, (text, last)))
        if note:
            text = "\n\n".join(filter(None, (text, f"({note})")))
        if text.startswith(self._shown):
            return text[len(self._shown) :]
        return f"\n\n{text}"  # an artifact was written anew

    def _know(self, task_id: str, context_id: str) -> None:
        self.task.id = task_id
        self.context_id = context_id

    def _add(self, artifact: Artifact, *, append: bool) -> None:
        text = text_of(artifact.parts, between="")  # a piece of a stream is a part of its own
        if append:
            text = self._artifacts.get(artifact.artifact_id, "") + text
        self._artifacts[artifact.artifact_id] = text

    def _text(self) -> str:
        return "\n\n".join(filter(None, self._artifacts.values()))

    def _new(self) -> str:
        text = self._text()
        if not text.startswith(self._shown):
            return ""
        new, self._shown = text[len(self._shown) :], text
        return new


def text_of(parts: Iterable[Part], *, between: str = "\n") -> str:
    """The text of parts; data as JSON, of files only what they are."""
    texts: list[str] = []
    for part in parts:
        match part.WhichOneof("content"):
            case "text":
                texts.append(part.text)
            case "data":
                texts.append(json.dumps(MessageToDict(part.data), ensure_ascii=False))
            case _:
                about = (part.filename, part.media_type, part.url)
                texts.append(f"[{', '.join(filter(None, about)) or 'a file'}]")
    return between.join(texts)
