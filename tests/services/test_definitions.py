"""`$defs` of a tool's schema: kept for models that follow references, resolved for others."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from support.provider_servers import SDK, ProviderServer
from support.real_servers import brain as real_brain
from support.real_servers import team as real_team

from magentic_kit import TeamFactory
from magentic_kit.tools.schemas import MAX_DEPTH, with_definitions

SCRIPT = str(Path(__file__).parents[1] / "support" / "mcp_server.py")
FRIENDS = {"$ref": "#/$defs/Person"}


@pytest.mark.parametrize(
    ("provider", "address", "kept"),
    [("nvidia", "/api.openai.com/v1", True), ("nvidia", "/v1", False), ("anthropic", "", True)],
    ids=["OpenAI", "a server with its protocol", "Anthropic"],
)
async def test_on_the_wire(provider: str, address: str, kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(SDK[provider])
    with ProviderServer(provider, real_brain(("Ada",))) as server:
        server.prepare(monkeypatch)
        team = real_team("x", names=("Ada",), limits={"retries": 0})
        service: dict[str, Any] = server.service()
        if address:
            service = {"provider": "openai", "model": "m", "base_url": server.url + address}
        team["services"]["default"] = {**service, "structured_output": "prompt"}
        command = {"command": sys.executable, "args": [SCRIPT, "stdio", "0", "", "definitions"]}
        team["plugins"] = {"it": {"type": "mcp", "transport": "stdio", **command}}
        team["agents"][0]["tools"] = [{"id": "it.enrol"}, {"id": "it.add"}]
        async with TeamFactory.from_dict(team) as factory:
            result = await factory.run("t", out=None)
    assert result.outcome == "satisfied", result.error
    tools = next(body["tools"] for body in server.bodies if body.get("tools"))
    schemas = {}
    for tool in tools:
        function = tool.get("function", tool)
        schemas[function["name"]] = function.get("parameters") or function["input_schema"]
    enrol, add = schemas["it-enrol"], schemas["it-add"]
    assert add.keys() == {"type", "properties", "required"}
    if kept:
        assert enrol["properties"]["person"] == FRIENDS
        assert enrol["$defs"]["Person"]["properties"]["friends"]["items"] == FRIENDS
    else:
        assert "$defs" not in enrol
        assert enrol["properties"]["person"]["type"] == "object"


def deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"items": schema}
    return schema


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {}}},
        {"properties": {"a": {"$ref": "#/$defs/B"}}, "$defs": {"A": {}}},
        {"properties": {"a": {"$ref": "other.json"}}, "$defs": {"A": {}}},
        {"properties": {}, "$defs": {"A": {"enum": ["x" * 200_000]}}},
        {"properties": {}, "$defs": {"A": deep(MAX_DEPTH)}},
    ],
    ids=["none", "to nothing", "elsewhere", "too large", "too deep"],
)
def test_a_schema_that_is_only_sent_without_them(schema: dict[str, Any]) -> None:
    assert with_definitions(schema) is None
