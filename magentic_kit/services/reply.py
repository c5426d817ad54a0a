"""One model's reply: collected piece by piece, written as an event, and made again from it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from openai.types.completion_usage import PromptTokensDetails
from pydantic import PrivateAttr
from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase
from semantic_kernel.connectors.ai.completion_usage import CompletionUsage
from semantic_kernel.connectors.ai.prompt_execution_settings import PromptExecutionSettings
from semantic_kernel.contents import (
    ChatHistory,
    ChatMessageContent,
    FunctionCallContent,
    StreamingChatMessageContent,
    StreamingTextContent,
    TextContent,
)
from semantic_kernel.contents.reasoning_content import ReasoningContent
from semantic_kernel.contents.streaming_reasoning_content import StreamingReasoningContent
from semantic_kernel.contents.utils.author_role import AuthorRole
from semantic_kernel.contents.utils.finish_reason import FinishReason

from magentic_kit import events as ev
from magentic_kit.errors import ServiceError
from magentic_kit.runlog.requests import Request
from magentic_kit.services.call_pieces import CallPieces
from magentic_kit.services.endings import ending_of
from magentic_kit.services.errors import not_a_completion
from magentic_kit.services.providers import address_key
from magentic_kit.services.reasoning import ReasoningSplitter, split_reasoning
from magentic_kit.services.usage import cached_of, larger, usage_of
from magentic_kit.text import sendable

_S = TypeVar("_S", bound="InProcessChatCompletion")
_COST = "magentic_kit.cost"
"""Where a message's metadata has what its run cost."""


class Reply:
    """What one model call has brought so far.

    `call` names it in the log; `normalise` turns the name of a function as the model wrote it into its own.
    """

    def __init__(self, call: str, normalise: Callable[[str], str]) -> None:
        self.finish_reason = ""
        self.usage = ev.Usage()
        """The tokens as the provider counted them."""
        self.cost: float | None = None
        """US dollars, where whoever answers knows them: a team, of its run."""
        self._call = call
        self._normalise = normalise
        self._written = ""  # text as it came, with what reasoning is in it
        self._reasoning = ""  # what came apart from the text
        self._splitter = ReasoningSplitter()
        self._pieces = 0
        self._calls: list[FunctionCallContent] = []
        self.shown = False
        """Whether a part of the reply has been shown, so that it cannot be taken back."""

    def add(self, content: ChatMessageContent) -> tuple[str, str]:
        """Takes in the next piece; returns the text and the reasoning in it that can be shown now."""
        self._pieces += 1
        text, reasoning = "", ""
        for item in content.items:
            if isinstance(item, FunctionCallContent):
                self._add_call(item)
            elif isinstance(item, TextContent):
                text += sendable(item.text or "")
            elif isinstance(item, ReasoningContent | StreamingReasoningContent):
                reasoning += sendable(item.text or "")
        self._add_end(content)
        self._written += text
        self._reasoning += reasoning
        reply, thought = self._splitter.feed(text)
        self.shown |= bool(reply.strip() or self._calls)
        return reply, reasoning + thought

    def finish(self) -> tuple[str, str]:
        """What was held back of the text and of the reasoning, at the end of the stream."""
        return self._splitter.flush()

    @property
    def text(self) -> str:
        """The reply without its reasoning."""
        return split_reasoning(self._written)[0]

    @property
    def reasoning(self) -> str:
        """What the model thought before it replied."""
        return "\n\n".join(filter(None, (self._reasoning.strip(), split_reasoning(self._written)[1])))

    def require_whole(self, service: ChatCompletionClientBase, name: str) -> None:
        """Raises `ServiceError` when the stream ended before the reply did, which connectors take for its end."""
        if not self._pieces:
            problem = not_a_completion(address_key(service))
        elif _gives_finish_reason(service) and not self.finish_reason:
            problem = f"the reply was cut off after {len(self.text)} characters"
        else:
            return
        fault = "down" if self._pieces else ""
        raise ServiceError(f"service '{name}': {problem}", service=name, retryable=bool(fault), fault=fault)

    def tool_calls(self) -> list[ev.FunctionCall]:
        """The function calls, whole, as events have them."""
        pieces = CallPieces()
        for call in self._calls:
            pieces.add({"id": call.id, "index": call.index, "name": call.name, "arguments": call.arguments})
        return pieces.take()

    def _add_call(self, call: FunctionCallContent) -> None:
        if isinstance(call.arguments, str):
            call.arguments = sendable(call.arguments)
        elif isinstance(call.arguments, Mapping):  # a whole call, whatever its id says
            call.index = len(self._calls)
            if not call.id or call.id in {known.id for known in self._calls}:
                call.id = f"{self._call}.{call.index}"
        if call.name and (name := self._normalise(call.name)) != call.name:
            call.name = name
            call.plugin_name, call.function_name = name.split("-", 1)
        self._calls.append(call)

    def _add_end(self, content: ChatMessageContent) -> None:
        self.finish_reason = ending_of(content) or self.finish_reason
        # A connector may count the prompt in the first piece and the completion in the last.
        prompt, completion = usage_of(content.metadata)
        self.usage = ev.Usage(
            prompt_tokens=larger(self.usage.prompt_tokens, prompt),
            completion_tokens=larger(self.usage.completion_tokens, completion),
            cached_tokens=larger(self.usage.cached_tokens, cached_of(content.metadata)),
        )
        self.cost = content.metadata.get(_COST, self.cost)


def _gives_finish_reason(service: ChatCompletionClientBase) -> bool:
    """Whether the connector passes on why a reply ended; by name, as importing OpenAI's costs half a second."""
    return any(cls.__name__ == "OpenAIHandler" for cls in type(service).__mro__)


ENDINGS = {
    "length": "was cut off at the model's length limit",
    "content_filter": "was cut by the provider's content filter",
    "refusal": "is a refusal",
}
"""`ModelCallFinished.finish_reason` of a reply that is not whole -> what became of the reply."""

_FINISH_REASONS = {reason.value: reason for reason in FinishReason}
_FINISH_REASONS["refusal"] = FinishReason.CONTENT_FILTER


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A whole reply that no model has made; its fields are those of `ModelCallFinished`."""

    text: str
    usage: ev.Usage
    cost: float | None = None
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    finish_reason: str = "stop"


def contents_of(reply: ev.ModelCallFinished | Answer, model: str, *, attempt: int | None) -> list[ChatMessageContent]:
    """The reply in pieces, as if the connector had brought it.

    `attempt` is SK's number of the call in a streamed tool loop, None if the reply is not streamed.
    """
    usage = CompletionUsage(
        prompt_tokens=reply.usage.prompt_tokens,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=reply.usage.cached_tokens),
        completion_tokens=reply.usage.completion_tokens,
    )
    common: dict[str, Any] = {"role": AuthorRole.ASSISTANT, "ai_model_id": model}
    end: dict[str, Any] = {
        "finish_reason": _FINISH_REASONS.get(reply.finish_reason),
        "metadata": {"usage": usage, _COST: reply.cost},
    }
    calls: list[Any] = [FunctionCallContent(**call) for call in reply.tool_calls]
    if attempt is None:
        text = [TextContent(text=reply.text)] if reply.text else []
        return [ChatMessageContent(items=[*calls, *text], **common, **end)]
    common |= {"choice_index": 0, "function_invoke_attempt": attempt}
    # Apart, since SK's agent passes no text on that comes in one piece with function calls.
    words: list[Any] = [StreamingTextContent(choice_index=0, text=reply.text)]
    return [
        StreamingChatMessageContent(items=words, **common),
        StreamingChatMessageContent(items=calls, **common, **end),
    ]


@dataclass(frozen=True, kw_only=True)
class CallInRun:
    """The model call of a run that a service of this package is to answer.

    `name` is the call's in the log; `number` and `number_of_purpose` count the participant's calls before it, of
    all purposes and of this one; `request` is what decides the reply.
    """

    name: str
    who: str
    purpose: str
    service: str
    number: int
    number_of_purpose: int
    request: Request


class InProcessChatCompletion(ChatCompletionClientBase):
    """A chat service that answers in this process, each reply whole: a person, a team, a script or a log."""

    _call: CallInRun | None = PrivateAttr(default=None)

    def for_call(self: _S, call: CallInRun) -> _S:
        """A copy that answers this call of a run."""
        copy = self.model_copy()
        copy._call = call
        return copy

    async def _reply(self, history: ChatHistory) -> ev.ModelCallFinished | Answer:
        raise NotImplementedError

    async def _inner_get_chat_message_contents(
        self, chat_history: ChatHistory, settings: PromptExecutionSettings
    ) -> list[ChatMessageContent]:
        return contents_of(await self._reply(chat_history), self.ai_model_id, attempt=None)

    async def _inner_get_streaming_chat_message_contents(
        self, chat_history: ChatHistory, settings: PromptExecutionSettings, function_invoke_attempt: int = 0
    ) -> AsyncGenerator[list[Any], None]:
        reply = await self._reply(chat_history)
        for content in contents_of(reply, self.ai_model_id, attempt=function_invoke_attempt):
            yield [content]
