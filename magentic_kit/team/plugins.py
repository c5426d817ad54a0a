"""Where a team's functions come from: one model of settings for each kind of plugin."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, model_validator

from magentic_kit.team.values import HEADERS, Duration, FilePath, Model, Names, Options, Target, Text, Url

_REPEATABLE = "Functions that may be called again after a crash"


class BasePlugin(Model):
    """What every plugin has."""

    description: str = Field(default="", description="What the plugin is for.")
    timeout: Duration | None = Field(default=None, description="Time for one call; default: limits.tool_timeout.")
    repeatable: Names = Field(default=(), description=f"{_REPEATABLE}; * is a wildcard.")


class _WritingPlugin(BasePlugin):
    write: bool = Field(default=False, description="Whether it may change anything.")


class PythonPlugin(BasePlugin):
    """A Python class or object whose kernel functions become tools."""

    type: Literal["python"] = Field(description="Kind of plugin.")
    target: Target = Field(description="Class or object, as package.module:Name.")
    args: Options = Field(default={}, description="Keyword arguments for the class.")


class OpenAPIPlugin(BasePlugin):
    """The operations of an HTTP service that an OpenAPI document describes."""

    type: Literal["openapi"] = Field(description="Kind of plugin.")
    spec: str = Field(description="The document: a file, or an http(s) URL.")
    start_timeout: Duration = Field(default=30.0, description="Time to read the document.")
    server: Url | None = Field(default=None, description="Server to ask in place of the document's own.")
    headers: dict[str, Text] = Field(default={}, description=HEADERS)
    query: dict[str, Text] = Field(default={}, description='Sent in every query, such as {api_key: "${KEY}"}.')
    cookies: dict[str, Text] = Field(default={}, description="Sent as cookies with every request.")


class _MCPPlugin(BasePlugin):
    type: Literal["mcp"] = Field(description="Kind of plugin.")
    start_timeout: Duration = Field(default=30.0, description="Time for the server to start.")
    roots: Names | None = Field(default=None, description="Folders that the server is told of; default: the team's.")
    sampling: int = Field(default=0, ge=0, description="Model calls that the server may ask for in a run, paid by you.")


class MCPStdioPlugin(_MCPPlugin):
    """The tools of an MCP server that runs as a child process."""

    transport: Literal["stdio"] = Field(description="How to reach the server.")
    command: str = Field(min_length=1, description="Program to start.")
    args: Names = Field(default=(), description="Its arguments.")
    env: dict[str, Text] = Field(default={}, description="Environment variables for it.")
    cwd: FilePath | None = Field(default=None, description="Folder to start it in; default: the current one.")


class MCPHttpPlugin(_MCPPlugin):
    """The tools of an MCP server that answers over HTTP."""

    transport: Literal["http", "sse"] = Field(description="How to reach the server: streamable HTTP, or the older SSE.")
    url: Url = Field(description="Address of the server.")
    headers: dict[str, Text] = Field(default={}, description=HEADERS)


class FilesPlugin(_WritingPlugin):
    """Files under one folder: read, list, search, and write if allowed."""

    type: Literal["files"] = Field(description="Kind of plugin.")
    root: FilePath = Field(description="Folder that the functions cannot leave.")
    repeatable: Names = Field(default=("read", "list", "search"), description=f"{_REPEATABLE}.")


class SqlPlugin(_WritingPlugin):
    """A database: query and schema."""

    type: Literal["sql"] = Field(description="Kind of plugin.")
    url: str = Field(min_length=1, description="SQLAlchemy URL, such as sqlite:///sales.db.")
    max_rows: int = Field(default=100, ge=1, description="Rows that one query may return.")
    repeatable: Names = Field(default=(), description=f"{_REPEATABLE}; default: schema, and query unless it may write.")

    @model_validator(mode="before")
    @classmethod
    def _queries_that_only_read_are_repeatable(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or "repeatable" in data:
            return data
        return dict(data, repeatable=["schema"] if data.get("write") else ["query", "schema"])


class FetchPlugin(BasePlugin):
    """Pages of some hosts: get."""

    type: Literal["fetch"] = Field(description="Kind of plugin.")
    hosts: Names = Field(min_length=1, description="Hosts that may be asked, such as *.example.org.")
    private: bool = Field(default=False, description="Whether private and loopback addresses may be asked too.")
    max_bytes: int = Field(default=1_000_000, ge=1, description="Bytes after which an answer is cut.")
    repeatable: Names = Field(default=("get",), description=f"{_REPEATABLE}.")


class MathPlugin(BasePlugin):
    """Arithmetic: calculate."""

    type: Literal["math"] = Field(description="Kind of plugin.")
    repeatable: Names = Field(default=("calculate",), description=f"{_REPEATABLE}.")


MCPPlugin: TypeAlias = MCPStdioPlugin | MCPHttpPlugin
Plugin = Annotated[
    PythonPlugin
    | OpenAPIPlugin
    | Annotated[MCPPlugin, Field(discriminator="transport")]
    | FilesPlugin
    | SqlPlugin
    | FetchPlugin
    | MathPlugin,
    Field(discriminator="type"),
]
