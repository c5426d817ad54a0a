"""What a model thinks before it replies is told apart: shown and logged as reasoning, never parsed or sent back."""

# ruff: noqa: RUF007  # tables of what servers send

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.openai_server import Reply, Request, ledger
from support.real_servers import RealServer, brain, completion, delta, events, team

from magentic_kit import TeamFactory
from magentic_kit import events as ev
from magentic_kit.services.reasoning import ReasoningSplitter, split_reasoning

DRAFT = "Is it {done}? " + ledger("Ada", "x", satisfied=True) + " Hmm, no. "

FORMS: dict[str, Any] = {
    "`<think>` tags (DeepSeek R1, Qwen 3)": lambda thought, text: f"<think>\n{thought}\n</think>\n\n{text}",
    "`<thinking>` tags": lambda thought, text: f"<thinking>{thought}</thinking>{text}",
    "`<reasoning>` tags": lambda thought, text: f"<reasoning>{thought}</reasoning>\n{text}",
    "`<thought>` tags (Gemini)": lambda thought, text: f"<thought>{thought}</thought>{text}",
    "`[THINK]` tags (Magistral)": lambda thought, text: f"[THINK]{thought}[/THINK]{text}",
    "Kimi's tags": lambda thought, text: f"◁think▷{thought}◁/think▷{text}",
    "a closing tag alone (its template opens it)": lambda thought, text: f"{thought}\n</think>\n\n{text}",
    "two blocks": lambda thought, text: f"<think>{thought}</think><think>{thought}</think>{text}",
    "blank lines before the tag": lambda thought, text: f"\n\n<think>{thought}</think>\n{text}",
    "reasoning_content (vLLM, DeepSeek, Azure)": lambda thought, text: events(
        delta(role="assistant", reasoning_content=thought), delta(content=text), delta("stop")
    ),
    "reasoning (OpenRouter, Ollama)": lambda thought, text: events(
        delta(role="assistant", content="", reasoning=thought), delta(content=text, reasoning=None), delta("stop")
    ),
    "reasoning in one JSON body": lambda thought, text: completion(text, reasoning_content=thought),
    "parts of kind thinking (Mistral)": lambda thought, text: events(
        delta(content=[{"type": "thinking", "thinking": [{"type": "text", "text": thought}]}]),
        delta(content=[{"type": "text", "text": text}]),
    ),
    "gpt-oss's channels, not parsed by the server": lambda thought, text: (
        f"<|channel|>analysis<|message|>{thought}<|end|><|start|>assistant<|channel|>final<|message|>{text}"
    ),
}


def thinking(form: Any) -> Any:
    """A brain that thinks a satisfied ledger before everything it says."""
    answering = brain()

    def think(request: Request) -> Any:
        reply = answering(request)
        text = reply.text if isinstance(reply, Reply) else str(reply)
        return form(DRAFT, text)

    return think


@pytest.mark.parametrize("name", FORMS)
async def test_a_thought_is_neither_reply_nor_ledger(name: str, tmp_path: Path) -> None:
    log: list[ev.AnyEvent] = []
    with RealServer(thinking(FORMS[name])) as server:
        async with TeamFactory.from_dict(team(server.base_url)) as factory:
            result = await factory.run("t", out=tmp_path, sinks=[log.append])
        sent = [str(message) for request in server.requests for message in request.messages]
    assert result.outcome == "satisfied" and result.answer == "The final answer.", result.error
    assert result.rounds == 4, "a thought is no ledger"
    assert [turn.text for turn in result.record.turns][:2] == ["Ada has looked.", "Bob has looked."]
    assert not any("Is it {done}" in message for message in sent), "never sent back"
    finished = [event for event in log if isinstance(event, ev.ModelCallFinished)]
    assert all("Is it {done}" in event.reasoning and "{done}" not in event.text for event in finished)
    shown = "".join(event.text for event in log if event.type == "reasoning_delta" and event.who == "Ada")
    if "alone" not in name:  # which nobody can tell before it comes
        assert "Is it {done}" in shown
        assert not any("{done}" in event.text for event in log if isinstance(event, ev.TextDelta))
    assert not any("think" in event.text for event in log if isinstance(event, ev.TextDelta))


async def test_six_thousand_characters_with_braces_before_a_ledger_do_no_harm() -> None:
    thought = "{ so { it } is } " * 400
    with RealServer(thinking(lambda _, text: f"<think>{thought}</think>{text}")) as server:
        async with TeamFactory.from_dict(team(server.base_url)) as factory:
            result = await factory.run("t", out=None)
    assert result.outcome == "satisfied" and not result.record.errors


ONLY: dict[str, Any] = {
    "an opening tag that is never closed": Reply("<think>I should look at the weather first"),
    "a block and nothing behind it": Reply("<think>I should look at the weather first</think>\n"),
    "reasoning_content without content": events(
        delta(reasoning_content="I should look at the weather first"), delta("stop")
    ),
}


@pytest.mark.parametrize("name", ONLY)
async def test_a_turn_of_reasoning_alone_is_a_note_that_keeps_the_words(name: str) -> None:
    with RealServer(brain().on("Ada", "turn", 0, ONLY[name])) as server:
        async with TeamFactory.from_dict(team(server.base_url)) as factory:
            result = await factory.run("t", out=None)
        heard = [str(request.messages) for request in server.requests if request.purpose != "facts"]
    turn = result.record.turns[0]
    assert result.outcome == "satisfied" and not turn.text.strip()
    assert "I should look at the weather first" in turn.note
    assert any("I should look at the weather first" in messages for messages in heard), "the manager hears of it"


@pytest.mark.parametrize("name", ONLY)
async def test_a_ledger_of_reasoning_alone_is_asked_for_again(name: str) -> None:
    with RealServer(brain().on("manager", "ledger", 0, ONLY[name])) as server:
        async with TeamFactory.from_dict(team(server.base_url)) as factory:
            result = await factory.run("t", out=None)
    assert result.outcome == "satisfied" and [fault.kind for fault in result.record.errors] == ["ledger"]


TEXTS = {
    "tags inside the text": "One opens with <think> and closes with </think>, so it goes.",
    "a quoted closing tag": "Write `</think>` at the end.",
    "less and greater": "a < b and c > d, <b>bold</b>",
    "Phi's end of a message": "That is all.<|end|>",
    "an unknown tag": "<note>well</note> so",
    "an open bracket at the end": "so <",
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_without_reasoning_is_left_as_it_is(name: str) -> None:
    text = TEXTS[name]
    assert split_reasoning(text) == (text, "")
    assert streamed([text]) == (text, "")
    assert streamed(list(text)) == (text, "")


def streamed(pieces: list[str]) -> tuple[str, str]:
    splitter = ReasoningSplitter()
    shown = [*(splitter.feed(piece) for piece in pieces), splitter.flush()]
    return "".join(reply for reply, _ in shown), "".join(thought for _, thought in shown)


TAGS = st.sampled_from(
    ["<think>", "</think>", "<thinking>", "</thinking>", "[THINK]", "[/THINK]", "<", "`", "\n", "<|end|>"]
)
PARTS = st.lists(TAGS | st.text(alphabet="ab <>/{}", max_size=8), max_size=12).map("".join)


@settings(max_examples=300)
@given(text=PARTS, cuts=st.lists(st.integers(0, 100), max_size=10))
def test_a_text_is_split_the_same_whatever_way_it_is_cut(text: str, cuts: list[int]) -> None:
    places = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    pieces = [text[start:end] for start, end in zip(places, places[1:], strict=False)]
    assert streamed(pieces) == streamed([text])


@settings(max_examples=200)
@given(
    thought=st.text(alphabet="ab {}\n", max_size=30),
    text=st.text(alphabet="ab {}\n", max_size=30),
    size=st.integers(1, 9),
)
def test_what_is_shown_has_no_tag_nor_half_of_one(thought: str, text: str, size: int) -> None:
    whole = f"<think>{thought}</think>{text}"
    splitter, shown = ReasoningSplitter(), ""
    for start in range(0, len(whole), size):
        shown += splitter.feed(whole[start : start + size])[0]
        assert "<" not in shown and "think" not in shown
    shown += splitter.flush()[0]
    assert shown.strip() == text.strip() == split_reasoning(whole)[0].strip()
