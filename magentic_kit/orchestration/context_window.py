"""How much of a conversation is sent: past a maximum, older messages are left out, or one summary stands for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from pydantic import PrivateAttr
from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase
from semantic_kernel.connectors.ai.prompt_execution_settings import PromptExecutionSettings
from semantic_kernel.contents import (
    ChatHistory,
    ChatHistorySummarizationReducer,
    ChatHistoryTruncationReducer,
    ChatMessageContent,
)
from semantic_kernel.contents.history_reducer.chat_history_reducer_utils import SUMMARY_METADATA_KEY
from semantic_kernel.contents.utils.author_role import AuthorRole
from semantic_kernel.exceptions.content_exceptions import ChatHistoryReducerException

from magentic_kit.errors import ServiceError
from magentic_kit.services.messages import characters, plain
from magentic_kit.team.agents import ContextConfig

if TYPE_CHECKING:
    from magentic_kit.orchestration.model_calls import Lane

_TOKEN = 4
"""Characters that are taken for one token; what a token is, only the model's own tokenizer knows."""

_SUMMARY = "Summary of what was said before the next message:\n\n"


class Window:
    """One participant's window in one run, over what is sent; Semantic Kernel's own history stays whole.

    Instructions and the task ledger that opens the conversation are always sent, and so is the turn under way:
    what somebody else said last, and all after it. When the rest passes the maximum, it is cut to half of that,
    so that up to the next cut each request begins as the one before and a provider's prompt cache is of use.
    """

    def __init__(self, config: ContextConfig, options: Mapping[str, Any]) -> None:
        self._config = config
        self._options = options
        self._cut, self._gone, self._summary = 0, list[dict[str, Any]](), ""
        self.saved = 0
        """Characters that what was heard last is shorter than the whole; a summary is asked for besides it."""

    async def hear(self, whole: ChatHistory, lane: Lane, service: ChatCompletionClientBase) -> ChatHistory:
        """What is sent of the `whole` conversation. Raises what ends a run, not what fails a summary."""
        messages, size = whole.messages, characters(whole.messages, lane.context.redactor)
        if lane.purpose == "summary":
            self.saved = -size
            return whole
        instructions = (AuthorRole.SYSTEM, AuthorRole.DEVELOPER)
        head = 1 + next((i for i, message in enumerate(messages) if message.role not in instructions), 0)
        if plain(messages[: head + self._cut]) != self._gone:  # a new plan begins the conversation anew
            self._cut, self._summary = 0, ""
        rest = messages[head + self._cut :]
        # The answer is asked for over what the last ledger was; after a limit nothing else may be asked.
        if lane.purpose != "answer" and (cut := await self._excess(rest, lane)):
            if self._config.summarize:
                self._summary = await self._sum_up(rest, cut, lane, service) or self._summary
            self._cut, rest = self._cut + cut, rest[cut:]
        self._gone = plain(messages[: head + self._cut])
        summary = [_heard(_SUMMARY + self._summary)] if self._summary else []
        heard = [*messages[:head], *summary, *rest]
        self.saved = size - characters(heard, lane.context.redactor)
        return ChatHistory(messages=heard)

    async def _excess(self, rest: list[ChatMessageContent], lane: Lane) -> int:
        """How many of these messages to leave out: by SK's reducer, which keeps calls with their results."""
        if self._config.messages is not None:
            most, sizes = self._config.messages, [1] * len(rest)
        else:
            most, sizes = (
                (self._config.tokens or 0) * _TOKEN,
                [characters([message], lane.context.redactor) for message in rest],
            )
        if sum(sizes) <= most:
            return 0
        others = (i for i, m in enumerate(rest) if m.role == AuthorRole.USER and m.name not in (None, lane.name))
        under_way = len(rest) - max(others, default=0)
        keep = max(under_way, sum(total <= most // 2 for total in accumulate(reversed(sizes))))
        if keep >= len(rest):
            return 0
        threshold = len(rest) - keep - 1  # how far back the reducer may look for a good place to cut
        reducer = ChatHistoryTruncationReducer(messages=rest, target_count=keep, threshold_count=threshold)
        await reducer.reduce()
        return len(rest) - len(reducer.messages)

    async def _sum_up(
        self, rest: list[ChatMessageContent], cut: int, lane: Lane, service: ChatCompletionClientBase
    ) -> str:
        """The summary, by SK's reducer, of the summary so far and the messages to be left out; "" if there is none.

        They are given as one text: SK 1.45 leaves function calls out of a summary, providers refuse them where
        no functions are on offer, and the order of parallel results may be another when a run is resumed.
        """

        async def ask(prompt: str) -> str:
            before = lane.purpose, lane.options, lane.tools
            lane.purpose, lane.options, lane.tools = "summary", self._options, []
            try:
                settings = service.instantiate_prompt_execution_settings(**self._options)
                pieces = service.get_streaming_chat_message_contents(ChatHistory(messages=[_heard(prompt)]), settings)
                return "".join([content.content async for contents in pieces for content in contents[:1]])
            except ServiceError:  # told in an event already
                return ""
            finally:
                lane.purpose, lane.options, lane.tools = before

        old = [_heard(self._summary, metadata={SUMMARY_METADATA_KEY: True})] if self._summary else []
        reducer = ChatHistorySummarizationReducer(
            messages=[*old, *_told(lane.context.redactor.value(plain(rest[:cut]))), *rest[cut:]],
            target_count=len(rest) - cut,
            service=_Summarizer(ask),
        )
        try:
            return reducer.messages[0].content if await reducer.reduce() else ""
        except ChatHistoryReducerException as error:
            raise (error.__cause__ or error) from None


class _Summarizer(ChatCompletionClientBase):
    """What SK's reducer asks for a summary: passes its instructions and the messages on as one text."""

    _ask: Callable[[str], Awaitable[str]] = PrivateAttr()

    def __init__(self, ask: Callable[[str], Awaitable[str]]) -> None:
        super().__init__(ai_model_id="summary")
        self._ask = ask

    async def _inner_get_chat_message_contents(
        self, chat_history: ChatHistory, settings: PromptExecutionSettings
    ) -> list[ChatMessageContent]:
        *said, instructions = (message.content.strip() for message in chat_history.messages)
        text = (await self._ask("\n\n".join([instructions, *said]))).strip()
        return [_heard(text)] if text else []


def _told(messages: list[dict[str, Any]]) -> Iterator[ChatMessageContent]:
    """The messages as a person would write them down."""
    for message in messages:
        calls = [f"calls {call['name']} with {call['arguments']}" for call in message.get("calls", ())]
        results = [result["result"] for result in message.get("results", ())]
        text = "\n".join([message.get("text", ""), *calls, *results]).strip()
        yield _heard(f"{message.get('name', message['role'])}: {text}")


def _heard(text: str, **more: Any) -> ChatMessageContent:
    return ChatMessageContent(role=AuthorRole.USER, content=text, **more)
