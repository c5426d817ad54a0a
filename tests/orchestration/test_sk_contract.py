"""What we rely on in Semantic Kernel, and what we work around: a failure here says what a new release has changed."""

from __future__ import annotations

import inspect
import json
from typing import Any

import pytest
from semantic_kernel import Kernel
from semantic_kernel.agents import ChatCompletionAgent
from semantic_kernel.agents.orchestration import magentic as sk
from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase
from semantic_kernel.connectors.ai.open_ai import OpenAIChatCompletion
from semantic_kernel.contents import (
    ChatHistory,
    ChatHistorySummarizationReducer,
    ChatHistoryTruncationReducer,
    ChatMessageContent,
    FunctionCallContent,
    FunctionResultContent,
    StreamingChatMessageContent,
    StreamingTextContent,
)
from semantic_kernel.contents.utils.author_role import AuthorRole
from semantic_kernel.functions import KernelArguments, kernel_function
from semantic_kernel.prompt_template import KernelPromptTemplate, PromptTemplateConfig

from magentic_kit.testing import ScriptedChatCompletion

LEDGER = {
    key: {"reason": "r", "answer": "false"}
    for key in (
        "is_request_satisfied",
        "is_in_loop",
        "is_progress_being_made",
        "next_speaker",
        "instruction_or_question",
    )
}


class Desk:
    @kernel_function(description="d")
    def add(self, settings: str) -> str:
        return settings


# -- seams


def test_the_manager_has_the_four_steps_that_we_take_over() -> None:
    steps = {"plan", "replan", "create_progress_ledger", "prepare_final_answer"}
    assert sk.MagenticManagerBase.__abstractmethods__ == steps


@pytest.mark.parametrize("cls", [ChatCompletionClientBase, OpenAIChatCompletion, ScriptedChatCompletion])
def test_connectors_have_the_two_inner_calls_that_a_run_stands_before(cls: type) -> None:
    whole = inspect.signature(cls._inner_get_chat_message_contents)  # type: ignore[attr-defined]
    streamed = inspect.signature(cls._inner_get_streaming_chat_message_contents)  # type: ignore[attr-defined]
    assert list(whole.parameters) == ["self", "chat_history", "settings"]
    assert list(streamed.parameters) == ["self", "chat_history", "settings", "function_invoke_attempt"]


# -- defects that we absorb; when one of these fails, its workaround can go


def test_a_string_still_counts_as_a_boolean_answer() -> None:
    ledger = sk.ProgressLedger.model_validate_json(json.dumps(LEDGER))
    assert ledger.is_request_satisfied.answer == "false", "ledger.parse_ledger need not be strict any more"


def test_the_standard_manager_still_refuses_services_without_response_format() -> None:
    with pytest.raises(ValueError, match="structured output"):
        sk.StandardMagenticManager(chat_completion_service=ScriptedChatCompletion({}))


async def test_values_in_prompts_are_still_escaped_by_default() -> None:
    prompt = KernelPromptTemplate(prompt_template_config=PromptTemplateConfig(template="{{$task}}"))
    assert await prompt.render(Kernel(), KernelArguments(task="a<b")) == "a&lt;b", "prompts.fill can be simpler"


async def test_an_argument_named_settings_still_breaks_the_kernel() -> None:
    kernel = Kernel(plugins={"desk": kernel_plugin()})
    call = FunctionCallContent(id="1", name="desk-add", arguments='{"settings": "x"}')
    with pytest.raises(AttributeError):
        await kernel.invoke_function_call(call, ChatHistory())


def kernel_plugin() -> Any:
    return Kernel().add_plugin(Desk(), "desk")


class OnePiece(ScriptedChatCompletion):
    """Streams text and a function call in one piece, as the Ollama connector does."""

    async def _inner_get_streaming_chat_message_contents(
        self, chat_history: Any, settings: Any, attempt: int = 0
    ) -> Any:
        items: list[Any] = [StreamingTextContent(choice_index=0, text="before")]
        if not attempt:
            items.append(FunctionCallContent(id="1", index=0, name="desk-none", arguments="{}"))
        yield [StreamingChatMessageContent(role=AuthorRole.ASSISTANT, choice_index=0, items=items, ai_model_id="m")]


async def test_text_that_comes_in_one_piece_with_a_call_is_still_lost() -> None:
    agent = ChatCompletionAgent(name="A", description="d", service=OnePiece({}))
    pieces = [item.message.content async for item in agent.invoke_stream("go")]
    assert pieces == ["before"], "Reply.split need not part them any more"


async def test_what_was_said_before_a_call_is_still_kept_twice() -> None:
    script = {"A": [{"text": "First.", "tool_calls": [{"name": "desk.none"}]}, "Second."]}
    agent = ChatCompletionAgent(name="A", instructions="i", description="d", service=ScriptedChatCompletion(script))
    thread = None
    async for item in agent.invoke_stream("go"):
        thread = item.thread
    assert thread is not None
    texts = [message.content async for message in thread.get_messages()]
    assert texts[-1] == "First.Second.", "messages.as_conversation need not take the repetition away any more"


async def test_a_summary_is_still_asked_for_without_function_calls_and_by_a_system_message_at_the_end() -> None:
    call = FunctionCallContent(id="1", name="desk-add", arguments="{}")
    result = FunctionResultContent(id="1", name="desk-add", result="r").to_chat_message_content()
    said = ChatMessageContent(role=AuthorRole.USER, content="go")
    heard: list[Any] = []

    def sum_up(given: ChatHistory) -> str:
        heard.extend(given.messages)
        return "summary"

    reducer = ChatHistorySummarizationReducer(
        messages=[said, ChatMessageContent(role=AuthorRole.ASSISTANT, items=[call]), result, said],
        target_count=1,
        service=ScriptedChatCompletion({"manager": [sum_up]}),
    )
    await reducer.reduce()
    roles = [message.role.value for message in heard]
    assert roles == ["user", "system"], "window.Window need not give the messages as one text"


async def test_a_cut_still_keeps_calls_with_their_results() -> None:
    call = FunctionCallContent(id="1", name="desk-add", arguments="{}")
    result = FunctionResultContent(id="1", name="desk-add", result="r").to_chat_message_content()
    said = ChatMessageContent(role=AuthorRole.USER, content="go")
    history = [said, said, ChatMessageContent(role=AuthorRole.ASSISTANT, items=[call]), result, said]
    reducer = ChatHistoryTruncationReducer(messages=history, target_count=2, threshold_count=0)
    await reducer.reduce()
    assert len(reducer.messages) == 3, "window.Window relies on it"
