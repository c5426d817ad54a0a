"""What happens in a run, as small frozen events closed by one union; to plain data."""

from __future__ import annotations

import typing
from collections.abc import Iterable
from dataclasses import dataclass, field, is_dataclass
from datetime import datetime, timezone
from typing import Any, ClassVar, TypeAlias

from typing_extensions import TypedDict  # pydantic reads typing's from Python 3.12 on only

VERSION = 1
"""Version of the event format, written as `v` on every line of events.jsonl."""

MANAGER = "manager"
"""The manager's name wherever an event says who acted; no agent may be called so."""

Identity: TypeAlias = tuple[str, ...] | None
"""The fields that tell an event from others of its type and run, the same when the run is replayed; None: each is new.
"""


READING = {"strict": True, "extra": "forbid", "allow_inf_nan": False}
"""How pydantic reads the events of a log back: nothing is taken for what it is not, and nothing is passed over."""


class ErrorDetails(TypedDict):
    """Which part failed (`KitError.kind`), and how."""

    kind: str
    message: str


class GivenPlan(TypedDict):
    """The plan of a run that carries out one made before."""

    facts: str
    plan: str


class NoPlan(TypedDict):
    """The run makes its plan itself."""


class FunctionCall(TypedDict):
    """A function call, as the model asked for it."""

    id: str | None
    index: int | None
    name: str | None
    arguments: str | dict[str, Any] | None


class Attachment(TypedDict):
    """What goes with a text: an image, audio, a file, a text with a name.

    Its content (`size` bytes) is beside the log, by its SHA-256; both are empty for what stands at a `uri` only.
    """

    type: str
    name: str
    mime_type: str
    sha256: str
    size: int
    uri: str


@dataclass(frozen=True, kw_only=True)
class Event:
    """Base: the run stamps `seq` (from 0, no gaps), `time` (UTC, ISO 8601) and `run_id` when it emits.

    `type` names the event in the log, to which only `logged` events are written.
    """

    __pydantic_config__: ClassVar[Any] = READING
    type: ClassVar[str]
    identity: ClassVar[Identity] = None
    logged: ClassVar[bool] = True
    seq: int = -1
    time: str = ""
    run_id: str = ""

    @property
    def key(self) -> tuple[Any, ...] | None:
        """The type and the values of `identity`; None if the event has no counterpart in another run of the log."""
        if self.identity is None:
            return None
        return (self.type, *(getattr(self, name) for name in self.identity))


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """One answer of a progress ledger and the manager's reason for it."""

    answer: bool | str
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Tokens of one call as the provider counted them; None where it did not say.

    `cached_tokens` are those of the prompt that it had in its cache; `prompt_tokens` includes them.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None


@dataclass(frozen=True, kw_only=True)
class RunLimits:
    """Every limit of a run, as `manager:` and `limits:` of the team file have it; None: no limit.

    Times are in seconds, `max_cost` in US dollars.
    """

    max_rounds: int | None = None
    max_stalls: int | None = None
    max_resets: int | None = None
    max_tokens: int | None = None
    deadline: float | None = None
    model_timeout: float | None = None
    stream_idle_timeout: float | None = None
    tool_timeout: float | None = None
    tool_rounds: int | None = None
    retries: int | None = None
    result_chars: int | None = None
    max_cost: float | None = None


@dataclass(frozen=True, kw_only=True)
class RunStarted(Event):
    """A run began. `agents` and `manager` give each participant's service, provider, model and tools.

    `follows` is the id of the run that it goes on from with a new task; what is known of that is an attachment.
    """

    type: ClassVar[str] = "run_started"
    identity: ClassVar[Identity] = ()
    team: str
    task: str
    agents: dict[str, dict[str, Any]]
    manager: dict[str, Any]
    limits: RunLimits = field(default_factory=RunLimits)
    inputs: dict[str, Any] = field(default_factory=dict)
    plan: GivenPlan | NoPlan = field(default_factory=NoPlan)
    base_dir: str = ""
    config_hash: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    attachments: list[Attachment] = field(default_factory=list)
    follows: str = ""


@dataclass(frozen=True, kw_only=True)
class PlanCreated(Event):
    """The manager wrote the first task ledger; `version` is 1."""

    type: ClassVar[str] = "plan_created"
    identity: ClassVar[Identity] = ("version",)
    facts: str
    plan: str
    version: int = 1


@dataclass(frozen=True, kw_only=True)
class Replanned(Event):
    """The manager wrote a new task ledger, because of stalls (`is_stalled`) or of a review.

    `version` counts on from the first.
    """

    type: ClassVar[str] = "replanned"
    identity: ClassVar[Identity] = ("version",)
    facts: str
    plan: str
    version: int
    reason: str = ""
    is_stalled: bool = True


@dataclass(frozen=True, kw_only=True)
class PlanReviewed(Event):
    """A person judged the plan `version`: `approve`, `revise` or `reject`, with words."""

    type: ClassVar[str] = "plan_reviewed"
    identity: ClassVar[Identity] = ("version",)
    version: int
    decision: str
    feedback: str = ""


@dataclass(frozen=True, kw_only=True)
class ProgressLedger(Event):
    """The manager judged where the run stands and chose the next speaker.

    `attempts` is how many replies it took, `repaired` whether the reply had to be mended to be read,
    `tier` how the ledger was asked for (`json_schema`, `json_object` or `prompt`);
    `stalls` counts stalls including this round's.
    """

    type: ClassVar[str] = "progress_ledger"
    identity: ClassVar[Identity] = ("round",)
    round: int
    is_request_satisfied: Judgement
    is_in_loop: Judgement
    is_progress_being_made: Judgement
    next_speaker: Judgement
    instruction_or_question: Judgement
    stalls: int = 0
    attempts: int = 1
    repaired: bool = False
    tier: str = ""


def stalled(ledger: ProgressLedger) -> bool:
    """Whether the round that `ledger` judges counts as a stall."""
    moving = ledger.is_progress_being_made.answer is True and ledger.is_in_loop.answer is not True
    return ledger.is_request_satisfied.answer is not True and not moving


@dataclass(frozen=True, kw_only=True)
class LedgerRejected(Event):
    """A reply could not be used as a progress ledger; the manager is asked again with `error`."""

    type: ClassVar[str] = "ledger_rejected"
    identity: ClassVar[Identity] = ("round", "attempt")
    round: int
    attempt: int
    error: str
    text: str


@dataclass(frozen=True, kw_only=True)
class AnswerRejected(Event):
    """A final answer did not fit the team's schema of answers; the manager is asked again with `error`."""

    type: ClassVar[str] = "answer_rejected"
    identity: ClassVar[Identity] = ("attempt",)
    attempt: int
    error: str
    text: str


@dataclass(frozen=True, kw_only=True)
class AgentStarted(Event):
    """An agent's turn began."""

    type: ClassVar[str] = "agent_started"
    identity: ClassVar[Identity] = ("round", "agent")
    agent: str
    round: int
    instruction: str


@dataclass(frozen=True, kw_only=True)
class AgentMessage(Event):
    """An agent's turn ended with `text`; `note` says what was odd about it (an empty reply, a cut one)."""

    type: ClassVar[str] = "agent_message"
    identity: ClassVar[Identity] = ("round", "agent")
    agent: str
    round: int
    text: str
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class TextDelta(Event):
    """A piece of streamed text, for live sinks only. `purpose` is `turn` or a manager's step."""

    type: ClassVar[str] = "text_delta"
    logged: ClassVar[bool] = False
    who: str
    purpose: str
    text: str


@dataclass(frozen=True, kw_only=True)
class ReasoningDelta(Event):
    """A piece of streamed reasoning, for live sinks only; the fields are those of `TextDelta`."""

    type: ClassVar[str] = "reasoning_delta"
    logged: ClassVar[bool] = False
    who: str
    purpose: str
    text: str


@dataclass(frozen=True, kw_only=True)
class DialectFound(Event):
    """A service refused a request, and takes it in another form: `name` as in `services.NAME.dialect`."""

    type: ClassVar[str] = "dialect_found"
    identity: ClassVar[Identity] = ("service", "name")
    service: str
    name: str
    refusal: str


@dataclass(frozen=True, kw_only=True)
class ServiceReplaced(Event):
    """From here on the service `by` answers in place of `service`, which failed `who` with `error`."""

    type: ClassVar[str] = "service_replaced"
    identity: ClassVar[Identity] = ("service", "by")
    service: str
    by: str
    who: str
    error: str


@dataclass(frozen=True, kw_only=True)
class ContextShortened(Event):
    """A request was too long for the model, and is repeated without its `left_out` oldest messages."""

    type: ClassVar[str] = "context_shortened"
    identity: ClassVar[Identity] = ("call",)
    call: str
    who: str
    left_out: int
    error: str


@dataclass(frozen=True, kw_only=True)
class TextCallCorrected(Event):
    """A model wrote calls of `functions` as text, and was asked to call them by the API."""

    type: ClassVar[str] = "text_call_corrected"
    identity: ClassVar[Identity] = ("call",)
    call: str
    who: str
    functions: list[str]


@dataclass(frozen=True, kw_only=True)
class ModelCallStarted(Event):
    """A request to a model is about to be sent. `call` names it within the run, `who#n`; `request` is packed.

    `purpose` is `facts`, `plan`, `ledger`, `answer` for the manager and `turn` for an agent, `summary` for both.
    `characters` counts what is sent, `saved` what a window (`context:`) keeps back, less what its summaries take.
    """

    type: ClassVar[str] = "model_call_started"
    identity: ClassVar[Identity] = ("call",)
    call: str
    who: str
    purpose: str
    service: str
    model: str
    characters: int = 0
    saved: int = 0
    request: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ModelCallRetried(Event):
    """An attempt failed in a way that may pass; the next follows after `wait` seconds."""

    type: ClassVar[str] = "model_call_retried"
    call: str
    who: str
    attempt: int
    wait: float
    error: str


@dataclass(frozen=True, kw_only=True)
class ModelCallFinished(Event):
    """A model answered. `seconds` includes retries; `tool_calls` are `{id, index, name, arguments}`.

    `finish_reason` is `stop`, `tool_calls`, `length` (cut), `content_filter` (withheld) or `refusal` (`text` is it);
    `reasoning` is what the model thought before it replied, which is never sent back. `reused` tells that the reply
    was taken from an earlier run and nothing was paid. `cost` is in US dollars, None if the model's price is unknown
    or the provider did not count the tokens.
    """

    type: ClassVar[str] = "model_call_finished"
    identity: ClassVar[Identity] = ("call",)
    call: str
    who: str
    purpose: str
    seconds: float
    usage: Usage
    text: str
    tool_calls: list[FunctionCall] = field(default_factory=list)
    finish_reason: str = ""
    reasoning: str = ""
    reused: bool = False
    cost: float | None = None


@dataclass(frozen=True, kw_only=True)
class ModelCallFailed(Event):
    """A model call ended without an answer: an error, a limit or a cancel (`kind`).

    `fault` says what is wrong with the request or the service, as `ServiceError.fault`.
    """

    type: ClassVar[str] = "model_call_failed"
    call: str
    who: str
    purpose: str
    seconds: float
    kind: str
    error: str
    status: int | None = None
    fault: str = ""
    retryable: bool = False


@dataclass(frozen=True, kw_only=True)
class ToolReviewed(Event):
    """A person judged a tool call: `approve`, `approve_for_run` or `deny`, with a reason.

    `arguments` are those of the call as the person saw it; None in older logs.
    """

    type: ClassVar[str] = "tool_reviewed"
    identity: ClassVar[Identity] = ("call",)
    call: str
    who: str
    function: str
    decision: str
    reason: str = ""
    arguments: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class ToolCallStarted(Event):
    """A function is about to be called for `who`; `arguments` as the model gave them."""

    type: ClassVar[str] = "tool_call_started"
    identity: ClassVar[Identity] = ("call",)
    call: str
    who: str
    function: str
    arguments: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ToolCallFinished(Event):
    """A function returned; the model is given `result`, cut if it is very long, and the `attachments` (images)."""

    type: ClassVar[str] = "tool_call_finished"
    identity: ClassVar[Identity] = ("call",)
    call: str
    who: str
    function: str
    seconds: float
    result: str
    reused: bool = False
    attachments: list[Attachment] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class ToolCallFailed(Event):
    """A function raised or timed out; the model is told `error`."""

    type: ClassVar[str] = "tool_call_failed"
    identity: ClassVar[Identity] = ("call",)
    call: str
    who: str
    function: str
    seconds: float
    error: str


@dataclass(frozen=True, kw_only=True)
class ToolCallDenied(Event):
    """A call was refused before it reached any function; the model is told `reason`.

    `arguments` is None in older logs, and where the model's could not be read.
    """

    type: ClassVar[str] = "tool_call_denied"
    identity: ClassVar[Identity] = ("call",)
    call: str
    who: str
    function: str
    reason: str
    arguments: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class FunctionsLeftOut(Event):
    """A plugin has started, and what `reasons` name of it cannot be offered to agents."""

    type: ClassVar[str] = "functions_left_out"
    identity: ClassVar[Identity] = ("plugin",)
    plugin: str
    reasons: list[str]


@dataclass(frozen=True, kw_only=True)
class FunctionsChanged(Event):
    """An MCP server has other tools than before; agents that list them are offered them from `call` on."""

    type: ClassVar[str] = "functions_changed"
    identity: ClassVar[Identity] = ("plugin", "call")
    plugin: str
    call: str
    """The call of a model before which that was found."""
    added: list[str]
    removed: list[str]
    """Names of functions, without the plugin's."""


@dataclass(frozen=True, kw_only=True)
class ServerMessage(Event):
    """An MCP server reports something, for live sinks only; `level` is that of a log message, or `progress`."""

    type: ClassVar[str] = "server_message"
    logged: ClassVar[bool] = False
    plugin: str
    level: str
    text: str


@dataclass(frozen=True, kw_only=True)
class TeamProgress(Event):
    """A run that this run's `call` has begun has come further; `text` is one line on its event number `at`."""

    type: ClassVar[str] = "team_progress"
    identity: ClassVar[Identity] = ("call", "at")
    call: str
    team: str
    at: int
    text: str


@dataclass(frozen=True, kw_only=True)
class LimitReached(Event):
    """A limit ends the run; `limit` is `max_rounds`, `max_resets`, `max_tokens`, `max_cost` or `deadline`."""

    type: ClassVar[str] = "limit_reached"
    limit: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class RunResumed(Event):
    """The run goes on live from here; logged events after `from_seq` and before this one no longer hold."""

    type: ClassVar[str] = "run_resumed"
    from_seq: int


@dataclass(frozen=True, kw_only=True)
class RunFinished(Event):
    """The run ended. `outcome` is `satisfied`, `limited`, `rejected`, `cancelled` or `failed`.

    `reason` is the limit's name or a person's words, `error` what failed (`{kind, message}`) or None; `notes` say
    what a reader of the answer has to know besides.
    """

    type: ClassVar[str] = "run_finished"
    outcome: str
    answer: str
    reason: str = ""
    error: ErrorDetails | None = None
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    value: Any = None


_OfPlans: TypeAlias = PlanCreated | Replanned | PlanReviewed
_OfRounds: TypeAlias = ProgressLedger | LedgerRejected | AgentStarted | AgentMessage | TextDelta | ReasoningDelta
_OfEnds: TypeAlias = AnswerRejected | LimitReached | RunResumed | RunFinished
_OfModels: TypeAlias = ModelCallStarted | ModelCallRetried | ModelCallFinished | ModelCallFailed
_OfServices: TypeAlias = DialectFound | ServiceReplaced | ContextShortened | TextCallCorrected
_OfTools: TypeAlias = ToolReviewed | ToolCallStarted | ToolCallFinished | ToolCallFailed | ToolCallDenied | TeamProgress
_OfPlugins: TypeAlias = FunctionsLeftOut | FunctionsChanged | ServerMessage
AnyEvent: TypeAlias = RunStarted | _OfPlans | _OfRounds | _OfModels | _OfServices | _OfTools | _OfPlugins | _OfEnds

TYPES: dict[str, type[Event]] = {cls.type: cls for cls in typing.get_args(AnyEvent)}
"""Each event by its `type`."""


def effective(events: Iterable[AnyEvent]) -> list[AnyEvent]:
    """The events of a log that still hold: what a resumed run took back is left out."""
    held: list[AnyEvent] = []
    for event in events:
        if isinstance(event, RunResumed):
            held = [e for e in held if e.seq <= event.from_seq and not isinstance(e, RunFinished)]
        held.append(event)
    return held


def now() -> str:
    """The time as an event has it."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds(time: str) -> float:
    """An event's time in seconds since 1970. Raises `ValueError` if it is no time, or has no time zone."""
    parsed = datetime.fromisoformat(time.replace("Z", "+00:00"))
    if parsed.tzinfo is None:
        raise ValueError(f"{time!r} has no time zone")
    return parsed.timestamp()


def to_dict(event: Event) -> dict[str, Any]:
    """The event as plain data, envelope first. Shares what the event holds: change it in a copy only."""
    envelope = {"v": VERSION, "seq": event.seq, "time": event.time, "run_id": event.run_id, "type": event.type}
    return envelope | as_data(event)


def as_data(part: object) -> dict[str, Any]:
    """The fields of a dataclass, and of those that it holds, as plain data that is shared with it."""
    data = dict(vars(part))
    for name, value in data.items():
        if is_dataclass(value):
            data[name] = dict(vars(value))
    return data
