"""What happens in a run, as small frozen events closed by one union; to and from JSON."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from dataclasses import MISSING, FrozenInstanceError, dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeAlias

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:  # costs milliseconds of every command that reads a log

    def dataclass_transform(**_):
        """Says nothing while the program runs."""
        return lambda cls: cls


VERSION = 1
"""Version of the event format, written as `v` on every line of events.jsonl."""

MANAGER = "manager"
"""The manager's name wherever an event says who acted; no agent may be called so."""


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Frozen:
    """Makes its subclasses frozen dataclasses with keywords only.

    What `dataclass` would compile for each of them stands here once for all; `list` and `show` start sooner by that.
    """

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    def __init_subclass__(cls) -> None:
        dataclass(init=False, repr=False, eq=False, kw_only=True)(cls)

    def __init__(self, **values: Any) -> None:
        held = vars(self)
        for spec in dataclasses.fields(self):
            if spec.name in values:
                held[spec.name] = values.pop(spec.name)
            elif spec.default_factory is not MISSING:
                held[spec.name] = spec.default_factory()
            elif spec.default is not MISSING:
                held[spec.name] = spec.default
            else:
                raise TypeError(f"{type(self).__name__} needs {spec.name}")
        if values:
            raise TypeError(f"{type(self).__name__} has no {', '.join(values)}")

    def __setattr__(self, name: str, value: object = None) -> NoReturn:
        raise FrozenInstanceError(f"cannot change {name}")

    __delattr__ = __setattr__

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


class Event(Frozen):
    """Base: the run stamps `seq` (from 0, no gaps), `time` (UTC, ISO 8601) and `run_id` when it emits.

    Each event's `type` in the log is its class's name in snake case.
    """

    type: ClassVar[str]
    logged: ClassVar[bool] = True
    seq: int = -1
    time: str = ""
    run_id: str = ""

    def __init_subclass__(cls) -> None:
        cls.type = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()
        super().__init_subclass__()

    @property
    def key(self) -> tuple[Any, ...] | None:
        """What tells this event from others of its run; the same when a run is replayed. None: always new."""
        if self.type in ("limit_reached", "model_call_retried", "model_call_failed", "run_resumed", "run_finished"):
            return None
        names = ("call", "version", "round", "agent", "attempt", "at")
        return (self.type, *(getattr(self, name, None) for name in names))


class Judgement(Frozen):
    """One answer of a progress ledger and the manager's reason for it."""

    answer: bool | str
    reason: str = ""


class Usage(Frozen):
    """Tokens of one call as the provider counted them; None where it did not say."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class RunStarted(Event):
    """A run began. `agents` and `manager` give each participant's service, provider, model and tools."""

    team: str
    task: str
    agents: dict[str, dict[str, Any]]
    manager: dict[str, Any]
    limits: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, Any] = field(default_factory=dict)
    plan: dict[str, str] = field(default_factory=dict)
    base_dir: str = ""
    config_hash: str = ""
    versions: dict[str, str] = field(default_factory=dict)


class PlanCreated(Event):
    """The manager wrote the first task ledger; `version` is 1."""

    facts: str
    plan: str
    version: int = 1


class Replanned(Event):
    """The manager wrote a new task ledger, because of stalls (`is_stalled`) or of a review.

    `version` counts on from the first.
    """

    facts: str
    plan: str
    version: int
    reason: str = ""
    is_stalled: bool = True


class PlanReviewed(Event):
    """A person judged the plan `version`: `approve`, `revise` or `reject`, with words."""

    version: int
    decision: str
    feedback: str = ""


class ProgressLedger(Event):
    """The manager judged where the run stands and chose the next speaker.

    `attempts` is how many replies it took, `repaired` whether the reply had to be mended to be read,
    `tier` how the ledger was asked for (`json_schema`, `json_object` or `prompt`);
    `stalls` counts stalls including this round's.
    """

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


class LedgerRejected(Event):
    """A reply could not be used as a progress ledger; the manager is asked again with `error`."""

    round: int
    attempt: int
    error: str
    text: str


class AgentStarted(Event):
    """An agent's turn began."""

    agent: str
    round: int
    instruction: str


class AgentMessage(Event):
    """An agent's turn ended with `text`; `note` says what was odd about it (an empty reply, a cut one)."""

    agent: str
    round: int
    text: str
    note: str = ""


class TextDelta(Event):
    """A piece of streamed text, for live sinks only. `purpose` is `turn` or a manager's step."""

    logged: ClassVar[bool] = False
    who: str
    purpose: str
    text: str


class ModelCallStarted(Event):
    """A request to a model is about to be sent. `call` names it within the run, `who#n`; `request` is packed.

    `purpose` is `facts`, `plan`, `ledger`, `answer` for the manager and `turn` for an agent, `summary` for both.
    `characters` counts what is sent, `saved` what a window (`context:`) keeps back, less what its summaries take.
    """

    call: str
    who: str
    purpose: str
    service: str
    model: str
    characters: int = 0
    saved: int = 0
    request: dict[str, Any] = field(default_factory=dict)


class ModelCallRetried(Event):
    """An attempt failed in a way that may pass; the next follows after `wait` seconds."""

    call: str
    who: str
    attempt: int
    wait: float
    error: str


class ModelCallFinished(Event):
    """A model answered. `seconds` includes retries; `tool_calls` are `{id, index, name, arguments}`.

    `reused` tells that the reply was taken from an earlier run and nothing was paid.
    """

    call: str
    who: str
    purpose: str
    seconds: float
    usage: Usage
    text: str
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    finish_reason: str = ""
    reused: bool = False


class ModelCallFailed(Event):
    """A model call ended without an answer: an error, a limit or a cancel (`kind`)."""

    call: str
    who: str
    purpose: str
    seconds: float
    kind: str
    error: str
    status: int | None = None


class ToolReviewed(Event):
    """A person judged a tool call: `approve`, `approve_for_run` or `deny`, with a reason."""

    call: str
    who: str
    function: str
    decision: str
    reason: str = ""


class ToolCallStarted(Event):
    """A function is about to be called for `who`; `arguments` as the model gave them."""

    call: str
    who: str
    function: str
    arguments: dict[str, Any]


class ToolCallFinished(Event):
    """A function returned; the model is given `result`, cut if it is very long."""

    call: str
    who: str
    function: str
    seconds: float
    result: str
    reused: bool = False


class ToolCallFailed(Event):
    """A function raised or timed out; the model is told `error`."""

    call: str
    who: str
    function: str
    seconds: float
    error: str


class ToolCallDenied(Event):
    """A call was refused before it reached any function; the model is told `reason`."""

    call: str
    who: str
    function: str
    reason: str


class TeamProgress(Event):
    """A run that this run's `call` has begun has come further; `text` is one line on its event number `at`."""

    call: str
    team: str
    at: int
    text: str


class LimitReached(Event):
    """A limit ends the run; `limit` is `max_rounds`, `max_resets`, `max_tokens` or `deadline`."""

    limit: str
    detail: str


class RunResumed(Event):
    """The run goes on live from here; logged events after `from_seq` and before this one no longer hold."""

    from_seq: int


class RunFinished(Event):
    """The run ended. `outcome` is `satisfied`, `limited`, `rejected`, `cancelled` or `failed`.

    `reason` is the limit's name or a person's words, `error` what failed (`{kind, message}`) or None.
    """

    outcome: str
    answer: str
    reason: str = ""
    error: dict[str, str] | None = None
    seconds: float = 0.0


_OfPlans: TypeAlias = PlanCreated | Replanned | PlanReviewed
_OfRounds: TypeAlias = ProgressLedger | LedgerRejected | AgentStarted | AgentMessage | TextDelta
_OfModels: TypeAlias = ModelCallStarted | ModelCallRetried | ModelCallFinished | ModelCallFailed
_OfTools: TypeAlias = ToolReviewed | ToolCallStarted | ToolCallFinished | ToolCallFailed | ToolCallDenied | TeamProgress
AnyEvent: TypeAlias = RunStarted | _OfPlans | _OfRounds | _OfModels | _OfTools | LimitReached | RunResumed | RunFinished

_TYPES: dict[str, type[Event]] = {cls.type: cls for cls in AnyEvent.__args__}
_NESTED: dict[str, type[Frozen]] = {
    spec.name: part
    for part in (Judgement, Usage)
    for cls in _TYPES.values()
    for spec in dataclasses.fields(cls)
    if spec.type == part.__name__
}


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
    """An event's time in seconds since 1970."""
    return datetime.fromisoformat(time.replace("Z", "+00:00")).timestamp()


def to_dict(event: Event) -> dict[str, Any]:
    """The event as plain data, envelope first."""
    data = dataclasses.asdict(event)
    head = {"v": VERSION, "seq": data.pop("seq"), "time": data.pop("time"), "run_id": data.pop("run_id")}
    return {**head, "type": event.type, **data}


def from_dict(data: dict[str, Any]) -> AnyEvent:
    """The event that `to_dict` wrote. Raises `ValueError` on an unknown type, version or field."""
    fields = dict(data)
    if (version := fields.pop("v", None)) != VERSION:
        raise ValueError(f"event format {version!r} is not {VERSION}; read it with the release that wrote it")
    cls = _TYPES.get(kind := fields.pop("type", ""))
    if cls is None:
        raise ValueError(f"unknown event type {kind!r}")
    for name, nested in _NESTED.items():
        if isinstance(fields.get(name), dict):
            fields[name] = nested(**fields[name])
    try:
        return cls(**fields)  # type: ignore[return-value]
    except TypeError as error:
        raise ValueError(f"bad {kind} event: {error}") from None
