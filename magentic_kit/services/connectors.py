"""Builds Semantic Kernel's chat-completion service from its config; connectors are imported when used."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from functools import lru_cache
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NamedTuple, NoReturn, TypeVar, cast

import yaml
from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase

from magentic_kit.errors import ConfigError
from magentic_kit.runlog.redaction import Redactor
from magentic_kit.services.one_piece import InOnePiece
from magentic_kit.services.replay import ReplayChatCompletion
from magentic_kit.services.scripted import ScriptedChatCompletion
from magentic_kit.team.secrets import environment_secrets
from magentic_kit.team.services import Service
from magentic_kit.team.targets import module_object
from magentic_kit.text import one_line

logger = logging.getLogger(__name__)

_S = TypeVar("_S", bound=ChatCompletionClientBase)

_CONNECT = 10.0
"""Seconds to open a connection; how long an answer may take is bounded by `limits.model_timeout` alone."""


def build_service(name: str, config: Service, *, search_path: Path | None = None) -> ChatCompletionClientBase:
    """The chat-completion service that `config` describes, with `name` as its service id.

    Keys, and what the config leaves open, are read from the environment under Semantic Kernel's own names.
    `search_path` is the folder where the module of `provider: python` is looked for first.
    Raises `ConfigError` with one line when an extra, a key or a model is missing.
    """
    try:
        if config.provider in _PROVIDERS:
            return _connect(name, config)
        return _in_process(name, config, search_path)
    except ConfigError:
        raise
    except Exception as error:
        redactor = Redactor(environment_secrets(os.environ))
        problem = f"cannot be made: {type(error).__name__}: {redactor.text(one_line(str(error)))}"
        if isinstance(error, ModuleNotFoundError) and config.provider in _PROVIDERS:
            extra = "azure" if config.provider.startswith("azure") else config.provider
            problem = f"needs an extra: pip install 'magentic-kit[{extra}]'"
        raise ConfigError.one(f"service '{name}' {problem}") from error


def connector_class(provider: str) -> type[ChatCompletionClientBase] | None:
    """Semantic Kernel's connector for a provider; None for one of this package's own, or whose extra is missing."""
    if provider not in _PROVIDERS:
        return None
    try:
        return cast("type[ChatCompletionClientBase]", resolve_name(_module(provider)))
    except ImportError:
        return None


def in_dialect(service: _S) -> _S:
    """The service itself, or a copy that finds out a server's dialect if it is Semantic Kernel's own for OpenAI."""
    ancestors = {cls.__name__ for cls in type(service).__mro__}
    if "OpenAIChatCompletionBase" not in ancestors or "OpenAIWire" in ancestors:
        return service
    wire = resolve_name("magentic_kit.services.openai_wire:OpenAIWire")
    copy = service.model_copy()
    copy.__class__ = with_mixin(type(service), wire)
    wire.begin(copy)
    return copy


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


@lru_cache(maxsize=64)
def with_mixin(cls: type[_S], mixin: type) -> type[_S]:
    """`cls` with the methods of `mixin` before its own; it keeps its name, which SK's messages and spans show."""
    metaclass: Any = type(cls)
    return cast("type[_S]", metaclass(cls.__name__, (mixin, cls), {"__module__": cls.__module__}))


class _Settings(NamedTuple):
    """What the team file says of a service, completed from the environment."""

    name: str
    prefix: str
    config: Any

    def find(self, field: str, variable: str) -> str | None:
        return getattr(self.config, field, None) or os.environ.get(f"{self.prefix}_{variable}", "").strip() or None

    def need(self, field: str, variable: str) -> str:
        return self.find(field, variable) or self.lack(field, f"{field} in the team file, or {self.prefix}_{variable}")

    def key(self) -> str:
        variable = self.config.api_key_env or f"{self.prefix}_API_KEY"
        return os.environ.get(variable, "").strip() or self.lack("key", variable)

    def version(self) -> dict[str, Any]:
        default = "semantic_kernel.connectors.ai.open_ai.const:DEFAULT_AZURE_API_VERSION"
        return {"api_version": self.find("api_version", "API_VERSION") or resolve_name(default)}

    def lack(self, what: str, variable: str) -> NoReturn:
        raise ConfigError.one(f"service '{self.name}' has no {what}: set {variable} (in the environment or .env)")


def _connect(name: str, config: Any) -> ChatCompletionClientBase:
    _, arguments, *names = _PROVIDERS[config.provider]
    model, variable = names or ("ai_model_id", "CHAT_MODEL_ID")
    connector = resolve_name(_module(config.provider))
    if config.provider in ("mistral", "bedrock", "nvidia"):
        connector = with_mixin(connector, InOnePiece)
    elif config.provider in ("openai", "azure_openai"):
        connector = with_mixin(connector, resolve_name("magentic_kit.services.openai_wire:OpenAIWire"))
    prefix = {"google": "GOOGLE_AI", "mistral": "MISTRALAI"}.get(config.provider, config.provider.upper())
    settings = _Settings(name, prefix, config)
    service = connector(service_id=name, **arguments(settings), **{model: settings.need("model", variable)})
    for name in getattr(config, "dialect", ()):
        service._dialect.add(name)
    for field in ("client", "async_client"):
        client: Any = getattr(service, field, None)
        if hasattr(client, "max_retries"):  # retries are the run's own, which emits events of them
            client.max_retries, client.timeout = 0, _patience_of(client)
    return cast(ChatCompletionClientBase, service)


def _patience_of(client: Any = None) -> Any:
    """Returns the time limit for a client, of its own kind: SDKs go from httpx to httpx2 at their own times."""
    kind: Any = type(getattr(client, "timeout", None))
    if kind.__name__ != "Timeout":
        kind = resolve_name("httpx:Timeout")
    return kind(None, connect=_CONNECT)


def _module(provider: str) -> str:
    return f"semantic_kernel.connectors.ai.{_PROVIDERS[provider][0]}"


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


def _openai(settings: _Settings) -> dict[str, Any]:
    base_url, organization = settings.find("base_url", "BASE_URL"), settings.find("organization", "ORG_ID")
    # A local server asks for no key, but the client insists on one.
    key = "no-key" if base_url and not settings.find("api_key_env", "API_KEY") else settings.key()
    make = resolve_name("magentic_kit.services.openai_client:openai_client")
    client = make(api_key=key, base_url=base_url, organization=organization)
    return {"async_client": client, "instruction_role": settings.config.instruction_role}


def _azure(settings: _Settings) -> dict[str, Any]:
    entra, endpoint = settings.config.auth == "entra", settings.need("endpoint", "ENDPOINT")
    secret: Any = {"azure_ad_token_provider": _entra_tokens()} if entra else {"api_key": settings.key()}
    make = resolve_name("magentic_kit.services.openai_client:azure_client")
    return {"async_client": make(azure_endpoint=endpoint, **settings.version(), **secret)}


def _keyed(settings: _Settings) -> dict[str, Any]:
    return {"api_key": settings.key()}


def _entra_tokens() -> Callable[[], Awaitable[str]]:
    """Gives Entra ID tokens; by the credential for threads, as the one for asyncio would have to be closed."""
    from azure.identity import DefaultAzureCredential, get_bearer_token_provider

    scope = os.environ.get("AZURE_OPENAI_TOKEN_ENDPOINT") or "https://cognitiveservices.azure.com/.default"
    provide = get_bearer_token_provider(DefaultAzureCredential(), scope)
    return lambda: asyncio.to_thread(provide)


def _azure_ai(settings: _Settings) -> dict[str, Any]:
    make = resolve_name("azure.ai.inference.aio:ChatCompletionsClient")
    key = resolve_name("azure.core.credentials:AzureKeyCredential")(settings.key())
    options = {"retry_total": 0, "connection_timeout": _CONNECT, "read_timeout": None, **settings.version()}
    return {"client": make(settings.need("endpoint", "ENDPOINT"), key, **options)}


def _ollama(settings: _Settings) -> dict[str, Any]:
    return {"client": resolve_name("ollama:AsyncClient")(host=settings.find("host", "HOST"), timeout=_patience_of())}


def _google(settings: _Settings) -> dict[str, Any]:
    make = resolve_name("google.genai:Client")
    if not settings.config.vertex:
        return {"client": make(vertexai=False, api_key=settings.key())}
    project, region = settings.need("project", "CLOUD_PROJECT_ID"), settings.need("region", "CLOUD_REGION")
    return {"client": make(vertexai=True, project=project, location=region)}


def _bedrock(settings: _Settings) -> dict[str, Any]:
    session = resolve_name("boto3:Session")()
    if not session.region_name or session.get_credentials() is None:
        variables = "AWS_DEFAULT_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        settings.lack("region and credentials", variables)
    # Calls run in threads, which nothing but this timeout can stop: so not without end.
    limits = {"retries": {"total_max_attempts": 1}, "connect_timeout": _CONNECT, "read_timeout": 600}
    client = session.client("bedrock-runtime", config=resolve_name("botocore.config:Config")(**limits))
    return {"runtime_client": client, "model_provider": settings.config.model_provider}


def _nvidia(settings: _Settings) -> dict[str, Any]:
    return {**_keyed(settings), "base_url": settings.config.base_url}


_PROVIDERS: Mapping[str, tuple[Any, ...]] = {
    "openai": ("open_ai:OpenAIChatCompletion", _openai),
    "azure_openai": ("open_ai:AzureChatCompletion", _azure, "deployment_name", "CHAT_DEPLOYMENT_NAME"),
    "ollama": ("ollama:OllamaChatCompletion", _ollama),
    "anthropic": ("anthropic:AnthropicChatCompletion", _keyed),
    "google": ("google.google_ai:GoogleAIChatCompletion", _google, "gemini_model_id", "GEMINI_MODEL_ID"),
    "mistral": ("mistral_ai:MistralAIChatCompletion", _keyed),
    "bedrock": ("bedrock:BedrockChatCompletion", _bedrock, "model_id", "CHAT_MODEL_ID"),
    "azure_ai_inference": ("azure_ai_inference:AzureAIInferenceChatCompletion", _azure_ai),
    "nvidia": ("nvidia:NvidiaChatCompletion", _nvidia),
}
"""Provider -> the connector, what it is called with, and its names for the model where they are its own."""
