"""Team files for tests: a good one, pieces of others, and what is said of a broken one."""

# ruff: noqa: E501 (the lines of a team file)

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from magentic_kit.errors import ConfigError
from magentic_kit.team.loading import Team, load_team

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


def whole(text: str) -> str:
    """A team file that begins with `text` and has what else a team needs."""
    return text + "".join(line for key, line in GOOD_LINES.items() if not re.search(f"^{key}:", text, re.MULTILINE))


def with_files(folder: Path) -> Path:
    """The folder, with what the team files of these tests name."""
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


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
