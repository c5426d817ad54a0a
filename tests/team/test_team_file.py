"""The team file: what loads, what is refused and in which words, and what is told of it afterwards."""

# ruff: noqa: E501 (messages stand here whole, so that they can be searched for)

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from magentic_kit.errors import ConfigError
from magentic_kit.team.loading import Team, load_team
from magentic_kit.team.values import parse_duration
from magentic_kit.team.schema import team_schema

ROOT = Path(__file__).parents[2]

GOOD_LINES = {
    "name": "name: T\n",
    "services": "services: {default: {provider: openai}}\n",
    "agents": "agents: [{name: A, description: does a}]\n",
}

PLUGIN = """
from semantic_kernel.functions import kernel_function
class DB:
    @kernel_function(description="asks")
    def query(self): ...
    @kernel_function(name="run")
    async def run_it(self): ...
    def helper(self): ...
class Derived(DB):
    pass
"""

FILES = {
    "plugs/db.py": PLUGIN,
    "agents/good.yaml": "name: Filed\ndescription: from a file\n",
    "agents/broken.yaml": "name: Broken\n  description: x\n",
    "agents/typo.yaml": "name: Filed\ndescription: d\ninstruction: x\n",
    "agents/unset.yaml": "name: Filed\ndescription: ${NOWHERE}\n",
    "agents/list.yaml": "- name: Filed\n",
    "good_script.yaml": "manager: {}\n",
    "list_script.yaml": "- hello\n",
    "twice_script.yaml": "manager: {}\nmanager: {}\n",
}
DB_PLUGIN = "plugins: {db: {type: python, target: 'plugs.db:DB'}}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def whole(text: str) -> str:
    """A team file that begins with `text` and has what else a team needs."""
    return text + "".join(line for key, line in GOOD_LINES.items() if not re.search(f"^{key}:", text, re.MULTILINE))


def load(folder: Path, text: str | bytes, **options: Any) -> Team:
    path = folder / "team.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_team(path, **{"env": {}, **options})


def refusals(folder: Path, text: str | bytes, **options: Any) -> list[str]:
    """What is said of a broken team, file by file, with the folder's name taken out."""
    with pytest.raises(ConfigError) as caught:
        load(folder, text, **options)
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


def agent(rest: str) -> str:
    return f"agents: [{{name: A, description: d, {rest}}}]\n"


def plugin(rest: str) -> str:
    return f"plugins: {{p: {{{rest}}}}}\n"


def tool(ident: str) -> str:
    return agent(f"tools: [{{id: {ident}, type: function}}]")


# What each says is the product's voice: exact, so that a change of it is seen.
UNREADABLE: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "team.yaml: the file should hold keys with values"),
    "only a comment": ("# nothing\n", "team.yaml: the file should hold keys with values"),
    "a list": ("- a\n", "team.yaml: the file should hold keys with values"),
    "a single value": (
        "hello\n",
        "team.yaml: the file should hold keys with values",
    ),
    "not UTF-8": (
        b"name: x\ndescription: caf\xe9\n",
        "team.yaml:2:1: this is not valid YAML: incomplete UTF-8 octet sequence",
    ),
    "control character": (
        "name: x\ntask: a\x07b\n",
        "team.yaml:2:1: this is not valid YAML: control characters are not allowed",
    ),
    "tab": (
        "name: x\nmanager:\n\tmax_rounds: 3\n",
        "team.yaml:3:1: this is not valid YAML: a tab stands where YAML wants spaces",
    ),
    "bad indentation": (
        "name: x\n  description: y\n",
        "team.yaml:2:14: this is not valid YAML: mapping values are not allowed in this context",
    ),
    "open bracket": (
        "agents: [\n",
        "team.yaml:2:1: this is not valid YAML: did not find expected node content",
    ),
    "open quote": ("name: 'x\n", "team.yaml:2:1: this is not valid YAML: found unexpected end of stream"),
    "two documents": (
        "name: x\n---\nname: y\n",
        "team.yaml:2:1: this is not valid YAML: but found another document",
    ),
    "unknown alias": ("name: *who\n", "team.yaml:1:7: this is not valid YAML: found undefined alias"),
    "alias in itself": (
        "agents: &a [*a]\n",
        "team.yaml:1:9: this is nested too deep or too large",
    ),
    "complex key": ("? [a]\n: b\n", "team.yaml:1:3: a key should be plain text"),
    "unquoted reference in braces": (
        "inputs: {a: ${A}}\n",
        "team.yaml:1:14: this is not valid YAML: inside { } and [ ], ${…} has to stand in quotes",
    ),
    "deep nesting": (
        "name: " + "[" * 100_000,
        "team.yaml:1:66: this is not valid YAML: this is nested too deep or too large",
    ),
    "nesting that is deep enough": (
        "name: " + "[" * 70 + "]" * 70,
        "team.yaml:1:67: this is nested too deep or too large",
    ),
    "deep steps of keys and lists": (
        "".join(f"{' ' * n}a:\n{' ' * n}-\n" for n in range(3000)),
        "team.yaml:61:31: this is not valid YAML: this is nested too deep or too large",
    ),
    "deep aliases": (
        "a: &a0 [x]\n" + "".join(f"b{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 500)),
        "team.yaml:1:9: this is nested too deep or too large",
    ),
    "alias bomb": (
        "a: &a0 [x]\n" + "".join(f"b{n}: &a{n} [{f'*a{n - 1},' * 9}]\n" for n in range(1, 12)),
        "team.yaml:1:4: this is nested too deep or too large",
    ),
    "merge bomb": (
        "a: &a0 {k: v}\n" + "".join(f"b{n}: &a{n} {{<<: [{f'*a{n - 1},' * 9}]}}\n" for n in range(1, 12)),
        "team.yaml:7:5: this is nested too deep or too large",
    ),
}

WRONG: dict[str, tuple[str, ...]] = {
    "no name": ("name: null\n", "team.yaml:1:7: name should be text, not nothing"),
    "empty name": ("name: ''\n", "team.yaml:1:7: name should be text, not ''"),
    "name is a number": ("name: 7\n", "team.yaml:1:7: name should be text, not 7"),
    "unknown key": ("nmae: x\n", "team.yaml:1:1: unknown key 'nmae' in the team; did you mean 'name'?"),
    "unknown key with nothing near": (
        "zzzzzz: x\n",
        "team.yaml:1:1: unknown key 'zzzzzz' in the team; there is name, description, task, inputs, services, plugins, agents, manager, limits, review, report",
    ),
    "duplicate key": (
        "name: x\nname: y\n",
        "team.yaml:2:1: key 'name' is given twice",
    ),
    "unknown tag": ("task: !secret x\n", "team.yaml:1:7: 'x' cannot be read as !secret"),
    "python tag": (
        "task: !!python/name:os.system ''\n",
        "team.yaml:1:7: '' cannot be read as !!python/name:os.system",
    ),
    "number too long": (
        f"limits: {{retries: {'9' * 5000}}}\n",
        "team.yaml:1:19: '9999999999999999999999999999999999999999…' cannot be read as !!int",
    ),
    "hexadecimal number too long": (
        f"limits: {{retries: 0x{'F' * 5000}}}\n",
        "team.yaml:1:19: '0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF…' cannot be read as !!int",
    ),
    "value that is not what it claims to be": (
        "task: !!bool maybe\n",
        "team.yaml:1:7: 'maybe' cannot be read as !!bool",
    ),
    "no services": (
        "services: {}\n",
        "team.yaml:1:11: the team needs 'services': name -> how to reach a model",
    ),
    "services is a list": (
        "services: [openai]\n",
        "team.yaml:1:11: services should be a mapping, not a list",
    ),
    "service is a text": (
        "services: {default: openai}\n",
        "team.yaml:1:21: services.default should be a mapping, not 'openai'",
    ),
    "no provider": (
        "services: {default: {model: x}}\n",
        "team.yaml:1:21: services.default needs 'provider': Kind of service; there is openai, azure_openai, ollama, anthropic, mistral, google, bedrock, azure_ai_inference, nvidia, python, scripted, replay",
    ),
    "unknown provider": (
        "services: {default: {provider: opnai}}\n",
        "team.yaml:1:32: services.default.provider cannot be 'opnai'; did you mean 'openai'?",
    ),
    "key of another provider": (
        "services: {default: {provider: openai, host: x}}\n",
        "team.yaml:1:40: unknown key 'host' in services.default; there is model, options, structured_output, api_key_env, provider, base_url, organization, instruction_role",
    ),
    "misspelt service key": (
        "services: {default: {provider: openai, base_ulr: x}}\n",
        "team.yaml:1:40: unknown key 'base_ulr' in services.default; did you mean 'base_url'?",
    ),
    "unknown structured output": (
        "services: {default: {provider: openai, structured_output: json}}\n",
        "team.yaml:1:59: services.default.structured_output cannot be 'json'; there is auto, json_schema, json_object, prompt",
    ),
    "bad auth": (
        "services: {default: {provider: azure_openai, auth: kye}}\n",
        "team.yaml:1:52: services.default.auth cannot be 'kye'; did you mean 'key'?",
    ),
    "bad target": (
        "services: {default: {provider: python, target: make_service}}\n",
        "team.yaml:1:48: services.default.target should be package.module:Name, a Python object, not 'make_service'",
    ),
    "no script": (
        "services: {default: {provider: scripted}}\n",
        "team.yaml:1:21: services.default needs 'script': Script file, or the script itself",
    ),
    "missing script": (
        "services: {default: {provider: scripted, script: god_script.yaml}}\n",
        "team.yaml:1:50: there is no file 'god_script.yaml'; did you mean 'good_script.yaml'?",
    ),
    "script is a list": (
        "services: {default: {provider: scripted, script: list_script.yaml}}\n",
        "list_script.yaml: the file should hold keys with values",
    ),
    "script with a key twice": (
        "services: {default: {provider: scripted, script: twice_script.yaml}}\n",
        "twice_script.yaml:2:1: key 'manager' is given twice",
    ),
    "script is a number": (
        "services: {default: {provider: scripted, script: 7}}\n",
        "team.yaml:1:50: services.default.script should be a file or the script itself, not 7",
    ),
    "bad delay": (
        "services: {default: {provider: scripted, script: {}, delay: -1}}\n",
        "team.yaml:1:61: services.default.delay should be a time above zero such as 90, 90s, 15m or 1h30m, not -1",
    ),
    "plugin without type": (
        "plugins: {db: {target: 'plugs.db:DB'}}\n",
        "team.yaml:1:15: plugins.db needs 'type': Kind of plugin; there is python, openapi, mcp, files, sql, fetch, math",
    ),
    "unknown plugin type": (
        "plugins: {db: {type: pyton, target: 'plugs.db:DB'}}\n",
        "team.yaml:1:22: plugins.db.type cannot be 'pyton'; did you mean 'python'?",
    ),
    "bad plugin name": (
        "plugins: {my-db: {type: python, target: 'plugs.db:DB'}}\n",
        "team.yaml:1:11: key 'my-db' should be a name of letters, digits and '_', not 'my-db'",
    ),
    "bad plugin target": (
        "plugins: {db: {type: python, target: plugs/db.py}}\n",
        "team.yaml:1:38: plugins.db.target should be package.module:Name, a Python object, not 'plugs/db.py'",
    ),
    "MCP without transport": (
        plugin("type: mcp, command: x"),
        "team.yaml:1:14: plugins.p needs 'transport': How to reach the server; there is stdio, http, sse",
    ),
    "MCP by an unknown transport": (
        plugin("type: mcp, transport: stdin"),
        "team.yaml:1:37: plugins.p.transport cannot be 'stdin'; did you mean 'stdio'?",
    ),
    "MCP over stdio with a URL": (
        plugin("type: mcp, transport: stdio, url: 'http://x'"),
        "team.yaml:1:14: plugins.p needs 'command': Program to start",
        "team.yaml:1:44: unknown key 'url' in plugins.p; there is description, timeout, repeatable, type, start_timeout, transport, command, args, env, cwd",
    ),
    "MCP over HTTP with a command": (
        plugin("type: mcp, transport: http, command: x"),
        "team.yaml:1:14: plugins.p needs 'url': Address of the server",
        "team.yaml:1:43: unknown key 'command' in plugins.p; there is description, timeout, repeatable, type, start_timeout, transport, url, headers",
    ),
    "MCP at no URL": (
        plugin("type: mcp, transport: sse, url: localhost"),
        "team.yaml:1:47: plugins.p.url should be an http(s) URL, not 'localhost'",
    ),
    "MCP in a missing folder": (
        plugin("type: mcp, transport: stdio, command: x, cwd: plugz"),
        "team.yaml:1:61: there is no folder 'plugz'; did you mean 'plugs'?",
    ),
    "missing OpenAPI document": (
        plugin("type: openapi, spec: crm.yaml"),
        "team.yaml:1:36: there is no file 'crm.yaml'; did you mean 'team.yaml'?",
    ),
    "no root": (
        plugin("type: files"),
        "team.yaml:1:14: plugins.p needs 'root': Folder that the functions cannot leave",
    ),
    "root is a file": (
        plugin("type: files, root: good_script.yaml"),
        "team.yaml:1:34: there is no folder 'good_script.yaml'",
    ),
    "no hosts": (
        plugin("type: fetch, hosts: []"),
        "team.yaml:1:35: plugins.p.hosts should be a list of one or more, not an empty one",
    ),
    "no database": (
        plugin("type: sql, max_rows: 0"),
        "team.yaml:1:14: plugins.p needs 'url': SQLAlchemy URL, such as sqlite:///sales.db",
        "team.yaml:1:36: plugins.p.max_rows should be 1 or more, not 0",
    ),
    "key for arithmetic": (
        plugin("type: math, precision: 3"),
        "team.yaml:1:27: unknown key 'precision' in plugins.p; there is description, timeout, repeatable, type",
    ),
    "function of files that may not be written": (
        plugin("type: files, root: .") + tool("p.write"),
        "team.yaml:2:49: agent 'A' tools[0].id: there is no function 'p.write'; did you mean 'p.read'?",
    ),
    "function that arithmetic does not have": (
        plugin("type: math") + tool("p.calc"),
        "team.yaml:2:49: agent 'A' tools[0].id: there is no function 'p.calc'; did you mean 'p.calculate'?",
    ),
    "review of a tool that nobody has": (
        DB_PLUGIN + tool("db.query") + "review: {tools: [db.execute]}\n",
        "team.yaml:3:18: no agent has a tool like 'db.execute'; there is db.query",
    ),
    "review of another plugin's tools": (
        plugin("type: openapi, spec: 'http://x/y'") + tool("p.*") + "review: {tools: [q.*, p.delete*]}\n",
        "team.yaml:3:18: no agent has a tool like 'q.*'; did you mean 'p.*'?",
    ),
    "person with a model": (
        agent("type: human, model: {id: x}, tools: [], instructions: Say yes or no."),
        "team.yaml:1:49: agent 'A' is a person and has no 'model'",
        "team.yaml:1:65: agent 'A' is a person and has no 'tools'",
    ),
    "person without description": (
        "agents: [{name: Boss, type: human}]\n",
        "team.yaml:1:10: agent 'Boss' needs 'description': What it is good at; the manager chooses by it",
    ),
    "open braces": ("task: 'Sales of {{$year'\n", "team.yaml:1:7: task: a {{ is not closed"),
    "open braces in handlebars": (
        agent("template: {template: 'In {{year', format: handlebars}"),
        "team.yaml:1:57: agent 'A' template.template: a {{ is not closed",
    ),
    "broken jinja2": (
        agent("instructions: '{% if x %}', template: {format: jinja2}"),
        "team.yaml:1:50: agent 'A' instructions: this is not valid jinja2: Unexpected end of template. Jinja was looking for the following tags: 'elif' or 'else' or 'endif'. The innermost block that needs to be closed is 'if'. (its line 1)",
    ),
    "unknown variable in jinja2": (
        "inputs: {year: 2025}\n"
        + agent("instructions: 'In {{ yeer }}, {{ db_query(year) }}', template: {format: jinja2}"),
        "team.yaml:2:50: agent 'A' instructions: {{yeer}} is not defined; did you mean 'year'?",
    ),
    "no agents": ("agents: []\n", "team.yaml:1:9: agents should be a list of one or more, not an empty one"),
    "agents is a mapping": (
        "agents: {A: {description: x}}\n",
        "team.yaml:1:9: agents should be a list, not a mapping",
    ),
    "agent is a text": (
        "agents: [Writer]\n",
        "team.yaml:1:10: agents[0] should be a mapping, not 'Writer'",
    ),
    "agent without description": (
        "agents:\n  - name: Writer\n",
        "team.yaml:2:5: agent 'Writer' needs 'description': What it is good at; the manager chooses by it",
    ),
    "agent with an empty description": (
        "agents: [{name: A, description: ''}]\n",
        "team.yaml:1:33: agent 'A' description should be text, not ''",
    ),
    "agent without name": (
        "agents: [{description: d}]\n",
        "team.yaml:1:10: agents[0] needs 'name': Unique name; the manager addresses the agent by it",
    ),
    "agent's name has a space": (
        "agents: [{name: My Agent, description: d}]\n",
        "team.yaml:1:17: agent 'My Agent' name should be a name of letters, digits, '-' and '_', not 'My Agent'",
    ),
    "agent of another type": (
        agent("type: azure_assistant"),
        "team.yaml:1:42: agent 'A' type cannot be 'azure_assistant'; there is chat_completion_agent, human, team",
    ),
    "agent whose type is a mapping": (
        agent("type: {}"),
        "team.yaml:1:42: agent 'A' type cannot be a mapping; there is chat_completion_agent, human, team",
    ),
    "provider that is a list": (
        "services: {default: {provider: [openai]}}\n",
        "team.yaml:1:32: services.default.provider cannot be a list; did you mean 'openai'?",
    ),
    "deployment that is a number": (
        "services: {default: {provider: azure_openai, deployment: 7}}\n",
        "team.yaml:1:58: services.default.deployment should be text, not 7",
    ),
    "agent called manager": (
        "agents: [{name: Manager, description: d}]\n",
        "team.yaml:1:17: no agent can be called 'Manager': that is the manager's name",
    ),
    "two agents of one name": (
        "agents: [{name: A, description: d}, {name: A, description: d}]\n",
        "team.yaml:1:44: there is an agent 'A' already; names are unique, case aside",
    ),
    "two agents but for case": (
        "agents: [{name: ann, description: d}, {name: Ann, description: d}]\n",
        "team.yaml:1:46: there is an agent 'Ann' already; names are unique, case aside",
    ),
    "misspelt agent key": (
        agent("instuctions: x"),
        "team.yaml:1:36: unknown key 'instuctions' in agent 'A'; did you mean 'instructions'?",
    ),
    "misspelt model key": (
        agent("model: {optons: {}}"),
        "team.yaml:1:44: unknown key 'optons' in agent 'A' model; did you mean 'options'?",
    ),
    "unknown service": (
        "services: {local: {provider: ollama}, default: {provider: openai}}\n"
        + agent("model: {connection: {service_id: lokal}}"),
        "team.yaml:2:69: agent 'A' model.connection.service_id: there is no service 'lokal'; did you mean 'local'?",
    ),
    "no default service": (
        "services: {x: {provider: ollama}, y: {provider: openai}}\n",
        "team.yaml:1:1: manager.service is needed, since no service is called 'default'; there is x, y",
        "team.yaml:3:10: agent 'A' model.connection.service_id is needed, since no service is called 'default'; there is x, y",
    ),
    "missing agent file": (
        "agents: [{file: agents/goood.yaml}]\n",
        "team.yaml:1:17: there is no file 'agents/goood.yaml'; did you mean 'agents/good.yaml'?",
    ),
    "agent file is a folder": ("agents: [{file: agents}]\n", "team.yaml:1:17: there is no file 'agents'"),
    "agent file is no YAML": (
        "agents: [{file: agents/broken.yaml}]\n",
        "agents/broken.yaml:2:14: this is not valid YAML: mapping values are not allowed in this context",
    ),
    "agent file with a typo": (
        "agents: [{file: agents/typo.yaml}]\n",
        "agents/typo.yaml:3:1: unknown key 'instruction' in agent 'Filed'; did you mean 'instructions'?",
    ),
    "agent file with an unset variable": (
        "agents: [{file: agents/unset.yaml}]\n",
        "agents/unset.yaml:2:14: environment variable NOWHERE is not set; set it or write ${NOWHERE:-default}",
    ),
    "agent file is a list": (
        "agents: [{file: agents/list.yaml}]\n",
        "agents/list.yaml: the file should hold keys with values",
    ),
    "same agent file twice": (
        "agents: [{file: agents/good.yaml}, {file: agents/good.yaml}]\n",
        "agents/good.yaml:1:7: there is an agent 'Filed' already; names are unique, case aside",
    ),
    "tools is a text": (
        agent("tools: db.query"),
        "team.yaml:1:43: agent 'A' tools should be a list, not 'db.query'",
    ),
    "tool without plugin": (
        DB_PLUGIN + tool("query"),
        "team.yaml:2:49: agent 'A': a tool's id should be plugin.function or plugin.*, not 'query'",
    ),
    "tool without id": (
        DB_PLUGIN + agent("tools: [{type: function}]"),
        "team.yaml:2:44: agent 'A': a tool's id should be plugin.function or plugin.*, not nothing",
    ),
    "tool of an unknown plugin": (
        DB_PLUGIN + tool("bd.query"),
        "team.yaml:2:49: agent 'A' tools[0].id: there is no plugin 'bd'; there is db",
    ),
    "tool of no plugin": (
        tool("db.query"),
        "team.yaml:1:49: agent 'A' tools[0].id: there is no plugin 'db'",
    ),
    "unknown function": (
        DB_PLUGIN + tool("db.qery"),
        "team.yaml:2:49: agent 'A' tools[0].id: there is no function 'db.qery'; did you mean 'db.query'?",
    ),
    "method that is no function": (
        DB_PLUGIN + tool("db.helper"),
        "team.yaml:2:49: agent 'A' tools[0].id: there is no function 'db.helper'; there is db.query, db.run",
    ),
    "function by its Python name": (
        DB_PLUGIN + tool("db.run_it"),
        "team.yaml:2:49: agent 'A' tools[0].id: there is no function 'db.run_it'; did you mean 'db.run'?",
    ),
    "unknown template format": (
        agent("template: {template_format: jinja}"),
        "team.yaml:1:64: agent 'A' template.template_format cannot be 'jinja'; did you mean 'jinja2'?",
    ),
    "unknown variable in the task": (
        "task: 'Sales of {{$yaer}}?'\ninputs: {year: 2025}\n",
        "team.yaml:1:7: task: {{$yaer}} is not defined; did you mean 'year'?",
    ),
    "several unknown variables in one text": (
        "task: '{{$one}} {{$two}}'\n",
        "team.yaml:1:7: task: {{$one}} is not defined; declare it under 'inputs'",
        "team.yaml:1:7: task: {{$two}} is not defined; declare it under 'inputs'",
    ),
    "merge of a text": ("<<: text\n", "team.yaml:1:1: << should name a mapping"),
    "variable without inputs": (
        "task: 'Sales of {{ $year }}?'\n",
        "team.yaml:1:7: task: {{$year}} is not defined; declare it under 'inputs'",
    ),
    "unknown variable in instructions": (
        "inputs: {year: 2025}\n" + agent("instructions: 'In {{$yeer}}.'"),
        "team.yaml:2:50: agent 'A' instructions: {{$yeer}} is not defined; did you mean 'year'?",
    ),
    "unknown variable as argument": (
        agent("instructions: '{{db.query $quary}}'"),
        "team.yaml:1:50: agent 'A' instructions: {{$quary}} is not defined; declare it under 'inputs'",
    ),
    "unknown variable in a template": (
        agent("template: {template: '{{$who}}'}"),
        "team.yaml:1:57: agent 'A' template.template: {{$who}} is not defined; declare it under 'inputs'",
    ),
    "unknown variable in a prompt": (
        "manager: {prompts: {facts: 'List {{$tusk}}'}}\n",
        "team.yaml:1:28: manager.prompts.facts: {{$tusk}} is not defined; did you mean 'task'?",
    ),
    "variable of another prompt": (
        "manager: {prompts: {plan: 'List {{$task}}'}}\n",
        "team.yaml:1:27: manager.prompts.plan: {{$task}} is not defined; there is team",
    ),
    "unknown prompt": (
        "manager: {prompts: {fact: x}}\n",
        "team.yaml:1:21: unknown key 'fact' in manager.prompts; did you mean 'facts'?",
    ),
    "bad input name": (
        "inputs: {the-year: 2025}\n",
        "team.yaml:1:10: key 'the-year' should be a name of letters, digits and '_', not 'the-year'",
    ),
    "input is a list": (
        "inputs: {years: [2024, 2025]}\n",
        "team.yaml:1:17: inputs.years should be a single value or {default: …, description: …, required: …}, not a list",
    ),
    "misspelt input key": (
        "inputs: {year: {defualt: 2025}}\n",
        "team.yaml:1:17: unknown key 'defualt' in inputs.year; did you mean 'default'?",
    ),
    "manager is nothing": ("manager:\n", "team.yaml:1:9: manager should be a mapping, not nothing"),
    "manager's unknown key": (
        "manager:\n  maxrounds: 5\n",
        "team.yaml:2:3: unknown key 'maxrounds' in manager; did you mean 'max_rounds'?",
    ),
    "manager's unknown service": (
        "manager: {service: fast}\n",
        "team.yaml:1:20: manager.service: there is no service 'fast'; there is default",
    ),
    "rounds is zero": (
        "manager: {max_rounds: 0}\n",
        "team.yaml:1:23: manager.max_rounds should be 1 or more, not 0",
    ),
    "rounds is text": (
        "manager: {max_rounds: '20'}\n",
        "team.yaml:1:23: manager.max_rounds should be a whole number, not '20'",
    ),
    "rounds is yes": (
        "manager: {max_rounds: yes}\n",
        "team.yaml:1:23: manager.max_rounds should be a whole number, not true",
    ),
    "rounds has a fraction": (
        "manager: {max_rounds: 2.5}\n",
        "team.yaml:1:23: manager.max_rounds should be a whole number, not 2.5",
    ),
    "stalls below zero": (
        "manager: {max_stalls: -1}\n",
        "team.yaml:1:23: manager.max_stalls should be 0 or more, not -1",
    ),
    "window without a size": (
        "manager: {context: {summarize: true}}\n",
        "team.yaml:1:20: manager.context needs one of 'messages' and 'tokens'",
    ),
    "window with two sizes": (
        agent("context: {messages: 9, tokens: 900}"),
        "team.yaml:1:45: agent 'A' context needs one of 'messages' and 'tokens'",
    ),
    "window of one message": (
        "manager: {context: {messages: 1}}\n",
        "team.yaml:1:31: manager.context.messages should be 2 or more, not 1",
    ),
    "window of nothing": (
        "manager: {context: {tokens: 0, summarise: true}}\n",
        "team.yaml:1:29: manager.context.tokens should be 1 or more, not 0",
        "team.yaml:1:32: unknown key 'summarise' in manager.context; did you mean 'summarize'?",
    ),
    "a person's window": (
        agent("type: human, context: {messages: 9}"),
        "team.yaml:1:49: agent 'A' is a person and has no 'context'",
    ),
    "must_speak names nobody": (
        "manager: {must_speak: [B]}\nagents: [{name: Bob, description: d}]\n",
        "team.yaml:1:24: manager.must_speak[0]: there is no agent 'B'; there is Bob",
    ),
    "deadline in words": (
        "limits: {deadline: soon}\n",
        "team.yaml:1:20: limits.deadline should be a time above zero such as 90, 90s, 15m or 1h30m, not 'soon'",
    ),
    "deadline of zero": (
        "limits: {deadline: 0s}\n",
        "team.yaml:1:20: limits.deadline should be a time above zero such as 90, 90s, 15m or 1h30m, not '0s'",
    ),
    "deadline of infinity": (
        "limits: {deadline: .inf}\n",
        "team.yaml:1:20: limits.deadline should be a time above zero such as 90, 90s, 15m or 1h30m, not inf",
    ),
    "timeout is yes": (
        "limits: {model_timeout: yes}\n",
        "team.yaml:1:25: limits.model_timeout should be a time above zero such as 90, 90s, 15m or 1h30m, not true",
    ),
    "tokens is zero": (
        "limits: {max_tokens: 0}\n",
        "team.yaml:1:22: limits.max_tokens should be 1 or more, not 0",
    ),
    "unknown format": (
        "report: {formats: [md, pdf]}\n",
        "team.yaml:1:24: report.formats[1] cannot be 'pdf'; there is md, html, json",
    ),
    "unset variable": (
        "task: ${NOWHERE}\n",
        "team.yaml:1:7: environment variable NOWHERE is not set; set it or write ${NOWHERE:-default}",
    ),
    "half a reference": (
        "task: Pay ${5 now\n",
        "team.yaml:1:7: ${ should begin a reference such as ${NAME}; write $${ for the characters",
    ),
    "reference that is none": (
        "task: 'Hello ${user.name}'\n",
        "team.yaml:1:7: ${ should begin a reference such as ${NAME}; write $${ for the characters",
    ),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_file_that_cannot_be_read_gives_one_problem(folder: Path, case: str) -> None:
    text, problem = UNREADABLE[case]
    assert refusals(folder, text) == [problem]


@pytest.mark.parametrize("case", WRONG)
def test_a_broken_team_is_refused_in_these_words(folder: Path, case: str) -> None:
    text, *problems = WRONG[case]
    assert refusals(folder, whole(text)) == problems


def test_all_problems_of_a_file_are_told_at_once_and_in_order(folder: Path) -> None:
    text = """\
nmae: Sales
inputs: {year: 2025}
services: {local: {provider: ollama, hots: x}}
agents:
  - name: Writer
    description: Writes about {{$year}}.
    instructions: Write about {{$yaer}}.
    model: {connection: {service_id: lokal}}
    tools: [{id: crm.find, type: function}]
  - {file: agents/typo.yaml, name: Typo}
manager: {maxrounds: 5, must_speak: [Writr]}
limits: {deadline: soon}
"""
    assert refusals(folder, text, overrides={"manager.max_stalls": "few"}) == [
        "--set manager.max_stalls: manager.max_stalls should be a whole number, not 'few'",
        "agents/typo.yaml:3:1: unknown key 'instruction' in agent 'Typo'; did you mean 'instructions'?",
        "team.yaml:1:1: the team needs 'name': Name of the team",
        "team.yaml:1:1: unknown key 'nmae' in the team; did you mean 'name'?",
        "team.yaml:3:38: unknown key 'hots' in services.local; did you mean 'host'?",
        "team.yaml:7:19: agent 'Writer' instructions: {{$yaer}} is not defined; did you mean 'year'?",
        "team.yaml:8:38: agent 'Writer' model.connection.service_id: there is no service 'lokal'; did you mean 'local'?",
        "team.yaml:9:18: agent 'Writer' tools[0].id: there is no plugin 'crm'",
        "team.yaml:11:11: unknown key 'maxrounds' in manager; did you mean 'max_rounds'?",
        "team.yaml:11:38: manager.must_speak[0]: there is no agent 'Writr'; did you mean 'Writer'?",
        "team.yaml:12:20: limits.deadline should be a time above zero such as 90, 90s, 15m or 1h30m, not 'soon'",
    ]


def test_a_missing_file_is_one_problem(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read: No such file or directory$"):
        load_team(tmp_path / "nowhere.yaml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_team(tmp_path)


GOOD = """\
# yaml-language-server: $schema=./team.schema.json
name: sales
description: Answers questions about sales.
task: Which region grew fastest in {{$year}}, and why? It costs $${5}.
inputs: {year: 2025, unit: {default: EUR, description: Currency, required: true}}
services:
  default: {provider: openai, model: "${MODEL:-small}", base_url: "http://${HOST}/v1", api_key_env: MY_KEY}
  azure: {provider: azure_openai, deployment: mine, auth: entra, structured_output: json_object}
  local: {provider: ollama, host: "http://localhost:11434", options: {temperature: 0}}
  claude: {provider: anthropic, model: c}
  mistral: {provider: mistral}
  google: {provider: google, vertex: true, project: p, region: r}
  aws: {provider: bedrock, model_provider: amazon}
  inference: {provider: azure_ai_inference, endpoint: "https://x"}
  nim: {provider: nvidia}
  own: {provider: python, target: "plugs.services:make", args: {a: 1}}
  demo: {provider: scripted, script: good_script.yaml, delay: 30ms}
  inline: {provider: scripted, script: {manager: {}}}
plugins:
  db: {type: python, target: "plugs.db:DB"}
  derived: {type: python, target: "plugs.db:Derived", description: Whatever DB has.}
  elsewhere: {type: python, target: "not_here.module:Thing"}
agents:
  - {file: agents/good.yaml, description: from the team}
  - name: Writer
    description: Writes.
    instructions: |
      Write in {{$language}} about {{$year}}; {{db.query $unit}}.
    inputs: {language: {description: Tongue, default: English}}
    model: {id: large, connection: {service_id: local}, options: {temperature: 0.2}}
    tools:
      - {id: db.query, type: function}
      - id: db.run
      - {id: derived.query, type: function}
      - {id: elsewhere.any, type: function}
      - {id: derived.*, type: function}
  - {name: Judge, description: Judges., template: {template: "{{ year }}{% if unit %}!{% endif %}", format: jinja2}}
manager:
  service: claude
  max_rounds: ${ROUNDS}
  must_speak: [Writer]
  prompts: {facts: "List facts of {{$task}} in {{$unit}}."}
limits: {deadline: 1h30m, model_timeout: 90, max_tokens: 1000}
report: {formats: [json]}
"""


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
        120,
        60,
        None,
    )
    assert config.report.formats == ("md", "html", "json")
    assert (limits.result_chars, limits.tool_rounds) == (20_000, 10)
    assert (config.review.plan, config.review.tools) == (False, ())
    assert load(folder, whole("limits: {deadline: null}\n")).config.limits.deadline is None


PLUGINS = whole("""\
plugins:
  api: {type: openapi, spec: plugs/api.yaml, server: "https://x.org", headers: {X-Key: "${KEY}", X-Version: 2}, timeout: 5s}
  web: {type: openapi, spec: "https://x.org/openapi.json", repeatable: [get*]}
  child: {type: mcp, transport: stdio, command: uvx, args: [a, b], env: {PORT: "${PORT}"}, cwd: plugs, start_timeout: 1m}
  http: {type: mcp, transport: http, url: "http://127.0.0.1:1/mcp"}
  sse: {type: mcp, transport: sse, url: "https://x.org/sse", headers: {Authorization: "Bearer ${TOKEN}"}}
  files: {type: files, root: plugs, write: true}
  db: {type: sql, url: "sqlite:///x.db"}
  dbw: {type: sql, url: "sqlite:///x.db", write: true, max_rows: 7}
  pages: {type: fetch, hosts: ["*.example.org"]}
  math: {type: math}
agents:
  - name: A
    description: d
    tools: [{id: files.write}, {id: db.query}, {id: pages.get}, {id: math.*}, {id: web.getUser}, {id: http.*}]
  - {name: Boss, description: Decides., type: human, instructions: Say yes or no.}
review: {plan: true, tools: ["files.*", "*.query", "http.delete", "math.c*"]}
""")


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
    text = whole("inputs:\n  plain: ${N}\n  quoted: '${N}'\n  partial: v${N}\n  none: ${EMPTY:-}\n  date: 2025-01-01\n")
    inputs = load(folder, text, env={"N": "5", "EMPTY": ""}).config.inputs
    assert [spec.default for spec in inputs.values()] == [5, "5", "v5", None, "2025-01-01"]


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


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("manager.max_round", 5, "unknown key 'max_round' in manager; did you mean 'max_rounds'?"),
        ("manager.max_rounds", 0, "manager.max_rounds should be 1 or more, not 0"),
        ("manager.max_rounds.x", 0, "manager.max_rounds has no 'x'"),
        ("agents.B.instructions", "x", "agents has no 'B'; there is A"),
        ("agents.A.model.connection.service_id", "x", "agent 'A' model.connection.service_id: there is no service 'x'; there is default"),
        ("services.fast.provider", "opnai", "services.fast.provider cannot be 'opnai'; did you mean 'openai'?"),
        ("", 1, "unknown key '' in the team; there is name, description, task, inputs, services, plugins, agents, manager, limits, review, report"),
    ],
)  # fmt: skip
def test_a_bad_override_is_told_where_it_was_given(folder: Path, path: str, value: Any, problem: str) -> None:
    text = whole("manager: {max_rounds: 3}\n")
    assert refusals(folder, text, overrides={path: value}) == [f"--set {path}: {problem}"]


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


def test_a_secret_is_not_told_in_a_problem_either(folder: Path) -> None:
    (problem,) = refusals(folder, whole("limits: {retries: '${API_KEY}'}\n"), env={"API_KEY": "hunter2"})
    assert problem == "team.yaml:1:19: limits.retries should be a whole number, not '${API_KEY}'"


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


def test_long_texts_load_and_long_nonsense_is_told_in_short(folder: Path) -> None:
    assert len(load(folder, whole(f"task: {'x' * 1_000_000}\n")).config.task or "") == 1_000_000
    assert all(len(line) < 300 for line in refusals(folder, whole(f"name: [1]\n? {'y' * 1_000_000}\n: 1\n")))
    assert all(len(line) < 300 for line in refusals(folder, whole(f"agents: [{{file: {'y' * 100_000}}}]\n")))


@pytest.mark.parametrize(
    ("text", "seconds"), [(90, 90), ("90", 90), ("90s", 90), ("1.5s", 1.5), ("15m", 900), ("1h30m", 5400), ("500ms", 0.5)]
)  # fmt: skip
def test_durations(text: str | float, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "-5", "0", "5 minutes", "nan", "inf", "9" * 400 + "s", True, "1m1h"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"^should be a time above zero such as 90, 90s, 15m or 1h30m$"):
        parse_duration(text)


def test_the_committed_schema_is_current() -> None:
    committed = json.loads((ROOT / "configs/team.schema.json").read_text("utf-8"))
    assert committed == team_schema(), "run: magentic-kit schema > configs/team.schema.json"


def test_the_schema_takes_good_files_and_finds_what_can_be_seen_in_the_file_alone() -> None:
    schema = team_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for good in (GOOD, PLUGINS, *(path.read_text("utf-8") for path in ROOT.glob("configs/*.yaml"))):
        assert [error.message for error in validator.iter_errors(yaml.safe_load(good))] == []
    seen = re.compile(r"team\.yaml.*(unknown key|needs '\w+': [A-Z]|cannot be '|should be (?!a time|plugin\.))")
    broken = {case: text for case, (text, *problems) in WRONG.items() if seen.match(problems[0])}
    assert len(broken) > 50
    assert [case for case, text in broken.items() if validator.is_valid(yaml.safe_load(whole(text)))] == []


def test_every_key_of_the_schema_is_described() -> None:
    for name, model in {"team": team_schema(), **team_schema()["$defs"]}.items():
        bare = [key for key, field in model.get("properties", {}).items() if not field.get("description")]
        assert not bare, f"{name}: {bare}"


def test_checking_a_team_imports_nothing_heavy() -> None:
    code = "import sys; from magentic_kit.team.loading import load_team; load_team('configs/sales_analysis.yaml')"
    code += "; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    slow = {"semantic_kernel", "pydantic", "typing_extensions", "dataclasses", "rich", "click", "jinja2", "openai"}
    assert not slow & set(done.stdout.split())
