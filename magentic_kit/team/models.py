"""The team file as strict models."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from magentic_kit.events import RunLimits
from magentic_kit.team.providers import AGENT_NAME, Duration, Identifier, Names, Options, Plugin, Service
from magentic_kit.team.strict import Field, Model, need, opt

AgentName = Annotated[str, Field(pattern=AGENT_NAME, expected="a name of letters, digits, '-' and '_'")]


def _unused(default: Any) -> Any:
    return opt(default, "Part of SK's declarative spec; not used here.")


class InputSpec(Model):
    """A value that task, instructions and prompts may use as `{{$name}}`."""

    default: Any = opt(None, "Value if the run gives none.")
    description: str | None = opt("", "What the value is for.")
    required: bool = opt(False, "Whether a run must give a value.")
    type: str | None = opt(None, "Type of the value; for readers only.")


def _bare_input(value: Any) -> Any:
    """`year: 2025` is short for `year: {default: 2025}`."""
    if isinstance(value, list):
        raise ValueError("should be a single value or {default: …, description: …, required: …}")
    return value if isinstance(value, Mapping) else {"default": value}


TeamInput = Annotated[InputSpec, Field(parse=_bare_input, takes=str | float | bool | None | InputSpec)]


class ModelConnection(Model):
    """Which service an agent talks to."""

    service_id: str | None = opt(None, "Name of a service of the team.")
    type: Any = _unused(None)
    extras: Any = _unused({})


class ModelSpec(Model):
    """The model an agent thinks with."""

    id: str | None = opt(None, "Model to ask in place of the service's own.")
    connection: ModelConnection = opt(ModelConnection(), "Which service to use.")
    options: Options = opt({}, "Execution settings, such as temperature.")
    api: Any = _unused("chat")


class ToolSpec(Model):
    """One function, or a whole plugin, that an agent may call."""

    id: str | None = opt(None, "plugin.function, or plugin.* for all of a plugin.")
    type: str = opt("function", "function; SK ignores other kinds.")
    description: str | None = opt(None, "For readers only.")
    options: Any = _unused({})
    extras: Any = _unused({})


class PromptTemplate(Model):
    """SK's PromptTemplateConfig."""

    template: str | None = opt(None, "Text of the template; instructions win over it.")
    template_format: Literal["semantic-kernel", "jinja2", "handlebars"] = opt(
        "semantic-kernel", "Template language.", alias="format"
    )
    name: str = opt("", "Name of the template.")
    description: str | None = opt("", "For readers only.")
    input_variables: list[Options] = opt([], "Variables, each {name, description, default, …}.")
    allow_dangerously_set_content: bool = opt(False, "Put values in as they are, unescaped.")
    execution_settings: Any = _unused(None)


class ContextConfig(Model):
    """How much of a long conversation is sent: either `messages` or `tokens`, besides instructions and task ledger."""

    messages: int | None = opt(None, "Most messages to send; past it, they are cut to half.", ge=2)
    tokens: int | None = opt(None, "Most tokens to send, taken as four characters each; past it, cut to half.", ge=1)
    summarize: bool = opt(False, "Whether a summary stands for what is left out, made by a call for each cut.")


class AgentConfig(Model):
    """An agent: SK's declarative spec, with name and description required; or a person, or a team in a file."""

    type: Literal["chat_completion_agent", "human", "team"] = opt(
        "chat_completion_agent", "Kind of agent; human is a person, team another team file."
    )
    name: AgentName = need("Unique name; the manager addresses the agent by it.")
    description: str = need("What it is good at; the manager chooses by it.", filled=True)
    team: Path | None = opt(None, "Team file of an agent of type team.")
    instructions: str | None = opt(None, "System prompt, a template over the inputs; shown to a person.")
    model: ModelSpec = opt(ModelSpec(), "Service, model and options.")
    tools: tuple[ToolSpec, ...] = opt((), "What the agent may call; nothing else is offered.")
    context: ContextConfig | None = opt(None, "What is sent of a long conversation; default: all of it.")
    inputs: dict[Identifier, InputSpec] = opt({}, "Values for this agent's instructions.")
    template: PromptTemplate | None = opt(None, "Prompt template settings.")
    prompt_template: PromptTemplate | None = opt(None, "Another word for template; it wins.")
    id: Any = _unused(None)
    outputs: Any = _unused({})
    extras: Any = _unused({})
    metadata: Any = _unused({})
    version: Any = _unused(None)

    @classmethod
    def _prepare(cls, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """SK's loader reads `model:` with nothing behind it as no model at all."""
        return {key: value for key, value in data.items() if value is not None}

    @property
    def functions(self) -> list[str]:
        """The functions it lists, as `plugin.function`; SK ignores other kinds of tools."""
        return [tool.id for tool in self.tools if tool.id and tool.type == "function"]

    @property
    def prompt(self) -> PromptTemplate:
        """The template with its text filled in: instructions win over the template's own, as in SK."""
        given = {} if self.instructions is None else {"template": self.instructions}
        return (self.prompt_template or self.template or PromptTemplate()).replace(**given)


class ManagerPrompts(Model):
    """SK templates in place of the manager's own prompts; each may use the variables named here, and inputs."""

    facts: str | None = opt(None, "Asks for the facts; {{$task}}.")
    plan: str | None = opt(None, "Asks for the plan; {{$team}}.")
    task_ledger: str | None = opt(None, "Opens the work; {{$task}}, {{$team}}, {{$facts}}, {{$plan}}.")
    facts_update: str | None = opt(None, "Asks for new facts; {{$task}}, {{$old_facts}}.")
    plan_update: str | None = opt(None, "Asks for a new plan; {{$team}}.")
    progress_ledger: str | None = opt(None, "Asks for the ledger; {{$task}}, {{$team}}, {{$names}}.")
    final_answer: str | None = opt(None, "Asks for the answer; {{$task}}.")


class ManagerConfig(Model):
    """The Magentic manager, which plans, chooses speakers and judges progress."""

    service: str | None = opt(None, "Name of its service; default: default, or the only one.")
    max_rounds: int = opt(20, "Rounds before the run ends as limited.", ge=1)
    max_stalls: int = opt(3, "Stalled rounds before a new plan is made.", ge=0)
    max_resets: int = opt(2, "New plans before the run ends as limited.", ge=0)
    ledger_attempts: int = opt(3, "Times a progress ledger is asked for before giving up.", ge=1)
    must_speak: Names = opt((), "Agents that have to speak before the request may count as satisfied.")
    options: Options = opt({}, "Execution settings for the manager's calls.")
    context: ContextConfig | None = opt(None, "What is sent of a long conversation; default: all of it.")
    prompts: ManagerPrompts = opt(ManagerPrompts(), "Prompts in place of the built-in ones.")


class Limits(Model):
    """What a run may use before it is ended."""

    deadline: Duration | None = opt(1800.0, "Time for the whole run, such as 15m; null for none.")
    model_timeout: Duration = opt(600.0, "Time for one model call, from sending it to the end of the reply.")
    stream_idle_timeout: Duration = opt(120.0, "Time that a model may be silent, before its reply and within it.")
    tool_timeout: Duration = opt(60.0, "Time for one function call.")
    max_tokens: int | None = opt(None, "Tokens that all calls of a run may use together.", ge=1)
    retries: int = opt(4, "Repeats of a model call that failed in a way that may pass.", ge=0)
    result_chars: int = opt(20_000, "Characters after which a function's result is cut for the model.", ge=1)
    tool_rounds: int = opt(10, "Times an agent may call functions in one turn.", ge=1)


class ReviewConfig(Model):
    """Where a person decides."""

    plan: bool = opt(False, "Whether each plan is shown for approval.")
    tools: Names = opt((), "Functions to ask about before each call, such as db.execute or crm.*.")


class ReportConfig(Model):
    """What a run leaves behind besides its log."""

    formats: tuple[Literal["md", "html", "json"], ...] = opt(
        ("md", "html", "json"), "Files to write: report.md, report.html, result.json."
    )


class TeamConfig(Model):
    """A team of agents for Semantic Kernel's Magentic orchestration."""

    name: str = need("Name of the team.", filled=True)
    description: str = opt("", "What the team is for.")
    task: str | None = opt(None, "Task if the run gives none; a template over the inputs.")
    inputs: dict[Identifier, TeamInput] = opt({}, "Name -> value or {default, …}; used as {{$name}}.")
    services: dict[str, Service] = opt({}, "Name -> how to reach a model.")
    plugins: dict[Identifier, Plugin] = opt({}, "Name -> where functions come from.")
    agents: tuple[AgentConfig, ...] = need("The agents, each inline or {file: …} with overrides.", filled=True)
    manager: ManagerConfig = opt(ManagerConfig(), "How the manager works.")
    limits: Limits = opt(Limits(), "When a run is ended.")
    review: ReviewConfig = opt(ReviewConfig(), "What a person has to agree to.")
    report: ReportConfig = opt(ReportConfig(), "What to write after a run.")

    def run_limits(self) -> RunLimits:
        """The limits of a run, of the manager and of `limits`."""
        manager, limits = self.manager, self.limits
        return RunLimits(
            max_rounds=manager.max_rounds,
            max_stalls=manager.max_stalls,
            max_resets=manager.max_resets,
            max_tokens=limits.max_tokens,
            deadline=limits.deadline,
            model_timeout=limits.model_timeout,
            stream_idle_timeout=limits.stream_idle_timeout,
            tool_timeout=limits.tool_timeout,
            tool_rounds=limits.tool_rounds,
            retries=limits.retries,
            result_chars=limits.result_chars,
        )
