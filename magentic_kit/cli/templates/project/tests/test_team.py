"""The team works offline: what the models say is scripted, the tools and everything else are real."""

import asyncio
from pathlib import Path

from magentic_kit import RunResult, TeamFactory

TEAM = Path(__file__).parent.parent / "team.yaml"


def test_the_team_answers_from_the_tickets(tmp_path: Path) -> None:
    """The manager is satisfied, and the numbers come from the file."""

    async def run() -> RunResult:
        async with TeamFactory.from_yaml(TEAM, env={"SERVICE": "offline"}) as factory:
            return await factory.run(out=tmp_path)

    result = asyncio.run(run())
    assert result.outcome == "satisfied"
    (call,) = result.record.tool_calls
    assert call.function == "tickets.count"
    assert call.result.splitlines()[0] == "- login: 4"
