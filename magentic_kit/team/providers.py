"""How a team reaches models and functions: one frozen model per kind of service and plugin, on one strict base."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from magentic_kit.team.strict import Field, Model, need, opt

AGENT_NAME = r"^[0-9A-Za-z_-]+$"
"""What SK accepts as an agent's name."""

IDENTIFIER = r"^[0-9A-Za-z_]+$"
"""What SK accepts as a plugin's, function's or template variable's name."""

TARGET = r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$"
"""A Python object: `package.module:Name`."""

URL = r"^https?://[^/][\s\S]*$"

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)(?:s|$))?(?:(\d+)ms)?")


def parse_duration(text: str | float) -> float:
    """Seconds of `90`, `"90s"`, `"15m"`, `"1h30m"` or `"500ms"`. Raises `ValueError` unless > 0, finite."""
    match = _DURATION.fullmatch(str(text).strip())
    units = zip(match.groups() if match else (), (3600, 60, 1, 0.001), strict=False)
    seconds = sum(float(number) * unit for number, unit in units if number)
    if not 0 < seconds < math.inf:
        raise ValueError("should be a time above zero such as 90, 90s, 15m or 1h30m")
    return seconds


def _path_or_inline(value: Any) -> Any:
    if not isinstance(value, str | Path | Mapping):
        raise ValueError("should be a file or the script itself")
    return Path(value) if isinstance(value, str) else value


def _number_as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Duration = Annotated[float, Field(parse=parse_duration, takes=str | float)]
Text = Annotated[str, Field(parse=_number_as_text, takes=str | int | float)]
"""A number is one too, since `${TOKEN}` may turn out to be a number."""

DialectName = Literal[
    "alternate_roles",
    "instructions_as_system",
    "instructions_as_user",
    "names_as_text",
    "content_with_calls",
    "short_call_ids",
    "no_stream",
    "max_completion_tokens",
    "max_tokens",
    "no_response_format_with_tools",
    "no_stream_options",
    "no_tool_choice",
    "no_parallel_tool_calls",
    "no_temperature",
    "no_top_p",
    "no_presence_penalty",
    "no_frequency_penalty",
    "no_logit_bias",
    "no_seed",
    "no_stop",
    "no_user",
    "no_store",
    "no_metadata",
    "no_reasoning_effort",
]
"""How a request is put otherwise for a server that refuses its usual form; `services.dialects` has the meanings."""

Script = Annotated[Path | dict[str, Any], Field(parse=_path_or_inline, takes=str | dict[str, Any])]
Identifier = Annotated[str, Field(pattern=IDENTIFIER, expected="a name of letters, digits and '_'")]
Target = Annotated[str, Field(pattern=TARGET, expected="package.module:Name, a Python object")]
Url = Annotated[str, Field(pattern=URL, expected="an http(s) URL")]
Names: TypeAlias = tuple[str, ...]
Options: TypeAlias = dict[str, Any]


class _Service(Model):
    model: str | None = opt(None, "Model to ask; default: the provider's own variable.")
    options: Options = opt({}, "Execution settings for every call, such as temperature.")
    structured_output: Literal["auto", "json_schema", "json_object", "prompt"] = opt(
        "auto", "How the manager asks for a progress ledger; auto finds what the server accepts."
    )
    fallback: Names = opt((), "Services to ask in its place, in this order, for the rest of a run in which it fails.")


class _KeyedService(_Service):
    api_key_env: str | None = opt(None, "Environment variable that holds the key; default: SK's own.")


class OpenAIService(_KeyedService):
    """OpenAI, or any server that speaks its chat-completions protocol."""

    provider: Literal["openai"] = need("Kind of service.")
    base_url: str | None = opt(None, "Server to ask, such as http://localhost:8000/v1.")
    organization: str | None = opt(None, "OpenAI organization id.")
    instruction_role: Literal["system", "developer"] | None = opt(None, "Role of instructions.")
    dialect: tuple[DialectName, ...] = opt((), "Forms of a request that the server takes; what is missing is found.")


class AzureOpenAIService(_KeyedService):
    """An Azure OpenAI deployment, with a key or Entra ID."""

    provider: Literal["azure_openai"] = need("Kind of service.")
    endpoint: str | None = opt(None, "Resource endpoint, https://….openai.azure.com.")
    deployment: str | None = opt(None, "Deployment to call; takes the place of model.")
    api_version: str | None = opt(None, "API version to use.")
    auth: Literal["key", "entra"] = opt("key", "Sign in with a key or with Entra ID.")
    dialect: tuple[DialectName, ...] = opt((), "Forms of a request that the server takes; what is missing is found.")

    @classmethod
    def _prepare(cls, data: Mapping[str, Any]) -> Mapping[str, Any]:
        deployment = data.get("deployment")
        return {**data, "model": deployment} if deployment and isinstance(deployment, str) else data


class OllamaService(_Service):
    """A model served by Ollama."""

    provider: Literal["ollama"] = need("Kind of service.")
    host: str | None = opt(None, "Server address; default: OLLAMA_HOST or this machine.")


class HostedService(_KeyedService):
    """Anthropic's or Mistral AI's models, for which a key is all it takes."""

    provider: Literal["anthropic", "mistral"] = need("Kind of service.")


class GoogleService(_KeyedService):
    """Google's Gemini models, by API key or Vertex AI."""

    provider: Literal["google"] = need("Kind of service.")
    vertex: bool = opt(False, "Use Vertex AI with application default credentials.")
    project: str | None = opt(None, "Google Cloud project, for Vertex AI.")
    region: str | None = opt(None, "Google Cloud region, for Vertex AI.")


class BedrockService(_Service):
    """Models on Amazon Bedrock, with the credentials and region of the AWS SDK."""

    provider: Literal["bedrock"] = need("Kind of service.")
    model_provider: str | None = opt(None, "Maker of the model if its id does not tell.")


class AzureAIInferenceService(_KeyedService):
    """Models behind the Azure AI Inference API."""

    provider: Literal["azure_ai_inference"] = need("Kind of service.")
    endpoint: str | None = opt(None, "Inference endpoint.")
    api_version: str | None = opt(None, "API version to use.")


class NvidiaService(_KeyedService):
    """NVIDIA NIM."""

    provider: Literal["nvidia"] = need("Kind of service.")
    base_url: str | None = opt(None, "Server to ask; default: NVIDIA's own.")


class PythonService(_Service):
    """A chat-completion service that your own Python code makes."""

    provider: Literal["python"] = need("Kind of service.")
    target: Target = need("Callable that returns the service, as package.module:name.")
    args: Options = opt({}, "Keyword arguments for the callable.")


class ScriptedService(_Service):
    """Replies read from a script; no model is called."""

    provider: Literal["scripted"] = need("Kind of service.")
    script: Script = need("Script file, or the script itself.")
    delay: Duration = opt(0.0, "Pause between streamed words, such as 30ms.")


class ReplayService(_Service):
    """Replies of an earlier run, for tests of a team; what is asked has to be what was asked then."""

    provider: Literal["replay"] = need("Kind of service.")
    log: Path = need("Run directory that has the replies.")


Service = Annotated[
    OpenAIService | AzureOpenAIService | OllamaService | HostedService | GoogleService | BedrockService
    | AzureAIInferenceService | NvidiaService | PythonService | ScriptedService
    | ReplayService,
    Field(tags=("provider",)),
]  # fmt: skip


class _Plugin(Model):
    description: str = opt("", "What the plugin is for.")
    timeout: Duration | None = opt(None, "Time for one call; default: limits.tool_timeout.")
    repeatable: Names = opt((), "Functions that may be called again after a crash; * is a wildcard.")


class _WritingPlugin(_Plugin):
    write: bool = opt(False, "Whether it may change anything.")


class PythonPlugin(_Plugin):
    """A Python class or object whose kernel functions become tools."""

    type: Literal["python"] = need("Kind of plugin.")
    target: Target = need("Class or object, as package.module:Name.")
    args: Options = opt({}, "Keyword arguments for the class.")


class OpenAPIPlugin(_Plugin):
    """The operations of an HTTP service that an OpenAPI document describes."""

    type: Literal["openapi"] = need("Kind of plugin.")
    spec: str = need("The document: a file, or an http(s) URL.")
    server: Url | None = opt(None, "Server to ask in place of the document's own.")
    headers: dict[str, Text] = opt({}, 'Sent with every request, such as {Authorization: "Bearer ${TOKEN}"}.')


class _MCPPlugin(_Plugin):
    type: Literal["mcp"] = need("Kind of plugin.")
    start_timeout: Duration = opt(30.0, "Time for the server to start.")


class MCPStdioPlugin(_MCPPlugin):
    """The tools of an MCP server that runs as a child process."""

    transport: Literal["stdio"] = need("How to reach the server.")
    command: str = need("Program to start.", filled=True)
    args: Names = opt((), "Its arguments.")
    env: dict[str, Text] = opt({}, "Environment variables for it.")
    cwd: Path | None = opt(None, "Folder to start it in; default: the current one.")


class MCPHttpPlugin(_MCPPlugin):
    """The tools of an MCP server that answers over HTTP."""

    transport: Literal["http", "sse"] = need("How to reach the server: streamable HTTP, or the older SSE.")
    url: Url = need("Address of the server.")
    headers: dict[str, Text] = opt({}, 'Sent with every request, such as {Authorization: "Bearer ${TOKEN}"}.')


class FilesPlugin(_WritingPlugin):
    """Files under one folder: read, list, search, and write if allowed."""

    type: Literal["files"] = need("Kind of plugin.")
    root: Path = need("Folder that the functions cannot leave.")
    repeatable: Names = opt(("read", "list", "search"), "Functions that may be called again after a crash.")


class SqlPlugin(_WritingPlugin):
    """A database: query and schema."""

    type: Literal["sql"] = need("Kind of plugin.")
    url: str = need("SQLAlchemy URL, such as sqlite:///sales.db.", filled=True)
    max_rows: int = opt(100, "Rows that one query may return.", ge=1)
    repeatable: Names = opt(
        (), "Functions that may be called again after a crash; default: schema, and query unless it may write."
    )

    @classmethod
    def _prepare(cls, data: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"repeatable": ["schema"] if data.get("write") else ["query", "schema"], **data}


class FetchPlugin(_Plugin):
    """Pages of some hosts: get."""

    type: Literal["fetch"] = need("Kind of plugin.")
    hosts: Names = need("Hosts that may be asked, such as *.example.org.", filled=True)
    private: bool = opt(False, "Whether private and loopback addresses may be asked too.")
    max_bytes: int = opt(1_000_000, "Bytes after which an answer is cut.", ge=1)
    repeatable: Names = opt(("get",), "Functions that may be called again after a crash.")


class MathPlugin(_Plugin):
    """Arithmetic: calculate."""

    type: Literal["math"] = need("Kind of plugin.")
    repeatable: Names = opt(("calculate",), "Functions that may be called again after a crash.")


MCPPlugin: TypeAlias = MCPStdioPlugin | MCPHttpPlugin

Plugin = Annotated[
    PythonPlugin | OpenAPIPlugin | MCPStdioPlugin | MCPHttpPlugin | FilesPlugin | SqlPlugin | FetchPlugin | MathPlugin,
    Field(tags=("type", "transport")),
]
