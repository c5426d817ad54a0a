"""Replies from a script in place of a model: for tests, demos and offline trials; plainly labelled."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, ClassVar

from pydantic import PrivateAttr
from semantic_kernel.connectors.ai.prompt_execution_settings import PromptExecutionSettings
from semantic_kernel.contents import ChatHistory, FunctionResultContent, StreamingTextContent
from semantic_kernel.contents.utils.author_role import AuthorRole

from magentic_kit.errors import ServiceError
from magentic_kit.events import MANAGER, Usage
from magentic_kit.services.reply import Answer, InProcessChatCompletion, contents_of

Script = Mapping[str, Any]
"""Participant -> its replies in order; for the manager also purpose -> replies. See `ScriptedChatCompletion`."""

_QUOTE = re.compile(r"\{\{\s*(tool_result|task)\s*\}\}")


def ledger(
    *,
    next: str = "",
    instruction: str = "",
    satisfied: bool = False,
    loop: bool = False,
    progress: bool = True,
    reason: str = "scripted",
) -> str:
    """The JSON of a progress ledger, as a manager's model would write it."""
    answers = {
        "is_request_satisfied": satisfied,
        "is_in_loop": loop,
        "is_progress_being_made": progress,
        "next_speaker": next,
        "instruction_or_question": instruction,
    }
    return json.dumps({key: {"reason": reason, "answer": answer} for key, answer in answers.items()})


class ScriptedChatCompletion(InProcessChatCompletion):
    """A chat service that answers from a script instead of a model.

    `script` maps a participant's name to the list of its replies, one for each model call. The manager's
    entry (`manager`) is such a list too, or maps each purpose (`facts`, `plan`, `ledger`, `answer`, `summary`) to a
    list, as an agent's may (`turn`, `summary`).
    A reply is a text, in which `{{tool_result}}` quotes the last tool's result and `{{task}}` the last words
    said to the participant; or a mapping with `text` and `tool_calls: [{name: plugin.function,
    arguments: {...}}]`; or `{ledger: {next:, instruction:, satisfied:, loop:, progress:, reason:}}`; or, in
    Python, a function of the chat history that returns one of these. `delay` is the pause in seconds between
    streamed words. Raises `ServiceError` when the script has no reply left.
    """

    SUPPORTS_FUNCTION_CALLING: ClassVar[bool] = True
    script: Any
    delay: float = 0.0
    _asked: dict[str, int] = PrivateAttr(default_factory=dict)

    def __init__(self, script: Script, *, service_id: str = "scripted", delay: float = 0.0) -> None:
        fields: dict[str, Any] = {"script": script, "delay": delay}
        super().__init__(ai_model_id="scripted", service_id=service_id, **fields)

    async def _reply(self, history: ChatHistory) -> Answer:
        text, calls = self._render(self._next(history), history)
        prompt = sum(len(message.content) for message in history.messages)
        usage = Usage(prompt_tokens=prompt // 4, completion_tokens=len(text) // 4)
        return Answer(text=text, usage=usage, tool_calls=calls, finish_reason="tool_calls" if calls else "stop")

    def _next(self, history: ChatHistory) -> Any:
        who, replies, key = self._replies(history)
        call = self._call
        if call is None:
            number = self._asked.get(key, 0)
            self._asked[key] = number + 1
        else:  # the run counts, so that a retry or a resumed run keeps its place
            number = call.number if key == who else call.number_of_purpose
        if number < len(replies):
            return replies[number]
        place = repr(who) if key == who else f"{who!r} ({key})"
        missing = f"the script has no reply number {number + 1} for {place}"
        raise ServiceError(f"{missing}; add it to the script or end the run earlier", service=self.service_id)

    def _replies(self, history: ChatHistory) -> tuple[str, Sequence[Any], str]:
        """Who is asked, its replies, and what these are counted by: the name, or a purpose."""
        if self._call is not None:
            who, purpose = self._call.who, self._call.purpose
        else:
            system = next((m for m in history.messages if m.role == AuthorRole.SYSTEM), None)
            who, purpose = (system and system.name) or MANAGER, ""
        replies, key = self.script.get(who, ()), who
        if isinstance(replies, Mapping):
            replies, key = replies.get(purpose, ()), purpose
        if isinstance(replies, str | Mapping) or not isinstance(replies, Sequence):
            replies = [replies]
        return who, replies, key

    def _render(self, reply: Any, history: ChatHistory) -> tuple[str, list[dict[str, Any]]]:
        if callable(reply):
            reply = reply(history)
        if not isinstance(reply, Mapping):
            reply = {"text": str(reply)}
        if "ledger" in reply:
            return ledger(**reply["ledger"]), []
        quotes = {"tool_result": _last_tool_result(history), "task": _last_words(history)}
        text = _QUOTE.sub(lambda match: quotes[match[1]], reply.get("text", ""))
        calls = [
            {
                "id": f"call_{len(history.messages)}_{index}",
                "index": index,
                "name": str(call["name"]).replace(".", "-", 1),
                "arguments": json.dumps(call.get("arguments", {})),
            }
            for index, call in enumerate(reply.get("tool_calls", ()))
        ]
        return text, calls

    async def _inner_get_streaming_chat_message_contents(
        self, chat_history: ChatHistory, settings: PromptExecutionSettings, function_invoke_attempt: int = 0
    ) -> AsyncGenerator[list[Any], None]:
        reply = await self._reply(chat_history)
        said, end = contents_of(reply, self.ai_model_id, attempt=function_invoke_attempt)
        for word in re.findall(r"\S+\s*|\s+", reply.text):
            yield [said.model_copy(update={"items": [StreamingTextContent(choice_index=0, text=word)]})]
            await asyncio.sleep(self.delay)
        yield [end]


def _last_tool_result(history: ChatHistory) -> str:
    results = [i for m in history.messages for i in m.items if isinstance(i, FunctionResultContent)]
    if results:
        return str(results[-1].result)
    return ""


def _last_words(history: ChatHistory) -> str:
    return next((m.content for m in reversed(history.messages) if m.role == AuthorRole.USER), "")
