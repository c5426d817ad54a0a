"""`TeamFactory`: a team from its file, and the runs of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

from semantic_kernel.agents import ChatCompletionAgent, MagenticOrchestration
from semantic_kernel.contents import ChatMessageContent
from semantic_kernel.functions import KernelPlugin

from magentic_kit import embed
from magentic_kit.events import AnyEvent
from magentic_kit.orchestration import options
from magentic_kit.orchestration.blueprint import TeamBlueprint, injected_services, known_agents, known_plugins
from magentic_kit.orchestration.build import RunParts
from magentic_kit.orchestration.follow_up import given_task
from magentic_kit.orchestration.keywords import takes
from magentic_kit.orchestration.manager import TeamManager
from magentic_kit.orchestration.options import Injected, LoadArguments, OrchestrationArguments
from magentic_kit.orchestration.task import Contents
from magentic_kit.run import Run, embedded_team, member_service
from magentic_kit.runlog.control import RunControl
from magentic_kit.runlog.directory import new_run_id
from magentic_kit.runlog.emitter import RunEmitter, Sink
from magentic_kit.runlog.replay import RecordedSteps
from magentic_kit.runlog.result import RunResult
from magentic_kit.runlog.stored_team import stored_team
from magentic_kit.services.pool import Pool
from magentic_kit.team.loading import Team, load_team
from magentic_kit.team.people import PlanReview
from magentic_kit.team.plan import TaskLedger


class TeamFactory:
    """Makes runs of one team; use as `async with`, or call `close()`, to close the HTTP clients it made.

    What the caller injects comes before what the team file has, and is never closed here. Runs share services
    (and so HTTP clients) and nothing else: several can go on at once. Services of a `pool` are shared with whoever
    else uses it, and closed by whoever made it.
    """

    def __init__(self, team: Team, *, pool: Pool | None = None, injected: Injected | None = None) -> None:
        self._own_pool = Pool() if pool is None else None
        self._embedded: list[RunParts] = []
        self.blueprint = TeamBlueprint(team, pool=pool or self._own_pool or Pool(), injected=injected or Injected())
        """The team, its services and tools: what all runs have in common; for extensions of this package."""

    @classmethod
    @takes(options.FromYaml)
    def from_yaml(cls, arguments: options.FromYaml) -> TeamFactory:
        """A factory from a team file. Raises `ConfigError` with every problem of the file."""
        return cls._load(Path(arguments.path), None, arguments)

    @classmethod
    @takes(options.FromDict)
    def from_dict(cls, arguments: options.FromDict) -> TeamFactory:
        """The same from data."""
        return cls._load(arguments.data, Path(arguments.base_dir or "."), arguments)

    @classmethod
    @takes(options.FromRun)
    def from_run(cls, arguments: options.FromRun) -> TeamFactory:
        """The factory of the team that a run directory has, as it ran, for `resume`."""
        data, base_dir = stored_team(Path(arguments.run_dir))
        return cls._load(data, base_dir, arguments)

    @classmethod
    def _load(cls, team: Path | Mapping[str, Any], base_dir: Path | None, arguments: LoadArguments) -> TeamFactory:
        """What is injected counts as defined in the team."""
        loaded = load_team(
            team,
            base_dir=base_dir,
            overrides=arguments.overrides,
            env=arguments.env,
            known_services=list(injected_services(arguments)),
            known_plugins=known_plugins(arguments),
            known_agents=known_agents(arguments),
        )
        return cls(loaded, injected=arguments)

    # -- running

    @takes(options.Start)
    def start(self, arguments: options.Start) -> Run:
        """Begins a run in the background of the running event loop. Raises `ConfigError` before anything is sent."""
        return Run.new(self.blueprint, arguments.task, arguments)

    @takes(options.Resume)
    def resume(self, arguments: options.Resume) -> Run:
        """Goes on with a run of this team: what is in its log is not done again. Raises `ConfigError`.

        A finished run gives its result at once; one that a limit ended needs that limit raised.
        """
        return Run.resumed(self.blueprint, Path(arguments.run_dir), arguments, inputs=arguments.inputs)

    @takes(options.Plan)
    async def plan(self, arguments: options.Plan) -> TaskLedger:
        """The task ledger alone: facts and plan, to be looked at, edited, and given to `run` as `plan=`."""
        blueprint = self.blueprint.varied(arguments)
        blueprint.pool.use_loop(asyncio.get_running_loop())
        inputs = blueprint.fill_inputs(arguments.inputs)
        given = given_task(arguments.task, arguments, blueprint.config.manager.context)
        task = blueprint.fill_task(given.text, inputs)
        parts = _unlogged(blueprint, inputs, _NOBODY, contents=given.contents)
        try:
            assert isinstance(parts.manager, TeamManager)
            return await parts.manager.task_ledger(task, {a.name: a.description or "" for a in parts.agents})
        finally:
            await parts.close()

    @takes(options.Start)
    async def run(self, arguments: options.Start) -> RunResult:
        """Runs the team to its end. How it ended is in `RunResult.outcome`."""
        run = Run.new(self.blueprint, arguments.task, arguments)
        try:
            return await run.result()
        except asyncio.CancelledError:  # nobody waits any more: nothing more is to be paid for
            run.cancel()
            await run.result()
            raise

    @takes(options.Start)
    async def stream(self, arguments: options.Start) -> AsyncGenerator[AnyEvent, None]:
        """The events of a run as they come. Leaving the loop cancels the run."""
        async with Run.new(self.blueprint, arguments.task, arguments) as run:
            async for event in run.events():
                yield event

    @takes(options.Orchestrate)
    def create_orchestration(self, arguments: options.Orchestrate) -> MagenticOrchestration[str, ChatMessageContent]:
        """SK's own `MagenticOrchestration` of this team, for one run on your runtime; closed with the factory."""
        blueprint = self.blueprint.varied(arguments)
        parts = _unlogged(blueprint, blueprint.fill_inputs(arguments.inputs), arguments, arguments.on_event)
        self._embedded.append(parts)
        orchestration: MagenticOrchestration[str, ChatMessageContent] = parts.orchestration
        return orchestration

    @takes(options.Embed)
    def as_plugin(self, arguments: options.Embed) -> KernelPlugin:
        """A plugin whose one function, `run`, gives the team a task; its parameters are `task` and the inputs.

        The function returns the answer, or says in words how a run ended that was not satisfied. Whatever ends
        the call ends the run: the caller being cancelled, or a limit of the run that calls. Inside another run's
        call the run is logged in that run's directory, under `teams/`; the calling team's `tool_timeout` holds for
        the whole call. Made again on resume, a call goes on with the run that it had begun.
        """
        return embed.as_plugin(embedded_team(self.blueprint, arguments, arguments.on_event), arguments.name)

    @takes(options.Embed)
    def as_agent(self, arguments: options.Embed) -> ChatCompletionAgent:
        """An SK agent that lets the team work on the messages it is given; else like `as_plugin`."""
        return embed.as_agent(embedded_team(self.blueprint, arguments, arguments.on_event), arguments.name)

    async def close(self) -> None:
        """Closes what the factory opened; runs that are under way lose their connections."""
        for parts in self._embedded:
            await parts.close()
        if self._own_pool is not None:
            await self._own_pool.close()

    async def __aenter__(self) -> TeamFactory:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()


def _unlogged(
    blueprint: TeamBlueprint,
    inputs: Mapping[str, Any],
    arguments: OrchestrationArguments,
    on_event: Sink | None = None,
    contents: Contents = (),
) -> RunParts:
    """The parts of a run that is not logged."""
    steps = RecordedSteps()
    sinks = [] if on_event is None else [on_event]
    run_id = new_run_id(blueprint.config.name)
    emitter = RunEmitter(run_id, redactor=blueprint.redactor(inputs), steps=steps, sinks=sinks)
    control = RunControl(blueprint.config.run_limits(), emitter)
    return RunParts(
        blueprint,
        emitter,
        control,
        steps,
        inputs=inputs,
        options=arguments,
        member_service=member_service,
        contents=contents,
        gives_value=True,
    )


_NOBODY = OrchestrationArguments(reviewer=lambda _: PlanReview.approve(), humans={"*": lambda turn: ""})
"""Stands for the people of a team while nobody speaks."""
