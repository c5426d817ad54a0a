"""The report of a run as one self-contained page: no network, no script but its own, every text escaped."""

from __future__ import annotations

import base64
import difflib
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import jinja2
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markupsafe import Markup

from magentic_kit import events as ev
from magentic_kit.runlog.record import RunRecord
from magentic_kit.runlog.usage import savings, tokens_of
from magentic_kit.text import count, printable
from magentic_kit.views.environment import environment_of, read_template

_MOST_BYTES = 5_000_000
_BUDGETS = (800_000, 200_000, 50_000)  # characters of all texts, and of all results; the next if a page is too big
_TEXT_LIMIT = 20_000  # characters of any one text
_RESULT_LIMIT = 4_000  # of a tool's arguments or result
_PIXELS = 800  # about what a timeline has that need not be scrolled
_MOST_CELLS = 10_000  # of a table, in which a row of two characters may fill up to a hundred cells
_JUDGED = {
    "is_request_satisfied": "satisfied",
    "is_progress_being_made": "progress",
    "is_in_loop": "loop",
    "next_speaker": "speaker",
    "instruction_or_question": "instruction",
}


class _Renderer(RendererHTML):
    """Markdown that somebody else wrote: links leave no trace, images are their words, headings are not ours."""

    def image(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        return f"<i>{Markup.escape(tokens[idx].content or 'image')}</i>"

    def link_open(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        tokens[idx].attrSet("rel", "noopener noreferrer")
        return str(self.renderToken(tokens, idx, options, env))

    def heading_open(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        return "<p><strong>"

    def heading_close(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        return "</strong></p>\n"


_MARKDOWN = MarkdownIt("commonmark", {"html": False}, renderer_cls=_Renderer).enable(["table", "strikethrough"])
_MARKDOWN.validateLink = lambda url: url.lower().startswith(("http://", "https://"))  # type: ignore[method-assign]


@dataclass(frozen=True)
class TextLimits:
    """Characters to which each text is cut, and each tool's arguments and result."""

    text: int = _TEXT_LIMIT
    result: int = _RESULT_LIMIT


@dataclass(frozen=True, kw_only=True)
class LiveState:
    """Where a run stands that is under way: a word, a sentence, and its seconds so far."""

    status: str
    sentence: str
    seconds: float | None = None


def html(record: RunRecord) -> str:
    """The page, under 5 MB: results and texts are cut, the longest first, with a word about where the rest is."""
    for limits in text_limits(record):
        page = page_environment(limits).get_template("report.html.j2").render(page_context(record))
        if len(page.encode()) < _MOST_BYTES:
            break
    return page


def text_limits(record: RunRecord) -> Iterator[TextLimits]:
    """Yields limits for the page of a run, each stricter than the one before."""
    data = record.to_dict()
    results, texts = sorted(_lengths(data.pop("tool_calls"))), sorted(_lengths(data))
    for budget in _BUDGETS:
        yield TextLimits(_fair_share(texts, budget, _TEXT_LIMIT), _fair_share(results, budget, _RESULT_LIMIT))


class ReportParts:
    """The parts of a run's page, each an element whose id is its name."""

    def __init__(self, record: RunRecord, limits: TextLimits, live: LiveState | None, *, run_link: str) -> None:
        template = page_environment(limits).get_template("parts.html.j2")
        self._macros: Any = template.make_module(page_context(record, live, run_link=run_link))

    def render(self, name: str) -> str:
        """Returns a part: `head`, `answer`, `timeline`, `tokens`, `plan`, `loose`, `errors`, or `round-N`."""
        if name.startswith("round-"):
            return str(self._macros.round(int(name.removeprefix("round-"))))
        return str(getattr(self._macros, name.replace("-", "_"))())


def changes(old: Sequence[str], new: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What became of `old`, as `("", text)`, `("del", text)` and `("ins", text)`; words where lines are alike."""
    for operation, i, j, k, m in difflib.SequenceMatcher(None, old, new).get_opcodes():
        before, after = "".join(old[i:j]), "".join(new[k:m])
        words = [re.findall(r"\w+|\s+|.", before), re.findall(r"\w+|\s+|.", after)]
        if operation == "equal":
            yield "", after
        elif "\n" in before and "\n" in after and difflib.SequenceMatcher(None, words[0], words[1]).ratio() > 0.5:
            yield from changes(words[0], words[1])
        else:
            yield from ((tag, text) for tag, text in (("del", before), ("ins", after)) if text)


@lru_cache(maxsize=8)
def page_environment(limits: TextLimits, *folders: Path) -> jinja2.Environment:
    """The environment of pages with texts of these limits, and with the templates of `folders` besides the report's."""
    environment = environment_of(
        *folders, autoescape=True, finalize=lambda value: value if isinstance(value, Markup) else printable(str(value))
    )
    cut, result = partial(_cut, limit=limits.text), partial(_cut, limit=limits.result)
    environment.filters |= {
        "cut": cut,
        "reasons": _reasons,
        "markdown": lambda text: _markdown(printable(cut(text))),
        "result": result,
        "arguments": lambda data: result(json.dumps(data, ensure_ascii=False, indent=2, default=str)),
        "changes": lambda old, new: changes(*([f"{line}\n" for line in cut(t).splitlines()] for t in (old, new))),
    }
    return environment


def page_context(
    record: RunRecord, live: LiveState | None = None, *, run_link: str = "../RUN/report.html"
) -> dict[str, Any]:
    """What the templates of a run's page are rendered with.

    `live` is where the run stands, None if it has ended; `run_link` the address of another run's page, with `RUN` for
    its id.
    """
    pixels = min(max(_PIXELS, 24 * len(record.turns)), 20_000)
    style, script = (read_template(f"report.{suffix}") for suffix in ("css", "js"))
    tools = zip((span for span in record.timeline.spans if span.kind == "tool"), record.tool_calls, strict=False)
    timeline = record.timeline
    if live and timeline.began:
        timeline = replace(timeline, last=max(timeline.last, ev.seconds(ev.now())))
    return {
        "record": record,
        "live": live,
        "run_link": run_link,
        "chart": timeline,
        "stalled": ev.stalled,
        "numbers": round_numbers(record),
        "turns": list(enumerate(record.turns, 1)),
        "tools": list(tools),
        "savings": savings(record.windows),
        "most": max([1, *(tokens_of(sums) or 0 for sums in record.usage.values())]),
        "pixels": pixels,
        "width": "100%" if pixels == _PIXELS else pixels,
        "style": Markup(style),
        "script": Markup(script),
        "hashes": {"style": sha256(style), "script": sha256(script)},
    }


def round_numbers(record: RunRecord) -> list[int]:
    """The numbers of the rounds that a page shows."""
    return sorted({ledger.round for ledger in record.rounds} | {turn.round for turn in record.turns})


def _markdown(text: str) -> Markup:
    lines = text.split("\n")
    if len(lines) * max(line.count("|") for line in lines) > _MOST_CELLS:
        return Markup("<pre>{}</pre>").format(text)
    return Markup(_MARKDOWN.render(text))


def _reasons(ledger: ev.ProgressLedger) -> Iterable[tuple[str, list[str]]]:
    """The manager's reasons, each once, with what they are about."""
    reasons: dict[str, list[str]] = {}
    for name, about in _JUDGED.items():
        judged = getattr(ledger, name)
        verdict = {True: f"{about}: yes", False: f"{about}: no"}.get(judged.answer, about)
        reasons.setdefault(judged.reason, []).append(verdict)
    return ((reason, about) for reason, about in reasons.items() if reason)


def _cut(text: str, *, limit: int) -> str:
    more = len(text) - limit
    if more <= 0:
        return text
    return f"{text[:limit]}\n\n… {count(more, 'character')} more: see result.json"


def _fair_share(lengths: Sequence[int], budget: int, most: int) -> int:
    """The length, at most `most`, to which texts of these `lengths`, shortest first, are cut to fit into `budget`."""
    for index, length in enumerate(lengths):
        if min(length, most) * (left := len(lengths) - index) > budget:
            return budget // left
        budget -= min(length, most)
    return most


def _lengths(data: object) -> Iterator[int]:
    """The lengths of all texts in `data`, the keys of its mappings included."""
    waiting = [data]
    while waiting:
        match waiting.pop():
            case str() as text:
                yield len(text)
            case dict() as mapping:
                waiting += [*mapping, *mapping.values()]
            case list() | tuple() as items:
                waiting += items


def sha256(text: str) -> str:
    """The source of a page's own style or script, as its Content-Security-Policy allows it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
