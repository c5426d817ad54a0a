"""How a team is loaded and run: the keyword arguments that `TeamFactory`'s methods share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from magentic_kit.runlog.emitter import Sink
from magentic_kit.runlog.record import View
from magentic_kit.runlog.replay import UnknownTools
from magentic_kit.team.people import Approver, People, Reviewer, Speaker
from magentic_kit.team.plan import TaskLedger

if TYPE_CHECKING:  # Semantic Kernel takes seconds to import, and the command line needs these names before
    from semantic_kernel import Kernel
    from semantic_kernel.agents.runtime import CoreRuntime
    from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase


class Injected(TypedDict, total=False):
    """What the caller brings: a kernel whose services, plugins and filters agents share, or single ones by name."""

    kernel: Kernel
    services: Mapping[str, ChatCompletionClientBase]
    plugins: Mapping[str, object]


class LoadOptions(Injected, total=False):
    """How a team is loaded: `overrides` by dotted path, `env` in place of the process's for `${NAME}`."""

    overrides: Mapping[str, Any]
    env: Mapping[str, str]


class RunOptions(TypedDict, total=False):
    """How a team is run.

    `inputs` fill the team's task, instructions and prompts. `sinks` get every event, `views` each with the record so
    far. The run directory is made under `out` (default: `runs`), or not at all with None. A `runtime` of your own has
    to be started, and keeps the run's actors until you close it. `plan` is carried out in place of one that the
    manager makes. `reviewer` judges plans, `approver` the tool calls that `review.tools` names, `humans` speak as team
    members (by name, or one for all under `*`). `reuse` is the directory of a run whose unchanged steps are not paid
    again. `unknown_tools` says, on resume, what tool calls that began and never ended have brought, by the call's name
    (`*`: all others): a result, or None if the call is to be made again.
    """

    inputs: Mapping[str, Any]
    sinks: Iterable[Sink]
    views: Iterable[View]
    out: str | Path | None
    runtime: CoreRuntime
    plan: TaskLedger
    reviewer: Reviewer
    approver: Approver
    humans: Mapping[str, Speaker]
    reuse: str | Path
    unknown_tools: UnknownTools


def people_of(options: RunOptions) -> People:
    """Who answers in a run with these options."""
    return People(reviewer=options.get("reviewer"), approver=options.get("approver"), humans=options.get("humans", {}))


def options_for_member(people: People, inputs: Mapping[str, Any]) -> RunOptions:
    """How a team that is a member of another runs: with that one's people, and these inputs."""
    options: RunOptions = {"inputs": inputs, "humans": people.humans}
    if people.reviewer is not None:
        options["reviewer"] = people.reviewer
    if people.approver is not None:
        options["approver"] = people.approver
    return options
