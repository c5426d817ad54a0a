"""How the manager's model is asked: words for words, and for progress ledgers that can be used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from semantic_kernel.agents.orchestration.magentic import MagenticManagerActor, ProgressLedger
from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase
from semantic_kernel.contents import ChatHistory, ChatMessageContent
from semantic_kernel.contents.utils.author_role import AuthorRole

from magentic_kit import events as ev
from magentic_kit.errors import LedgerError, ServiceError
from magentic_kit.orchestration import prompts
from magentic_kit.orchestration.ledger import parse_ledger, tier_settings
from magentic_kit.orchestration.model_calls import Lane

NAME = MagenticManagerActor.__name__
"""How SK names the manager in the messages it sends."""

_NO_REFUSAL = (None, 401, 402, 403, 404, 408, 429)
"""Statuses that say nothing about the form of what was asked."""


class Voice:
    """The manager's calls in one run, all through one lane."""

    def __init__(
        self, lane: Lane, service: ChatCompletionClientBase, options: Mapping[str, Any], structured_output: str
    ) -> None:
        self.service = lane.service
        self._lane = lane
        self._service = lane.connect(service)
        self._options = options
        known = tier_settings(service.get_prompt_execution_settings_class(), ())
        self._tiers = [*known] if structured_output == "auto" else [structured_output]
        self._tier_works = False

    @property
    def tier(self) -> str:
        """How ledgers are asked for now, one of `ledger.tier_settings`."""
        return self._tiers[0]

    async def ask(self, purpose: str, history: ChatHistory, prompt: str, **options: Any) -> str:
        """The reply to the history and one more prompt, which is not kept in the history."""
        self._lane.purpose = purpose
        self._lane.options = {**self._options, **options}
        settings = self._service.instantiate_prompt_execution_settings(**self._lane.options)
        pieces = self._service.get_streaming_chat_message_contents(
            ChatHistory(messages=[*history.messages, asked(prompt)]), settings
        )
        return "".join([content.content async for contents in pieces for content in contents[:1]])

    async def ask_and_keep(self, purpose: str, history: ChatHistory, prompt: str) -> str:
        """The same, with the prompt and the reply kept."""
        reply = await self.ask(purpose, history, prompt)
        history.add_message(asked(prompt))
        history.add_message(said(reply))
        return reply

    async def ask_ledger(
        self, history: ChatHistory, prompt: str, names: list[str], *, round: int, attempts: int
    ) -> tuple[ProgressLedger, int, bool]:
        """A usable ledger, how many replies it took, and whether it had to be mended. Raises `LedgerError`."""
        for attempt in range(1, attempts + 1):
            text = await self._ask_in_tier(history, prompt, names)
            try:
                ledger, mended = parse_ledger(text, names)
                return ledger, attempt, mended
            except ValueError as error:
                self._lane.context.emit(ev.LedgerRejected(round=round, attempt=attempt, error=str(error), text=text))
                history.add_message(asked(prompt))
                history.add_message(said(text))
                prompt, last = prompts.CORRECTION.format(error=error), error
        told = f"the manager's model gave no usable progress ledger in {attempts} attempts: {last}"
        raise LedgerError(told, attempts=attempts, text=text)

    async def _ask_in_tier(self, history: ChatHistory, prompt: str, names: list[str]) -> str:
        """Asks in the strictest way that the server takes; a refusal moves on to the next for good."""
        known = tier_settings(self._service.get_prompt_execution_settings_class(), names)
        retries = self._lane.context.limits.retries
        while True:
            untried = len(self._tiers) > 1 and not self._tier_works
            try:
                # A server that cannot do a tier may say so with a 500: no use in asking long.
                self._lane.retries = min(1, retries) if untried else retries
                text = await self.ask("ledger", history, prompt, **known.get(self.tier, {}))
            except ServiceError as error:
                if not untried or error.status in _NO_REFUSAL:
                    raise
                del self._tiers[0]
            else:
                self._tier_works = True
                return text
            finally:
                self._lane.retries = retries


def asked(prompt: str) -> ChatMessageContent:
    """What the manager's model is asked, as a message."""
    return ChatMessageContent(role=AuthorRole.USER, content=prompt)


def said(text: str) -> ChatMessageContent:
    """What the manager says, as a message."""
    return ChatMessageContent(role=AuthorRole.ASSISTANT, content=text, name=NAME)
