"""Agent specs as they are written for Semantic Kernel load as files of a team."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from magentic_kit.errors import ConfigError
from magentic_kit.team.agents import AgentConfig
from magentic_kit.team.loading import load_team

ENV = {
    "OPENAI_CHAT_MODEL_ID": "gpt-chat",
    "OPENAI_RESPONSES_MODEL_ID": "gpt-responses",
    "OPENAI_API_KEY": "sk-0123456789abcdef0123",
    "OPENAI_VECTOR_STORE_ID": "vs_7",
    "AZURE_OPENAI_CHAT_DEPLOYMENT_NAME": "chat-deployment",
    "AZURE_OPENAI_RESPONSES_DEPLOYMENT_NAME": "responses-deployment",
    "AZURE_OPENAI_ENDPOINT": "https://example.openai.azure.com",
    "AZURE_AI_AGENT_MODEL_DEPLOYMENT_NAME": "foundry-deployment",
    "AZURE_AI_AGENT_BING_CONNECTION_ID": "bing",
}

SPECS = {
    "a chat agent with inputs, their samples and a template": """
type: chat_completion_agent
name: Poet
description: Writes verse.
instructions: Write about {{$subject}} in {{$lines}} lines.
template: {format: semantic-kernel, parser: semantic-kernel}
model:
  id: ${OpenAI:ChatModelId}
  options: {temperature: 0.3}
inputs:
  subject: {description: What about., required: true, default: Rain, sample: Snow}
  lines: {description: How long., required: true, default: 4}
outputs: {verse: {description: The verse.}}
""",
    "an agent whose name has spaces": """
version: 1.0.0
type: chat_completion_agent
name: Night Shift Clerk
description: Answers at night.
metadata: {authors: [someone], tags: [night], created: 2025-01-01}
""",
    "an assistant with a file search": """
type: openai_assistant
name: Librarian
description: Finds books.
instructions: Look into the files.
model:
  id: ${OpenAI:ChatModelId}
  connection: {api_key: "${OpenAI:ApiKey}"}
tools:
  - type: file_search
    description: Looks into files.
    options: {vector_store_ids: ["${OpenAI:VectorStoreId}"]}
  - {type: code_interpreter}
""",
    "an assistant that exists": """
type: openai_assistant
id: asst_1
name: Old
description: Exists already.
""",
    "a responses agent": """
type: openai_responses
name: Scout
description: Looks into the web.
model: {id: "${OpenAI:ChatModelId}"}
tools: [{type: web_search, options: {search_context_size: low}}]
""",
    "an Azure assistant": """
type: azure_assistant
name: Host
description: Greets.
model:
  id: ${AzureOpenAI:ChatModelId}
  connection: {connection: {endpoint: "${AzureOpenAI:Endpoint}"}}
""",
    "an Azure responses agent": """
type: azure_responses
name: Host
description: Greets.
model: {id: "${AzureOpenAI:ChatModelId}", connection: {endpoint: "${AzureOpenAI:Endpoint}"}}
""",
    "a Foundry agent": """
type: foundry_agent
name: Bing
description: Searches.
model: {id: "${AzureAI:ChatModelId}"}
tools: [{type: bing_grounding, options: {tool_connections: ["${AzureAI:BingConnectionId}"]}}]
""",
}
MODELS = {
    "a chat agent with inputs, their samples and a template": "gpt-chat",
    "an assistant with a file search": "gpt-chat",
    "a responses agent": "gpt-responses",
    "an Azure assistant": "chat-deployment",
    "an Azure responses agent": "responses-deployment",
    "a Foundry agent": "foundry-deployment",
}


def load(folder: Path, spec: str, env: dict[str, str] = ENV, **overrides: Any) -> AgentConfig:
    (folder / "agent.yaml").write_text(spec)
    services = {"default": {"provider": "openai", "model": "m"}}
    team = {"name": "t", "services": services, "agents": [{"file": "agent.yaml", **overrides}]}
    return load_team(team, base_dir=folder, env=env).config.agents[0]


@pytest.mark.parametrize("kind", SPECS)
def test_a_spec_of_each_kind_loads(kind: str, tmp_path: Path) -> None:
    agent = load(tmp_path, SPECS[kind])
    assert agent.model.id == MODELS.get(kind)
    assert " " not in agent.wire_name


@pytest.mark.parametrize(
    ("missing", "placeholder"),
    [("OPENAI_CHAT_MODEL_ID", "${OpenAI:ChatModelId}"), ("OPENAI_VECTOR_STORE_ID", "${OpenAI:VectorStoreId}")],
)
def test_a_placeholder_without_its_variable_names_both(missing: str, placeholder: str, tmp_path: Path) -> None:
    env = {key: value for key, value in ENV.items() if key != missing}
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, SPECS["an assistant with a file search"], env)
    (problem,) = caught.value.problems
    assert placeholder in problem.message and missing in problem.message


def test_a_spec_without_a_description_takes_one_from_the_team(tmp_path: Path) -> None:
    spec = "type: openai_assistant\nname: Host\nmodel: {id: m}\n"
    with pytest.raises(ConfigError, match="needs 'description'"):
        load(tmp_path, spec)
    assert load(tmp_path, spec, description="Greets.").description == "Greets."


def test_what_a_chat_agent_does_not_use_of_its_connection_is_a_warning(tmp_path: Path) -> None:
    agent = {"name": "A", "description": "d", "model": {"connection": {"endpoint": "https://example.org"}}}
    team = load_team({"name": "t", "services": {"default": {"provider": "openai"}}, "agents": [agent]})
    (warning,) = team.warnings
    assert "endpoint is ignored" in warning.message
