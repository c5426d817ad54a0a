"""A team as a project for Agent Framework: readable, without secrets, honest about what is left out, and it runs."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from support.certificates import trusting_the_system
from support.needs import lacking
from support.openai_server import OpenAIServer, Reply, Request, TeamBrain, ToolCall, text_of

from magentic_kit import ConfigError
from magentic_kit.cli import app

CONFIGS = Path(__file__).parents[2] / "configs"
ODD = r'''
name: 'Odd """ one'
task: "Do {{$what}}"
inputs: {what: it, key: "${TOKEN}"}
services:
  default: {provider: openai, model: "${M:-gpt}", base_url: "http://h/v1", api_key_env: MY_KEY}
  local: {provider: ollama, model: "qwen3:8b"}
  claude: {provider: anthropic, model: c, fallback: [local]}
plugins:
  web: {type: mcp, transport: http, url: "https://x.org/mcp", headers: {Authorization: "Bearer ${TOKEN}"}}
  child: {type: mcp, transport: stdio, command: uvx, args: [a, b]}
  api: {type: openapi, spec: "https://x.org/openapi.json"}
  sums: {type: math}
agents:
  - name: A-1
    description: Says "it".
    instructions: "Say {{$what}} for $${5} with ${TOKEN}."
    tools: [{id: web.get}, {id: child.*}, {id: api.*}, {id: sums.calculate}]
    model: {options: {temperature: 0.1}}
  - {name: Boss, type: human, description: b}
  - {name: B, description: d, model: {connection: {service_id: claude}}}
manager: {service: local, must_speak: [B], prompts: {facts: "Facts {x} of {{$task}} on {{$what}}"}}
review: {plan: true, tools: [sums.*]}
limits: {max_tokens: 5}
'''


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOKEN", "abcdefgh12345678")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "team.yaml").write_text(ODD)
    return tmp_path


def test_what_is_written_is_python_without_secrets(odd: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app.run(["export", "team.yaml", "--to", "agent-framework"])
    folder = odd / "odd-one-agent-framework"
    texts = {path.name: path.read_text() for path in folder.iterdir()}
    assert set(texts) == {"team.py", "run.py", "pyproject.toml", "README.md"}
    for name in ("team.py", "run.py"):
        compile(texts[name], name, "exec")
    assert not any("abcdefgh12345678" in text for text in texts.values())
    for part in (
        "INPUTS = {'what': 'it', 'key': os.environ['TOKEN']}",
        "api_key=os.environ['MY_KEY']",
        "static_headers={'Authorization': 'Bearer ' + os.environ['TOKEN']}, allowed_tools=['get']",
        "MCPStdioTool('child', 'uvx', args=['a', 'b'], env={})",
        "fill('Say {{$what}} for ' + '${' + '5} with ' + os.environ['TOKEN'] + '.')",
        "*functions(plugin_sums, 'sums', ['sums.calculate'], ['sums.*'])",
        "default_options={'temperature': 0.1}",
        "task_ledger_facts_prompt=prompt('Facts {x} of {{$task}} on {{$what}}')",
        "enable_plan_review=True",
        "max_round_count=20",
    ):
        assert part in texts["team.py"], part
    told = capsys.readouterr().out
    for part in (
        "plugin 'api'",
        "agent Boss of type human",
        "'claude' (anthropic)",
        "fallback",
        "max_tokens",
        "must_speak",
    ):
        assert part in told and part in texts["team.py"] and part in texts["README.md"], part
    written = ast.get_docstring(ast.parse(texts["team.py"]))
    assert written and "An outcome:" in written


def test_nothing_is_overwritten(odd: Path) -> None:
    app.run(["export", "team.yaml", "--to", "agent-framework", "-o", "out"])
    with pytest.raises(ConfigError, match="exists already"):
        app.run(["export", "team.yaml", "--to", "agent-framework", "-o", "out"])


def test_its_prompts_are_filled_as_agent_framework_fills_them(odd: Path) -> None:
    app.run(["export", "team.yaml", "--to", "agent-framework", "-o", "out"])
    tree = ast.parse((odd / "out" / "team.py").read_text())
    wanted = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in ("fill", "prompt")]
    names: dict[str, object] = {"re": __import__("re"), "INPUTS": {"what": "it"}}
    exec(compile(ast.Module(wanted, []), "team.py", "exec"), names)
    template = names["prompt"]("Facts {x} of {{$task}} on {{$what}}")  # type: ignore[operator]
    assert template.format(task="T") == "Facts {x} of T on it"


@pytest.mark.slow
def test_the_demo_runs_on_agent_framework(tmp_path: Path) -> None:
    uv = shutil.which("uv")
    if uv is None:
        lacking("uv", "pip install uv")
    team = str(CONFIGS / "sales_analysis.yaml")
    app.run(["export", team, "--to", "agent-framework", "-o", str(tmp_path / "demo"), "--service", "default=openai:m"])
    query = ToolCall("sales-query", {"sql": "SELECT MIN(year) AS first FROM sales"})
    turn = [Reply(tool_calls=[query]), lambda request: f"The database says {request.last_tool_results}."]
    brain = TeamBrain(
        rounds=[("Analyst", "look"), ("Writer", "write")],
        agents={"Analyst": turn, "Writer": "A draft."},
        answer="East.",
    )

    def known(request: Request) -> Reply | None:  # Agent Framework names no agent in its messages
        instructions = text_of(request.messages[0])
        for name, words in (("Analyst", "You answer questions"), ("Writer", "You write short")):
            if instructions.startswith(words):
                turns = sum(text_of(other.messages[0]).startswith(words) for other in server.requests) - 1
                request = replace(request, who=name, purpose="turn", turn=turns)
        return brain(request)

    with OpenAIServer(known) as server:
        environment = {
            name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH", "UV_PROJECT")
        }
        done = subprocess.run(
            [uv, "run", "run.py"],
            cwd=tmp_path / "demo",
            env={
                **trusting_the_system(environment),
                "OPENAI_API_KEY": "sk-test",
                "OPENAI_BASE_URL": server.base_url,
            },
            capture_output=True,
            text=True,
            timeout=280,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "East.\n"
    assert "Analyst is asked" in done.stderr and "Writer is asked" in done.stderr
    asked = [request for request in server.requests if text_of(request.messages[0]).startswith("You answer questions")]
    assert asked[0].tool_names == ["sales-query"] and "2024" in asked[1].last_tool_results[0]
    assert "Compare 2025 with the year before" in text_of(asked[0].messages[0])
