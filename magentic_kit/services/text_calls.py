"""Recognises function calls that a model has written as text, since its server could not read them as calls."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator

_NAME = r"[\w.:/-]{1,80}"
_MARKED = (
    re.compile(rf"<(?:tool_call|function_call|tool_use)>\s*\{{?[^<]{{0,200}}?[\"']name[\"']\s*:\s*[\"']({_NAME})"),
    re.compile(rf"<tool_call>\s*({_NAME})\s*(?:\n|<)"),  # GLM
    re.compile(rf"<function\s*=\s*[\"']?({_NAME})"),  # Llama 3.1, Qwen 3 Coder
    re.compile(rf"<(?:\w+:)?invoke\s+name\s*=\s*[\"']({_NAME})"),  # Claude's form, MiniMax
    re.compile(
        rf"\[TOOL_CALLS\]\s*(?:\[?\s*\{{[^\]]{{0,200}}?\"name\"\s*:\s*\"({_NAME})|({_NAME})\s*[\[\{{])"
    ),  # Mistral
    re.compile(rf"<\|python_tag\|>\s*(?:\{{[^}}]{{0,200}}?\"name\"\s*:\s*\"({_NAME})|({_NAME})\.call\()"),  # Llama 3
    re.compile(rf"<\|tool_calls?(?:_begin)?\|>[^\n]{{0,200}}?\"name\"\s*:\s*\"({_NAME})"),  # Phi 4
    re.compile(rf"<｜tool▁call▁begin｜>(?:function<｜tool▁sep｜>)?({_NAME})"),  # noqa: RUF001  # DeepSeek
    re.compile(rf"functools\[\s*\{{\s*\"name\"\s*:\s*\"({_NAME})"),  # Phi 4 mini, Firefunction
    re.compile(rf"to=functions\.({_NAME})"),  # gpt-oss
    re.compile(rf"✿FUNCTION✿:\s*({_NAME})"),  # Qwen's own agent
    re.compile(rf"```tool_code\s+(?:print\()?({_NAME})\("),  # Gemma
)
"""Forms that nobody writes for any other purpose."""

_FENCE = re.compile(r"^```\w*\s*|\s*```$")


def text_calls(text: str, offered: Collection[str]) -> list[str]:
    """Names of the functions, of those `offered`, that the text calls or means to call; the text's own spelling.

    Marked forms count anywhere; a bare JSON object, or a list of them, with a name and arguments counts if it is
    all the text there is.
    """
    found: dict[str, None] = {}
    for form in _MARKED:
        for match in form.finditer(text):
            found[next(filter(None, match.groups()))] = None
    for name in _bare(text):
        found[name] = None
    known = {_plain(name) for name in offered} | {_plain(re.split(r"[-.]", name)[-1]) for name in offered}
    return [name for name in found if _plain(name) in known]


def _bare(text: str) -> Iterator[str]:
    stripped = _FENCE.sub("", text.strip()).strip()
    if stripped[:1] not in ("{", "[") or len(stripped) > 20_000:
        return
    try:
        data = json.loads(stripped)
    except (ValueError, RecursionError):
        return
    for item in data if isinstance(data, list) else [data]:
        if not isinstance(item, dict):
            continue
        inner = item.get("function")
        call = inner if isinstance(inner, dict) else item
        if isinstance(call.get("name"), str) and {"arguments", "parameters", "args", "input"} & set(call):
            yield call["name"]


def _plain(name: str) -> str:
    return re.sub(r"[^0-9a-z]", "", name.casefold())
