"""Which service answers in place of one that stays down, for the rest of a run (`services.NAME.fallback`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase
from semantic_kernel.connectors.ai.function_call_choice_configuration import FunctionCallChoiceConfiguration
from semantic_kernel.connectors.ai.function_choice_type import FunctionChoiceType
from semantic_kernel.connectors.ai.prompt_execution_settings import PromptExecutionSettings
from semantic_kernel.functions.kernel_function_metadata import KernelFunctionMetadata

from magentic_kit.errors import ServiceError
from magentic_kit.services.prices import Pricing
from magentic_kit.services.rate_limits import Throttle

_NOT_CURED = ("key", "content", "context", "request")
"""Faults of the team file or of one request, which another service would not cure or should not hide."""


@dataclass(frozen=True, kw_only=True)
class ChatService:
    """A service that a participant may be answered by; `options` are its own, `name` is that in the team file."""

    name: str
    service: ChatCompletionClientBase
    options: Mapping[str, object]
    throttle: Throttle
    pricing: Pricing | None

    def settings(
        self, options: Mapping[str, object], functions: Sequence[KernelFunctionMetadata]
    ) -> PromptExecutionSettings:
        """Settings of this service's connector for a call with these options and functions, as SK makes them."""
        known = self.service.get_prompt_execution_settings_class().model_fields
        merged = dict(self.options)
        merged.update({name: value for name, value in options.items() if name in known})
        settings = self.service.instantiate_prompt_execution_settings(**merged)
        if functions:
            offer(self.service, settings, functions)
        return settings


def offer(
    service: ChatCompletionClientBase, settings: PromptExecutionSettings, functions: Sequence[KernelFunctionMetadata]
) -> None:
    """Puts the functions into the settings, as SK does before a call."""
    configuration = FunctionCallChoiceConfiguration(available_functions=list(functions))
    service._update_function_choice_settings_callback()(configuration, settings, FunctionChoiceType.AUTO)


class Substitutes:
    """The services of one participant in their order; which of them are down, all participants of a run share."""

    def __init__(self, chain: Sequence[ChatService] = (), down: set[str] | None = None) -> None:
        self._chain = chain
        self._down = set[str]() if down is None else down

    def current(self, own: str) -> ChatService | None:
        """Who answers in place of the service `own`; None if it answers itself."""
        if own not in self._down:
            return None
        return next((one for one in self._chain if one.name not in self._down), self._chain[-1])

    def replace(self, own: str, error: ServiceError) -> tuple[str, str] | None:
        """The names of a service that is down now and of the next one; None if no other service would help."""
        current = self.current(own)
        failed = current.name if current else own
        others = [one for one in self._chain if one.name not in self._down and one.name != failed]
        if error.fault in _NOT_CURED or not others:
            return None
        self._down.add(failed)
        return failed, others[0].name
