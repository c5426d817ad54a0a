"""Tells a model's reasoning from its reply where both come as one text: `<think>…</think>` and its relatives."""

from __future__ import annotations

import re

_NAMES = "think|thinking|thought|thoughts|reasoning|reflection"
_OPENING = re.compile(rf"<(?:{_NAMES}|seed:think)>|\[THINK\]|◁think▷|<\|channel\|>analysis<\|message\|>", re.I)
_CLOSING = re.compile(rf"</(?:{_NAMES}|seed:think)>|\[/THINK\]|◁/think▷|<\|end\|>", re.I)
"""DeepSeek R1, Qwen 3, Gemma, Seed, Magistral, Kimi, gpt-oss; by their chat templates."""

_FINAL = re.compile(r"(?:<\|start\|>assistant)?<\|channel\|>final<\|message\|>", re.I)  # gpt-oss, between the two
_STARTS: tuple[str, ...] = (
    "<think",
    "<reason",
    "<reflect",
    "</think",
    "</reason",
    "</reflect",
    "<seed:",
    "</seed:",
    "<thought",
)
_STARTS += ("</thought", "[think]", "[/think]", "◁think▷", "◁/think▷", "<|channel|>", "<|end|>", "<|start|>")
_LONGEST = 45
"""Characters of the longest tag."""


def split_reasoning(text: str) -> tuple[str, str]:
    """The reply and the reasoning of a whole text.

    Reasoning stands before the reply: in tags, after an opening tag that is never closed (the text was cut
    off), or before a closing tag on its own (the chat template had opened it). Tags further down, and quoted
    ones, belong to the reply.
    """
    thoughts: list[str] = []
    rest = text
    while opening := _OPENING.match(rest.lstrip()):
        rest = rest.lstrip()[opening.end() :]
        closing = _CLOSING.search(rest)
        if closing is None:
            return "", _joined([*thoughts, rest])
        thoughts.append(rest[: closing.start()])
        rest = rest[closing.end() :]
    if not thoughts and (lone := _lone_closing(rest)):
        thoughts.append(rest[: lone.start()])
        rest = rest[lone.end() :]
    if not thoughts:
        return text, ""
    rest = rest.lstrip()
    if final := _FINAL.match(rest):
        rest = rest[final.end() :]
    return rest, _joined(thoughts)


class ReasoningSplitter:
    """Splits a streamed text into what to show as reply and what as reasoning; never shows a tag or half of one.

    What it has shown as reply before a closing tag on its own turns out to be reasoning: only `split_reasoning`
    of the whole text can tell.
    """

    def __init__(self) -> None:
        self._kept = ""  # may yet turn out to be a tag
        self._inside = False
        self._begun = False  # whether the reply has begun, so that an opening tag is a part of it
        self._closed = False  # whether a block of reasoning has ended
        self._shown = ""

    def feed(self, piece: str) -> tuple[str, str]:
        """The parts of reply and of reasoning that can be shown now."""
        self._kept += piece
        return self._take(last=False)

    def flush(self) -> tuple[str, str]:
        """What was held back, at the end of the stream."""
        return self._take(last=True)

    def _take(self, *, last: bool) -> tuple[str, str]:
        reply, thought = "", ""
        while self._kept:
            tag = self._tag()
            if tag is not None:
                before = self._kept[: tag.start()]
                self._kept = self._kept[tag.end() :]
            else:
                held = 0 if last else _possible_tag(self._kept)
                before = self._kept[: len(self._kept) - held]
                self._kept = self._kept[len(self._kept) - held :]
            if self._inside:
                thought += before
            else:
                reply += self._reply(before)
            if tag is None:
                break
            self._closed |= bool(_CLOSING.fullmatch(tag[0]))
            self._inside = bool(_OPENING.fullmatch(tag[0]))
        return reply, thought

    def _tag(self) -> re.Match[str] | None:
        """The next tag that counts where the text is now."""
        if self._inside:
            return _CLOSING.search(self._kept)
        if self._begun:
            if self._closed:
                return None
            return _lone_closing(self._kept, before=self._shown)
        start = len(self._kept) - len(self._kept.lstrip())
        if opening := _OPENING.match(self._kept, start):
            return opening
        if self._closed:
            return _FINAL.match(self._kept, start)
        return _lone_closing(self._kept, before=self._shown)

    def _reply(self, text: str) -> str:
        if self._begun:
            self._shown = (self._shown + text)[-10_000:]
            return text
        # Blank lines between reasoning and reply belong to neither.
        if self._closed:
            text = text.lstrip()
        if text.strip():
            self._begun = True
        self._shown += text
        return text


def _lone_closing(text: str, *, before: str = "") -> re.Match[str] | None:
    """A closing tag that no opening one came before, unless it is quoted as code."""
    for closing in _CLOSING.finditer(text):
        if closing[0].startswith("<|"):  # Phi ends every reply with it
            continue
        said = before + text[: closing.start()]
        if said.count("`") % 2 == 0 and not _OPENING.search(said):
            return closing
    return None


def _possible_tag(text: str) -> int:
    """How many of the last characters may be the beginning of a tag."""
    for start in range(max(0, len(text) - _LONGEST), len(text)):
        tail = text[start:].lower()
        if tail[0] in "<[◁" and any(tag.startswith(tail) or tail.startswith(tag) for tag in _STARTS):
            return len(text) - start
    return 0


def _joined(thoughts: list[str]) -> str:
    return "\n\n".join(filter(None, (thought.strip() for thought in thoughts)))
