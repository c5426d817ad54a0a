"""The pages of the server from their templates: every text is escaped, and nothing is fetched from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from magentic_kit.runlog.record import RunRecord
from magentic_kit.serve.page.questions import Asked
from magentic_kit.views.environment import read_template
from magentic_kit.views.html import LiveState, TextLimits, page_environment, sha256

_TEMPLATES = Path(__file__).parent / "templates"
_POLICY = "default-src 'none'; style-src {}; script-src {}; connect-src 'self'; form-action 'self'; base-uri 'none'"


@dataclass(frozen=True)
class Site:
    """What all pages of a server share: where it is mounted, and what its forms have to send."""

    prefix: str
    csrf: str


def _style() -> str:
    return read_template("report.css") + (_TEMPLATES / "live.css").read_text("utf-8")


def _script(name: str) -> str:
    live = (_TEMPLATES / "live.js").read_text("utf-8")
    if name == "run.html.j2":
        return read_template("report.js") + live
    return '"use strict";\n' + live


def policy_of(name: str) -> str:
    """The Content-Security-Policy of a page: its own style and script, and this server."""
    return _POLICY.format(sha256(_style()), sha256(_script(name))) + "; frame-ancestors 'none'"


def render_page(template: str, limits: TextLimits, **context: Any) -> str:
    """Returns a page of the server, with texts of these limits."""
    assets = {"style": _style(), "script": _script(template)}
    hashes = {kind: sha256(text) for kind, text in assets.items()}
    shared = {kind: Markup(text) for kind, text in assets.items()}
    return page_environment(limits, _TEMPLATES).get_template(template).render(context, hashes=hashes, **shared)


class StoredParts:
    """Parts that were rendered before, under the names that the report's template calls them by."""

    def __init__(self, parts: Mapping[str, str]) -> None:
        self._parts = parts

    def __getattr__(self, name: str) -> Callable[[], Markup]:
        html = Markup(self._parts.get(name.replace("_", "-"), ""))  # rendered by our own templates
        return lambda: html

    def round(self, number: int) -> Markup:
        """Returns a round."""
        return Markup(self._parts.get(f"round-{number}", ""))

    def asks(self) -> list[Markup]:
        """Returns the questions that are open."""
        return [Markup(html) for name, html in self._parts.items() if name.startswith("ask-")]


def render_run(record: RunRecord, live: LiveState | None, parts: Mapping[str, str], **context: Any) -> str:
    """Returns the page of a run, made of its parts as they were rendered last."""
    numbers = [int(name.removeprefix("round-")) for name in parts if name.startswith("round-")]
    context.update(record=record, live=live, part=StoredParts(parts), numbers=sorted(numbers), turns=record.turns)
    return render_page("run.html.j2", TextLimits(), **context)


def charge_parts(charge: Mapping[str, Any], waiting: Sequence[Asked]) -> dict[str, str]:
    """The parts of a run's page that a report has not: what the team does now, what it asks, and what can be done."""
    macros = _macros("charge.html.j2", charge)
    parts = {"now": str(macros.now()), "controls": str(macros.controls())}
    for question in waiting:
        parts[f"ask-{question.number}"] = str(macros.ask(question))
    return parts


def runs_part(**context: Any) -> str:
    """The list of runs."""
    return str(_macros("runs.html.j2", context).runs())


def _macros(name: str, context: Mapping[str, Any]) -> Any:
    return page_environment(TextLimits(), _TEMPLATES).get_template(name).make_module(dict(context))
