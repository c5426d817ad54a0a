"""How much of a conversation is sent: past a maximum, older messages are left out, or one summary stands for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from semantic_kernel.contents import (
    ChatHistory,
    ChatHistoryTruncationReducer,
    ChatMessageContent,
)
from semantic_kernel.contents.history_reducer.chat_history_summarization_reducer import DEFAULT_SUMMARIZATION_PROMPT
from semantic_kernel.contents.utils.author_role import AuthorRole

from magentic_kit.runlog.redaction import Redactor
from magentic_kit.services.messages import characters, plain
from magentic_kit.team.agents import ContextConfig

_TOKEN = 4
"""Characters that are taken for one token; what a token is, only the model's own tokenizer knows."""

_SUMMARY = "Summary of what was said before the next message:\n\n"
Summarize = Callable[[ChatHistory, Mapping[str, Any]], Awaitable[str]]
"""Asks the participant's model, with these execution settings; "" if it gave no summary."""


class Selection(NamedTuple):
    """What is sent, and by how many characters it is shorter than the whole; a summary is asked for besides it."""

    history: ChatHistory
    saved: int = 0


class Window:
    """One participant's window in one run, over what is sent; Semantic Kernel's own history stays whole.

    Instructions and the task ledger that opens the conversation are always sent, and so is the turn under way:
    what somebody else said last, and all after it. When the rest passes the maximum, it is cut to half of that,
    so that up to the next cut each request begins as the one before and a provider's prompt cache is of use.
    """

    def __init__(self, config: ContextConfig, *, me: str, options: Mapping[str, Any]) -> None:
        self._config = config
        self._me = me
        self._options = options
        self._cut, self._cut_characters, self._summary = 0, 0, ""
        self._edges: list[dict[str, Any]] = []
        """What opens the conversation, and the last message that is left out: others where a plan began it anew."""

    async def select(
        self, conversation: ChatHistory, redactor: Redactor, summarize: Summarize, *, may_cut: bool = True
    ) -> Selection:
        """The part of the conversation that is sent. Raises what ends a run, not what fails a summary."""
        messages = conversation.messages
        instructions = (AuthorRole.SYSTEM, AuthorRole.DEVELOPER)
        head = 1 + next((i for i, message in enumerate(messages) if message.role not in instructions), 0)
        if self._edges_of(messages, head) != self._edges:
            self._cut, self._cut_characters, self._summary = 0, 0, ""
        rest = messages[head + self._cut :]
        cut = await self._excess(rest, redactor) if may_cut else 0
        if cut:
            if self._config.summarize:
                self._summary = await self._sum_up(rest[:cut], redactor, summarize) or self._summary
            self._cut += cut
            self._cut_characters += characters(rest[:cut], redactor)
            rest = rest[cut:]
        self._edges = self._edges_of(messages, head)
        summary = [_said(_SUMMARY + self._summary)] if self._summary else []
        saved = self._cut_characters - characters(summary, redactor)
        return Selection(ChatHistory(messages=[*messages[:head], *summary, *rest]), saved)

    def _edges_of(self, messages: list[ChatMessageContent], head: int) -> list[dict[str, Any]]:
        return plain([*messages[:head], *messages[head : head + self._cut][-1:]])

    async def _excess(self, rest: list[ChatMessageContent], redactor: Redactor) -> int:
        """How many of these messages to leave out: by SK's reducer, which keeps calls with their results."""
        if self._config.messages is not None:
            most, sizes = self._config.messages, [1] * len(rest)
        else:
            most = (self._config.tokens or 0) * _TOKEN
            sizes = [characters([message], redactor) for message in rest]
        if sum(sizes) <= most:
            return 0
        others = (i for i, m in enumerate(rest) if m.role == AuthorRole.USER and m.name not in (None, self._me))
        under_way = len(rest) - max(others, default=0)
        keep = max(under_way, sum(total <= most // 2 for total in accumulate(reversed(sizes))))
        if keep >= len(rest):
            return 0
        threshold = len(rest) - keep - 1  # how far back the reducer may look for a good place to cut
        reducer = ChatHistoryTruncationReducer(messages=rest, target_count=keep, threshold_count=threshold)
        await reducer.reduce()
        return len(rest) - len(reducer.messages)

    async def _sum_up(self, messages: list[ChatMessageContent], redactor: Redactor, summarize: Summarize) -> str:
        """The summary of the summary so far and these messages; "" if there is none.

        They are given as one text, in place of SK's reducer for summaries: SK 1.45 leaves function calls out of a
        summary, providers refuse them where no functions are on offer, and the order of parallel results may be
        another when a run is resumed.
        """
        texts = [DEFAULT_SUMMARIZATION_PROMPT, self._summary, *_written_down(redactor.value(plain(messages)))]
        prompt = _said("\n\n".join(text.strip() for text in texts if text))
        return (await summarize(ChatHistory(messages=[prompt]), self._options)).strip()


def narrower(sent: Sequence[ChatMessageContent], redactor: Redactor, *, me: str) -> Window:
    """A window for a model that these messages were too long for: three quarters of them."""
    tokens = characters(sent, redactor) * 3 // 4 // _TOKEN
    return Window(ContextConfig(tokens=max(1, tokens)), me=me, options={})


def _written_down(messages: list[dict[str, Any]]) -> Iterator[str]:
    """The messages as a person would write them down."""
    for message in messages:
        calls = [f"calls {call['name']} with {call['arguments']}" for call in message.get("calls", ())]
        results = [result["result"] for result in message.get("results", ())]
        text = "\n".join([message.get("text", ""), *calls, *results]).strip()
        yield f"{message.get('name', message['role'])}: {text}"


def _said(text: str) -> ChatMessageContent:
    return ChatMessageContent(role=AuthorRole.USER, content=text)
