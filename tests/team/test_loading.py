"""What loads, what it says then, and what is written of it afterwards."""

# ruff: noqa: E501 (messages stand here whole, so that they can be searched for)

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.team_files import DB_PLUGIN, GOOD, PLUGINS, agent, load, refusals, whole

from magentic_kit.errors import ConfigError
from magentic_kit.team.loading import load_team
from magentic_kit.team.values import parse_duration

ROOT = Path(__file__).parents[2]


def test_a_good_file_says_what_it_says(folder: Path) -> None:
    team = load(folder, GOOD, env={"HOST": "server:80", "ROUNDS": "7"})
    config = team.config
    assert config.task == "Which region grew fastest in {{$year}}, and why? It costs ${5}."
    assert [(spec.default, spec.required) for spec in config.inputs.values()] == [
        (2025, False),
        ("EUR", True),
    ]
    services: dict[str, Any] = config.services
    assert (services["default"].model, services["default"].base_url) == ("small", "http://server:80/v1")
    assert services["azure"].model == "mine"
    assert services["demo"].script == folder.resolve() / "good_script.yaml"
    assert services["demo"].delay == pytest.approx(0.03)
    assert services["inline"].script == {"manager": {}}
    filed, writer, judge = config.agents
    assert (filed.name, filed.description) == ("Filed", "from the team")
    assert writer.prompt.template == "Write in {{$language}} about {{$year}}; {{db.query $unit}}.\n"
    assert (judge.prompt.template, judge.prompt.template_format) == ("{{ year }}{% if unit %}!{% endif %}", "jinja2")
    assert [team.service_of(agent) for agent in config.agents] == ["default", "local", "default"]
    assert team.manager_service == "claude"
    assert (config.manager.max_rounds, config.manager.max_stalls) == (7, 3)
    assert (config.limits.deadline, config.limits.model_timeout, config.limits.retries) == (5400.0, 90.0, 4)
    assert config.report.formats == ("json",)
    assert (team.base_dir, team.warnings) == (folder.resolve(), ())
    place = team.problem(("agents", 1, "tools", 1, "id"), "x")
    assert (place.file, place.line, place.column) == (str(folder / "team.yaml"), 33, 13)


def test_what_is_left_out_has_finite_defaults(folder: Path) -> None:
    config = load(folder, whole("")).config
    manager, limits = config.manager, config.limits
    assert (manager.max_rounds, manager.max_stalls, manager.max_resets, manager.ledger_attempts) == (
        20,
        3,
        2,
        3,
    )
    assert (limits.deadline, limits.model_timeout, limits.tool_timeout, limits.max_tokens) == (
        1800,
        600,
        60,
        None,
    )
    assert config.report.formats == ("md", "html", "json")
    assert (limits.result_chars, limits.tool_rounds) == (20_000, 10)
    assert (config.review.plan, config.review.tools) == (False, ())
    assert load(folder, whole("limits: {deadline: null}\n")).config.limits.deadline is None


def test_each_kind_of_plugin_loads_with_its_paths_and_defaults(folder: Path) -> None:
    (folder / "plugs/api.yaml").write_text("openapi: 3.0.0\n")
    env = {"KEY": "k", "TOKEN": "t", "PORT": "80"}
    team = load(folder, PLUGINS, env=env)
    plugins: dict[str, Any] = team.config.plugins
    base = folder.resolve()
    assert (plugins["api"].spec, plugins["web"].spec) == (str(base / "plugs/api.yaml"), "https://x.org/openapi.json")
    assert (plugins["api"].headers, plugins["api"].timeout) == ({"X-Key": "k", "X-Version": "2"}, 5)
    assert (plugins["child"].cwd, plugins["child"].env, plugins["child"].start_timeout) == (
        base / "plugs",
        {"PORT": "80"},
        60,
    )
    assert (plugins["http"].start_timeout, plugins["sse"].headers) == (30, {"Authorization": "Bearer t"})
    assert (plugins["files"].root, plugins["pages"].max_bytes, plugins["db"].max_rows) == (
        base / "plugs",
        1_000_000,
        100,
    )
    assert {name: plugin.repeatable for name, plugin in plugins.items() if plugin.repeatable} == {
        "web": ("get*",),
        "files": ("read", "list", "search"),
        "db": ("query", "schema"),
        "dbw": ("schema",),
        "pages": ("get",),
        "math": ("calculate",),
    }
    assert team.config.agents[1].type == "human"
    again = load(folder, team.resolved(), env=env)
    assert (again.config, again.config_hash) == (team.config, team.config_hash)


def test_the_only_service_needs_no_name(folder: Path) -> None:
    team = load(folder, whole("services: {mine: {provider: ollama}}\n"))
    assert (team.manager_service, team.service_of(team.config.agents[0])) == ("mine", "mine")


def test_what_the_caller_brings_counts_as_defined(folder: Path) -> None:
    text = f"name: T\n{agent('tools: [{id: crm.find}, {id: crm.*}], model: {connection: {service_id: mine}}')}"
    team = load(folder, text, known_services=["mine"], known_plugins={"crm": ["find"]})
    assert team.manager_service == "mine"
    assert refusals(folder, text.replace("find", "fnd"), known_services=["mine"], known_plugins={"crm": ["find"]}) == [
        "team.yaml:2:49: agent 'A' tools[0].id: there is no function 'crm.fnd'; did you mean 'crm.find'?"
    ]


SK_SPECS = {
    "functions": """
type: chat_completion_agent
name: FunctionCallingAgent
description: This agent uses the provided functions to answer questions about the menu.
instructions: Use the provided functions to answer questions about the menu.
model:
  options:
    temperature: 0.4
    function_choice_behavior:
      type: auto
tools:
  - id: db.query
    type: function
    description: Looks things up.
    options: {parameters: []}
""",
    "inputs and outputs": """
type: chat_completion_agent
id: story-1
name: StoryAgent
description: A agent that generates a story about a topic.
instructions: Tell a story about {{$topic}} that is {{$length}} sentences long.
template:
  template_format: semantic-kernel
  input_variables: []
inputs:
  topic:
    description: The topic of the story.
    required: true
    default: Cats
  length: {description: The number of sentences in the story., default: 3}
outputs:
  output1: {description: The generated story., type: string}
model:
  id: gpt-4.1
  api: chat
  connection: {type: openai, service_id: default}
extras: {team: stories}
metadata: {authors: [x]}
version: "1.0"
""",
    "prompt template": """
type: chat_completion_agent
name: Templated
description: Has its prompt in a template.
prompt_template: {template: "Hello {{name}}", template_format: jinja2, input_variables: [{name: name}]}
model:
""",
}


@pytest.mark.parametrize("spec", SK_SPECS)
async def test_a_spec_that_semantic_kernel_loads_loads_unchanged(folder: Path, spec: str) -> None:
    from semantic_kernel import Kernel
    from semantic_kernel.agents import ChatCompletionAgent
    from semantic_kernel.functions import kernel_function

    class DB:
        @kernel_function
        def query(self) -> str:
            return ""

    kernel = Kernel()
    kernel.add_plugin(DB(), "db")
    theirs = await ChatCompletionAgent.from_yaml(SK_SPECS[spec], kernel=kernel)
    (folder / "agents/spec.yaml").write_text(SK_SPECS[spec])
    (ours,) = load(folder, whole(DB_PLUGIN + "agents: [{file: agents/spec.yaml}]\n")).config.agents
    assert (ours.name, ours.description) == (theirs.name, theirs.description)
    assert ours.prompt.template == theirs.instructions


def test_a_tool_that_semantic_kernel_ignores_is_a_warning(folder: Path) -> None:
    (warning,) = load(folder, whole(agent("tools: [{type: code_interpreter}]"))).warnings
    assert str(warning).endswith("team.yaml:1:44: agent 'A' has a tool of type 'code_interpreter', which is ignored")


def test_variables_keep_the_type_that_yaml_gives_them(folder: Path) -> None:
    text = whole(
        "inputs:\n  plain: ${N}\n  quoted: '${N}'\n  partial: v${N}\n  none: ${EMPTY:-}\n  date: 2025-01-01\n  day: ${DAY}\n"
    )
    inputs = load(folder, text, env={"N": "5", "EMPTY": "", "DAY": "2025-01-01"}).config.inputs
    assert [spec.default for spec in inputs.values()] == [5, "5", "v5", None, "2025-01-01", "2025-01-01"]


def test_an_override_takes_the_place_of_what_the_file_says(folder: Path) -> None:
    overrides = {
        "manager.max_rounds": 5,
        "limits.deadline": "15m",
        "agents.Filed.instructions": "Be brief.",
        "agents.Filed.model.connection.service_id": "default",
        "inputs.year": 2024,
    }
    config = load(folder, whole("agents: [{file: agents/good.yaml}]\n"), overrides=overrides).config
    assert (config.manager.max_rounds, config.limits.deadline) == (5, 900.0)
    assert (config.agents[0].instructions, config.inputs["year"].default) == ("Be brief.", 2024)


SECRETIVE = whole(
    "services: {default: {provider: openai, base_url: 'http://u:${DB_PASSWORD}@${HOST}/'}}\n"
    "inputs: {key: '${API_KEY}', token: '${MY_TOKEN:-}', money: '$${HOME} $$${X}', text: 'a\n\n  b'}\n"
    "agents: [{file: agents/good.yaml}]\n"
    "limits:\n  max_tokens: ${TOKEN_LIMIT}\n"
)


def test_the_resolved_team_holds_no_secret_and_loads_again_as_the_same(folder: Path) -> None:
    env = {"DB_PASSWORD": "hunter2", "HOST": "h${x}", "API_KEY": "123", "TOKEN_LIMIT": "4711"}
    team = load(folder, SECRETIVE, env=env)
    text = team.resolved()
    assert not any(secret in text for secret in ("hunter2", "123", "4711"))
    assert "http://u:${DB_PASSWORD}@h$${x}/" in text and "file" not in yaml.safe_load(text)["agents"][0]
    again = load(folder, text, env=env)
    assert (again.config, again.config_hash) == (team.config, team.config_hash)
    assert again.resolved() == text
    rotated = load(folder, text, env={**env, "API_KEY": "other"})
    assert rotated.config_hash == team.config_hash
    assert rotated.config.inputs["key"].default == "other"
    from_dict = load_team(yaml.safe_load(text), base_dir=folder, env=env)
    assert from_dict.config_hash == team.config_hash


def test_the_hash_follows_the_scripts_text_and_not_its_place(folder: Path, tmp_path_factory: Any) -> None:
    text = whole("services: {default: {provider: scripted, script: s.yaml}}\n")
    hashes = []
    for place, script in (
        (folder, "a: 1\n"),
        (tmp_path_factory.mktemp("other"), "a: 1\n"),
        (folder, "a: 2\n"),
    ):
        (place / "s.yaml").write_text(script)
        hashes.append(load(place, text).config_hash)
    inline = load(folder, text, overrides={"services.default.script": {"a": 2}}).config_hash
    assert hashes[0] == hashes[1] != hashes[2] and inline not in hashes


def test_a_team_made_in_python_is_checked_alike(folder: Path) -> None:
    data = {
        "name": "T",
        "services": {"default": {"provider": "scripted", "script": "${SCRIPT}"}},
        "agents": ({"file": "agents/good.yaml"},),
        "limits": {"retries": "${N}"},
    }
    team = load_team(data, base_dir=folder, env={"SCRIPT": "good_script.yaml", "N": "3"})
    assert (team.config.limits.retries, team.config.agents[0].name, team.path) == (3, "Filed", None)
    with pytest.raises(ConfigError) as caught:
        load_team({**data, "nmae": 1}, base_dir=folder, env={"SCRIPT": "x", "N": "n"})
    assert str(caught.value).splitlines() == [
        "team: limits.retries should be a whole number, not 'n'",
        "team: there is no file 'x'",
        "team: unknown key 'nmae' in the team; did you mean 'name'?",
    ]
    with pytest.raises(ConfigError, match="a object cannot stand in a team; inject it as a service or plugin"):
        load_team({**data, "task": object()}, base_dir=folder, env={})
    nested: dict[str, Any] = {}
    nested["task"] = nested
    with pytest.raises(ConfigError, match="this is nested too deep or too large"):
        load_team(nested, env={})


@pytest.mark.parametrize(
    ("text", "seconds"), [(90, 90), ("90", 90), ("90s", 90), ("1.5s", 1.5), ("15m", 900), ("1h30m", 5400), ("500ms", 0.5)]
)  # fmt: skip
def test_durations(text: str | float, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "-5", "0", "5 minutes", "nan", "inf", "9" * 400 + "s", True, "1m1h"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"^should be a time above zero such as 90, 90s, 15m or 1h30m$"):
        parse_duration(text)


def imported_by(code: str) -> set[str]:
    """The packages that a process has imported after it ran the code."""
    code = f"import sys; {code}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_checking_a_team_imports_nothing_heavy() -> None:
    code = "from magentic_kit.team.loading import load_team; load_team('configs/sales_analysis.yaml')"
    assert not {"semantic_kernel", "rich", "click", "jinja2", "openai"} & imported_by(code)


def test_a_command_that_only_needs_the_nearest_name_imports_no_pydantic() -> None:
    assert not {"pydantic", "yaml"} & imported_by("from magentic_kit.team.problems import nearest")


@pytest.mark.parametrize("text", ["8080", "007", "1.10", "1e3", "0x10", "1_000", "1:30", "true", "no", "null", "~"])
def test_what_a_process_or_a_server_is_given_is_text_as_it_is_written(text: str) -> None:
    def written(value: object, env: dict[str, str]) -> list[object]:
        mcp = {"type": "mcp", "transport": "stdio", "command": "x", "env": {"A": value}}
        web = {"type": "openapi", "spec": "http://a.example/", "headers": {"B": value}, "query": {"C": value}}
        services = {"default": {"provider": "scripted", "script": {}}}
        agents = [{"name": "A", "description": "d"}]
        data = {"name": "t", "services": services, "agents": agents, "plugins": {"it": mcp, "web": web}}
        plugins = load_team(data, env=env).config.plugins
        return [plugins["it"].env["A"], plugins["web"].headers["B"], plugins["web"].query["C"]]

    assert written("${FLAG}", {"FLAG": text}) == written(text, {}) == [text] * 3


def test_numbers_of_a_file_that_are_meant_as_text_stay_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "team.yaml"
    env = "{APP_LEVEL: 007, NODE_ENV: 1.10, DEBUG: true, APP_PORT: '8080'}"
    path.write_text(whole(f"plugins: {{it: {{type: mcp, transport: stdio, command: x, env: {env}}}}}\n"))
    team = load_team(path)
    assert team.config.plugins["it"].env == {
        "APP_LEVEL": "007",
        "NODE_ENV": "1.10",
        "DEBUG": "true",
        "APP_PORT": "8080",
    }
    path.write_text(team.stored())
    assert load_team(path).config.plugins["it"].env == team.config.plugins["it"].env
