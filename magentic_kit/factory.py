"""`TeamFactory`: a team file as an immutable blueprint, from which every run gets parts of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import yaml
from semantic_kernel.agents import ChatCompletionAgent, MagenticOrchestration
from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase
from semantic_kernel.connectors.ai.prompt_execution_settings import PromptExecutionSettings
from semantic_kernel.contents import ChatMessageContent
from semantic_kernel.functions import KernelPlugin
from semantic_kernel.prompt_template.kernel_prompt_template import KernelPromptTemplate
from typing_extensions import Unpack

from magentic_kit import embed
from magentic_kit.errors import ConfigError
from magentic_kit.events import AnyEvent, RunStarted
from magentic_kit.orchestration.build import Assembly
from magentic_kit.orchestration.options import Own, RunOptions, Source
from magentic_kit.run import Run, RunResult
from magentic_kit.runlog.context import RunContext, Sink
from magentic_kit.runlog.directory import new_run_id, read_log
from magentic_kit.runlog.files import read_regular
from magentic_kit.runlog.redaction import Redactor, redactor_of
from magentic_kit.runlog.replay import Steps
from magentic_kit.services.keys import keys_of
from magentic_kit.services.pool import Pool
from magentic_kit.services.rate_limits import Throttle
from magentic_kit.team.loading import Team, load_team
from magentic_kit.team.people import People, PlanReview, Speaker
from magentic_kit.team.plan import TaskLedger
from magentic_kit.team.problems import nearest
from magentic_kit.text import sendable
from magentic_kit.tools.plugins import Tools, as_plugin

_LARGEST_TEAM = 2**24
"""Bytes of a team file that a run directory may have."""


class TeamFactory:
    """Makes runs of one team; use as `async with`, or call `close()`, to close the HTTP clients it made.

    What the caller brings comes before what the team file has, and is never closed here. Runs share services
    (and so HTTP clients) and nothing else: several can go on at once.
    """

    def __init__(self, team: Team, **own: Unpack[Own]) -> None:
        self.team = team
        self.own = own
        self.kernel = own.get("kernel")
        self._given = _services(own)
        self.tools = Tools(team, _plugins(own))
        self.pool = Pool()
        self._shares = False
        self._members: dict[str, TeamFactory] = {}
        self._embedded: list[Assembly] = []

    @classmethod
    def from_yaml(cls, path: str | Path, **source: Unpack[Source]) -> TeamFactory:
        """A factory from a team file. Raises `ConfigError` with every problem of the file."""
        own, how = _parted(source)
        return cls(load_team(Path(path), **how), **own)

    @classmethod
    def from_dict(
        cls, data: Mapping[str, Any], *, base_dir: str | Path | None = None, **source: Unpack[Source]
    ) -> TeamFactory:
        """The same from data; relative paths are relative to `base_dir` (default: the working directory)."""
        own, how = _parted(source)
        return cls(load_team(data, base_dir=Path(base_dir or "."), **how), **own)

    @classmethod
    def from_run(cls, run_dir: str | Path, **source: Unpack[Source]) -> TeamFactory:
        """The factory of the team that a run directory has, as it ran, for `resume`."""
        log, _ = read_log(Path(run_dir))
        base_dir = next((event.base_dir for event in log if isinstance(event, RunStarted)), None)
        try:
            data = dict(yaml.safe_load(read_regular(Path(run_dir) / "team.yaml", _LARGEST_TEAM)))
        except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
            raise ConfigError.one(f"the run's team cannot be read: {error}", file=str(run_dir)) from error
        return cls.from_dict(data, base_dir=base_dir, **source)

    # -- running

    def start(self, task: str | None = None, **options: Unpack[RunOptions]) -> Run:
        """Begins a run in the background of the running event loop.

        `task` is sent as written; without one, the given plan's or the team's own is taken. Raises
        `ConfigError` before anything is sent.
        """
        return Run.new(self, task, options)

    def resume(self, run_dir: str | Path, **options: Unpack[RunOptions]) -> Run:
        """Goes on with a run of this team: what is in its log is not done again. Raises `ConfigError`.

        A finished run gives its result at once; one that a limit ended needs that limit raised.
        """
        return Run.resumed(self, Path(run_dir), options)

    async def plan(self, task: str | None = None, *, inputs: Mapping[str, Any] | None = None) -> TaskLedger:
        """The task ledger alone: facts and plan, to be looked at, edited, and given to `run` as `plan=`."""
        self.pool.use_loop(asyncio.get_running_loop())
        filled = self.fill_inputs(inputs or {})
        text = self.task(task, filled)
        context = self.context(new_run_id(self.team.config.name), [], inputs=filled)
        assembly = Assembly(self, context, filled, People(reviewer=lambda _: PlanReview.approve(), humans=_NOBODY))
        try:
            return await assembly.manager.task_ledger(text, {a.name: a.description or "" for a in assembly.agents})
        finally:
            await assembly.close()

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
        sinks = [on_event] if on_event else []
        context = self.context(new_run_id(self.team.config.name), sinks, inputs=inputs or {})
        assembly = Assembly(self, context, self.fill_inputs(inputs or {}), people or People())
        self._embedded.append(assembly)
        return assembly.orchestration

    def as_plugin(
        self, name: str | None = None, *, on_event: embed.OnEvent | None = None, **options: Unpack[RunOptions]
    ) -> KernelPlugin:
        """A plugin whose one function, `run`, gives the team a task; its parameters are `task` and the inputs.

        The function returns the answer, or says in words how a run ended that was not satisfied. Whatever ends
        the call ends the run: the caller being cancelled, or a limit of the run that calls. Inside another run's
        call the run is logged in that run's directory, under `teams/`; the calling team's `tool_timeout` holds for
        the whole call. Made again on resume, a call goes on with the run that it had begun.
        """
        return embed.as_plugin(self, name, on_event, options)

    def as_agent(
        self, name: str | None = None, *, on_event: embed.OnEvent | None = None, **options: Unpack[RunOptions]
    ) -> ChatCompletionAgent:
        """An SK agent that lets the team work on the messages it is given; else like `as_plugin`."""
        return embed.as_agent(self, name, on_event, options)

    async def close(self) -> None:
        """Closes what the factory opened; runs that are under way lose their connections."""
        for assembly in self._embedded:
            await assembly.close()
        if not self._shares:
            await self.pool.close()

    async def __aenter__(self) -> TeamFactory:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    # -- what runs are made of

    def member(self, team: str) -> TeamFactory:
        """The factory of a team file that is a member of this team: made once, with this one's services."""
        if team not in self._members:
            self._members[team] = type(self).from_yaml(team, env=self.team.source.env, **self.own)
            self._members[team].share(self.pool)
        return self._members[team]

    def share(self, pool: Pool) -> None:
        """Takes services, from the first on, from a pool that others use too, and that somebody else closes."""
        self.pool, self._shares = pool, True

    def redactor(self, inputs: Mapping[str, Any] = {}) -> Redactor:
        """Masks the secrets of team, services and inputs, of this environment and of the one it was loaded with."""
        secrets = self.team.secrets(inputs).union(*map(keys_of, self._given.values()))
        return redactor_of(frozenset(secrets))

    def context(
        self, run_id: str, sinks: list[Sink], steps: Steps | None = None, *, inputs: Mapping[str, Any] = {}
    ) -> RunContext:
        """The context of a run."""
        limits, redactor = self.team.config.limits, self.redactor(inputs)
        return RunContext(run_id=run_id, limits=limits, sinks=sinks, steps=steps, redactor=redactor)

    def service(self, name: str, model: str | None = None) -> ChatCompletionClientBase:
        """The service of that name, asking another model if one is named. Raises `ConfigError`."""
        if name in self._given:
            given = self._given[name]
            return given.model_copy(update={"ai_model_id": model}) if model else given
        return self.pool.service(name, self.team.config.services[name], model, self.team.base_dir)

    def throttle(self, name: str) -> Throttle:
        """What all calls to the service of that name pass, whichever model they ask."""
        return self.pool.throttle(name if name in self._given else repr(self.team.config.services[name]))

    def provider(self, name: str) -> str:
        """Where a service comes from, as events tell it: its provider, or the class of one that was given."""
        return type(self._given[name]).__name__ if name in self._given else self.team.config.services[name].provider

    def options(self, name: str, own: Mapping[str, Any], place: tuple[str | int, ...]) -> dict[str, Any]:
        """Execution settings: the service's, then the participant's own. Raises `ConfigError` on an unknown one.

        SK drops settings that a connector does not know, and so a typo would pass unseen.
        """
        entry = self.team.config.services.get(name)
        options = {**(entry.options if entry else {}), **own}
        service = self.service(name)
        known = service.get_prompt_execution_settings_class().model_fields
        # A connector without settings of its own takes what it likes from `extension_data`.
        for option in options.keys() - known.keys() if len(known) > len(PromptExecutionSettings.model_fields) else ():
            message = f"{type(service).__name__} has no option '{option}'{nearest(option, known, list_all=False)}"
            raise ConfigError([self.team.problem(place, message)])
        return options

    def fill_inputs(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The team's inputs with the given values. Raises `ConfigError` on an unknown or a missing one."""
        specs = self.team.config.inputs
        for name in given.keys() - specs.keys():
            raise ConfigError.one(f"the team has no input '{name}'{nearest(name, specs)}")
        filled = {**{name: spec.default for name, spec in specs.items()}, **given}
        for name, spec in specs.items():
            if filled[name] is None and spec.required:
                raise ConfigError.one(f"the team needs the input '{name}': give --input {name}=…")
        given = {name: value for name, value in filled.items() if value is not None}
        return {name: sendable(value) if isinstance(value, str) else value for name, value in given.items()}

    def task(self, given: str | None, inputs: Mapping[str, Any]) -> str:
        """The task as given, else the team's own with the inputs filled in. Raises `ConfigError` if there is none."""
        if given is not None and given.strip():
            return sendable(given)
        if not self.team.config.task:
            raise ConfigError.one("there is no task: give one, or set `task:` in the team file")
        return KernelPromptTemplate.quick_render(self.team.config.task, dict(inputs))


_NOBODY: Mapping[str, Speaker] = {"*": lambda turn: ""}
"""Stands for the people of a team while nobody speaks."""


def _services(own: Own) -> dict[str, ChatCompletionClientBase]:
    kernel = own.get("kernel")
    given = {**(kernel.services if kernel else {}), **own.get("services", {})}
    return {name: service for name, service in given.items() if isinstance(service, ChatCompletionClientBase)}


def _plugins(own: Own) -> dict[str, Any]:
    kernel = own.get("kernel")
    given = {name: as_plugin(name, source) for name, source in own.get("plugins", {}).items()}
    return {**(kernel.plugins if kernel else {}), **given}


def _parted(source: Source) -> tuple[Own, dict[str, Any]]:
    """What the caller brings, and how the team is to be loaded, in which the former counts as defined."""
    own: Own = {key: source[key] for key in ("kernel", "services", "plugins") if key in source}  # type: ignore
    known = {name: list(plugin.functions) for name, plugin in _plugins(own).items()}
    how = {"overrides": source.get("overrides", {}), "env": source.get("env")}
    return own, {**how, "known_services": list(_services(own)), "known_plugins": known}
