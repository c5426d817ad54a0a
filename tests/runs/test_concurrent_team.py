"""A team that is a member of another one may let its agents answer at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from support.durable import child
from support.openai_server import OpenAIServer, Reply, Request, ledger, text_of

from magentic_kit import ConfigError, TeamFactory
from magentic_kit import events as ev
from magentic_kit.runlog.reader import read_log

CALLS = 3
"""Of the agents of the inner team, one each."""


def brain(request: Request) -> Any:
    """The outer manager asks the workshop once; each of its agents says who it is."""
    if request.purpose == "ledger":
        if any("Transferred to" in text_of(message) for message in request.messages):
            return ledger(satisfied=True)
        return ledger("Workshop", "What do you think?")
    if request.purpose == "turn":
        return f"{request.who} thinks so"
    if request.purpose == "answer":
        return "done"
    return f"the {request.purpose}"


def write_teams(folder: Path, base_url: str) -> Path:
    services = {"default": {"provider": "openai", "model": "m", "base_url": base_url}}
    agents = [{"name": name, "description": "d", "instructions": "i"} for name in ("Ann", "Bob", "Cy")]
    inner = {"name": "inner", "services": services, "agents": agents, "report": {"formats": []}}
    (folder / "inner.yaml").write_text(yaml.safe_dump(inner))
    member = {"name": "Workshop", "type": "team", "team": "inner.yaml", "mode": "concurrent", "description": "d"}
    outer = {"name": "outer", "task": "Ask.", "services": services, "agents": [member], "report": {"formats": ["md"]}}
    (folder / "team.yaml").write_text(yaml.safe_dump(outer))
    return folder / "team.yaml"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")


async def test_its_agents_answer_at_once_and_in_the_order_of_the_team(tmp_path: Path) -> None:

    def together(request: Request) -> Any:
        if request.purpose == "turn" and request.who == "Ann":
            return Reply("Ann thinks so", chunk_delay=0.05)
        return brain(request)

    with OpenAIServer(together) as server:
        async with TeamFactory.from_yaml(write_teams(tmp_path, server.base_url)) as factory:
            events = [event async for event in factory.stream(out=tmp_path / "runs")]
    assert events[-1].outcome == "satisfied", events[-1]
    (said,) = [event.text for event in events if isinstance(event, ev.AgentMessage)]
    assert said == "Ann:\nAnn thinks so\n\nBob:\nBob thinks so\n\nCy:\nCy thinks so"
    (log,) = (tmp_path / "runs").glob("*/teams/*")
    inner = read_log(log)[0]
    begins = [index for index, event in enumerate(inner) if isinstance(event, ev.ModelCallStarted)]
    ends = [index for index, event in enumerate(inner) if isinstance(event, ev.ModelCallFinished)]
    assert len(begins) == len(ends) == CALLS
    assert begins[1] < ends[0], "no call waits for another"


@pytest.mark.slow
@pytest.mark.parametrize("at", [4, 6])
def test_a_killed_run_asks_no_agent_twice_that_has_answered(at: int, tmp_path: Path) -> None:
    with OpenAIServer(brain) as server:
        write_teams(tmp_path, server.base_url)
        if child(tmp_path, kill_at=at) is None:
            assert child(tmp_path, resume=True) == {"outcome": "satisfied", "answer": "done"}
        (log,) = (tmp_path / "runs").glob("*/teams/*")
        finished = [event.call for event in read_log(log)[0] if isinstance(event, ev.ModelCallFinished)]
        assert len(finished) == len(set(finished)) == CALLS


def test_only_a_team_has_a_mode(tmp_path: Path) -> None:
    team = {
        "name": "t",
        "services": {"default": {"provider": "openai", "model": "m"}},
        "agents": [{"name": "A", "description": "d", "mode": "concurrent"}],
    }
    with pytest.raises(ConfigError, match="is no team and has no 'mode'"):
        TeamFactory.from_dict(team)
