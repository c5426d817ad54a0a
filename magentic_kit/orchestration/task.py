"""The task of a run: a text, and what goes with it, from what Semantic Kernel takes for a task."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from semantic_kernel.contents import ChatMessageContent, TextContent
from semantic_kernel.contents.utils.author_role import AuthorRole

from magentic_kit.events import Attachment
from magentic_kit.runlog.attachments import Attachments, ContentLog
from magentic_kit.services.contents import Content, described, is_beside_text, is_named_text, normal, restored
from magentic_kit.team.plan import TaskLedger

if TYPE_CHECKING:
    from magentic_kit.orchestration.options import Task

_HOW_TO_GIVE = "a task is a text, a ChatMessageContent or a list of them; values go to `inputs=`"
Contents: TypeAlias = tuple[Content, ...]


@dataclass(frozen=True)
class RunTask:
    """What a run is to do, and what goes with it: images, files, what is known of the run that it follows."""

    text: str
    contents: Contents = ()
    inputs: dict[str, Any] = field(default_factory=dict)
    plan: TaskLedger | None = None
    follows: str = ""

    @property
    def message(self) -> ChatMessageContent:
        """The task as Semantic Kernel's orchestration takes it."""
        items: list[Any] = [TextContent(text=self.text), *self.contents]
        return ChatMessageContent(role=AuthorRole.USER, items=items)


def parts_of(task: Task | None) -> tuple[str | None, Contents]:
    """The text of a task as it was given, None if it has none, and what goes with it.

    Of several messages the last is the task, behind which stands what was said before. Raises `TypeError` if it is
    no task.
    """
    if isinstance(task, str | None):
        return task, ()
    if isinstance(task, ChatMessageContent):
        messages = [task]
    elif isinstance(task, list) and all(isinstance(message, ChatMessageContent) for message in task):
        messages = task
    else:
        raise TypeError(f"the task is a {type(task).__name__}: {_HOW_TO_GIVE}")
    contents: list[Content] = []
    for message in messages:
        contents += contents_of(message)
    return _text_of(messages) or None, tuple(contents)


def contents_of(message: ChatMessageContent) -> list[Content]:
    """What a message has besides its text, of what can go with a task."""
    return [normal(item) for item in message.items if is_beside_text(item)]


def _text_of(messages: Sequence[ChatMessageContent]) -> str:
    spoken = [(message, text) for message in messages if (text := _words(message).strip())]
    if len(spoken) < 2:
        return "".join(text for _, text in spoken)
    before = "\n\n".join(f"{message.name or message.role.value}: {text}" for message, text in spoken[:-1])
    return f"{spoken[-1][1]}\n\nThis was said before:\n\n{before}"


def _words(message: ChatMessageContent) -> str:
    texts = [item.text for item in message.items if isinstance(item, TextContent) and not is_named_text(item)]
    return "\n\n".join(texts)


def logged_contents(recorded: Iterable[Attachment], given: Contents, log: ContentLog) -> Contents:
    """What goes with the task of a run that is resumed: as it is given again, or as it was kept.

    Raises `JournalError` if it is gone.
    """
    attachments = Attachments()
    attachments.log = log
    again = [(described(content)[0], content) for content in given]
    contents = []
    for attachment in recorded:
        same = next((content for known, content in again if known == attachment), None)
        contents.append(same or restored(attachment, attachments))
    return tuple(contents)
