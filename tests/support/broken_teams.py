"""Broken team files, each with every problem that is reported of it, word for word."""

# ruff: noqa: E501 (messages stand here whole, so that they can be searched for)

from __future__ import annotations

from support.team_files import DB_PLUGIN, agent, plugin, tool

THEIRS = "<words of a library>"
"""Stands for what PyYAML or jinja2 say, which may change with their versions."""

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
        f"team.yaml:2:1: this is not valid YAML: {THEIRS}",
    ),
    "control character": (
        "name: x\ntask: a\x07b\n",
        f"team.yaml:2:1: this is not valid YAML: {THEIRS}",
    ),
    "tab": (
        "name: x\nmanager:\n\tmax_rounds: 3\n",
        "team.yaml:3:1: this is not valid YAML: a tab stands where YAML wants spaces",
    ),
    "bad indentation": (
        "name: x\n  description: y\n",
        f"team.yaml:2:14: this is not valid YAML: {THEIRS}",
    ),
    "open bracket": (
        "agents: [\n",
        f"team.yaml:2:1: this is not valid YAML: {THEIRS}",
    ),
    "open quote": ("name: 'x\n", f"team.yaml:2:1: this is not valid YAML: {THEIRS}"),
    "two documents": (
        "name: x\n---\nname: y\n",
        f"team.yaml:2:1: this is not valid YAML: {THEIRS}",
    ),
    "unknown alias": ("name: *who\n", f"team.yaml:1:7: this is not valid YAML: {THEIRS}"),
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
        f"team.yaml:1:{THEIRS}: this is not valid YAML: {THEIRS}",
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
        "team.yaml:1:1: unknown key 'zzzzzz' in the team; there is name, description, task, inputs, services, plugins, agents, manager, answer, limits, review, report",
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
        "team.yaml:1:11: services should be a mapping such as {default: {provider: openai, model: gpt-4.1-mini}}, not a list",
    ),
    "service is a text": (
        "services: {default: openai}\n",
        "team.yaml:1:21: services.default should be a mapping such as {provider: openai, model: gpt-4.1-mini}, not 'openai'",
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
        "team.yaml:1:40: unknown key 'host' in services.default; there is model, options, structured_output, fallback, price, api_key_env, provider, base_url, organization, instruction_role, dialect",
    ),
    "misspelt service key": (
        "services: {default: {provider: openai, base_ulr: x}}\n",
        "team.yaml:1:40: unknown key 'base_ulr' in services.default; did you mean 'base_url'?",
    ),
    "address without http": (
        "services: {default: {provider: openai, base_url: 'localhost:8000/v1'}}\n",
        "team.yaml:1:50: services.default.base_url should be an http(s) URL, not 'localhost:8000/v1'",
    ),
    "endpoint without a host": (
        "services: {default: {provider: azure_openai, endpoint: 'https://'}}\n",
        "team.yaml:1:56: services.default.endpoint should be an http(s) URL, not 'https://'",
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
        "team.yaml:1:44: unknown key 'url' in plugins.p; there is description, timeout, repeatable, type, start_timeout, roots, sampling, transport, command, args, env, cwd",
    ),
    "MCP over HTTP with a command": (
        plugin("type: mcp, transport: http, command: x"),
        "team.yaml:1:14: plugins.p needs 'url': Address of the server",
        "team.yaml:1:43: unknown key 'command' in plugins.p; there is description, timeout, repeatable, type, start_timeout, roots, sampling, transport, url, headers",
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
    "expression in the task": (
        "task: 'What is {{7*7}}?'\n",
        "team.yaml:1:7: task: {{7*7}} cannot be filled in; write {{$name}}",
    ),
    "function in the task": (
        "task: 'Now: {{time.now}}'\n",
        "team.yaml:1:7: task: {{time.now}} cannot be filled in; write {{$name}}",
    ),
    "expression in an agent": (
        "inputs: {year: 2025}\n" + agent("instructions: 'In {{$year + 1}}'"),
        "team.yaml:2:50: agent 'A' instructions: {{$year + 1}} cannot be filled in; write {{$name}} or {{plugin.function}}",
    ),
    "open braces in handlebars": (
        agent("template: {template: 'In {{year', format: handlebars}"),
        "team.yaml:1:57: agent 'A' template.template: a {{ is not closed",
    ),
    "broken jinja2": (
        agent("instructions: '{% if x %}', template: {format: jinja2}"),
        f"team.yaml:1:50: agent 'A' instructions: this is not valid jinja2: {THEIRS} (its line 1)",
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
        "team.yaml:1:10: agents[0] should be a mapping such as {name: Writer, description: Writes the answer.}, not 'Writer'",
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
    "agent's name has a dot": (
        "agents: [{name: My.Agent, description: d}]\n",
        "team.yaml:1:17: agent 'My.Agent' name should be a name of letters, digits, '-', '_' and single spaces, "
        "not 'My.Agent'",
    ),
    "agents whose names are one without spaces": (
        "agents: [{name: My Agent, description: d}, {name: My_Agent, description: d}]\n",
        "team.yaml:1:51: there is an agent 'My_Agent' already; names are unique, case aside",
    ),
    "agent of another type": (
        agent("type: azure_asistant"),
        "team.yaml:1:42: agent 'A' type cannot be 'azure_asistant'; did you mean 'azure_assistant'?",
    ),
    "agent of a type that SK's loader does not have": (
        agent("type: bedrock_agent"),
        "team.yaml:1:42: agent 'A': Semantic Kernel's loader has no bedrock_agent in Python; write 'type: python' and a "
        "'target:' that calls BedrockAgent.create_and_prepare_agent",
    ),
    "agent in Python without a target": (
        agent("type: python"),
        "team.yaml:1:10: agent 'A': 'type: python' and 'target: package.module:name' go together",
    ),
    "agent with a target of another type": (
        agent("target: 'm:f'"),
        "team.yaml:1:44: agent 'A': 'type: python' and 'target: package.module:name' go together",
    ),
    "agent in Python with tools": (
        agent("type: python, target: 'm:f', tools: []"),
        "team.yaml:1:65: agent 'A' is a Python object and has no 'tools'",
    ),
    "agent whose type is a mapping": (
        agent("type: {}"),
        "team.yaml:1:42: agent 'A' type should be text, not a mapping",
    ),
    "template of .NET": (
        agent("template: {format: liquid}"),
        "team.yaml:1:55: agent 'A' template.format cannot be 'liquid', which only SK for .NET has: write jinja2, whose "
        "{{name}} means the same",
    ),
    "placeholder whose variable is not set": (
        agent("model: {id: '${OpenAI:ChatModelId}'}"),
        "team.yaml:1:48: ${OpenAI:ChatModelId} is the environment variable OPENAI_CHAT_MODEL_ID, which is not set",
    ),
    "placeholder that SK does not have": (
        agent("model: {id: '${OpenAl:ChatModelId}'}"),
        "team.yaml:1:48: Semantic Kernel has no placeholder ${OpenAl:ChatModelId}; did you mean 'OpenAI'?",
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
        f"agents/broken.yaml:2:14: this is not valid YAML: {THEIRS}",
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
    "manager is nothing": (
        "manager:\n",
        "team.yaml:1:9: manager should be a mapping such as {max_rounds: 20}, not nothing",
    ),
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
