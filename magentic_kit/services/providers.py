"""The providers of models: Semantic Kernel's connector for each, and what it is made with."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from pkgutil import resolve_name
from typing import Any, NoReturn, TypeAlias

from magentic_kit.errors import ConfigError

Arguments: TypeAlias = dict[str, Any]
"""What a connector is called with."""

CONNECT = 10.0
"""Seconds to open a connection; how long an answer may take is bounded by `limits.model_timeout` alone."""

_NVIDIA = "https://integrate.api.nvidia.com/v1"


def patience(client: Any = None) -> Any:
    """The time limit for a client, of its own kind: SDKs go from httpx to httpx2 at their own times."""
    kind: Any = type(getattr(client, "timeout", None))
    if kind.__name__ != "Timeout":
        kind = resolve_name("httpx:Timeout")
    return kind(None, connect=CONNECT)


@dataclass(frozen=True)
class Settings:
    """What the team file says of a service, completed from the environment."""

    name: str
    prefix: str
    config: Any

    def find(self, field: str, variable: str) -> str | None:
        """The setting, or None."""
        return getattr(self.config, field, None) or os.environ.get(f"{self.prefix}_{variable}", "").strip() or None

    def need(self, field: str, variable: str) -> str:
        """The setting. Raises `ConfigError` that names it if there is none."""
        return self.find(field, variable) or self.lack(field, f"{field} in the team file, or {self.prefix}_{variable}")

    def key(self) -> str:
        """The provider's key. Raises `ConfigError`."""
        variable = self.config.api_key_env or f"{self.prefix}_API_KEY"
        return os.environ.get(variable, "").strip() or self.lack("key", variable)

    def version(self) -> Arguments:
        """The API version of Azure, as an argument."""
        default = "semantic_kernel.connectors.ai.open_ai.const:DEFAULT_AZURE_API_VERSION"
        return {"api_version": self.find("api_version", "API_VERSION") or resolve_name(default)}

    def lack(self, what: str, variable: str) -> NoReturn:
        """Raises `ConfigError`."""
        raise ConfigError.one(f"service '{self.name}' has no {what}: set {variable} (in the environment or .env)")


@dataclass(frozen=True)
class Provider:
    """A kind of service: connector and adapter as `module:class`, below SK's and this package's own.

    `arguments` are what the connector is called with besides its model; `model` is its own name for that, and
    `variable` where the environment has it, behind the `prefix`. `address` is the key of the team file that has the
    server's address, and `extra` what has to be installed.
    """

    connector: str
    adapter: str
    arguments: Callable[[Settings], Arguments]
    _: KW_ONLY
    prefix: str
    address: str = ""
    extra: str = ""
    model: str = "ai_model_id"
    variable: str = "CHAT_MODEL_ID"

    @property
    def base(self) -> str:
        """Name of the class below which connectors take the adapter."""
        if self.adapter == "openai:OpenAIAdapter":
            return "OpenAIChatCompletionBase"
        return self.connector.partition(":")[2]

    def connector_class(self) -> Any:
        """Semantic Kernel's connector. Raises `ImportError` if its extra is missing."""
        return resolve_name(f"semantic_kernel.connectors.ai.{self.connector}")

    def adapter_class(self) -> Any:
        """What is put before it."""
        return resolve_name(f"magentic_kit.services.adapters.{self.adapter}")


def _openai(settings: Settings) -> Arguments:
    base_url, organization = settings.find("base_url", "BASE_URL"), settings.find("organization", "ORG_ID")
    # A local server asks for no key, but the client insists on one.
    key = "no-key" if base_url and not settings.find("api_key_env", "API_KEY") else settings.key()
    make = resolve_name("magentic_kit.services.openai_client:openai_client")
    client = make(api_key=key, base_url=base_url, organization=organization)
    return {"async_client": client, "instruction_role": settings.config.instruction_role}


def _azure(settings: Settings) -> Arguments:
    entra, endpoint = settings.config.auth == "entra", settings.need("endpoint", "ENDPOINT")
    secret: Any = {"azure_ad_token_provider": _entra_tokens()} if entra else {"api_key": settings.key()}
    make = resolve_name("magentic_kit.services.openai_client:azure_client")
    return {"async_client": make(azure_endpoint=endpoint, **settings.version(), **secret)}


def _keyed(settings: Settings) -> Arguments:
    return {"api_key": settings.key()}


def _entra_tokens() -> Callable[[], Awaitable[str]]:
    """Gives Entra ID tokens; by the credential for threads, as the one for asyncio would have to be closed."""
    from azure.identity import DefaultAzureCredential, get_bearer_token_provider

    scope = os.environ.get("AZURE_OPENAI_TOKEN_ENDPOINT") or "https://cognitiveservices.azure.com/.default"
    provide = get_bearer_token_provider(DefaultAzureCredential(), scope)
    return lambda: asyncio.to_thread(provide)


def _azure_ai(settings: Settings) -> Arguments:
    make = resolve_name("azure.ai.inference.aio:ChatCompletionsClient")
    key = resolve_name("azure.core.credentials:AzureKeyCredential")(settings.key())
    options = {"retry_total": 0, "connection_timeout": CONNECT, "read_timeout": None, **settings.version()}
    return {"client": make(settings.need("endpoint", "ENDPOINT"), key, **options)}


def _ollama(settings: Settings) -> Arguments:
    return {"client": resolve_name("ollama:AsyncClient")(host=settings.find("host", "HOST"), timeout=patience())}


def _google(settings: Settings) -> Arguments:
    make = resolve_name("google.genai:Client")
    if not settings.config.vertex:
        return {"client": make(vertexai=False, api_key=settings.key())}
    project, region = settings.need("project", "CLOUD_PROJECT_ID"), settings.need("region", "CLOUD_REGION")
    return {"client": make(vertexai=True, project=project, location=region)}


def _bedrock(settings: Settings) -> Arguments:
    session = resolve_name("boto3:Session")()
    if not session.region_name or session.get_credentials() is None:
        variables = "AWS_DEFAULT_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        settings.lack("region and credentials", variables)
    # Calls run in threads, which nothing but this timeout can stop: so not without end.
    limits = {"retries": {"total_max_attempts": 1}, "connect_timeout": CONNECT, "read_timeout": 600}
    client = session.client("bedrock-runtime", config=resolve_name("botocore.config:Config")(**limits))
    return {"runtime_client": client, "model_provider": settings.config.model_provider}


def _nvidia(settings: Settings) -> Arguments:
    # NVIDIA speaks OpenAI's protocol; SK's own connector for it calls no functions and cannot stream.
    make = resolve_name("magentic_kit.services.openai_client:openai_client")
    base_url = settings.find("base_url", "BASE_URL") or _NVIDIA
    return {"async_client": make(api_key=settings.key(), base_url=base_url)}


PROVIDERS: Mapping[str, Provider] = {
    "openai": Provider(
        "open_ai:OpenAIChatCompletion", "openai:OpenAIAdapter", _openai, prefix="OPENAI", address="base_url"
    ),
    "azure_openai": Provider(
        "open_ai:AzureChatCompletion",
        "openai:OpenAIAdapter",
        _azure,
        prefix="AZURE_OPENAI",
        address="endpoint",
        model="deployment_name",
        variable="CHAT_DEPLOYMENT_NAME",
    ),
    "ollama": Provider(
        "ollama:OllamaChatCompletion", "ollama:OllamaAdapter", _ollama, prefix="OLLAMA", address="host", extra="ollama"
    ),
    "anthropic": Provider(
        "anthropic:AnthropicChatCompletion",
        "anthropic:AnthropicAdapter",
        _keyed,
        prefix="ANTHROPIC",
        extra="anthropic",
    ),
    "google": Provider(
        "google.google_ai:GoogleAIChatCompletion",
        "google:GoogleAdapter",
        _google,
        prefix="GOOGLE_AI",
        extra="google",
        model="gemini_model_id",
        variable="GEMINI_MODEL_ID",
    ),
    "mistral": Provider(
        "mistral_ai:MistralAIChatCompletion", "mistral:MistralAdapter", _keyed, prefix="MISTRALAI", extra="mistral"
    ),
    "bedrock": Provider(
        "bedrock:BedrockChatCompletion",
        "bedrock:BedrockAdapter",
        _bedrock,
        prefix="BEDROCK",
        extra="bedrock",
        model="model_id",
    ),
    "azure_ai_inference": Provider(
        "azure_ai_inference:AzureAIInferenceChatCompletion",
        "azure_inference:AzureInferenceAdapter",
        _azure_ai,
        prefix="AZURE_AI_INFERENCE",
        address="endpoint",
        extra="azure",
    ),
    "nvidia": Provider(
        "open_ai:OpenAIChatCompletion", "openai:OpenAIAdapter", _nvidia, prefix="NVIDIA", address="base_url"
    ),
}
"""Those that Semantic Kernel has a connector for, by their names in the team file."""


def address_key(service: object) -> str:
    """The key of the team file that has the address of a service's server; "" if none has."""
    ancestors = {cls.__name__ for cls in type(service).__mro__}
    for provider in PROVIDERS.values():
        if provider.connector.partition(":")[2] in ancestors:
            return provider.address
    return ""
