"""A team as a project for Microsoft Agent Framework: what its templates need, and what has no counterpart there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

from magentic_kit.cli.python_values import code, comment, variable
from magentic_kit.team.agents import AgentConfig
from magentic_kit.team.loading import Team

Data: TypeAlias = Mapping[str, Any]
"""A part of the team file as plain data."""

_PROMPTS = {
    "facts": "task_ledger_facts_prompt",
    "plan": "task_ledger_plan_prompt",
    "task_ledger": "task_ledger_full_prompt",
    "facts_update": "task_ledger_facts_update_prompt",
    "plan_update": "task_ledger_plan_update_prompt",
    "progress_ledger": "progress_ledger_prompt",
    "final_answer": "final_answer_prompt",
}
"""The manager's prompts by our names -> by those of `MagenticBuilder`."""

_BUILT_IN = {"files": "FilesPlugin", "sql": "SqlPlugin", "fetch": "FetchPlugin", "math": "MathPlugin"}
_USUAL = ("type", "description", "timeout", "repeatable")

_ALWAYS = (
    "An outcome: a run that a limit ends gives what it has as its answer, and does not say so.",
    "The log, reports, and a resume that pays for nothing twice; give MagenticBuilder a checkpoint_storage.",
    "Ledgers that are mended, and asked for as strictly as the server takes it; there, three attempts at plain JSON.",
)


@dataclass
class Exported:
    """What the templates are filled with, and what is left out, in sentences."""

    values: dict[str, Any] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def exported(team: Team) -> Exported:
    """The team for the templates."""
    return _Export(team).whole()


class _Export:
    """Collects the parts of the project."""

    def __init__(self, team: Team) -> None:
        self._team, self._config = team, team.config
        self._data = yaml.safe_load(team.stored())  # with `${NAME}` where the secrets are
        self._imports = {"Agent"}
        self._plugin_imports: list[str] = []
        self._dependencies = ["agent-framework-core>=1.23,<2", "agent-framework-openai>=1.17,<2"]
        self._dependencies.append("agent-framework-orchestrations>=1.4,<2")
        self._uses_functions = False
        self._left_out = list(_ALWAYS)

    def whole(self) -> Exported:
        described = zip(self._config.agents, self._data["agents"], strict=True)
        agents = [made for agent, data in described if (made := self._agent(agent, data))]
        plugins = list(self._plugins())
        clients = [self._client(name, entry) for name, entry in self._data.get("services", {}).items()]
        manager, managing = self._config.manager, self._data.get("manager") or {}
        self._note_limits()
        values = {
            "name": comment(self._config.name),
            "project": "-".join(re.findall(r"[a-z0-9]+", self._config.name.lower())) or "team",
            "inputs": code({name: _default(spec) for name, spec in self._data.get("inputs", {}).items()}),
            "task": code(self._data.get("task") or ""),
            "deadline": self._config.limits.deadline,
            "clients": clients,
            "plugins": plugins,
            "agents": agents,
            "manager": {
                "client": variable("client", self._team.manager_service),
                "options": self._options(self._team.manager_service, managing.get("options") or {}),
                "max_rounds": manager.max_rounds,
                "max_stalls": manager.max_stalls,
                "max_resets": manager.max_resets,
            },
            "prompts": {_PROMPTS[name]: code(text) for name, text in (managing.get("prompts") or {}).items() if text},
            "review_plan": self._config.review.plan,
            "imports": sorted(self._imports),
            "plugin_imports": sorted(set(self._plugin_imports)),
            "code_folder": repr(str(self._team.base_dir)) if self._plugin_imports else "",
            "dependencies": self._dependencies,
            "uses_environment": "os.environ" in repr([clients, plugins, agents]),
            "uses_functions": self._uses_functions,
        }
        return Exported(values, list(map(comment, self._left_out)))

    # -- services

    def _client(self, name: str, entry: Data) -> dict[str, str]:
        provider, note = entry.get("provider"), ""
        arguments = {"model": entry.get("model") or "${OPENAI_CHAT_MODEL_ID}"}
        if provider == "openai":
            arguments.update(base_url=entry.get("base_url"), org_id=entry.get("organization"))
        elif provider == "azure_openai":
            model = entry.get("deployment") or entry.get("model") or "${AZURE_OPENAI_CHAT_DEPLOYMENT_NAME}"
            arguments.update(model=model)
            arguments.update(azure_endpoint=entry.get("endpoint"), api_version=entry.get("api_version"))
        elif provider == "ollama":
            host = str(entry.get("host") or "http://localhost:11434").rstrip("/")
            model = entry.get("model") or "${OLLAMA_CHAT_MODEL_ID}"
            arguments.update(model=model, base_url=f"{host}/v1", api_key="ollama")
        else:
            note = f"the service '{name}' is of the provider {provider} in the team file"
            arguments = {"model": "${OPENAI_CHAT_MODEL_ID:-gpt-4.1-mini}"}
            self._left_out.append(
                f"The service '{name}' ({provider}): give `team.py` a chat client that asks that model."
            )
        if key := entry.get("api_key_env"):
            arguments["api_key"] = f"${{{key}}}"
        for option in ("fallback", "dialect", "price"):
            if entry.get(option):
                self._left_out.append(f"services.{name}.{option}.")
        shown = ", ".join(f"{key}={code(value)}" for key, value in arguments.items() if value)
        made = f"OpenAIChatCompletionClient({shown})"
        return {"variable": variable("client", name), "code": made, "note": comment(note)}

    def _options(self, service: str, options: Data) -> str:
        merged = dict(self._data.get("services", {}).get(service, {}).get("options") or {})
        merged.update(options)
        return code(merged) if merged else ""

    # -- plugins

    def _plugins(self) -> Iterator[dict[str, str]]:
        for name, plugin in self._data.get("plugins", {}).items():
            made = self._plugin(name, plugin)
            if made:
                yield {"variable": variable("plugin", name), "code": made}

    def _plugin(self, name: str, plugin: Data) -> str:
        kind = plugin["type"]
        if kind == "mcp":
            return self._mcp(name, plugin)
        if kind == "python":
            module, _, target = plugin["target"].partition(":")
            self._plugin_imports.append(f"import {module}")
            self._depend("semantic-kernel>=1.41")  # the plugin's own import, for its decorator
            arguments = plugin.get("args") or {}
            called = f"{module}.{target}"
        elif kind in _BUILT_IN:
            module = f"magentic_kit.tools.builtin.{kind}"
            self._plugin_imports.append(f"import {module}")
            self._depend("magentic-kit")
            arguments = {key: value for key, value in plugin.items() if key not in _USUAL}
            called = f"{module}.{_BUILT_IN[kind]}"
        else:
            return ""
        shown = ", ".join(f"{key}={code(value)}" for key, value in arguments.items())
        return f"{called}({shown})"

    def _mcp(self, name: str, plugin: Data) -> str:
        listed = [one.partition(".") for agent in self._config.agents for one in agent.functions]
        functions = {function for plugin_name, _, function in listed if plugin_name == name}
        allowed = "" if "*" in functions else f", allowed_tools={sorted(functions)!r}"
        if plugin["transport"] == "stdio":
            self._imports.add("MCPStdioTool")
            args, env = code(plugin.get("args") or []), code(plugin.get("env") or {})
            return f"MCPStdioTool({name!r}, {code(plugin['command'])}, args={args}, env={env}{allowed})"
        if plugin["transport"] == "http":
            self._imports.add("MCPStreamableHTTPTool")
            headers = code(plugin.get("headers") or {})
            return f"MCPStreamableHTTPTool({name!r}, {code(plugin['url'])}, static_headers={headers}{allowed})"
        return ""

    # -- agents

    def _agent(self, agent: AgentConfig, data: Data) -> dict[str, Any] | None:
        if agent.type != "chat_completion_agent":
            self._left_out.append(f"The agent {agent.name} of type {agent.type}.")
            return None
        service = self._team.service_of(agent)
        if agent.context:
            self._left_out.append(f"The context window of {agent.name}; see compaction_strategy.")
        if agent.model.id:
            self._left_out.append(f"The model {agent.model.id} of {agent.name}: give it a client of its own.")
        if agent.prompt.template_format != "semantic-kernel":
            self._left_out.append(f"The {agent.prompt.template_format} template of {agent.name}: fill it in.")
        if agent.skills:
            self._imports.add("SkillsProvider")
        return {
            "variable": variable("agent", agent.name),
            "client": variable("client", service),
            "name": repr(agent.name),
            "description": code(data["description"]),
            "instructions": code(_instructions(data)),
            "tools": list(self._tools(agent)),
            "options": self._options(service, (data.get("model") or {}).get("options") or {}),
            "skills": repr([str(folder) for folder in agent.skills]) if agent.skills else "",
        }

    def _tools(self, agent: AgentConfig) -> Iterator[str]:
        reviewed = list(self._config.review.tools)
        for name in dict.fromkeys(one.partition(".")[0] for one in agent.functions):
            kind = self._config.plugins[name]
            if kind.type == "openapi" or (kind.type == "mcp" and kind.transport == "sse"):
                self._left_out.append(f"The plugin '{name}' of {agent.name}: there is none for {kind.type}.")
            elif kind.type == "mcp":
                yield variable("plugin", name)
            else:
                patterns = [one for one in agent.functions if one.partition(".")[0] == name]
                self._uses_functions = True
                self._imports.add("tool")
                yield f"*functions({variable('plugin', name)}, {name!r}, {patterns!r}, {reviewed!r})"

    # -- what has no counterpart

    def _note_limits(self) -> None:
        config, limits = self._config, self._config.limits
        for name in ("max_tokens", "max_cost"):
            if getattr(limits, name) is not None:
                self._left_out.append(f"limits.{name}.")
        self._left_out.append("Time limits of single calls, and repeats that events tell of; clients have their own.")
        if config.manager.must_speak:
            self._left_out.append(f"manager.must_speak: {', '.join(config.manager.must_speak)}.")
        if config.manager.context:
            self._left_out.append("manager.context.")
        if config.answer:
            self._left_out.append("The schema of the answer.")

    def _depend(self, dependency: str) -> None:
        if dependency not in self._dependencies:
            self._dependencies.append(dependency)


def _default(spec: object) -> object:
    """The value of an input, which may be written bare."""
    if isinstance(spec, Mapping):
        return spec.get("default")
    return spec


def _instructions(data: Data) -> str:
    template = data.get("prompt_template") or data.get("template") or {}
    return data.get("instructions") or template.get("template") or ""
