"""Checks the scripts of scripted services: who speaks in them, and what for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from magentic_kit.errors import ConfigError
from magentic_kit.team.document import Document
from magentic_kit.team.problems import KEY, Route, clip, get, label, nearest

_MANAGER = "manager"
_PURPOSES = {_MANAGER: ("facts", "plan", "ledger", "answer", "summary")}
_AGENT_PURPOSES = ("turn", "summary")
_LEDGER = ("next", "instruction", "satisfied", "loop", "progress", "reason")


def check_scripts(document: Document) -> None:
    """Reports every agent, purpose and key of a ledger in a script that does not exist to the document."""
    agents = [get(agent, "name", kind=str) for agent in get(document.data, "agents", kind=list)]
    if not all(agents):
        return
    for name, service in get(document.data, "services", kind=dict).items():
        if get(service, "provider") == "scripted" and "script" in service:
            _check_script(document, ("services", name, "script"), service["script"], agents)


def _check_script(document: Document, route: Route, script: Any, agents: list[str]) -> None:
    if isinstance(script, dict):
        for place, message in _problems(script, agents):
            document.report((*route, *place), f"{label(route)}: {message}")
    elif isinstance(script, str) and Path(script).is_file():
        path, base_dir = Path(script), document.base_dir.resolve()
        if path.is_relative_to(base_dir):  # named as the team file is
            path = document.base_dir / path.relative_to(base_dir)
        try:
            file = Document(path, path.parent, {})
        except ConfigError:  # which is reported when the team is read
            return
        for place, message in _problems(file.data, agents):
            document.problems.append(file.problem(place, message))


def _problems(script: Any, agents: list[str]) -> Iterator[tuple[Route, str]]:
    """Each problem of a script, with its route in there."""
    for who, replies in get(script, kind=dict).items():
        if who not in (*agents, _MANAGER):
            yield (who, KEY), f"there is no agent {clip(who)}{nearest(who, [*agents, _MANAGER])}"
            continue
        if not isinstance(replies, dict):
            yield from _ledger_problems((who,), replies, agents)
            continue
        purposes = _PURPOSES.get(who, _AGENT_PURPOSES)
        for purpose, own in replies.items():
            if purpose not in purposes:
                yield (who, purpose, KEY), f"{who} is asked for no {clip(purpose)}{nearest(purpose, purposes)}"
            yield from _ledger_problems((who, purpose), own, agents)


def _ledger_problems(route: Route, replies: Any, agents: list[str]) -> Iterator[tuple[Route, str]]:
    several = replies if isinstance(replies, list) else [replies]
    for n, reply in enumerate(several):
        place = (*route, n) if isinstance(replies, list) else route
        for key, value in get(reply, "ledger", kind=dict).items():
            if key not in _LEDGER:
                yield (*place, "ledger", key, KEY), f"a ledger has no {clip(key)}{nearest(key, _LEDGER)}"
            elif key == "next" and value and isinstance(value, str) and value not in agents:
                yield (*place, "ledger", key), f"there is no agent {clip(value)}{nearest(value, agents)}"
