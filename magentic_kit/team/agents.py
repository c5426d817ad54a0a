"""An agent of the team file: SK's declarative spec, a person, or another team; and its inputs, model and tools."""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AliasChoices, BeforeValidator, ConfigDict, Field, field_validator, model_validator
from typing_extensions import Self

from magentic_kit.team.values import (
    HEADERS,
    AgentName,
    FilePath,
    Identifier,
    ListOf,
    Model,
    Options,
    Target,
    Text,
    Url,
    part,
    wire_name,
)

SK_AGENTS = (
    "openai_assistant",
    "openai_responses",
    "azure_assistant",
    "azure_responses",
    "foundry_agent",
)
"""The kinds of agents that SK's loader makes, besides `chat_completion_agent`."""

AGENT_TYPES = ("chat_completion_agent", *SK_AGENTS, "python", "a2a", "human", "team")
"""Every `type` of an agent; a program may register more with SK."""


class KnownAgents(NamedTuple):
    """What a program brings: agents as name -> description, and types of agents that it has registered with SK."""

    agents: Mapping[str, str] = {}
    types: Collection[str] = ()
    are_members: bool = True
    """Whether agents that a team file does not name are members of that team."""

    def elsewhere(self) -> "KnownAgents":
        """The same for a team that is a member of another one."""
        return self._replace(are_members=False)


def _unused(default: Any) -> Any:
    return Field(default=default, description="Part of SK's declarative spec; not used here.")


class InputSpec(Model):
    """A value that task, instructions and prompts may use as `{{$name}}`."""

    default: Any = Field(default=None, description="Value if the run gives none.")
    description: str | None = Field(default="", description="What the value is for.")
    required: bool = Field(default=False, description="Whether a run must give a value.")
    type: str | None = Field(default=None, description="Type of the value; for readers only.")
    sample: Any = Field(default=None, description="Example of a value; for readers only.")


def _bare_input(value: Any) -> Any:
    """`year: 2025` is short for `year: {default: 2025}`."""
    if isinstance(value, list):
        raise ValueError("should be a single value or {default: …, description: …, required: …}")
    if isinstance(value, Mapping | InputSpec):
        return value
    return {"default": value}


TeamInput = Annotated[
    InputSpec, BeforeValidator(_bare_input, json_schema_input_type=str | float | bool | None | InputSpec)
]


class ModelConnection(Model):
    """Which service an agent talks to."""

    service_id: str | None = Field(default=None, description="Name of a service of the team.")
    endpoint: str | None = Field(default=None, description="Server to ask, for SK's other kinds of agents.")
    api_key: str | None = Field(default=None, description="Key for that server; default: SK's own variable.")
    type: Any = _unused(None)
    extras: Any = _unused({})
    connection: Any = _unused(None)
    connection_string: Any = _unused(None)
    agent_resource_role_arn: Any = _unused(None)


class ModelSpec(Model):
    """The model an agent thinks with."""

    id: str | None = Field(default=None, description="Model to ask in place of the service's own.")
    connection: ModelConnection = part("Which service to use.")
    options: Options = Field(default={}, description="Execution settings, such as temperature.")
    api: Any = _unused("chat")


class ToolSpec(Model):
    """One function, or a whole plugin, that an agent may call."""

    id: str | None = Field(default=None, description="plugin.function, or plugin.* for all of a plugin.")
    type: str = Field(
        default="function", description="function; another kind is for SK's other kinds of agents, else ignored."
    )
    description: str | None = Field(default=None, description="For readers only.")
    options: Any = Field(default={}, description="What a tool of another kind needs.")
    extras: Any = _unused({})


def _with_format(schema: dict[str, Any]) -> None:
    """SK's other word for `template_format`."""
    schema["properties"]["format"] = schema["properties"]["template_format"]


class PromptTemplate(Model):
    """SK's PromptTemplateConfig."""

    model_config = ConfigDict(json_schema_extra=_with_format)

    template: str | None = Field(default=None, description="Text of the template; instructions win over it.")
    template_format: Literal["semantic-kernel", "jinja2", "handlebars"] = Field(
        default="semantic-kernel",
        validation_alias=AliasChoices("template_format", "format"),
        description="Template language.",
    )
    name: str = Field(default="", description="Name of the template.")
    description: str | None = Field(default="", description="For readers only.")
    input_variables: list[Options] = Field(default=[], description="Variables, each {name, description, default, …}.")
    allow_dangerously_set_content: bool = Field(default=False, description="Put values in as they are, unescaped.")
    execution_settings: Any = _unused(None)
    parser: Any = _unused(None)

    @field_validator("template_format", mode="before")
    @classmethod
    def _is_no_dot_net_format(cls, value: Any) -> Any:
        if value == "liquid":
            raise ValueError(
                "cannot be 'liquid', which only SK for .NET has: write jinja2, whose {{name}} means the same"
            )
        return value


class ContextConfig(Model):
    """How much of a long conversation is sent: either `messages` or `tokens`, besides instructions and task ledger."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["messages"]}, {"required": ["tokens"]}]})

    messages: int | None = Field(
        default=None, ge=2, description="Most messages to send; past it, they are cut to half."
    )
    tokens: int | None = Field(
        default=None, ge=1, description="Most tokens to send, taken as four characters each; past it, cut to half."
    )
    summarize: bool = Field(
        default=False, description="Whether a summary stands for what is left out, made by a call for each cut."
    )

    @model_validator(mode="after")
    def _has_one_size(self) -> Self:
        if (self.messages is None) == (self.tokens is None):
            raise ValueError("needs one of 'messages' and 'tokens'")
        return self


def _from_file(schema: dict[str, Any]) -> None:
    """`file`, which is resolved before an agent is validated, may bring in what is required."""
    schema["properties"]["file"] = {"type": "string", "description": "Agent spec file; other keys override it."}
    schema["anyOf"] = [{"required": schema.pop("required")}, {"required": ["file"]}]


class AgentConfig(Model):
    """An agent: SK's declarative spec, with name and description required; or one of yours, a person, another team."""

    model_config = ConfigDict(json_schema_extra=_from_file)

    type: str = Field(
        default="chat_completion_agent",
        description="Kind of agent; python is your own, a2a a remote one, human a person, team another team file.",
        json_schema_extra={"enum": list(AGENT_TYPES)},
    )
    name: AgentName = Field(description="Unique name; the manager addresses the agent by it.")
    description: str = Field(min_length=1, description="What it is good at; the manager chooses by it.")
    team: FilePath | None = Field(default=None, description="Team file of an agent of type team.")
    mode: Literal["magentic", "concurrent"] | None = Field(
        default=None, description="Whether that team's manager leads it, or all its agents answer at once."
    )
    target: Target | None = Field(
        default=None, description="Callable that returns an SK Agent, as package.module:name; for type python."
    )
    args: Options = Field(default={}, description="Keyword arguments for the callable.")
    url: Url | None = Field(default=None, description="Address of an agent of type a2a, or of its agent card.")
    headers: dict[str, Text] = Field(default={}, description=HEADERS)
    settings: Options = Field(
        default={}, description="Arguments of `create_client` of SK's other kinds, such as base_url."
    )
    instructions: str | None = Field(
        default=None, description="System prompt, a template over the inputs; shown to a person."
    )
    model: ModelSpec = part("Service, model and options.")
    tools: ListOf[ToolSpec] = Field(default=(), description="What the agent may call; nothing else is offered.")
    skills: ListOf[FilePath] = Field(
        default=(), description="Folders of skills (SKILL.md), named in the instructions and read when needed."
    )
    context: ContextConfig | None = Field(
        default=None, description="What is sent of a long conversation; default: all of it."
    )
    inputs: dict[Identifier, InputSpec] = Field(default={}, description="Values for this agent's instructions.")
    template: PromptTemplate | None = Field(default=None, description="Prompt template settings.")
    prompt_template: PromptTemplate | None = Field(default=None, description="Another word for template; it wins.")
    id: str | None = Field(default=None, description="Id of an agent that its provider has; for SK's other kinds.")
    extras: Options = Field(default={}, description="What the provider keeps with the agent; for SK's other kinds.")
    outputs: Any = _unused({})
    metadata: Any = _unused({})
    version: Any = _unused(None)

    @model_validator(mode="before")
    @classmethod
    def _without_empty_keys(cls, data: Any) -> Any:
        """SK's loader reads `model:` with nothing behind it as no model at all."""
        if not isinstance(data, Mapping):
            return data
        return {key: value for key, value in data.items() if value is not None}

    @property
    def wire_name(self) -> str:
        """The name that SK, models and providers know it by."""
        return wire_name(self.name)

    @property
    def is_of_sk(self) -> bool:
        """Whether it is one of SK's other kinds, your own or a remote one, which has no service of the team."""
        return self.type not in ("chat_completion_agent", "human", "team")

    @property
    def functions(self) -> list[str]:
        """The functions it lists, as `plugin.function`; SK ignores other kinds of tools."""
        return [tool.id for tool in self.tools if tool.id and tool.type == "function"]

    @property
    def prompt(self) -> PromptTemplate:
        """The template with its text filled in: instructions win over the template's own, as in SK."""
        template = self.prompt_template or self.template or PromptTemplate()
        if self.instructions is None:
            return template
        return template.model_copy(update={"template": self.instructions})
