"""The team file as pydantic models."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BeforeValidator, ConfigDict, Field, model_validator
from typing_extensions import Self

from magentic_kit.team.plugins import Plugin
from magentic_kit.team.services import Service
from magentic_kit.team.values import AgentName, Duration, FilePath, Identifier, ListOf, Model, Names, Options


def _unused(default: Any) -> Any:
    return Field(default=default, description="Part of SK's declarative spec; not used here.")


class InputSpec(Model):
    """A value that task, instructions and prompts may use as `{{$name}}`."""

    default: Any = Field(default=None, description="Value if the run gives none.")
    description: str | None = Field(default="", description="What the value is for.")
    required: bool = Field(default=False, description="Whether a run must give a value.")
    type: str | None = Field(default=None, description="Type of the value; for readers only.")


def _bare_input(value: Any) -> Any:
    """`year: 2025` is short for `year: {default: 2025}`."""
    if isinstance(value, list):
        raise ValueError("should be a single value or {default: …, description: …, required: …}")
    return value if isinstance(value, Mapping | InputSpec) else {"default": value}


TeamInput = Annotated[
    InputSpec, BeforeValidator(_bare_input, json_schema_input_type=str | float | bool | None | InputSpec)
]


class ModelConnection(Model):
    """Which service an agent talks to."""

    service_id: str | None = Field(default=None, description="Name of a service of the team.")
    type: Any = _unused(None)
    extras: Any = _unused({})


class ModelSpec(Model):
    """The model an agent thinks with."""

    id: str | None = Field(default=None, description="Model to ask in place of the service's own.")
    connection: ModelConnection = Field(default={}, validate_default=True, description="Which service to use.")
    options: Options = Field(default={}, description="Execution settings, such as temperature.")
    api: Any = _unused("chat")


class ToolSpec(Model):
    """One function, or a whole plugin, that an agent may call."""

    id: str | None = Field(default=None, description="plugin.function, or plugin.* for all of a plugin.")
    type: str = Field(default="function", description="function; SK ignores other kinds.")
    description: str | None = Field(default=None, description="For readers only.")
    options: Any = _unused({})
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
    """An agent: SK's declarative spec, with name and description required; or a person, or a team in a file."""

    model_config = ConfigDict(json_schema_extra=_from_file)

    type: Literal["chat_completion_agent", "human", "team"] = Field(
        default="chat_completion_agent", description="Kind of agent; human is a person, team another team file."
    )
    name: AgentName = Field(description="Unique name; the manager addresses the agent by it.")
    description: str = Field(min_length=1, description="What it is good at; the manager chooses by it.")
    team: FilePath | None = Field(default=None, description="Team file of an agent of type team.")
    instructions: str | None = Field(
        default=None, description="System prompt, a template over the inputs; shown to a person."
    )
    model: ModelSpec = Field(default={}, validate_default=True, description="Service, model and options.")
    tools: ListOf[ToolSpec] = Field(default=(), description="What the agent may call; nothing else is offered.")
    context: ContextConfig | None = Field(
        default=None, description="What is sent of a long conversation; default: all of it."
    )
    inputs: dict[Identifier, InputSpec] = Field(default={}, description="Values for this agent's instructions.")
    template: PromptTemplate | None = Field(default=None, description="Prompt template settings.")
    prompt_template: PromptTemplate | None = Field(default=None, description="Another word for template; it wins.")
    id: Any = _unused(None)
    outputs: Any = _unused({})
    extras: Any = _unused({})
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


class ManagerPrompts(Model):
    """SK templates in place of the manager's own prompts; each may use the variables named here, and inputs."""

    facts: str | None = Field(default=None, description="Asks for the facts; {{$task}}.")
    plan: str | None = Field(default=None, description="Asks for the plan; {{$team}}.")
    task_ledger: str | None = Field(
        default=None, description="Opens the work; {{$task}}, {{$team}}, {{$facts}}, {{$plan}}."
    )
    facts_update: str | None = Field(default=None, description="Asks for new facts; {{$task}}, {{$old_facts}}.")
    plan_update: str | None = Field(default=None, description="Asks for a new plan; {{$team}}.")
    progress_ledger: str | None = Field(
        default=None, description="Asks for the ledger; {{$task}}, {{$team}}, {{$names}}."
    )
    final_answer: str | None = Field(default=None, description="Asks for the answer; {{$task}}.")


class ManagerConfig(Model):
    """The Magentic manager, which plans, chooses speakers and judges progress."""

    service: str | None = Field(default=None, description="Name of its service; default: default, or the only one.")
    max_rounds: int = Field(default=20, ge=1, description="Rounds before the run ends as limited.")
    max_stalls: int = Field(default=3, ge=0, description="Stalled rounds before a new plan is made.")
    max_resets: int = Field(default=2, ge=0, description="New plans before the run ends as limited.")
    ledger_attempts: int = Field(default=3, ge=1, description="Times a progress ledger is asked for before giving up.")
    must_speak: Names = Field(
        default=(), description="Agents that have to speak before the request may count as satisfied."
    )
    options: Options = Field(default={}, description="Execution settings for the manager's calls.")
    context: ContextConfig | None = Field(
        default=None, description="What is sent of a long conversation; default: all of it."
    )
    prompts: ManagerPrompts = Field(
        default={}, validate_default=True, description="Prompts in place of the built-in ones."
    )


class Limits(Model):
    """What a run may use before it is ended."""

    deadline: Duration | None = Field(default=1800.0, description="Time for the whole run, such as 15m; null for none.")
    model_timeout: Duration = Field(default=120.0, description="Time for one model call.")
    tool_timeout: Duration = Field(default=60.0, description="Time for one function call.")
    max_tokens: int | None = Field(default=None, ge=1, description="Tokens that all calls of a run may use together.")
    retries: int = Field(default=4, ge=0, description="Repeats of a model call that failed in a way that may pass.")
    result_chars: int = Field(
        default=20_000, ge=1, description="Characters after which a function's result is cut for the model."
    )
    tool_rounds: int = Field(default=10, ge=1, description="Times an agent may call functions in one turn.")


class ReviewConfig(Model):
    """Where a person decides."""

    plan: bool = Field(default=False, description="Whether each plan is shown for approval.")
    tools: Names = Field(
        default=(), description="Functions to ask about before each call, such as db.execute or crm.*."
    )


class ReportConfig(Model):
    """What a run leaves behind besides its log."""

    formats: ListOf[Literal["md", "html", "json"]] = Field(
        default=("md", "html", "json"), description="Files to write: report.md, report.html, result.json."
    )


class TeamConfig(Model):
    """A team of agents for Semantic Kernel's Magentic orchestration."""

    name: str = Field(min_length=1, description="Name of the team.")
    description: str = Field(default="", description="What the team is for.")
    task: str | None = Field(default=None, description="Task if the run gives none; a template over the inputs.")
    inputs: dict[Identifier, TeamInput] = Field(
        default={}, description="Name -> value or {default, …}; used as {{$name}}."
    )
    services: dict[str, Service] = Field(default={}, description="Name -> how to reach a model.")
    plugins: dict[Identifier, Plugin] = Field(default={}, description="Name -> where functions come from.")
    agents: ListOf[AgentConfig] = Field(
        min_length=1, description="The agents, each inline or {file: …} with overrides."
    )
    manager: ManagerConfig = Field(default={}, validate_default=True, description="How the manager works.")
    limits: Limits = Field(default={}, validate_default=True, description="When a run is ended.")
    review: ReviewConfig = Field(default={}, validate_default=True, description="What a person has to agree to.")
    report: ReportConfig = Field(default={}, validate_default=True, description="What to write after a run.")
