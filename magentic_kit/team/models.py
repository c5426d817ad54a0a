"""The team file as pydantic models: manager, limits, and the team as a whole."""

import warnings
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from magentic_kit.team.agents import AgentConfig, ContextConfig, TeamInput
from magentic_kit.team.plugins import Plugin
from magentic_kit.team.services import Service
from magentic_kit.team.values import Duration, FilePath, Identifier, ListOf, Model, Names, Options, part

if TYPE_CHECKING:
    from magentic_kit.events import RunLimits


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
    prompts: ManagerPrompts = part("Prompts in place of the built-in ones.")


class Limits(Model):
    """What a run may use before it is ended."""

    deadline: Duration | None = Field(default=1800.0, description="Time for the whole run, such as 15m; null for none.")
    model_timeout: Duration = Field(
        default=600.0, description="Time for one model call, from sending it to the end of the reply."
    )
    stream_idle_timeout: Duration = Field(
        default=120.0, description="Time that a model may be silent, before its reply and within it."
    )
    tool_timeout: Duration = Field(default=60.0, description="Time for one function call.")
    max_tokens: int | None = Field(default=None, ge=1, description="Tokens that all calls of a run may use together.")
    max_cost: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="US dollars that all calls of a run may cost together; each model needs a price.",
    )
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


with (
    warnings.catch_warnings()
):  # the key is the field's word for it; pydantic has a method of that name, long deprecated
    warnings.simplefilter("ignore", UserWarning)

    class AnswerConfig(Model):
        """The form of the final answer."""

        schema: FilePath = Field(description="File with the JSON Schema that the answer fits, as JSON or YAML.")  # type: ignore[assignment]


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
    manager: ManagerConfig = part("How the manager works.")
    answer: AnswerConfig | None = Field(default=None, description="The form of the final answer; default: text.")
    limits: Limits = part("When a run is ended.")
    review: ReviewConfig = part("What a person has to agree to.")
    report: ReportConfig = part("What to write after a run.")

    def run_limits(self) -> "RunLimits":
        """The limits of a run, of the manager and of `limits`."""
        from magentic_kit.events import RunLimits  # the command line shows a run's first line without the events

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
            max_cost=limits.max_cost,
        )
