"""`doctor` finds what is missing, says what mends it, and the advice taken makes the team run."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.openai_server import OpenAIServer, Reply, Request, TeamBrain, ToolCall, error

from magentic_kit import TeamFactory
from magentic_kit.cli import app
from magentic_kit.errors import ConfigError

KEY = "right-key-0123456789"
Mend = Callable[[dict[str, Any], pytest.MonkeyPatch, str], None]


def restricted(
    *, formats: tuple[str, ...] = ("json_schema", "json_object"), prose: str = "", tools: bool = True
) -> OpenAIServer:
    """A server whose model leads a team, answers the doctor, and can do no more than this."""

    def use_tools(request: Request) -> Reply | str:
        if not tools or not request.tools or request.last_tool_results:
            return "ready"
        name = request.tool_names[0]
        return Reply(tool_calls=[ToolCall(name, {"expression": "1 + 2"} if request.who else {"a": 1234, "b": 4321})])

    brain = TeamBrain(rounds=[("Solo", "Add.")], agents={"Solo": use_tools})

    def answer(request: Request) -> Reply | str | None:
        if request.headers["Authorization"] != f"Bearer {KEY}":
            return error(401, "Incorrect API key provided", code="invalid_api_key")
        wanted = request.response_format.get("type")
        if wanted and wanted not in formats:
            return error(400, "response_format is not supported")
        if wanted and wanted == prose:
            return "Well, let me think about that."
        return use_tools(request) if not request.who else brain(request)

    return OpenAIServer(answer)


def team(base_url: str) -> dict[str, Any]:
    return {
        "name": "small",
        "services": {"default": {"provider": "openai", "model": "m", "base_url": base_url}},
        "plugins": {"math": {"type": "math"}},
        "agents": [{"name": "Solo", "description": "Adds.", "tools": [{"id": "math.calculate"}]}],
        "limits": {"retries": 0},
    }


def doctor(capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, dict[str, str]]:
    """The exit code, and the lines by what they are about."""
    code = app.run(["doctor", *map(str, args)])
    lines = capsys.readouterr().out.splitlines()
    return code, {line[9:34].strip(): f"{line[:9].strip()}: {line[34:]}" for line in lines}


def put_structured_output(data: dict[str, Any], _: pytest.MonkeyPatch, advice: str) -> None:
    match = re.search(r"put `(\w+): (\w+)` into services\.(\w+)", advice)
    assert match
    data["services"][match[3]][match[1]] = match[2]


def take_tools_away(data: dict[str, Any], _: pytest.MonkeyPatch, advice: str) -> None:
    assert "give its agents no `tools`" in advice
    del data["agents"][0]["tools"]


def set_key(data: dict[str, Any], patch: pytest.MonkeyPatch, advice: str) -> None:
    match = re.search(r"check (\w+)$", advice)
    assert match
    patch.setenv(match[1], KEY)


LEDGER = "default: ledger"
CASES: dict[str, tuple[dict[str, Any], str, dict[str, str], Mend | None]] = {
    "everything works": (
        {},
        KEY,
        {
            "default": "ok: openai, m, OPENAI_API_KEY set",
            "default: reply": "ok: ready",
            LEDGER: "ok: json_schema yes, json_object yes, prompt yes",
            "default: tools": "ok: function called",
        },
        None,
    ),
    "no json_schema": (
        {"formats": ("json_object",)},
        KEY,
        {
            LEDGER: "missing: json_schema no (400), json_object yes, prompt yes; "
            "put `structured_output: json_object` into services.default",
        },
        put_structured_output,
    ),
    "no structured output": (
        {"formats": ()},
        KEY,
        {
            LEDGER: "missing: json_schema no (400), json_object no (400), prompt yes; "
            "put `structured_output: prompt` into services.default",
        },
        put_structured_output,
    ),
    "json_schema taken and not kept to": (
        {"prose": "json_schema"},
        KEY,
        {
            LEDGER: "missing: json_schema no (unusable), json_object yes, prompt yes; "
            "put `structured_output: json_object` into services.default",
        },
        put_structured_output,
    ),
    "no tool calls": (
        {"tools": False},
        KEY,
        {
            "default: tools": "missing: no function called; "
            "this model cannot call tools: give its agents no `tools`, or another service",
        },
        take_tools_away,
    ),
    "wrong key": (
        {},
        "wrong-key-0123456789",
        {
            "default: model": "missing: service 'default' (m at {url}/): 401 Unauthorized: "
            "Incorrect API key provided; check OPENAI_API_KEY",
        },
        set_key,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_live_questions_end_in_advice_that_makes_the_team_run(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    restriction, key, told, mend = CASES[name]
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with restricted(**restriction) as server:
        path, data = tmp_path / "team.yaml", team(server.base_url)
        path.write_text(yaml.safe_dump(data))
        code, found = doctor(capsys, path, "--live")
        assert code == (1 if mend else 0)
        for what, line in told.items():
            assert found[what] == line.format(url=server.base_url)
        assert not any(key in line for line in found.values())
        if mend:
            mend(data, monkeypatch, found[next(iter(told))])
            path.write_text(yaml.safe_dump(data))
            assert doctor(capsys, path, "--live")[0] == 0
        assert outcome(path, tmp_path) == "satisfied"
        assert re.fullmatch(r"ok: [\d,]+ spent", found["tokens"])


def outcome(path: Path, out: Path) -> str:
    async def run() -> str:
        async with TeamFactory.from_yaml(path) as factory:
            return (await factory.run("Add 1 and 2.", out=out)).outcome

    return asyncio.run(run())


def test_a_server_that_is_not_there_is_told_before_anything_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with socket.socket() as taken, restricted() as server:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        path, data = tmp_path / "team.yaml", team(f"http://127.0.0.1:{taken.getsockname()[1]}/v1")
        path.write_text(yaml.safe_dump(data))
        code, found = doctor(capsys, path, "--live")
        assert code == 1 and "default: reply" not in found and found["tokens"] == "ok: 0 spent"
        assert found["default: endpoint"] == (
            f"missing: {data['services']['default']['base_url']}/: Connection refused; "
            "start the server, or correct its address in services.default"
        )
        data["services"]["default"]["base_url"] = server.base_url
        path.write_text(yaml.safe_dump(data))
        assert doctor(capsys, path, "--live")[0] == 0
        assert outcome(path, tmp_path) == "satisfied"


def test_what_is_not_needed_is_not_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with restricted(tools=False, formats=()) as server:
        data = team(server.base_url)
        data["services"]["boss"] = {"provider": "scripted", "script": {}}
        data["manager"] = {"service": "boss"}
        del data["agents"][0]["tools"]
        (tmp_path / "team.yaml").write_text(yaml.safe_dump(data))
        code, found = doctor(capsys, tmp_path / "team.yaml", "--live")
    assert code == 0
    assert found["default: tools"] == "ok: no function called"
    assert found[LEDGER] == "ok: json_schema no (400), json_object no (400), prompt yes"
    assert found["boss"] == "ok: scripted, no model is called"


@pytest.mark.parametrize(
    ("service", "line"),
    [
        ({"provider": "openai", "model": "m"}, "has no key; set OPENAI_API_KEY (in the environment or .env)"),
        ({"provider": "openai", "model": "m", "api_key_env": "MINE"}, "has no key; set MINE (in the environment or"),
        ({"provider": "azure_openai", "model": "m"}, "has no endpoint; set endpoint in the team file, or AZURE"),
        ({"provider": "python", "target": "gone:Service"}, "cannot be imported"),
    ],
)
def test_without_live_nothing_is_asked_and_each_lack_is_named(
    service: dict[str, Any], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "team.yaml"
    path.write_text(yaml.safe_dump({**team(""), "services": {"default": service}}))
    code, found = doctor(capsys, path)
    assert code == 1 and set(found) == {"python", "semantic-kernel", "default", "plugin math", "agent Solo"}
    assert found["default"].startswith("missing: ") and line in found["default"]


PLUGIN = """
import json, pathlib
from semantic_kernel.functions import kernel_function

class Sales:
    def __init__(self, file):
        self.rows = json.loads((pathlib.Path(__file__).parent / file).read_text())

    @kernel_function(description="Counts.")
    def count(self): return len(self.rows)
"""
SERVER = """
from mcp.server.fastmcp import FastMCP

server = FastMCP("books")

@server.tool()
def search(title: str) -> str:
    return title

server.run()
"""
SPEC = {
    "openapi": "3.0.0",
    "info": {"title": "shop", "version": "1"},
    "servers": [{"url": "http://127.0.0.1:9"}],
    "paths": {"/orders": {"get": {"operationId": "list_orders", "responses": {"200": {"description": "them"}}}}},
}
PLUGINS = """\
name: all
services:
  default: {provider: scripted, script: {}}
  spare: {provider: openai, model: m}
plugins:
  sales: {type: python, target: "sales:Sales", args: {file: rows.json}}
  books: {type: mcp, transport: stdio, command: PYTHON, args: [books.py]}
  shop: {type: openapi, spec: shop.json}
agents:
  - {name: Clerk, description: Counts., tools: [{id: sales.count}, {id: "books.*"}, {id: shop.list_orders}]}
  - {name: Guest, description: Talks.}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A team with a plugin of each kind that has something outside of the team file; a good one."""
    (tmp_path / "team.yaml").write_text(PLUGINS.replace("PYTHON", sys.executable))
    (tmp_path / "sales.py").write_text(PLUGIN)
    (tmp_path / "rows.json").write_text("[1, 2]")
    (tmp_path / "books.py").write_text(SERVER)
    (tmp_path / "shop.json").write_text(json.dumps(SPEC))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_plugins_are_built_servers_started_and_functions_listed(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = doctor(capsys, "team.yaml")
    assert code == 0, found
    assert found["plugin sales"] == "ok: sales.count"
    assert found["plugin books"] == "ok: books.search"
    assert found["plugin shop"] == "ok: shop.list_orders"
    assert found["agent Clerk"] == "ok: sales.count, books.search, shop.list_orders"
    assert "agent Guest" not in found
    assert found["spare"].startswith("unused: service 'spare' has no key; set OPENAI_API_KEY")


BREAKAGES: dict[str, tuple[str, str, str, int]] = {
    "class": ("sales.py", "class Sales", "class Sale", 6),
    "module": ("team.yaml", "sales:Sales", "sale:Sales", 6),
    "data file": ("team.yaml", "rows.json", "row.json", 6),
    "argument": ("team.yaml", "{file:", "{fil:", 6),
    "syntax": ("sales.py", "class Sales:", "class Sales", 6),
    "import": ("sales.py", "import json, pathlib", "import json, pathlip", 6),
    "server": ("team.yaml", "books.py", "gone.py", 7),
    "document": ("shop.json", "openapi", "openipa", 8),
}


@pytest.mark.parametrize("name", BREAKAGES)
def test_a_broken_plugin_is_missing_with_the_line_of_the_team_file(
    name: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, good, bad, line = BREAKAGES[name]
    (project / file).write_text((project / file).read_text().replace(good, bad))
    code, found = doctor(capsys, "team.yaml")
    plugin = {6: "sales", 7: "books", 8: "shop"}[line]
    assert code == 1
    assert found[f"plugin {plugin}"].startswith(f"missing: team.yaml:{line}:")
    assert found["agent Clerk"].startswith("missing: ")


def test_an_error_that_quotes_a_secret_is_masked(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SALES_TOKEN", "hunter2-0123456789")
    text = (project / "team.yaml").read_text().replace("rows.json", '"${SALES_TOKEN}.json"')
    (project / "team.yaml").write_text(text)
    code, found = doctor(capsys, "team.yaml")
    assert code == 1 and "hunter2" not in str(found) and found["plugin sales"].startswith("missing: team.yaml:6:")


def test_what_no_agent_lists_may_be_broken(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (project / "team.yaml").read_text().replace("rows.json", "row.json").replace("{id: sales.count}, ", "")
    (project / "team.yaml").write_text(text)
    code, found = doctor(capsys, "team.yaml")
    assert code == 0 and found["plugin sales"].startswith("unused: team.yaml:6:")


def test_the_teams_that_are_members_are_looked_at_too(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "rows.json").unlink()
    desk = {"name": "Desk", "description": "Asks.", "type": "team", "team": "team.yaml"}
    services = {"default": {"provider": "scripted", "script": {}}}
    (project / "whole.yaml").write_text(yaml.safe_dump({"name": "w", "services": services, "agents": [desk]}))
    code, found = doctor(capsys, "whole.yaml")
    assert code == 1 and found["Desk: plugin books"] == "ok: books.search"
    assert f"{project / 'team.yaml'}:6:" in found["Desk: plugin sales"]


def test_a_plugin_that_fails_at_run_is_named_with_the_line_of_the_team_file(project: Path) -> None:
    (project / "rows.json").unlink()
    with pytest.raises(ConfigError) as caught:
        app.run(["run", "team.yaml", "Count.", "--quiet"])
    (problem,) = caught.value.problems
    assert (problem.file, problem.line, problem.column) == ("team.yaml", 6, 33)
    assert problem.message.startswith("plugin 'sales': sales:Sales raised FileNotFoundError: ")


def test_the_installation_alone_is_fine(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = doctor(capsys)
    assert code == 0 and list(found) == ["python", "semantic-kernel"]
    assert re.fullmatch(r"ok: 1\.\d+\.\S+, supported .*", found["semantic-kernel"])
