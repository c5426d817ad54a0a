"""Builds Semantic Kernel's chat-completion service from its config; connectors are imported when used."""

from __future__ import annotations

import importlib
import inspect
import logging
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeAlias

import httpx
import yaml
from openai import AsyncAzureOpenAI, AsyncOpenAI
from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase
from semantic_kernel.connectors.ai.prompt_execution_settings import PromptExecutionSettings
from semantic_kernel.contents import (
    ChatHistory,
    FunctionCallContent,
    StreamingChatMessageContent,
    StreamingTextContent,
)

from magentic_kit.errors import ConfigError
from magentic_kit.redaction import Redactor
from magentic_kit.targets import module_object

if TYPE_CHECKING:
    from magentic_kit import providers as p

logger = logging.getLogger(__name__)

Arguments: TypeAlias = dict[str, Any]
"""What a connector's class is called with."""

_CONNECT = 10.0
"""Seconds to open a connection; how long an answer may take is bounded by `limits.model_timeout` alone."""

_PATIENT: dict[str, Any] = {"max_retries": 0, "timeout": httpx.Timeout(None, connect=_CONNECT)}
"""For clients of the OpenAI kind: retries are the run's own, which tells of them."""


def build_service(
    name: str, config: p.Service, *, search_path: Path | None = None, env: Mapping[str, str] = os.environ
) -> ChatCompletionClientBase:
    """The chat-completion service that `config` describes, with `name` as its service id.

    Keys, and what the config leaves open, are read from `env` under Semantic Kernel's own names.
    `search_path` is the folder where the module of `provider: python` is looked for first.
    Raises `ConfigError` with one line when an extra, a key or a model is missing.
    """
    if config.provider == "python":
        return _python(name, config, search_path)
    if config.provider == "scripted":
        return _scripted(name, config)
    provider = _PROVIDERS[config.provider]
    want = _Wanted(name, provider.prefix, env)
    try:
        arguments = provider.arguments(want, config)
        arguments[provider.model] = want.ask("a model", config.model, provider.variable)
        connector = _named(f"semantic_kernel.connectors.ai.{provider.connector}")
        if provider.unstreamed:
            connector = _in_one_piece(connector)
        service: ChatCompletionClientBase = connector(**arguments, service_id=name)
    except ConfigError:
        raise
    except Exception as error:
        text = Redactor.from_environment(env).text(" ".join(str(error).split()))
        needs = f"a different setup: {type(error).__name__}: {text}"
        if provider.extra and isinstance(error, ImportError):
            label = provider.extra.capitalize()
            needs = f"the {label} connector: pip install 'magentic-kit[{provider.extra}]'"
        raise ConfigError.one(f"service '{name}' needs {needs}") from error
    return service


async def close_service(service: ChatCompletionClientBase) -> None:
    """Closes the HTTP clients under a built service and all its copies. A failure to close is only logged."""
    for field in ("client", "async_client", "bedrock_runtime_client", "bedrock_client"):
        client = getattr(service, field, None)
        for part in (getattr(client, "aio", None), client):  # google-genai has a client within the client
            close = getattr(part, "close", None) or getattr(part, "aclose", None)
            if close is None and hasattr(part, "__aexit__"):  # mistralai
                close = lambda part=part: part.__aexit__(None, None, None)  # noqa: E731
            try:
                closing = close() if close else None
                if inspect.isawaitable(closing):
                    await closing
            except Exception:
                logger.warning("service %r could not be closed", service.service_id, exc_info=True)


def usage_of(metadata: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """The tokens of prompt and completion that a message's metadata tells; None where it does not."""
    usage = metadata.get("usage")
    if isinstance(usage, tuple):  # Semantic Kernel 1.45, Mistral: a comma too many
        usage = usage[0] if usage else None

    def count(*names: str) -> int | None:
        found = (usage.get(n) if isinstance(usage, Mapping) else getattr(usage, n, None) for n in names)
        return next((number for number in found if isinstance(number, int)), None)

    return count("prompt_tokens", "input_tokens"), count("completion_tokens", "output_tokens")


class _Wanted(NamedTuple):
    """A service to build, and where to look for what its config leaves open."""

    name: str
    prefix: str
    env: Mapping[str, str]

    def find(self, given: str | None, suffix: str) -> str | None:
        return given or self.env.get(f"{self.prefix}_{suffix}", "").strip() or None

    def ask(self, what: str, given: str | None, suffix: str) -> str:
        variable = f"{what.split()[-1]} in the team file, or {self.prefix}_{suffix}"
        return self.find(given, suffix) or self.lack(what, variable)

    def lack(self, what: str, variable: str) -> NoReturn:
        where = f"set {variable} (in the environment or .env)"
        raise ConfigError.one(f"service '{self.name}' needs {what}: {where}")

    def key(self, config: Any) -> str:
        variable = config.api_key_env or f"{self.prefix}_API_KEY"
        return self.env.get(variable, "").strip() or self.lack("a key", variable)

    def version(self, config: Any) -> Any:
        default = "semantic_kernel.connectors.ai.open_ai.const:DEFAULT_AZURE_API_VERSION"
        return self.find(config.api_version, "API_VERSION") or _named(default)


def _openai(want: _Wanted, config: p.OpenAIService) -> Arguments:
    base_url = want.find(config.base_url, "BASE_URL")
    # A local server asks for no key, but the client insists on one.
    keyless = base_url and not config.api_key_env and not want.find(None, "API_KEY")
    client = AsyncOpenAI(
        api_key="no-key" if keyless else want.key(config),
        base_url=base_url,
        organization=want.find(config.organization, "ORG_ID"),
        **_PATIENT,
    )
    return {"async_client": client, "instruction_role": config.instruction_role}


def _nvidia(want: _Wanted, config: p.NvidiaService) -> Arguments:
    url = want.find(config.base_url, "BASE_URL") or "https://integrate.api.nvidia.com/v1"
    return {"client": AsyncOpenAI(api_key=want.key(config), base_url=url, **_PATIENT)}


def _azure(want: _Wanted, config: p.AzureOpenAIService) -> Arguments:
    options = {"api_version": want.version(config), **_PATIENT}
    base_url = None if config.endpoint else want.find(None, "BASE_URL")
    if base_url:
        options["base_url"] = base_url
    else:
        options["azure_endpoint"] = want.ask("an endpoint", config.endpoint, "ENDPOINT")
        options["azure_deployment"] = want.find(config.model, "CHAT_DEPLOYMENT_NAME")
    if config.auth == "key":
        options["api_key"] = want.key(config)
    else:
        scope = want.find(None, "TOKEN_ENDPOINT") or "https://cognitiveservices.azure.com/.default"
        options["azure_ad_token_provider"] = _entra_token(scope)
    return {"async_client": AsyncAzureOpenAI(**options)}


def _entra_token(scope: str) -> Callable[[], Awaitable[str]]:
    """Gives Entra ID tokens, each used until five minutes before its end; leaves nothing to be closed."""
    login = _named("azure.identity.aio:DefaultAzureCredential")
    token: Any = None

    async def provide() -> str:
        nonlocal token
        if token is None or token.expires_on < time.time() + 300:
            async with login() as credential:
                token = await credential.get_token(scope)
        return str(token.token)

    return provide


def _azure_ai(want: _Wanted, config: p.AzureAIInferenceService) -> Arguments:
    make = _named("azure.ai.inference.aio:ChatCompletionsClient")
    secret = _named("azure.core.credentials:AzureKeyCredential")
    endpoint, key = want.ask("an endpoint", config.endpoint, "ENDPOINT"), secret(want.key(config))
    options = {"retry_total": 0, "connection_timeout": _CONNECT, "read_timeout": None}
    return {"client": make(endpoint, key, api_version=want.version(config), **options)}


def _ollama(want: _Wanted, config: p.OllamaService) -> Arguments:
    make = _named("ollama:AsyncClient")
    return {"client": make(host=want.find(config.host, "HOST"), timeout=_PATIENT["timeout"])}


def _hosted(want: _Wanted, config: p.HostedService) -> Arguments:
    mistral = config.provider == "mistral"
    make = _named("mistralai:Mistral" if mistral else "anthropic:AsyncAnthropic")
    key = want.key(config)  # Semantic Kernel's settings insist on it beside the client
    return {"api_key": key, "async_client": make(api_key=key, **({} if mistral else _PATIENT))}


def _google(want: _Wanted, config: p.GoogleService) -> Arguments:
    make = _named("google.genai:Client")
    if not config.vertex:
        return {"client": make(vertexai=False, api_key=want.key(config))}
    project = want.ask("a project", config.project, "CLOUD_PROJECT_ID")
    region = want.ask("a region", config.region, "CLOUD_REGION")
    return {"client": make(vertexai=True, project=project, location=region)}


def _bedrock(want: _Wanted, config: p.BedrockService) -> Arguments:
    session = _named("boto3:Session")()
    if not session.region_name:
        want.lack("a region", "AWS_DEFAULT_REGION")
    if session.get_credentials() is None:
        want.lack("AWS credentials", "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE")
    # Calls run in threads, which nothing but this timeout can stop: so not without end.
    limits = {"retries": {"total_max_attempts": 1}, "connect_timeout": _CONNECT, "read_timeout": 600}
    options = {"config": _named("botocore.config:Config")(**limits)}
    return {
        "model_provider": want.find(config.model_provider, "MODEL_PROVIDER"),
        "runtime_client": session.client("bedrock-runtime", **options),
        "client": session.client("bedrock", **options),
    }


def _scripted(name: str, config: p.ScriptedService) -> ChatCompletionClientBase:
    from magentic_kit.testing import ScriptedChatCompletion

    script = config.script
    if isinstance(script, Path):
        script = yaml.safe_load(script.read_text(encoding="utf-8"))
    return ScriptedChatCompletion(script, service_id=name, delay=config.delay)


def _python(name: str, config: p.PythonService, search_path: Path | None) -> ChatCompletionClientBase:
    make = module_object(config.target, search_path)
    try:
        made = make(**config.args)
    except Exception as error:
        failure = f"{config.target} raised {type(error).__name__}: {error}"
        raise ConfigError.one(f"service '{name}': {failure}") from error
    if not isinstance(made, ChatCompletionClientBase):
        failure = f"{config.target} made a {type(made).__name__}, not a chat-completion service"
        raise ConfigError.one(f"service '{name}': {failure}")
    return made.model_copy(update={"service_id": name})


class _InOnePiece:
    """Put before the class of a connector whose streaming cannot be used: streams the reply as one piece.

    In Semantic Kernel 1.45 Nvidia's and Mistral's expect a stream of a type that their clients do not give
    (one fails, the other says nothing), and Bedrock's reads it in the event loop, stopping all other tasks.
    """

    async def _inner_get_streaming_chat_message_contents(
        self, chat_history: ChatHistory, settings: PromptExecutionSettings, function_invoke_attempt: int = 0
    ) -> AsyncGenerator[list[StreamingChatMessageContent], None]:
        kept = ("role", "ai_model_id", "finish_reason", "metadata", "inner_content")
        for content in await super()._inner_get_chat_message_contents(chat_history, settings):  # type: ignore[misc]
            calls = [item for item in content.items if isinstance(item, FunctionCallContent)]
            text = [StreamingTextContent(choice_index=0, text=content.content)] if content.content else []
            yield [
                StreamingChatMessageContent(
                    choice_index=0,
                    items=[*text, *calls],
                    function_invoke_attempt=function_invoke_attempt,
                    **{name: getattr(content, name) for name in kept},
                )
            ]


def _named(target: str) -> Any:
    """The `module:name` of a library that may not be installed."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


@cache
def _in_one_piece(cls: Any) -> Any:
    return type(cls)(cls.__name__, (_InOnePiece, cls), {"__module__": cls.__module__})


class _Provider(NamedTuple):
    """How to build a provider's service; `prefix` and `variable` make Semantic Kernel's variable names."""

    connector: str
    arguments: Callable[[_Wanted, Any], Arguments]
    prefix: str
    extra: str = ""
    model: str = "ai_model_id"  # the connector's name for it
    variable: str = "CHAT_MODEL_ID"
    unstreamed: bool = False


_PROVIDERS: Mapping[str, _Provider] = {
    "openai": _Provider("open_ai:OpenAIChatCompletion", _openai, "OPENAI"),
    "azure_openai": _Provider(
        "open_ai:AzureChatCompletion", _azure, "AZURE_OPENAI", "", "deployment_name", "CHAT_DEPLOYMENT_NAME"
    ),
    "ollama": _Provider("ollama:OllamaChatCompletion", _ollama, "OLLAMA", "ollama"),
    "anthropic": _Provider("anthropic:AnthropicChatCompletion", _hosted, "ANTHROPIC", "anthropic"),
    "google": _Provider(
        "google.google_ai:GoogleAIChatCompletion",
        _google,
        "GOOGLE_AI",
        "google",
        "gemini_model_id",
        "GEMINI_MODEL_ID",
    ),
    "mistral": _Provider("mistral_ai:MistralAIChatCompletion", _hosted, "MISTRALAI", "mistral", unstreamed=True),
    "bedrock": _Provider("bedrock:BedrockChatCompletion", _bedrock, "BEDROCK", "bedrock", "model_id", unstreamed=True),
    "azure_ai_inference": _Provider(
        "azure_ai_inference:AzureAIInferenceChatCompletion", _azure_ai, "AZURE_AI_INFERENCE", "azure"
    ),
    "nvidia": _Provider("nvidia:NvidiaChatCompletion", _nvidia, "NVIDIA", unstreamed=True),
}
