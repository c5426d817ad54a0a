"""What is checked before anything is paid, what a run says of itself at its end, and services of the caller's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import openai
import pytest
from semantic_kernel.connectors.ai.open_ai import OpenAIChatCompletion
from semantic_kernel.functions import kernel_function
from support.openai_server import error, ledger
from support.real_servers import RealServer, brain, roles_out_of_order, team, vllm_words, when

from magentic_kit import TeamFactory
from magentic_kit.errors import ConfigError
from magentic_kit.services.dialects import DIALECT
from magentic_kit.services.offers import require_offerable
from magentic_kit.team.services import DialectName


def plugin(names: list[str]) -> object:
    def make(name: str) -> Any:
        @kernel_function(name=name, description="Does something.")
        def function(self: object) -> str:
            return name

        return function

    return type("Many", (), {name: make(name) for name in names})()


def hosted(names: list[str]) -> TeamFactory:
    data = {
        "name": "t",
        "services": {"default": {"provider": "openai", "model": "m"}},
        "agents": [{"name": "Ada", "description": "d", "tools": [{"id": "many.*"}]}],
    }
    return TeamFactory.from_dict(data, plugins={"many": plugin(names)})


async def test_more_functions_than_openai_takes_are_told_before_the_first_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    async with hosted([f"f{n}" for n in range(209)]) as factory:
        with pytest.raises(ConfigError, match="209 functions are offered, and the model takes 128"):
            await factory.run("t", out=None)


async def test_names_of_functions_that_are_too_long_are_told_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    async with hosted(["a" * 70, "b" * 80, "short"]) as factory:
        with pytest.raises(ConfigError) as caught:
            await factory.run("t", out=None)
    assert [("75" in p.message, "85" in p.message) for p in caught.value.problems] == [(True, False), (False, True)]


@pytest.mark.parametrize("url", [None, "http://localhost:8000/v1", "https://api.mistral.ai/v1"])
def test_servers_that_are_not_known_to_refuse_are_asked(url: str | None) -> None:
    require_offerable("Ada", ["x" * 100] * 500, url)


def test_every_dialect_has_a_meaning_and_a_name_in_the_team_file() -> None:
    assert {*get_args(DialectName)} == {*DIALECT}


# -- what a run says of itself at its end


async def test_a_manager_that_was_satisfied_before_anybody_spoke_is_told(tmp_path: Path) -> None:
    with RealServer(brain().on("manager", "ledger", 0, ledger("Ada", "-", satisfied=True))) as server:
        async with TeamFactory.from_dict(team(server.base_url)) as factory:
            result = await factory.run("t", out=tmp_path)
    assert result.outcome == "satisfied"
    assert result.notes == ["The manager was satisfied before any agent had spoken."]
    assert "before any agent had spoken" in (result.run_dir / "report.md").read_text("utf-8")


GONE: dict[str, dict[str, Any]] = {
    "an MCP program that is not there": {"type": "mcp", "transport": "stdio", "command": "no-such-program-anywhere"},
    "an MCP program that ends at once": {"type": "mcp", "transport": "stdio", "command": "false"},
    "an MCP server that nobody runs": {"type": "mcp", "transport": "http", "url": "http://127.0.0.1:9/mcp"},
}


@pytest.mark.parametrize("name", GONE)
async def test_a_plugin_that_could_not_be_started_is_told_at_the_end(name: str) -> None:
    with RealServer(brain()) as server:
        made = team(server.base_url)
        made["plugins"] = {"gone": GONE[name]}
        made["agents"][0]["tools"] = [{"id": "gone.*"}]
        async with TeamFactory.from_dict(made) as factory:
            result = await factory.run("t", out=None)
    assert result.outcome == "satisfied", result.error
    assert len(result.notes) == 1 and "plugin 'gone' could not be started" in result.notes[0]


async def test_a_run_with_nothing_to_remark_has_no_notes() -> None:
    with RealServer(brain()) as server:
        async with TeamFactory.from_dict(team(server.base_url)) as factory:
            assert (await factory.run("t", out=None)).notes == []


# -- services that the caller brings, and what a resume knows


async def test_a_service_of_the_callers_own_is_spoken_to_in_its_dialect_too() -> None:
    refusal = when(roles_out_of_order, vllm_words(400, "Conversation roles must alternate user/assistant"))
    with RealServer(brain(), refusal) as server:
        client = openai.AsyncOpenAI(api_key="k", base_url=server.base_url)
        mine = OpenAIChatCompletion(ai_model_id="m", async_client=client)
        made = team(server.base_url)
        del made["services"]
        async with TeamFactory.from_dict(made, services={"default": mine}) as factory:
            result = await factory.run("t", out=None)
        assert result.outcome == "satisfied", result.error
        assert len(server.refused) == 1
        await client.close()
    assert type(mine) is OpenAIChatCompletion


async def test_a_resumed_run_knows_the_dialect(tmp_path: Path) -> None:
    refusal = when(roles_out_of_order, vllm_words(400, "Conversation roles must alternate user/assistant"))
    first_answer = [error(401, "no")]
    answering = brain().on("manager", "answer", None, lambda _: first_answer.pop() if first_answer else None)
    with RealServer(answering, refusal) as server:
        async with TeamFactory.from_dict(team(server.base_url)) as factory:
            first = await factory.run("t", out=tmp_path)
        assert first.outcome == "failed" and len(server.refused) == 1
        async with TeamFactory.from_run(first.run_dir) as factory:
            again = await factory.resume(first.run_dir).result()
        assert again.outcome == "satisfied", again.error
        assert len(server.refused) == 1, "not refused again"
    assert [fault.kind for fault in again.record.errors].count("dialect") == 1
