"""What a new run is told of an earlier one whose conversation it goes on with."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from magentic_kit import events as ev
from magentic_kit.errors import ConfigError
from magentic_kit.orchestration.options import Attached, Task
from magentic_kit.orchestration.task import Contents, parts_of
from magentic_kit.runlog.attachments import Attachments
from magentic_kit.runlog.reader import read_log
from magentic_kit.runlog.record import RunRecord
from magentic_kit.runlog.result import RunResult
from magentic_kit.services.attached_files import attached
from magentic_kit.services.contents import named_text, restored
from magentic_kit.team.agents import ContextConfig

_TOKEN = 4
"""Characters that are taken for one token, as a context window does."""

_CONVERSATION = " (what was said)"
"""Ends the name of the text with the turns of an earlier run; only those of the last one are carried on."""


class GivenTask(NamedTuple):
    """A task as it was given: its text, None for the team's own, what goes with it, and the run that it follows."""

    text: str | None
    contents: Contents
    follows: str


def given_task(task: Task | None, arguments: Attached, context: ContextConfig | None) -> GivenTask:
    """The task with its files, and with what is known of the run that it follows.

    Raises `ConfigError`, `JournalError` and `TypeError` for what cannot be used.
    """
    text, contents = parts_of(task)
    follows, known = _earlier(arguments.history, context)
    return GivenTask(text, (*known, *contents, *attached(arguments.attach)), follows)


def _earlier(history: RunResult | str | Path | None, context: ContextConfig | None) -> tuple[str, Contents]:
    """The id of an earlier run, and what is known of it: its task with what went with it, plan, facts and answer.

    Of what was said, as much as the manager's window takes. Raises `ConfigError` if there is no such run, or it has
    not begun, `JournalError` if its log is damaged.
    """
    if history is None:
        return "", ()
    if isinstance(history, RunResult):
        record, attachments = history.record, history.attachments
    else:
        run_dir = Path(history)
        record, attachments = RunRecord.of(ev.effective(read_log(run_dir)[0])), Attachments.beside(run_dir)
    if not record.run_id:
        raise ConfigError.one("the run broke off before it began: nothing can follow it", file=str(history))
    known = [a for a in record.attachments if not a["name"].endswith(_CONVERSATION)]
    contents = [restored(attachment, attachments) for attachment in known]
    contents.append(named_text(_summary(record), record.run_id, kind="earlier_run"))
    said = _conversation(record, context)
    if said:
        contents.append(named_text(said, record.run_id + _CONVERSATION, kind="earlier_run"))
    return record.run_id, tuple(contents)


def _summary(record: RunRecord) -> str:
    """The run in a few paragraphs."""
    parts = [("Task", record.task)]
    if record.plans:
        parts += [("Facts", record.plans[-1].facts), ("Plan", record.plans[-1].plan)]
    parts.append(("Answer", record.answer))
    if record.outcome != "satisfied":
        parts.append(("How it ended", record.ending))
    return "\n\n".join(f"{name}: {text.strip()}" for name, text in parts if text.strip())


def _conversation(record: RunRecord, context: ContextConfig | None) -> str:
    """What agents said, the last of it first if the window does not take all."""
    turns = [f"{turn.agent}: {turn.text.strip()}" for turn in record.turns if turn.text.strip()]
    if context is None:
        return "\n\n".join(turns)
    if context.messages is not None:
        return "\n\n".join(turns[-context.messages :])
    kept: list[str] = []
    left = (context.tokens or 0) * _TOKEN
    for text in reversed(turns):
        left -= len(text)
        if left < 0:
            break
        kept.insert(0, text)
    return "\n\n".join(kept)
