"""A window over a conversation: what is sent, what is left out, and what one summary stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from semantic_kernel.contents import ChatHistory, ChatMessageContent, FunctionCallContent, FunctionResultContent
from semantic_kernel.contents.utils.author_role import AuthorRole

from magentic_kit.orchestration.context_window import Window, narrower
from magentic_kit.runlog.redaction import Redactor
from magentic_kit.team.agents import ContextConfig

REDACTOR = Redactor()
OPENING = [
    ChatMessageContent(role=AuthorRole.SYSTEM, content="You are Ada."),
    ChatMessageContent(role=AuthorRole.USER, content="The task ledger."),
]


def said(text: str, by: str = "") -> ChatMessageContent:
    """A message of Ada's own, or of somebody else."""
    return ChatMessageContent(role=AuthorRole.USER if by else AuthorRole.ASSISTANT, content=text, name=by or "Ada")


def called(number: int) -> list[ChatMessageContent]:
    """A call of a function and its result."""
    name, id = f"look{number}", f"c{number}"
    call = FunctionCallContent(id=id, name=name, arguments="{}")
    result = FunctionResultContent(id=id, name=name, result=f"seen {number}")
    return [
        ChatMessageContent(role=AuthorRole.ASSISTANT, items=[call], name="Ada"),
        ChatMessageContent(role=AuthorRole.TOOL, items=[result]),
    ]


async def no_summary(prompt: ChatHistory, options: Mapping[str, Any]) -> str:
    raise AssertionError("nobody asked for a summary")


async def sent(window: Window, messages: list[ChatMessageContent], **more: Any) -> list[str]:
    selection = await window.select(ChatHistory(messages=[*OPENING, *messages]), REDACTOR, no_summary, **more)
    texts = [message.content for message in selection.history.messages]
    assert texts[:2] == ["You are Ada.", "The task ledger."], "what opens the conversation is always sent"
    return texts[2:]


TALK = [said(f"m{number}", "Bob" if number % 2 else "") for number in range(10)]


@pytest.mark.parametrize(
    ("config", "left"),
    [
        ({"messages": 10}, 10),
        ({"messages": 9}, 5),
        ({"messages": 2}, 1),
        ({"tokens": 1000}, 10),
        ({"tokens": 4}, 5),
    ],
)
async def test_what_passes_the_maximum_is_cut_to_about_half_of_it(config: dict[str, int], left: int) -> None:
    window = Window(ContextConfig(**config), me="Ada", options={})
    assert await sent(window, TALK) == [f"m{number}" for number in range(10 - left, 10)]


async def test_up_to_the_next_cut_each_request_begins_as_the_one_before() -> None:
    window = Window(ContextConfig(messages=6), me="Ada", options={})
    lengths = []
    before: list[str] = []
    for count in range(1, 11):
        now = await sent(window, TALK[:count])
        lengths.append(len(now))
        assert now[: len(before)] == before or len(now) <= 4
        before = now
    assert lengths == [1, 2, 3, 4, 5, 6, 4, 5, 6, 3]


async def test_the_turn_under_way_is_sent_however_long_it_is() -> None:
    window = Window(ContextConfig(messages=2), me="Ada", options={})
    turn = [said("go", "manager"), *called(1), *called(2), said("done")]
    assert len(await sent(window, [*TALK[:6], *turn])) == len(turn)


async def test_where_nothing_may_be_cut_all_is_sent() -> None:
    window = Window(ContextConfig(messages=2), me="Ada", options={})
    assert len(await sent(window, TALK, may_cut=False)) == 10
    assert len(await sent(window, TALK)) == 1
    assert len(await sent(window, TALK, may_cut=False)) == 1, "what was cut stays cut"


async def test_a_conversation_that_begins_anew_has_no_cut_yet() -> None:
    window = Window(ContextConfig(messages=4), me="Ada", options={})
    await sent(window, TALK)
    assert await sent(window, [said("other", "Bob"), said("words")]) == ["other", "words"]


async def test_one_summary_stands_for_all_that_was_left_out() -> None:
    asked: list[str] = []

    async def summarize(prompt: ChatHistory, options: Mapping[str, Any]) -> str:
        assert options == {"temperature": 0}
        asked.append(prompt.messages[0].content)
        return ["  first  ", "", "third"][len(asked) - 1]

    window = Window(ContextConfig(messages=4, summarize=True), me="Ada", options={"temperature": 0})
    talk = [*called(1), *TALK, *TALK, *TALK]
    seen = []
    for count in (5, 8, 11):
        history = ChatHistory(messages=[*OPENING, *talk[:count]])
        selection = await window.select(history, REDACTOR, summarize)
        seen.append([message.content for message in selection.history.messages[2:]])
    head = "Summary of what was said before the next message:\n\n"
    assert [texts[0] for texts in seen] == [f"{head}first", f"{head}first", f"{head}third"]
    assert max(map(len, seen)) <= 4
    assert "Ada: calls look1 with {}" in asked[0] and "seen 1" in asked[0] and "Ada: m0" in asked[0]
    assert "first" in asked[1] and "seen 1" not in asked[1] and "Bob: m1" in asked[1]


TURNS = st.lists(
    st.one_of(
        st.just("own").map(lambda _: [said("own words")]),
        st.just("other").map(lambda _: [said("others' words", "Bob")]),
        st.integers(0, 9).map(called),
    ),
    max_size=12,
)


@settings(max_examples=50)
@given(TURNS, st.integers(2, 8), st.booleans())
async def test_no_window_parts_a_call_from_its_result(
    turns: list[list[ChatMessageContent]], most: int, by_tokens: bool
) -> None:
    config = ContextConfig(tokens=most * 4) if by_tokens else ContextConfig(messages=most)
    window, messages = Window(config, me="Ada", options={}), [message for turn in turns for message in turn]
    for count in range(len(messages) + 1):
        if count < len(messages) and messages[count].role == AuthorRole.TOOL:
            continue  # a request never stands between a call and its result
        selection = await window.select(ChatHistory(messages=[*OPENING, *messages[:count]]), REDACTOR, no_summary)
        items = [item for message in selection.history.messages for item in message.items]
        kinds = [type(item) for item in items if isinstance(item, FunctionCallContent | FunctionResultContent)]
        assert kinds == [FunctionCallContent, FunctionResultContent] * (len(kinds) // 2)
        assert selection.history.messages[:2] == OPENING


async def test_a_narrower_window_leaves_out_at_least_a_quarter() -> None:
    messages = [said("x" * 400, "Bob" if number % 2 else "") for number in range(10)]
    window = narrower(messages, REDACTOR, me="Ada")
    assert len(await sent(window, messages)) == 3
