"""SK's other kinds of agents, by SK's own loader, and agents that a program brings or a callable returns."""

from __future__ import annotations

import importlib
import inspect
import os
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from semantic_kernel.agents import Agent
from semantic_kernel.agents.agent import AGENT_TYPE_REGISTRY
from semantic_kernel.functions.kernel_arguments import KernelArguments

from magentic_kit.errors import ConfigError
from magentic_kit.orchestration.blueprint import TeamBlueprint
from magentic_kit.team.agents import AgentConfig
from magentic_kit.team.problems import Route
from magentic_kit.team.targets import module_object
from magentic_kit.tools.kernel import AgentKernel

if TYPE_CHECKING:
    from magentic_kit.services.a2a_agent import A2AAgent  # with the package of an extra

_MODULES = {
    "openai_assistant": "open_ai.openai_assistant_agent",
    "openai_responses": "open_ai.openai_responses_agent",
    "azure_assistant": "open_ai.azure_assistant_agent",
    "azure_responses": "open_ai.azure_responses_agent",
    "foundry_agent": "azure_ai.azure_ai_agent",
}
"""Where SK has each kind of agent. Its registry imports all of them, whatever is missing for the others."""

_SPEC = (
    "type",
    "id",
    "name",
    "description",
    "instructions",
    "model",
    "template",
    "prompt_template",
    "inputs",
)
"""What SK's loader gets of an agent's entry; tools come apart, since SK knows no `plugin.*`."""


async def make_agent(blueprint: TeamBlueprint, index: int, config: AgentConfig, kernel: AgentKernel) -> Agent:
    """The agent that an entry of `agents:` stands for. Raises `ConfigError` if it cannot be made."""
    given = blueprint.agents.get(config.name)
    if given is not None:
        return given
    key = "target" if config.target else "type"
    route: Route = ("agents", index, key)
    try:
        made = _called(blueprint, config) if config.target else await _loaded(blueprint, index, config, kernel)
        if inspect.isawaitable(made):
            made = await made
    except ConfigError as error:
        raise ConfigError([blueprint.team.problem(route, one.message) for one in error.problems]) from error
    if not isinstance(made, Agent):
        message = f"agent '{config.name}': {config.target} returned no SK Agent, but {type(made).__name__}"
        raise ConfigError([blueprint.team.problem(route, message)])
    return made


async def release_agent(config: AgentConfig, agent: Agent) -> None:
    """Deletes an agent that its provider keeps and that was created for one run; closes a client made for it alone."""
    try:
        if not config.id:
            await _delete_created(agent)
    finally:
        client: Any = getattr(agent, "client", None)
        if client is not None and not config.target and config.model.connection.service_id is None:
            await client.close()


async def _delete_created(agent: Agent) -> None:
    client: Any = getattr(agent, "client", None)
    assistants = getattr(getattr(client, "beta", None), "assistants", None)
    if hasattr(getattr(client, "agents", None), "delete_agent"):
        await client.agents.delete_agent(agent.id)
    elif assistants is not None and hasattr(agent, "definition"):
        with warnings.catch_warnings():  # openai calls the API of assistants deprecated; SK's agents are built on it
            warnings.simplefilter("ignore", DeprecationWarning)
            deletion = assistants.delete(agent.id)
        await deletion


def _called(blueprint: TeamBlueprint, config: AgentConfig) -> Any:
    target = module_object(str(config.target), blueprint.team.base_dir)
    try:
        return target(**config.args)
    except Exception as error:
        message = f"agent '{config.name}': {config.target} raised {type(error).__name__}: {error}"
        raise ConfigError.one(message) from error


async def _loaded(blueprint: TeamBlueprint, index: int, config: AgentConfig, kernel: AgentKernel) -> Agent:
    """The agent as SK's loader makes it of the entry, whose placeholders are filled in."""
    kind: Any = _class_of(config)
    entry = blueprint.team.source.data["agents"][index]
    spec = {key: entry[key] for key in _SPEC if entry.get(key) is not None}
    spec["name"] = config.wire_name
    spec["extras"] = config.extras
    spec["tools"] = [tool for tool in entry.get("tools") or () if tool.get("type", "function") != "function"]
    given: dict[str, Any] = {}
    if hasattr(kind, "create_client"):
        given["client"] = _client(kind, config, blueprint)
    if config.type.endswith("_responses") and config.instructions is not None:
        given["instructions"] = config.instructions  # SK 1.45 takes them for the role of instructions
    agent: Any = await kind.from_dict(spec, kernel=kernel, **given)
    if config.type.endswith("_responses"):
        agent.instruction_role = "developer"
    return agent  # type: ignore[no-any-return]  # it is checked by whoever asked


def _class_of(config: AgentConfig) -> type[Agent]:
    """The class that SK has for the type. Raises `ConfigError` if what it needs is not installed."""
    module = _MODULES.get(config.type)
    if module is not None:
        try:
            importlib.import_module(f"semantic_kernel.agents.{module}")
        except ImportError as error:
            extra = "azure" if config.type in ("foundry_agent", "azure_assistant", "azure_responses") else "openai"
            message = f"agent '{config.name}' needs {error.name}: pip install 'semantic-kernel[{extra}]'"
            raise ConfigError.one(message) from error
    return AGENT_TYPE_REGISTRY[config.type.lower()]


def _client(kind: Any, config: AgentConfig, blueprint: TeamBlueprint) -> Any:
    """The client of a service of the team if the entry names one, else a new one by SK's settings.

    Raises `ConfigError` if the service has none.
    """
    connection = config.model.connection
    if connection.service_id is not None:
        client = getattr(blueprint.service(connection.service_id), "client", None)
        if client is None:
            message = f"agent '{config.name}': service '{connection.service_id}' is none that a {config.type} can use"
            raise ConfigError.one(message)
        return client
    settings = dict(config.settings)
    if connection.api_key and config.type != "foundry_agent":
        settings.setdefault("api_key", connection.api_key)
    if connection.endpoint:
        name = "base_url" if config.type.startswith("openai") else "endpoint"
        settings.setdefault(name, connection.endpoint)
    if config.model.id and config.type != "foundry_agent":
        name = "ai_model_id" if config.type.startswith("openai") else "deployment_name"
        settings.setdefault(name, config.model.id)
    has_key = "api_key" in settings or os.environ.get("AZURE_OPENAI_API_KEY")
    if config.type == "foundry_agent" or (config.type.startswith("azure") and not has_key):
        settings.setdefault("credential", _credential(is_async=config.type == "foundry_agent"))
    return kind.create_client(**settings)


def _credential(*, is_async: bool) -> Any:
    if is_async:
        from azure.identity.aio import DefaultAzureCredential as AsyncCredential

        return AsyncCredential()
    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential()


def remote_agent(config: AgentConfig) -> A2AAgent:
    """The agent that A2A leads to; it connects when it is first asked. Raises `ConfigError` without the package."""
    try:
        from magentic_kit.services.a2a_agent import A2AAgent
    except ImportError as error:
        message = f"agent '{config.name}' needs {error.name}: pip install 'magentic-kit[a2a]'"
        raise ConfigError.one(message) from error
    return A2AAgent(name=config.wire_name, description=config.description, url=str(config.url), headers=config.headers)


def arguments_of(config: AgentConfig, inputs: Mapping[str, Any]) -> KernelArguments:
    """What the agent's template is filled in with: its own inputs' defaults, then the run's inputs."""
    values = {key: spec.default for key, spec in config.inputs.items() if spec.default is not None}
    values.update(inputs)
    return KernelArguments(**values)
