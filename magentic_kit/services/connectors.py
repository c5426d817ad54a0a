"""Builds Semantic Kernel's chat-completion service from its config; connectors are imported when used."""

from __future__ import annotations

import logging
import os
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast

import yaml
from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase

from magentic_kit.errors import ConfigError
from magentic_kit.runlog.redaction import Redactor
from magentic_kit.services.mixins import with_mixin
from magentic_kit.services.providers import PROVIDERS, Settings, patience
from magentic_kit.services.replay import ReplayChatCompletion
from magentic_kit.services.scripted import ScriptedChatCompletion
from magentic_kit.team.secrets import environment_secrets
from magentic_kit.team.services import Service
from magentic_kit.team.targets import module_object
from magentic_kit.text import one_line

logger = logging.getLogger(__name__)


def build_service(name: str, config: Service, *, search_path: Path | None = None) -> ChatCompletionClientBase:
    """The chat-completion service that `config` describes, with `name` as its service id.

    Keys, and what the config leaves open, are read from the environment under Semantic Kernel's own names.
    `search_path` is the folder where the module of `provider: python` is looked for first.
    Raises `ConfigError` with one line when an extra, a key or a model is missing.
    """
    try:
        if config.provider in PROVIDERS:
            return _connect(name, config)
        return _in_process(name, config, search_path)
    except ConfigError:
        raise
    except Exception as error:
        redactor = Redactor(environment_secrets(os.environ))
        problem = f"cannot be made: {type(error).__name__}: {redactor.text(one_line(str(error)))}"
        provider = PROVIDERS.get(config.provider)
        if isinstance(error, ModuleNotFoundError) and provider and provider.extra:
            problem = f"needs an extra: pip install 'magentic-kit[{provider.extra}]'"
        raise ConfigError.one(f"service '{name}' {problem}") from error


def connector_class(provider: str) -> type[ChatCompletionClientBase] | None:
    """The connector for a provider; None for one of this package's own, or whose extra is missing."""
    if provider not in PROVIDERS:
        return None
    try:
        return with_mixin(PROVIDERS[provider].connector_class(), PROVIDERS[provider].adapter_class())
    except ImportError:
        return None


async def close_service(service: ChatCompletionClientBase) -> None:
    """Closes the HTTP clients under a built service and all its copies. A failure to close is only logged."""
    try:
        async with AsyncExitStack() as stack:
            for field in ("client", "async_client", "bedrock_runtime_client", "bedrock_client"):
                client: Any = getattr(service, field, None)
                client = getattr(client, "aio", client)  # google-genai has a client within the client
                if hasattr(client, "__aexit__"):
                    stack.push_async_exit(client)
                elif hasattr(client, "close"):  # boto3
                    stack.callback(client.close)
    except Exception:
        logger.warning("service %r could not be closed", service.service_id, exc_info=True)


def _connect(name: str, config: Any) -> ChatCompletionClientBase:
    provider = PROVIDERS[config.provider]
    connector: Any = with_mixin(provider.connector_class(), provider.adapter_class())
    settings = Settings(name, provider.prefix, config)
    arguments = provider.arguments(settings)
    arguments[provider.model] = settings.need("model", provider.variable)
    service: Any = connector(service_id=name, **arguments)
    for dialect in getattr(config, "dialect", ()):
        service._dialect.add(dialect)
    for field in ("client", "async_client"):
        client: Any = getattr(service, field, None)
        if hasattr(client, "max_retries"):  # retries are the run's own, which emits events of them
            client.max_retries, client.timeout = 0, patience(client)
    return cast(ChatCompletionClientBase, service)


def _in_process(name: str, config: Any, search_path: Path | None) -> ChatCompletionClientBase:
    if config.provider == "python":
        made = module_object(config.target, search_path)(**config.args)
    elif config.provider == "replay":
        made = ReplayChatCompletion(config.log)
    else:
        file = config.script if isinstance(config.script, Path) else None
        script = yaml.safe_load(file.read_text(encoding="utf-8")) if file else config.script
        made = ScriptedChatCompletion(script, delay=config.delay)
    if not isinstance(made, ChatCompletionClientBase):
        raise TypeError(f"{config.target} made a {type(made).__name__}, not a chat-completion service")
    return made.model_copy(update={"service_id": name, "ai_model_id": config.model or made.ai_model_id})
