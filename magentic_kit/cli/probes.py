"""Probes whether a team's services can be used, and asks their models three tiny questions."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from semantic_kernel import Kernel
from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase
from semantic_kernel.connectors.ai.function_choice_behavior import FunctionChoiceBehavior
from semantic_kernel.contents import ChatHistory, ChatMessageContent
from semantic_kernel.contents.utils.author_role import AuthorRole
from semantic_kernel.functions import kernel_function

from magentic_kit.cli.findings import Finding
from magentic_kit.cli.init import PROVIDERS
from magentic_kit.errors import ConfigError, LedgerError, ServiceError
from magentic_kit.events import RunLimits
from magentic_kit.orchestration.ledger import ledger_tiers
from magentic_kit.orchestration.manager_model import NAME, ManagerModel
from magentic_kit.orchestration.model_calls import ParticipantCalls
from magentic_kit.orchestration.prompts import PROMPTS, fill
from magentic_kit.runlog.control import RunControl
from magentic_kit.runlog.emitter import RunEmitter
from magentic_kit.runlog.redaction import Redactor
from magentic_kit.runlog.replay import RecordedSteps
from magentic_kit.services.connectors import build_service, close_service
from magentic_kit.services.text_calls import text_calls
from magentic_kit.team.loading import Team

_CONNECT = 3.0
"""Seconds to open a connection."""

_PASSING = (None, 408, 429)
"""Statuses that say nothing about what a server can do."""


async def probe_services(team: Team, *, live: bool) -> list[Finding]:
    """What can be said of each service of the team; `live` asks its model too, which costs tokens.

    What is wrong with a service that neither the manager nor an agent uses is no fault of the team.
    """
    steps = RecordedSteps()
    emitter = RunEmitter("doctor", redactor=Redactor(team.secrets()), steps=steps)
    given = team.config.limits
    limits = RunLimits(retries=0, model_timeout=given.model_timeout, stream_idle_timeout=given.stream_idle_timeout)
    control = RunControl(limits, emitter)

    def calls(name: str) -> ParticipantCalls:
        return ParticipantCalls(name, name, emitter=emitter, control=control, steps=steps)

    models = [agent for agent in team.config.agents if agent.type == "chat_completion_agent"]
    used = {team.manager_service, *map(team.service_of, models)}
    found = []
    for name in team.config.services:
        async for finding in _service(team, name, calls(name) if live else None):
            found.append(finding._replace(needed=name in used))
    if live:
        found.append(Finding("tokens", True, f"{control.tokens:,} spent"))
    return found


async def _service(team: Team, name: str, calls: ParticipantCalls | None) -> AsyncIterator[Finding]:
    config: Any = team.config.services[name]
    try:
        service = build_service(name, config, search_path=team.base_dir)
    except ConfigError as error:
        lack, _, mend = error.problems[0].message.partition(": ")
        yield Finding(name, False, lack, mend)
        return
    named = getattr(config, "api_key_env", None)
    variables = [named] if named else PROVIDERS.get(config.provider, ("",))[1:]
    keys = ", ".join(key for key in variables if os.environ.get(key))
    offline = config.provider in ("scripted", "replay")
    model = "no model is called" if offline else service.ai_model_id
    yield Finding(name, True, f"{config.provider}, {model}" + f", {keys} set" * bool(keys))
    try:
        url, fault = service.service_url() or "", None
        if "://" in url:  # Azure AI Inference has a template there
            fault = _unreachable(url)
            mend = f"start the server, or correct its address in services.{name}"
            yield Finding(f"{name}: endpoint", not fault, f"{url}: {fault or 'reachable'}", mend)
        if calls and not fault and not offline:
            async for finding in _Questions(team, name, service, calls).ask(keys):
                yield finding
    finally:
        await close_service(service)


def _unreachable(url: str) -> str | None:
    """Why no connection to the server, or to the proxy before it, can be made; None if one can."""
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme)
    there = urlsplit(proxy) if proxy and not proxy_bypass(parts.hostname or "") else parts
    try:
        port = there.port or (443 if there.scheme == "https" else 80)
        socket.create_connection((there.hostname or "", port), _CONNECT).close()
    except OSError as error:
        return error.strerror or str(error)
    return None


_NOT_FOR_LONG = (None, 408, 409, 429, 502, 503, 504)
"""Statuses of faults that often pass; a 500 may be a template of messages that always fails."""


class _Questions:
    """What one service's model is asked, and the answers."""

    def __init__(self, team: Team, name: str, service: ChatCompletionClientBase, calls: ParticipantCalls) -> None:
        self._team, self._name, self._service = team, name, service
        self._config, self._calls = team.config.services[name], calls

    async def ask(self, keys: str) -> AsyncIterator[Finding]:
        """The answers; a fault of the service itself is the last of them. `keys` are the variables it uses."""
        try:
            text = await self._manager("prompt").ask("answer", _talk(), "Reply with the single word: ready")
            said = text[:40].strip()
            yield Finding(f"{self._name}: reply", bool(said), said or "empty", "choose another model")
            yield await self._ledgers()
            yield await self._tools()
            if found := self._dialect():
                names = ", ".join(found)
                advice = f"put `dialect: [{names}]` into services.{self._name} to save refused requests"
                yield Finding(f"{self._name}: dialect", True, f"{names} found: {advice}", "")
        except ServiceError as error:
            told, _, advice = str(error).partition("; check ")
            advice = keys if keys and error.fault == "key" else advice
            mend = f"correct services.{self._name}"
            if error.fault == "quota":
                mend = f"add credit, or choose another service for '{self._name}'"
            elif error.retryable and error.status in _NOT_FOR_LONG:
                mend = "try again later"
            elif error.retryable:
                mend = "see the server's own log for the cause"
            yield Finding(f"{self._name}: model", False, told, f"check {advice}" if advice else mend)

    async def _ledgers(self) -> Finding:
        members = {agent.name: agent.description for agent in self._team.config.agents}
        values = {"task": "Say hello.", "team": members, "names": ", ".join(members)}
        prompt = await fill(PROMPTS["progress_ledger"], values)
        told: dict[str, str] = {}
        for tier in ledger_tiers(self._service.get_prompt_execution_settings_class(), ()):
            ledger = self._manager(tier).ask_ledger(ChatHistory(), prompt, list(members), round=0, attempts=1)
            told[tier] = await _attempt(ledger)
        best = next((tier for tier, answer in told.items() if answer == "yes"), None)
        mend = f"put `structured_output: {best}` into services.{self._name}"
        wanted = self._config.structured_output
        ok = told.get(next(iter(told)) if wanted == "auto" else wanted) == "yes"
        return Finding(
            f"{self._name}: ledger",
            ok or self._name != self._team.manager_service,
            ", ".join(f"{tier} {answer}" for tier, answer in told.items()),
            mend if best else "this model cannot manage: give `manager.service` another",
        )

    async def _tools(self) -> Finding:
        sums: list[int] = []

        @kernel_function(description="Adds two whole numbers.")
        def add(a: int, b: int) -> int:
            sums.append(a + b)
            return sums[-1]

        kernel, history = Kernel(), ChatHistory()
        kernel.add_function("numbers", add)
        history.add_user_message("Add 1234 and 4321 with the function add.")
        auto = FunctionChoiceBehavior.Auto(maximum_auto_invoke_attempts=2)
        options = {**self._config.options, "function_choice_behavior": auto}
        settings = self._service.instantiate_prompt_execution_settings(**options)
        described = self._calls.describe("turn", self._config.options)
        described = replace(described, functions=kernel.get_full_list_of_function_metadata())
        model = self._calls.connect(self._service, described)

        async def call() -> None:
            async for _ in model.get_streaming_chat_message_contents(history, settings, kernel=kernel):
                pass

        told = await _attempt(call())
        works, team = told == "yes" and bool(sums), self._team
        models = [agent for agent in team.config.agents if not agent.is_of_sk]
        needed = any(agent.tools and team.service_of(agent) == self._name for agent in models)
        mend = "this model cannot call tools: give its agents no `tools`, or another service"
        found = "no function called" if told == "yes" else told
        if works:
            found = "function called"
        reply = self._calls.last_reply
        if told == "yes" and reply and (works or text_calls(reply.text, ["numbers-add"])) and self._corrected():
            found += ", but the model writes calls as text: its server has to parse them"
        return Finding(f"{self._name}: tools", works or not needed, found, mend)

    def _dialect(self) -> list[str]:
        """What was found of the server's dialect that the team file does not have."""
        known = getattr(self._service, "_dialect", None)
        if known:
            return sorted(known.names - {*getattr(self._config, "dialect", ())})
        return []

    def _corrected(self) -> bool:
        """Whether the model wrote a call as text."""
        return any(fault.kind == "text call" for fault in self._calls.emitter.record.errors)

    def _manager(self, tier: str) -> ManagerModel:
        return ManagerModel(self._calls, self._service, self._config.options, tier)


def _talk() -> ChatHistory:
    """A conversation in the shapes that a team sends: named speakers, several in a row, and the manager's own words."""
    history = ChatHistory(system_message="You are a member of a team. Be brief.")
    for name, text in (("Ada", "I have looked."), ("Bob", "So have I."), (NAME, "Thank you.")):
        role = AuthorRole.ASSISTANT
        history.add_message(ChatMessageContent(role=role, content=text, name=name))
    return history


async def _attempt(question: Awaitable[object]) -> str:
    """`yes`, or why not. Raises `ServiceError` if the service failed in a way that says nothing about the answer."""
    try:
        await question
    except LedgerError:
        return "no (unusable)"
    except ServiceError as error:
        if error.status in _PASSING:
            raise
        return f"no ({error.status})"
    return "yes"
