"""How the manager's model is asked: for texts, and for progress ledgers that can be used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from semantic_kernel.agents.orchestration.magentic import MagenticManagerActor, ProgressLedger
from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase
from semantic_kernel.contents import ChatHistory, ChatMessageContent
from semantic_kernel.contents.utils.author_role import AuthorRole

from magentic_kit import events as ev
from magentic_kit.errors import AnswerError, LedgerError, LimitReached, ServiceError
from magentic_kit.orchestration import prompts
from magentic_kit.orchestration.answer_format import AnswerFormat, is_strict
from magentic_kit.orchestration.ledger import ledger_tiers, parse_ledger, tier_settings
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
        known = ledger_tiers(service.get_prompt_execution_settings_class(), ())
        self._ledger_tiers = _Tiers([*known] if structured_output == "auto" else [structured_output])

    @property
    def tier(self) -> str:
        """How ledgers are asked for now, one of `ledger.tier_settings`."""
        return self._ledger_tiers.names[0]

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
            known = ledger_tiers(self._model.get_prompt_execution_settings_class(), names)
            text = await self._ask_in_tier("ledger", history, prompt, known, self._ledger_tiers)
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

    async def ask_answer(self, history: ChatHistory, prompt: str, form: AnswerFormat, *, attempts: int) -> object:
        """An answer that fits, as plain data; asked for again with what is wrong with it.

        Raises `AnswerError` if none of the attempts brought one.
        """
        settings, schema = self._model.get_prompt_execution_settings_class(), form.schema
        known = tier_settings(settings, schema, name="answer", strict=is_strict(schema))
        tiers = _Tiers([*self._ledger_tiers.names])  # what is refused for a ledger is so for any other schema
        prompt = prompts.ANSWER_AS_JSON.format(prompt=prompt, schema=json.dumps(schema, ensure_ascii=False))
        history = ChatHistory(messages=[*history.messages])
        text = error = ""
        for attempt in range(1, attempts + 1):
            text = await self._ask_in_tier("answer", history, prompt, known, tiers)
            try:
                return form.data_of(text)
            except ValueError as problem:
                error = f"{self.problem}, and {problem}" if self.problem else str(problem)
                self._calls.emitter.emit(ev.AnswerRejected(attempt=attempt, error=error, text=text))
                history.add_message(asked(prompt))
                history.add_message(said(text))
                prompt = prompts.ANSWER_CORRECTION.format(error=error)
        message = f"the answer fits its schema in none of {attempts} attempts: {error}"
        raise AnswerError(message, text=text)

    async def _ask_in_tier(
        self, purpose: str, history: ChatHistory, prompt: str, known: Mapping[str, dict[str, Any]], tiers: _Tiers
    ) -> str:
        """Asks in the strictest way that the server takes; a refusal moves on to the next for good."""
        while True:
            options = dict(self._options)
            options.update(known.get(tiers.names[0], {}))
            if len(tiers.names) == 1 or tiers.works:
                return await self.ask(purpose, history, prompt, options=options)
            try:
                # A server that cannot do a tier may say so with a 500: no use in asking long.
                most = min(1, self._calls.control.limits.retries or 0)
                text = await self.ask(purpose, history, prompt, options=options, retries=most)
            except ServiceError as error:
                # Without a status, the connector itself could not make such a request: another tier may do.
                if error.fault in _NO_REFUSAL or (error.status is None and error.fault):
                    raise
                del tiers.names[0]
            else:
                tiers.works = True
                return text


@dataclass
class _Tiers:
    """The ways to ask for JSON that are left to try, strictest first, and whether the first is known to work."""

    names: list[str]
    works: bool = False


def asked(prompt: str) -> ChatMessageContent:
    """A prompt as a message."""
    return ChatMessageContent(role=AuthorRole.USER, content=prompt)


def said(text: str) -> ChatMessageContent:
    """A text of the manager as a message."""
    return ChatMessageContent(role=AuthorRole.ASSISTANT, content=text, name=NAME)
