"""Replies from the log of an earlier run in place of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from pydantic import PrivateAttr
from semantic_kernel.connectors.ai.prompt_execution_settings import PromptExecutionSettings
from semantic_kernel.contents import ChatHistory

from magentic_kit.errors import ReplayError, ServiceError
from magentic_kit.events import ModelCallFailed, ModelCallFinished, effective
from magentic_kit.runlog.reader import read_log
from magentic_kit.runlog.redaction import has_mask
from magentic_kit.runlog.replay import RecordedSteps
from magentic_kit.services.reply import InProcessChatCompletion


class _ReplaySettings(PromptExecutionSettings):
    response_format: Any = None  # so that ledgers are asked for as often as then, where a server refused a tier


class ReplayChatCompletion(InProcessChatCompletion):
    """A chat service that answers from a run's log: a regression test for a team that costs no tokens.

    Works in a run of this package only. What is asked has to be what the log has, model and options aside;
    the first difference fails the run with a `ReplayError` that shows it. A call that failed then, and that the run
    got over, fails again.
    """

    SUPPORTS_FUNCTION_CALLING: ClassVar[bool] = True
    _steps: RecordedSteps = PrivateAttr()

    def __init__(self, run: Path, *, service_id: str = "replay") -> None:
        super().__init__(ai_model_id="replay", service_id=service_id)
        self._steps = RecordedSteps(effective(read_log(run)[0]))

    def get_prompt_execution_settings_class(self) -> type[PromptExecutionSettings]:
        """The base's, and what `_ReplaySettings` adds."""
        return _ReplaySettings

    async def _reply(self, history: ChatHistory) -> ModelCallFinished:
        call = self._call
        if call is None:
            raise ServiceError("a replay answers the calls of a run only", service=self.service_id)
        asked, recorded = call.request, self._steps.asked(call.name)
        same = {"messages": asked["messages"], "tools": asked["tools"]}
        reply = self._steps.reply(call.name, {**recorded, **same})
        if isinstance(reply, ModelCallFailed):
            raise ServiceError(reply.error, service=call.service, status=reply.status)
        if reply is None:
            raise ReplayError(call.name, "the log has no reply to this call")
        if has_mask(reply.tool_calls):
            raise ReplayError(
                call.name, "a function's recorded arguments have a secret, which is not stored with a run"
            )
        return reply
