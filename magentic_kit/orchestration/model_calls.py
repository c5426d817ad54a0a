"""The model calls of one participant in one run, and what a run can get over: a service down, a request too long."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase
from semantic_kernel.contents import ChatHistory, ChatMessageContent
from semantic_kernel.contents.utils.author_role import AuthorRole
from semantic_kernel.functions.kernel_function_metadata import KernelFunctionMetadata

from magentic_kit import events as ev
from magentic_kit.errors import RunStopped, ServiceError
from magentic_kit.orchestration import prompts
from magentic_kit.orchestration.connected import ModelCall, ModelRequest, connect
from magentic_kit.orchestration.context_window import Selection, Window, narrower
from magentic_kit.orchestration.logged_calls import LoggedCalls, function_names
from magentic_kit.orchestration.substitutes import Substitutes, offer
from magentic_kit.services.contents import Content, can_take, opened_with
from magentic_kit.services.messages import as_conversation, characters
from magentic_kit.services.reply import Answer, contents_of
from magentic_kit.services.text_calls import text_calls
from magentic_kit.text import one_line

_S = TypeVar("_S", bound=ChatCompletionClientBase)


@dataclass(eq=False, kw_only=True)
class ParticipantCalls(LoggedCalls):
    """The model calls of one participant in one run; they follow one another, never side by side.

    `history_name` is what Semantic Kernel calls the participant in histories, by default as everybody does.
    """

    window: Window | None = None
    history_name: str = ""
    substitutes: Substitutes = field(default_factory=Substitutes)
    contents: Sequence[Content] = ()
    """What goes with the task."""
    offered: Callable[[str], Awaitable[Sequence[KernelFunctionMetadata]]] | None = None
    """Returns the functions on offer in the call of that name, where MCP servers may change theirs."""
    last_reply: ev.ModelCallFinished | None = field(default=None, init=False)
    """How the last call ended that brought a reply."""
    _own_service: str = field(default="", init=False)
    _narrowed: bool = field(default=False, init=False)  # whether the model has said that a request was too long

    def __post_init__(self) -> None:
        self._own_service = self.service
        self.history_name = self.history_name or self.who

    @property
    def last_ending(self) -> str:
        """How the last reply ended, as `ModelCallFinished.finish_reason`."""
        if self.last_reply:
            return self.last_reply.finish_reason
        return ""

    def describe(self, purpose: str, options: Mapping[str, Any]) -> ModelCall:
        """A call under the limits of the run."""
        limits = self.control.limits
        return ModelCall(
            purpose=purpose,
            options=options,
            retries=limits.retries or 0,
            silence=limits.stream_idle_timeout,
            timeout=limits.model_timeout,
        )

    def connect(self, service: _S, call: ModelCall) -> _S:
        """A copy of the service whose calls are all `call`, in this run."""
        dialect = getattr(service, "_dialect", None)
        if dialect is not None:
            dialect.names |= {*self.steps.dialects.get(self.service, ())}
        return connect(service, call, self)

    async def ask(self, service: ChatCompletionClientBase, call: ModelCall, history: ChatHistory) -> str:
        """The text of the reply to the history."""
        try:
            settings = service.instantiate_prompt_execution_settings(**call.options)
        except Exception as error:  # the connector's own checks, of whatever kind
            message = f"service '{self.service}' does not take these options: {one_line(str(error), 300)}"
            raise ServiceError(message, service=self.service) from error
        pieces = self.connect(service, call).get_streaming_chat_message_contents(history, settings)
        return "".join([content.content async for contents in pieces for content in contents[:1]])

    async def select(self, service: ChatCompletionClientBase, call: ModelCall, history: ChatHistory) -> Selection:
        """The part of the history that is sent."""
        conversation = as_conversation(
            history, me=self.history_name, can_see=partial(can_take, service, behind_results=True)
        )
        if call.purpose != "summary":
            conversation = opened_with(conversation, self.contents)
        if self.window is None:
            return Selection(conversation)
        redactor = self.emitter.redactor
        if call.purpose == "summary":
            return Selection(conversation, saved=-characters(conversation.messages, redactor))
        # The answer is asked for over what the last ledger was; after a limit nothing else may be asked.
        may_cut = call.purpose != "answer" or self._narrowed
        summarize = partial(self._summarize, service)
        return await self.window.select(conversation, redactor, summarize, may_cut=may_cut)

    async def _summarize(
        self, service: ChatCompletionClientBase, prompt: ChatHistory, options: Mapping[str, Any]
    ) -> str:
        try:
            return await self.ask(service, self.describe("summary", options), prompt)
        except ServiceError:  # its event says so
            return ""

    async def replies(self, request: ModelRequest) -> AsyncGenerator[ChatMessageContent, None]:
        """The reply in pieces.

        What a run can get over is got over here: a service that is down, a request that is too long, and a call that
        was written as text.
        """
        request = await self._with_offered(request)
        correction: list[ChatMessageContent] = []
        too_long: tuple[Selection, ServiceError] | None = None
        while True:
            current = self._answering(request)
            selection = await self.select(current.service, current.call, request.history)
            if too_long is not None:
                self._require_shorter(*too_long, selection)
            sent = ChatHistory(messages=[*selection.history.messages, *correction])
            try:
                reply = await self.exchange(replace(current, history=sent), selection.saved)
            except RunStopped:
                if self.partial:
                    stopped = Answer(text=self.partial, usage=ev.Usage(), finish_reason="")
                    for content in contents_of(stopped, current.service.ai_model_id, attempt=request.attempt):
                        yield content
                raise
            except ServiceError as error:
                if error.fault == "context":
                    too_long = selection, error
                    self.window = narrower(selection.history.messages, self.emitter.redactor, me=self.history_name)
                    self._narrowed = True
                elif replaced := self.substitutes.replace(self._own_service, error):
                    failed, by = replaced
                    self.emitter.emit(ev.ServiceReplaced(service=failed, by=by, who=self.who, error=str(error)))
                else:
                    raise
                continue
            names = [] if reply.tool_calls or correction else text_calls(reply.text, function_names(request.call))
            if not names:
                break
            self.emitter.emit(ev.TextCallCorrected(call=self.last_call, who=self.who, functions=names))
            correction = [_message(AuthorRole.ASSISTANT, reply.text), _message(AuthorRole.USER, prompts.TEXT_CALL)]
        self.last_reply = reply
        for content in contents_of(reply, current.service.ai_model_id, attempt=request.attempt):
            yield content

    async def _with_offered(self, request: ModelRequest) -> ModelRequest:
        """The request with the functions that are on offer by now."""
        settings, call = request.settings, request.call
        if self.offered is None or settings.function_choice_behavior is None:
            return request
        functions = await self.offered(f"{self.who}#{self._made.total()}")
        if functions == list(call.functions):
            return request
        offer(request.service, settings, functions)
        return replace(request, call=replace(call, functions=functions))

    def _answering(self, request: ModelRequest) -> ModelRequest:
        """The request as it goes to the service that answers now, which may be a substitute."""
        substitute = self.substitutes.current(self._own_service)
        if substitute is None:
            return request
        self.service, self.throttle, self.pricing = substitute.name, substitute.throttle, substitute.pricing
        call = request.call
        settings = substitute.settings(call.options, call.functions)
        return replace(request, service=self.connect(substitute.service, call), settings=settings)

    def _require_shorter(self, too_long: Selection, refusal: ServiceError, selection: Selection) -> None:
        """Raises the refusal of a request that was too long if no less would be sent now."""
        left_out = len(too_long.history.messages) - len(selection.history.messages)
        if left_out <= 0:
            raise refusal
        self.emitter.emit(ev.ContextShortened(call=self.last_call, who=self.who, left_out=left_out, error=str(refusal)))


def _message(role: AuthorRole, text: str) -> ChatMessageContent:
    return ChatMessageContent(role=role, content=text)
