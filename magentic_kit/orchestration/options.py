"""How a team is loaded and run: the arguments that the public entries take, each described once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict

from magentic_kit.events import AnyEvent
from magentic_kit.runlog.emitter import Sink
from magentic_kit.runlog.record import View
from magentic_kit.runlog.replay import UnknownTools
from magentic_kit.runlog.result import RunResult
from magentic_kit.team.people import Approver, People, Reviewer, Speaker
from magentic_kit.team.plan import TaskLedger

if TYPE_CHECKING:  # Semantic Kernel takes seconds to import, and the command line needs these names before
    from semantic_kernel import Kernel
    from semantic_kernel.agents import Agent, MagenticManagerBase
    from semantic_kernel.agents.runtime import CoreRuntime
    from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase
    from semantic_kernel.contents import ChatMessageContent, StreamingChatMessageContent

    ResponseCallback = Callable[[ChatMessageContent], Awaitable[None] | None]
    StreamingCallback = Callable[[StreamingChatMessageContent, bool], Awaitable[None] | None]
    Manager = MagenticManagerBase | Callable[[ChatCompletionClientBase], MagenticManagerBase]

Task: TypeAlias = "str | ChatMessageContent | list[ChatMessageContent]"
"""What to do, as Semantic Kernel's orchestrations take it."""

OnEvent = Callable[[AnyEvent], Awaitable[None] | None]
"""Is called with every event of a team's run, in order; one that raises is logged and never harms the run."""


def optional(about: str, default: Any = None) -> Any:
    """A parameter that may be left out."""
    if isinstance(default, dict):
        return field(default_factory=dict, metadata={"help": about})
    return field(default=default, metadata={"help": about})


def default_of(option: Field[Any]) -> Any:
    """What a parameter is if it is left out."""
    if option.default_factory is MISSING:
        return option.default
    return option.default_factory()


# -- loading


@dataclass(frozen=True, kw_only=True)
class Injected:
    """What the caller brings in place of, or besides, what the team file has."""

    kernel: Kernel | None = optional("a kernel whose services, plugins and filters the agents share")
    services: Mapping[str, ChatCompletionClientBase] = optional("chat services by name, before the file's", {})
    agents: Mapping[str, Agent] = optional("SK agents by name, in place of or besides the file's", {})
    plugins: Mapping[str, object] = optional("plugins by name, before the file's: objects or KernelPlugins", {})


@dataclass(frozen=True, kw_only=True)
class LoadArguments(Injected):
    """How a team is loaded."""

    overrides: Mapping[str, Any] = optional("values by dotted path, such as `agents.Writer.instructions`", {})
    env: Mapping[str, str] | None = optional("fills `${NAME}` in place of the process's environment")


@dataclass(frozen=True)
class FromYaml(LoadArguments):
    """The arguments of `TeamFactory.from_yaml`."""

    path: str | Path = field(metadata={"help": "the team file"})


@dataclass(frozen=True)
class FromDict(LoadArguments):
    """The arguments of `TeamFactory.from_dict`."""

    data: Mapping[str, Any] = field(metadata={"help": "what a team file would have"})
    base_dir: str | Path | None = field(
        default=None, kw_only=True, metadata={"help": "where relative paths begin; default: the working directory"}
    )


@dataclass(frozen=True)
class FromRun(LoadArguments):
    """The arguments of `TeamFactory.from_run`."""

    run_dir: str | Path = field(metadata={"help": "the run's directory"})


# -- running


@dataclass(frozen=True, kw_only=True)
class TeamChanges:
    """What is different about the team in one run."""

    limits: Mapping[str, Any] = optional("limits of this run by name, such as {'max_rounds': 5, 'deadline': '2m'}", {})
    overrides: Mapping[str, Any] = optional(
        "values of the team file by dotted path, for this run; plugins are made anew", {}
    )


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What fills the team's templates."""

    inputs: Mapping[str, Any] = optional("values of the team's inputs, for its task, instructions and prompts", {})


@dataclass(frozen=True, kw_only=True)
class Attached:
    """What goes with the task."""

    attach: Sequence[str | Path] = optional("files that go with the task: images, texts, PDF as text", ())
    history: RunResult | str | Path | None = optional("an earlier run, or its directory, which the task goes on from")


@dataclass(frozen=True, kw_only=True)
class PeopleArguments:
    """Who answers in a run."""

    reviewer: Reviewer | None = optional("judges plans: PlanReviewRequest -> PlanReview, sync or async")
    approver: Approver | None = optional("judges calls that `review.tools` names: ToolReviewRequest -> ToolReview")
    humans: Mapping[str, Speaker] = optional("speak as team members, by agent name or `*`: HumanTurn -> str", {})

    @property
    def people(self) -> People:
        """Who answers."""
        return People(reviewer=self.reviewer, approver=self.approver, humans=self.humans)


@dataclass(frozen=True, kw_only=True)
class OrchestrationArguments(PeopleArguments):
    """What Semantic Kernel's orchestration is made with, besides the team."""

    output_type: Any = optional("the type of the answer: a pydantic model, another type, or a JSON Schema")
    manager: Manager | None = optional("an SK manager, or what makes one of the chat service, such as its class")
    agent_response_callback: ResponseCallback | None = optional("SK's: (message) after each agent's turn")
    streaming_agent_response_callback: StreamingCallback | None = optional("SK's: (piece, is_final) as agents write")


@dataclass(frozen=True, kw_only=True)
class ResumeArguments(OrchestrationArguments, TeamChanges):
    """How a run is carried out, be it a new one or one that goes on."""

    runtime: CoreRuntime | None = optional("a started SK runtime of your own, which keeps the run's actors")
    sinks: Iterable[Sink] = optional("functions of every event, as it comes", ())
    views: Iterable[View] = optional("functions of every event and the run's record so far", ())
    unknown_tools: UnknownTools | None = optional(
        "results of tool calls that began and never ended, by the call's name or `*`; None makes the call again"
    )

    def for_new_run(self, *, inputs: Mapping[str, Any], out: Path, attach: Sequence[str | Path]) -> RunArguments:
        """The same for a run that begins."""
        shared = {option.name: getattr(self, option.name) for option in fields(ResumeArguments)}
        return RunArguments(inputs=inputs, out=out, attach=attach, **shared)


@dataclass(frozen=True, kw_only=True)
class RunArguments(ResumeArguments, Inputs, Attached):
    """How a new run is carried out."""

    out: str | Path | None = optional("where the run's directory is made; None: nowhere", "runs")
    plan: TaskLedger | None = optional("is carried out in place of a plan that the manager makes")
    reuse: str | Path | None = optional("directory of a run whose unchanged steps are not paid again")


_TASK = "what to do, sent as written: a text, or SK's messages with images; default: the plan's, else the team's own"


@dataclass(frozen=True)
class Start(RunArguments):
    """The arguments of `TeamFactory.start`, `run` and `stream`."""

    task: Task | None = optional(_TASK)


@dataclass(frozen=True)
class Resume(ResumeArguments):
    """The arguments of `TeamFactory.resume`."""

    run_dir: str | Path = field(metadata={"help": "the run's directory"})
    inputs: Mapping[str, Any] = field(
        default_factory=dict, kw_only=True, metadata={"help": "inputs that are secret, as the log does not have them"}
    )


@dataclass(frozen=True)
class Plan(TeamChanges, Inputs, Attached):
    """The arguments of `TeamFactory.plan`."""

    task: Task | None = optional(_TASK)


@dataclass(frozen=True, kw_only=True)
class Orchestrate(OrchestrationArguments, TeamChanges, Inputs):
    """The arguments of `TeamFactory.create_orchestration`."""

    on_event: Sink | None = optional("a function of every event, as it comes")


@dataclass(frozen=True)
class Embed(RunArguments):
    """The arguments of `TeamFactory.as_plugin` and `as_agent`."""

    name: str | None = optional("of the plugin or agent; default: made of the team's")
    on_event: OnEvent | None = field(
        default=None, kw_only=True, metadata={"help": "a function of every event of every run, sync or async"}
    )


class ResumeOptions(TypedDict, total=False):
    """Options of a run as keywords, for whoever gathers them one by one."""

    sinks: Iterable[Sink]
    views: Iterable[View]
    reviewer: Reviewer
    approver: Approver
    humans: Mapping[str, Speaker]
    unknown_tools: UnknownTools
