"""`TeamFactory`: a team from its file, and the runs of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import yaml
from semantic_kernel.agents import ChatCompletionAgent, MagenticOrchestration
from semantic_kernel.contents import ChatMessageContent
from semantic_kernel.functions import KernelPlugin
from typing_extensions import Unpack

from magentic_kit import embed
from magentic_kit.errors import ConfigError
from magentic_kit.events import AnyEvent
from magentic_kit.orchestration.blueprint import TeamBlueprint, injected_plugins, injected_services
from magentic_kit.orchestration.build import RunParts
from magentic_kit.orchestration.options import Injected, LoadOptions, RunOptions
from magentic_kit.run import Run, embedded_team, member_service
from magentic_kit.runlog.control import RunControl
from magentic_kit.runlog.directory import new_run_id, read_start
from magentic_kit.runlog.emitter import RunEmitter, Sink
from magentic_kit.runlog.files import read_regular
from magentic_kit.runlog.replay import RecordedSteps
from magentic_kit.runlog.result import RunResult
from magentic_kit.services.pool import Pool
from magentic_kit.team.loading import Team, load_team
from magentic_kit.team.people import People, PlanReview, Speaker
from magentic_kit.team.plan import TaskLedger

_LARGEST_TEAM = 2**24
"""Bytes of a team file that a run directory may have."""


class TeamFactory:
    """Makes runs of one team; use as `async with`, or call `close()`, to close the HTTP clients it made.

    What the caller injects comes before what the team file has, and is never closed here. Runs share services
    (and so HTTP clients) and nothing else: several can go on at once. Services of a `pool` are shared with whoever
    else uses it, and closed by whoever made it.
    """

    def __init__(self, team: Team, *, pool: Pool | None = None, **injected: Unpack[Injected]) -> None:
        self._own_pool = Pool() if pool is None else None
        self._embedded: list[RunParts] = []
        self.blueprint = TeamBlueprint(team, pool=pool or self._own_pool or Pool(), injected=injected)
        """The team, its services and tools: what all runs have in common."""

    @classmethod
    def from_yaml(cls, path: str | Path, **options: Unpack[LoadOptions]) -> TeamFactory:
        """A factory from a team file. Raises `ConfigError` with every problem of the file."""
        return cls._load(Path(path), None, options)

    @classmethod
    def from_dict(
        cls, data: Mapping[str, Any], *, base_dir: str | Path | None = None, **options: Unpack[LoadOptions]
    ) -> TeamFactory:
        """The same from data; relative paths are relative to `base_dir` (default: the working directory)."""
        return cls._load(data, Path(base_dir or "."), options)

    @classmethod
    def from_run(cls, run_dir: str | Path, **options: Unpack[LoadOptions]) -> TeamFactory:
        """The factory of the team that a run directory has, as it ran, for `resume`."""
        started = read_start(Path(run_dir))
        try:
            data = dict(yaml.safe_load(read_regular(Path(run_dir) / "team.yaml", _LARGEST_TEAM)))
        except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
            raise ConfigError.one(f"the run's team cannot be read: {error}", file=str(run_dir)) from error
        return cls.from_dict(data, base_dir=started.base_dir if started else None, **options)

    @classmethod
    def _load(cls, team: Path | Mapping[str, Any], base_dir: Path | None, options: LoadOptions) -> TeamFactory:
        """What is injected counts as defined in the team."""
        injected: Injected = {}
        if "kernel" in options:
            injected["kernel"] = options["kernel"]
        if "services" in options:
            injected["services"] = options["services"]
        if "plugins" in options:
            injected["plugins"] = options["plugins"]
        loaded = load_team(
            team,
            base_dir=base_dir,
            overrides=options.get("overrides", {}),
            env=options.get("env"),
            known_services=list(injected_services(injected)),
            known_plugins={name: list(plugin.functions) for name, plugin in injected_plugins(injected).items()},
        )
        return cls(loaded, **injected)

    # -- running

    def start(self, task: str | None = None, **options: Unpack[RunOptions]) -> Run:
        """Begins a run in the background of the running event loop.

        `task` is sent as written; without one, the given plan's or the team's own is taken. Raises
        `ConfigError` before anything is sent.
        """
        return Run.new(self.blueprint, task, options)

    def resume(self, run_dir: str | Path, **options: Unpack[RunOptions]) -> Run:
        """Goes on with a run of this team: what is in its log is not done again. Raises `ConfigError`.

        A finished run gives its result at once; one that a limit ended needs that limit raised.
        """
        return Run.resumed(self.blueprint, Path(run_dir), options)

    async def plan(self, task: str | None = None, *, inputs: Mapping[str, Any] | None = None) -> TaskLedger:
        """The task ledger alone: facts and plan, to be looked at, edited, and given to `run` as `plan=`."""
        self.blueprint.pool.use_loop(asyncio.get_running_loop())
        filled = self.blueprint.fill_inputs(inputs or {})
        text = self.blueprint.fill_task(task, filled)
        people = People(reviewer=lambda _: PlanReview.approve(), humans=_NOBODY)
        parts = self._parts(filled, people)
        try:
            return await parts.manager.task_ledger(text, {a.name: a.description or "" for a in parts.agents})
        finally:
            await parts.close()

    async def run(self, task: str | None = None, **options: Unpack[RunOptions]) -> RunResult:
        """Runs the team to its end. How it ended is in `RunResult.outcome`."""
        run = self.start(task, **options)
        try:
            return await run.result()
        except asyncio.CancelledError:  # nobody waits any more: nothing more is to be paid for
            run.cancel()
            await run.result()
            raise

    async def stream(self, task: str | None = None, **options: Unpack[RunOptions]) -> AsyncGenerator[AnyEvent, None]:
        """The events of a run as they come. Leaving the loop cancels the run."""
        run = self.start(task, **options)
        try:
            async for event in run.events():
                yield event
        finally:
            run.cancel()
            await run.result()

    def create_orchestration(
        self, *, on_event: Sink | None = None, inputs: Mapping[str, Any] | None = None, people: People | None = None
    ) -> MagenticOrchestration[str, ChatMessageContent]:
        """SK's own `MagenticOrchestration` of this team, for one run on your runtime; closed with the factory."""
        parts = self._parts(self.blueprint.fill_inputs(inputs or {}), people or People(), on_event)
        self._embedded.append(parts)
        return parts.orchestration

    def as_plugin(
        self, name: str | None = None, *, on_event: embed.OnEvent | None = None, **options: Unpack[RunOptions]
    ) -> KernelPlugin:
        """A plugin whose one function, `run`, gives the team a task; its parameters are `task` and the inputs.

        The function returns the answer, or says in words how a run ended that was not satisfied. Whatever ends
        the call ends the run: the caller being cancelled, or a limit of the run that calls. Inside another run's
        call the run is logged in that run's directory, under `teams/`; the calling team's `tool_timeout` holds for
        the whole call. Made again on resume, a call goes on with the run that it had begun.
        """
        return embed.as_plugin(embedded_team(self.blueprint, options, on_event), name)

    def as_agent(
        self, name: str | None = None, *, on_event: embed.OnEvent | None = None, **options: Unpack[RunOptions]
    ) -> ChatCompletionAgent:
        """An SK agent that lets the team work on the messages it is given; else like `as_plugin`."""
        return embed.as_agent(embedded_team(self.blueprint, options, on_event), name)

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

    def _parts(self, inputs: Mapping[str, Any], people: People, on_event: Sink | None = None) -> RunParts:
        """The parts of a run that is not logged."""
        blueprint, steps = self.blueprint, RecordedSteps()
        sinks = [] if on_event is None else [on_event]
        run_id = new_run_id(blueprint.config.name)
        emitter = RunEmitter(run_id, redactor=blueprint.redactor(inputs), steps=steps, sinks=sinks)
        control = RunControl(blueprint.config.run_limits(), emitter)
        return RunParts(blueprint, emitter, control, steps, inputs=inputs, people=people, member_service=member_service)


_NOBODY: Mapping[str, Speaker] = {"*": lambda turn: ""}
"""Stands for the people of a team while nobody speaks."""
