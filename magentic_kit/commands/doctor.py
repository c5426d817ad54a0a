"""`doctor`: whether all that a team needs is there, and what its models can do; each fault with what mends it."""

from __future__ import annotations

import asyncio
import os
import platform
import socket
from collections.abc import AsyncIterator, Mapping
from importlib.metadata import metadata, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import click

from magentic_kit.commands.common import PATH, load_environment, quiet_logs
from magentic_kit.commands.init import PROVIDERS
from magentic_kit.errors import ConfigError, LedgerError, ServiceError
from magentic_kit.text import one_line

if TYPE_CHECKING:
    from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase

    from magentic_kit.calls import Lane
    from magentic_kit.check import Team
    from magentic_kit.context import RunContext

_CONNECT = 3.0
"""Seconds to open a connection to an endpoint."""


class _Row(NamedTuple):
    what: str
    ok: bool
    found: str
    mend: str = ""


@click.command()
@click.argument("file", required=False, type=PATH, metavar="[TEAM]")
@click.option("--live", is_flag=True, help="Ask each model for a reply, a ledger and a tool call; costs a few tokens.")
@click.option("--env-file", type=PATH, help="Environment file to read; default: .env.")
def doctor(file: Path | None, live: bool, env_file: Path | None) -> int:
    """Check Python and Semantic Kernel, and whether the services of TEAM have all they need.

    Exit code: 0 all is well, 1 something is missing.
    """
    from magentic_kit.check import load_team

    if live and file is None:
        raise click.UsageError("--live needs a TEAM whose services it can ask")
    rows = _installed()
    if file is not None:
        load_environment(env_file, beside=file)
        quiet_logs()
        rows += asyncio.run(_services(load_team(file), live=live))
    _print(rows)
    return 0 if all(row.ok for row in rows) else 1


def _installed() -> list[_Row]:
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    declared = [Requirement(text) for text in requires("magentic-kit") or ()]
    kernel = next(it.specifier for it in declared if it.name == "semantic-kernel" and not it.marker)
    python = SpecifierSet(metadata("magentic-kit")["Requires-Python"])
    checks = (
        ("python", platform.python_version(), python, f"install Python {python}"),
        ("semantic-kernel", version("semantic-kernel"), kernel, f"pip install 'semantic-kernel{kernel}'"),
    )
    return [
        _Row(what, ok := allowed.contains(found, prereleases=True), f"{found}, supported {allowed}", "" if ok else mend)
        for what, found, allowed, mend in checks
    ]


async def _services(team: Team, *, live: bool) -> list[_Row]:
    from magentic_kit.config import Limits
    from magentic_kit.context import RunContext

    limits = Limits(deadline=None, retries=0, model_timeout=team.config.limits.model_timeout)
    context, rows = RunContext(run_id="doctor", limits=limits, sinks=[]), []
    for name in team.config.services:
        rows += await _service(team, name, context if live else None)
    return [*rows, _Row("tokens", True, f"{context.tokens:,} spent")] if live else rows


async def _service(team: Team, name: str, context: RunContext | None) -> list[_Row]:
    from magentic_kit.services import build_service, close_service

    config: Any = team.config.services[name]
    try:
        service = build_service(name, config, search_path=team.base_dir)
    except ConfigError as error:
        found, _, mend = error.problems[0].message.partition(": ")
        return [_Row(name, False, found, mend)]
    own = getattr(config, "api_key_env", None)
    variables = [own] if own else PROVIDERS.get(config.provider, ("",))[1:]
    keys = ", ".join(key for key in variables if os.environ.get(key))
    offline = config.provider in ("scripted", "replay")
    model = "no model is called" if offline else service.ai_model_id
    rows = [_Row(name, True, f"{config.provider}, {model}" + f", {keys} is set" * bool(keys))]
    try:
        if url := service.service_url():
            rows.append(_endpoint(name, url))
        if context and rows[-1].ok and not offline:
            rows += [row async for row in _ask(team, name, service, context, keys)]
    finally:
        await close_service(service)
    return rows


def _endpoint(name: str, url: str) -> _Row:
    parts = urlsplit(url)
    proxy = None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)
    there = urlsplit(proxy) if proxy else parts
    address = there.hostname or "", there.port or (443 if there.scheme == "https" else 80)
    try:
        socket.create_connection(address, _CONNECT).close()
    except OSError as error:
        told = f"{url} does not answer: {error.strerror or error}"
        return _Row(f"{name}: endpoint", False, told, f"start the server, or correct its address in services.{name}")
    return _Row(f"{name}: endpoint", True, f"{url} can be reached")


# -- questions to a model

_PASSING = (None, 408, 429)
"""Statuses that say nothing about what a server can do."""


async def _ask(
    team: Team, name: str, service: ChatCompletionClientBase, context: RunContext, keys: str
) -> AsyncIterator[_Row]:
    """Three questions; a fault of the service itself ends them."""
    from magentic_kit.calls import Lane

    lane = Lane(name, name, context)
    try:
        for question in (_reply, _ledgers, _tools):
            yield await question(team, name, service, lane)
    except ServiceError as error:
        found, _, advice = str(error).partition("; check ")
        if error.status in (401, 403):
            advice = keys or advice
        mend = f"check {advice}" if advice else "try again later" if error.retryable else f"correct services.{name}"
        yield _Row(f"{name}: model", False, found, mend)


async def _reply(team: Team, name: str, service: ChatCompletionClientBase, lane: Lane) -> _Row:
    text = await _say(lane.connect(service), "Reply with the single word: ready", team.config.services[name].options)
    said = one_line(text, 40)
    return _Row(f"{name}: reply", bool(said), said or "an empty reply", "" if said else "choose another model")


async def _ledgers(team: Team, name: str, service: ChatCompletionClientBase, lane: Lane) -> _Row:
    from semantic_kernel.agents.orchestration.magentic import MagenticContext
    from semantic_kernel.contents import ChatMessageContent
    from semantic_kernel.contents.utils.author_role import AuthorRole

    from magentic_kit.ledger import tier_settings
    from magentic_kit.manager import TeamManager

    async def nothing() -> None:
        """There are no servers to connect to."""

    entry, told = team.config.services[name], {}
    task = ChatMessageContent(role=AuthorRole.USER, content="Say hello.")
    members = {agent.name: agent.description for agent in team.config.agents}
    for tier in tier_settings(service.get_prompt_execution_settings_class(), ()):
        manager = TeamManager(
            config=team.config.manager.model_copy(update={"ledger_attempts": 1}),
            lane=lane,
            service=service,
            options=entry.options,
            inputs={},
            structured_output=tier,
            plan=None,
            reviewer=None,
            equip=nothing,
        )
        try:
            await manager.create_progress_ledger(MagenticContext(task=task, participant_descriptions=members))
            told[tier] = "yes"
        except LedgerError:
            told[tier] = "no (unusable)"
        except ServiceError as error:
            if error.status in _PASSING:
                raise
            told[tier] = f"no ({error.status})"
    asked = next(iter(told)) if entry.structured_output == "auto" else entry.structured_output
    best = next((tier for tier, answer in told.items() if answer == "yes"), None)
    put = f"put `structured_output: {best}` into services.{name}"
    mend = put if best else "this model cannot be the manager: give `manager.service` another"
    ok = told.get(asked) == "yes" or name != team.manager_service
    return _Row(f"{name}: ledger", ok, ", ".join(f"{tier} {told[tier]}" for tier in told), "" if ok else mend)


async def _tools(team: Team, name: str, service: ChatCompletionClientBase, lane: Lane) -> _Row:
    from semantic_kernel import Kernel
    from semantic_kernel.connectors.ai.function_choice_behavior import FunctionChoiceBehavior
    from semantic_kernel.functions import kernel_function

    sums = []

    @kernel_function(description="Adds two whole numbers.")
    def add(a: int, b: int) -> int:
        sums.append(a + b)
        return a + b

    kernel = Kernel()
    kernel.add_function("numbers", add)
    auto = FunctionChoiceBehavior.Auto(maximum_auto_invoke_attempts=2)
    options = {**team.config.services[name].options, "function_choice_behavior": auto}
    told = "the model answered without the function it was offered"
    try:
        await _say(lane.connect(service), "Add 1234 and 4321 with the function `add`.", options, kernel=kernel)
    except ServiceError as error:
        if error.status in _PASSING:
            raise
        told = str(error)
    works = 5555 in sums
    ok = works or not any(agent.tools and team.service_of(agent) == name for agent in team.config.agents)
    mend = "this model cannot call tools: give its agents none (no `tools:`), or another service"
    return _Row(f"{name}: tools", ok, "a function was called" if works else told, "" if ok else mend)


async def _say(service: ChatCompletionClientBase, prompt: str, options: Mapping[str, Any], **how: Any) -> str:
    from semantic_kernel.contents import ChatHistory

    history = ChatHistory()
    history.add_user_message(prompt)
    settings = service.instantiate_prompt_execution_settings(**options)
    pieces = service.get_streaming_chat_message_contents(history, settings, **how)
    return "".join([content.content async for contents in pieces for content in contents])


def _print(rows: list[_Row]) -> None:
    """A table on a terminal, else a line for each row."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    table = Table("", "what", "found", "mend it with")
    for row in rows:
        row = row._replace(found=one_line(row.found), mend=one_line(row.mend))
        state = "ok" if row.ok else "missing"
        table.add_row(Text(state, style="green" if row.ok else "red"), *map(Text, (row.what, row.found, row.mend)))
        if not console.is_terminal:
            click.echo(f"{state:8} {row.what:24} {row.found}" + f"; {row.mend}" * bool(row.mend))
    if console.is_terminal:
        console.print(table)
