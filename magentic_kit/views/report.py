"""The written report of a run: report.md and report.html for people, result.json with the same as data."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Collection, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import yaml

from magentic_kit import events as ev
from magentic_kit.runlog.files import write_private
from magentic_kit.runlog.record import RunRecord
from magentic_kit.runlog.usage import savings
from magentic_kit.text import count, one_line, printable
from magentic_kit.views.environment import environment_of
from magentic_kit.views.html import html

logger = logging.getLogger(__name__)

_RESULT_LIMIT = 4_000  # characters of a tool's result in report.md; result.json has all of it

_DRAWN_TURNS = 60  # arrows in the Mermaid diagram; more are hard to read

_FENCE = re.compile(r"(?P<before>[ \t>]*(?:(?:[-*+]|\d{1,9}[.)])[ \t>]+)*)(?P<fence>`{3,}(?!.*`)|~{3,})(?P<rest>.*)")
_ACTIVE = re.compile(
    r"(?P<code>(?<!`)(?P<ticks>`+)(?!`)[^|]*?(?<!`)(?P=ticks)(?!`))"  # closed on its line; no cell's border
    r"|`+"
    r"|\\[!-/:-@\[-`{-~]"  # an escaped character is a plain one
    r"|<(?=[A-Za-z/!?])"  # what may start a tag, a comment or an autolink
    r"|!\[|\](?=:|\((?!https?://))",  # an image; a link's definition, or a link to anything but the web
    re.IGNORECASE,
)


def quoted(text: str) -> str:
    """Markdown that somebody else wrote, as a block quote in which nothing is active.

    Fenced blocks are written anew at the quote's margin and always closed, so that what is code to us is
    code to every renderer. A code span counts if it closes on its line; other backticks become entities.
    """
    lines, fence = [], ""
    for line in printable(text).strip("\n").split("\n"):
        if fence:
            closed = re.fullmatch(rf"[ \t>]*{fence}{fence[0]}*[ \t]*", line)
            lines.append(fence if closed else line)
            fence = "" if closed else fence
        elif opened := _FENCE.fullmatch(line):
            fence = opened["fence"]
            lines += [before] if (before := opened["before"].strip("> \t")) else []
            lines.append(fence + opened["rest"])
        else:
            lines.append(_ACTIVE.sub(_defuse, line))
    if text.strip():
        return "\n".join(f"> {line}" for line in [*lines, *([fence] if fence else [])])
    return "None."


def inline(text: object) -> str:
    """Somebody else's text on one line of ours, also in a table's cell; no code spans."""
    return _ACTIVE.sub(_defuse, one_line(str(text)).replace("`", "&#96;")).replace("|", "&#124;")


def fenced(text: str) -> str:
    """A tool's arguments or result as a code block that nothing in it can close."""
    shown = printable(text)
    if (more := len(shown) - _RESULT_LIMIT) > 0:
        shown = f"{shown[:_RESULT_LIMIT]}\n… {count(more, 'character')} more: see result.json"
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", shown)), 3)
    return f"{fence}\n{shown}\n{fence}"


def label(text: str) -> str:
    """Somebody else's text as a label in a Mermaid diagram, which reads `#35;` as a character."""
    return re.sub(r"[^\w .,-]", lambda match: f"#{ord(match[0])};", one_line(text, 60)) or "-"


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """libyaml's, where PyYAML has it: several times quicker; it takes no lone surrogates."""


_Dumper.add_representer(str, lambda dumper, text: dumper.represent_str(printable(text)))


@cache
def _template() -> jinja2.Template:
    environment = environment_of(keep_trailing_newline=True, finalize=lambda value: printable(str(value)))
    environment.filters |= {f.__name__: f for f in (quoted, inline, fenced, label)}
    environment.filters["json"] = lambda data: json.dumps(data, ensure_ascii=False, indent=2, default=str)
    return environment.get_template("report.md.j2")


def markdown(record: RunRecord) -> str:
    """The report in Markdown with YAML front matter."""
    front = yaml.dump(_front_matter(record), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1_000_000)
    return _template().render(
        front=printable(front), record=record, savings=savings(record.windows), stalled=ev.stalled, drawn=_DRAWN_TURNS
    )


class ReportWriter:
    """A view that writes a run's reports into its directory when the run has ended."""

    def __init__(self, run_dir: Path, formats: Iterable[str]) -> None:
        self._run_dir, self._formats = run_dir, tuple(formats)

    def __call__(self, event: ev.AnyEvent, record: RunRecord) -> None:
        """Writes the reports if the run has ended; that they could not be written is logged, and changes nothing."""
        if not isinstance(event, ev.RunFinished):
            return
        try:
            write_reports(self._run_dir, record, self._formats)
        except Exception as error:
            logger.error("the report could not be written: %s: %s", type(error).__name__, error)


def write_reports(run_dir: Path, record: RunRecord, formats: Collection[str]) -> list[Path]:
    """Writes the reports that `formats` (`md`, `html`, `json`) names; each appears whole or not at all.

    Returns their paths. Raises `OSError`.
    """
    written = []
    for name, text in (("report.md", markdown), ("report.html", html), ("result.json", _json)):
        path = run_dir / name
        if path.suffix[1:] in formats:
            write_private(path, text(record).encode())
            written.append(path)
    return written


def _json(record: RunRecord) -> str:
    return json.dumps(record.to_dict(), indent=2, default=str) + "\n"


def _defuse(match: re.Match[str]) -> str:
    mark = match[0]
    if match["code"] or (mark[0] == "\\" and mark[1] != "`"):
        return mark
    if "`" in mark:
        return "&#96;" * mark.count("`")
    return f"{mark[:-1]}\\{mark[-1]}"


def _front_matter(record: RunRecord) -> dict[str, Any]:
    tokens = {}
    for who, sums in [*record.usage.items(), ("total", record.totals)]:
        tokens[who] = {
            "prompt": sums["prompt_tokens"],
            "completion": sums["completion_tokens"],
            "cached": sums["cached_tokens"],
            "calls": sums["calls"],
            "cost": sums["cost"],
        }
    front = {
        "outcome": record.outcome,
        "reason": record.reason,
        "team": record.team,
        "run_id": record.run_id,
        "config_hash": record.config_hash,
        "versions": record.versions,
        "models": {n: f"{who.get('provider')}/{who.get('model')}" for n, who in record.participants.items()},
        "limits": ev.as_data(record.limits),
        "rounds": len(record.turns),
        "stalls": record.stalls,
        "resets": record.resets,
        "tokens": tokens,
    }
    if record.windows:
        front["windows"] = record.windows
    ending = {"started": record.started, "finished": record.finished, "seconds": record.seconds, "error": record.error}
    return front | ending
