"""How the manager's model is asked: for texts, and for progress ledgers that can be used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from semantic_kernel.agents.orchestration.magentic import MagenticManagerActor, ProgressLedger
from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase
from semantic_kernel.contents import ChatHistory, ChatMessageContent
from semantic_kernel.contents.utils.author_role import AuthorRole

from magentic_kit import events as ev
from magentic_kit.errors import LedgerError, LimitReached, ServiceError
from magentic_kit.orchestration import prompts
from magentic_kit.orchestration.ledger import parse_ledger, tier_settings
from magentic_kit.orchestration.model_calls import ParticipantCalls
from magentic_kit.services.reply import ENDINGS
from magentic_kit.text import one_line

NAME = MagenticManagerActor.__name__
"""How SK names the manager in the messages it sends."""

_NO_REFUSAL = ("key", "quota", "model", "limit", "content", "context")
"""Faults that say nothing about the form of what was asked."""


class ManagerModel:
    """The manager's model in one run."""

    def __init__(
        self,
        calls: ParticipantCalls,
        service: ChatCompletionClientBase,
        options: Mapping[str, Any],
        structured_output: str,
    ) -> None:
        self.service = calls.service
        """The service's name in the team file."""
        self._calls = calls
        self._model = service
        self._options = options
        known = tier_settings(service.get_prompt_execution_settings_class(), ())
        self._tiers = [*known] if structured_output == "auto" else [structured_output]
        self._tier_works = False

    @property
    def tier(self) -> str:
        """How ledgers are asked for now, one of `ledger.tier_settings`."""
        return self._tiers[0]

    async def ask(
        self,
        purpose: str,
        history: ChatHistory,
        prompt: str,
        *,
        options: Mapping[str, Any] | None = None,
        retries: int | None = None,
    ) -> str:
        """The reply to the history and one more prompt, which is not kept in the history."""
        call = self._calls.describe(purpose, self._options if options is None else options)
        if retries is not None:
            call = replace(call, retries=retries)
        return await self._calls.ask(self._model, call, ChatHistory(messages=[*history.messages, asked(prompt)]))

    @property
    def problem(self) -> str:
        """What is wrong with how the last reply ended; "" if nothing is."""
        reply = self._calls.last_reply
        if reply is None:
            return ""
        if ending := ENDINGS.get(reply.finish_reason):
            return f"it {ending}"
        if reply.text.strip():
            return ""
        if reply.reasoning:
            return "it was reasoning alone"
        return "it was empty"

    async def ask_whole(self, purpose: str, history: ChatHistory, prompt: str) -> tuple[str, str]:
        """The reply, and what is wrong with its end; one that is not whole is asked for once more, saying why."""
        first = await self.ask(purpose, history, prompt)
        problem = self.problem
        if not problem:
            return first, ""
        try:
            again = await self.ask(purpose, history, prompts.AGAIN.format(prompt=prompt, problem=problem))
        except (LimitReached, ServiceError):
            return first, problem
        if not self.problem or len(again) > len(first):
            return again, self.problem
        return first, problem

    async def ask_and_keep(self, purpose: str, history: ChatHistory, prompt: str) -> str:
        """The reply, with the prompt and the reply kept in the history; asked for again if it is not whole."""
        reply, _ = await self.ask_whole(purpose, history, prompt)
        history.add_message(asked(prompt))
        history.add_message(said(reply))
        return reply

    async def ask_ledger(
        self, history: ChatHistory, prompt: str, names: list[str], *, round: int, attempts: int
    ) -> tuple[ProgressLedger, int, bool]:
        """A usable ledger, how many replies it took, and whether it had to be repaired. Raises `LedgerError`."""
        for attempt in range(1, attempts + 1):
            text = await self._ask_in_tier(history, prompt, names)
            ending = self._calls.last_ending
            try:
                ledger, repaired = parse_ledger(text, names)
                if ending not in ENDINGS or not repaired:
                    return ledger, attempt, repaired
                raise ValueError("the reply is not whole")
            except ValueError as problem:
                error = str(problem)
                if ending == "refusal":
                    error = f"the model refused: {one_line(text, 200)}"
                elif ending in ENDINGS:
                    error = f"the reply {ENDINGS[ending]}, and {error}"
                rejected = ev.LedgerRejected(round=round, attempt=attempt, error=error, text=text)
                self._calls.emitter.emit(rejected)
                history.add_message(asked(prompt))
                history.add_message(said(text))
                prompt, last = prompts.CORRECTION.format(error=error), error
        message = f"the manager's model gave no usable progress ledger in {attempts} attempts: {last}"
        raise LedgerError(message, attempts=attempts, text=text)

    async def _ask_in_tier(self, history: ChatHistory, prompt: str, names: list[str]) -> str:
        """Asks in the strictest way that the server takes; a refusal moves on to the next for good."""
        known = tier_settings(self._model.get_prompt_execution_settings_class(), names)
        while True:
            options = dict(self._options)
            options.update(known.get(self.tier, {}))
            if len(self._tiers) == 1 or self._tier_works:
                return await self.ask("ledger", history, prompt, options=options)
            try:
                # A server that cannot do a tier may say so with a 500: no use in asking long.
                most = min(1, self._calls.control.limits.retries or 0)
                text = await self.ask("ledger", history, prompt, options=options, retries=most)
            except ServiceError as error:
                # Without a status, the connector itself could not make such a request: another tier may do.
                if error.fault in _NO_REFUSAL or (error.status is None and error.fault):
                    raise
                del self._tiers[0]
            else:
                self._tier_works = True
                return text


def asked(prompt: str) -> ChatMessageContent:
    """A prompt as a message."""
    return ChatMessageContent(role=AuthorRole.USER, content=prompt)


def said(text: str) -> ChatMessageContent:
    """A text of the manager as a message."""
    return ChatMessageContent(role=AuthorRole.ASSISTANT, content=text, name=NAME)
