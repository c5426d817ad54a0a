"""How a team reaches models: one model of settings for each kind of service."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from magentic_kit.team.values import Duration, FilePath, ListOf, Model, Names, Options, Target, Url

DialectName = Literal[
    "alternate_roles",
    "instructions_as_system",
    "instructions_as_user",
    "names_as_text",
    "content_with_calls",
    "short_call_ids",
    "no_stream",
    "max_completion_tokens",
    "max_tokens",
    "no_response_format_with_tools",
    "no_stream_options",
    "no_tool_choice",
    "no_parallel_tool_calls",
    "no_temperature",
    "no_top_p",
    "no_presence_penalty",
    "no_frequency_penalty",
    "no_logit_bias",
    "no_seed",
    "no_stop",
    "no_user",
    "no_store",
    "no_metadata",
    "no_reasoning_effort",
]
"""Forms of a request, for servers that refuse the usual one; `services/dialects.py` says what each does."""


class Price(Model):
    """What a model costs, in US dollars per million tokens."""

    prompt: float = Field(ge=0, allow_inf_nan=False, description="Of the prompt.")
    completion: float = Field(ge=0, allow_inf_nan=False, description="Of the completion.")
    cached: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="Of the prompt where the provider had it in its cache; default: as the prompt.",
    )


class BaseService(Model):
    """What every service has."""

    model: str | None = Field(default=None, description="Model to ask; default: the provider's own variable.")
    options: Options = Field(default={}, description="Execution settings for every call, such as temperature.")
    structured_output: Literal["auto", "json_schema", "json_object", "prompt"] = Field(
        default="auto", description="How the manager asks for a progress ledger; auto finds what the server accepts."
    )
    fallback: Names = Field(
        default=(), description="Services to ask in its place, in this order, for the rest of a run that it fails."
    )
    price: Price | None = Field(
        default=None, description="US dollars per million tokens; default: the published price, with `genai-prices`."
    )


class _KeyedService(BaseService):
    api_key_env: str | None = Field(
        default=None, description="Environment variable that holds the key; default: SK's own."
    )


class OpenAIService(_KeyedService):
    """OpenAI, or any server that speaks its chat-completions protocol."""

    provider: Literal["openai"] = Field(description="Kind of service.")
    base_url: Url | None = Field(default=None, description="Server to ask, such as http://localhost:8000/v1.")
    organization: str | None = Field(default=None, description="OpenAI organization id.")
    instruction_role: Literal["system", "developer"] | None = Field(default=None, description="Role of instructions.")
    dialect: ListOf[DialectName] = Field(
        default=(), description="Forms of a request that the server takes; those that are missing are found."
    )


class _AzureService(_KeyedService):
    endpoint: Url | None = Field(default=None, description="Endpoint of the resource, an https URL.")
    api_version: str | None = Field(default=None, description="API version to use.")


class AzureOpenAIService(_AzureService):
    """An Azure OpenAI deployment, with a key or Entra ID."""

    provider: Literal["azure_openai"] = Field(description="Kind of service.")
    deployment: str | None = Field(default=None, description="Deployment to call; takes the place of model.")
    auth: Literal["key", "entra"] = Field(default="key", description="Sign in with a key or with Entra ID.")
    dialect: ListOf[DialectName] = Field(
        default=(), description="Forms of a request that the server takes; those that are missing are found."
    )

    @model_validator(mode="before")
    @classmethod
    def _model_is_the_deployment(cls, data: Any) -> Any:
        deployment = data.get("deployment") if isinstance(data, Mapping) else None
        if deployment and isinstance(deployment, str):
            return dict(data, model=deployment)
        return data


class AzureAIInferenceService(_AzureService):
    """Models behind the Azure AI Inference API."""

    provider: Literal["azure_ai_inference"] = Field(description="Kind of service.")


class OllamaService(BaseService):
    """A model served by Ollama."""

    provider: Literal["ollama"] = Field(description="Kind of service.")
    host: str | None = Field(default=None, description="Server address; default: OLLAMA_HOST or this machine.")


class HostedService(_KeyedService):
    """Anthropic's or Mistral AI's models, for which a key is all it takes."""

    provider: Literal["anthropic", "mistral"] = Field(description="Kind of service.")


class GoogleService(_KeyedService):
    """Google's Gemini models, by API key or Vertex AI."""

    provider: Literal["google"] = Field(description="Kind of service.")
    vertex: bool = Field(default=False, description="Use Vertex AI with application default credentials.")
    project: str | None = Field(default=None, description="Google Cloud project, for Vertex AI.")
    region: str | None = Field(default=None, description="Google Cloud region, for Vertex AI.")


class BedrockService(BaseService):
    """Models on Amazon Bedrock, with the credentials and region of the AWS SDK."""

    provider: Literal["bedrock"] = Field(description="Kind of service.")
    model_provider: str | None = Field(default=None, description="Maker of the model if its id does not name it.")


class NvidiaService(_KeyedService):
    """NVIDIA NIM."""

    provider: Literal["nvidia"] = Field(description="Kind of service.")
    base_url: Url | None = Field(default=None, description="Server to ask; default: NVIDIA's own.")
    dialect: ListOf[DialectName] = Field(
        default=(), description="Forms of a request that the server takes; those that are missing are found."
    )


class PythonService(BaseService):
    """A chat-completion service that your own Python code makes."""

    provider: Literal["python"] = Field(description="Kind of service.")
    target: Target = Field(description="Callable that returns the service, as package.module:name.")
    args: Options = Field(default={}, description="Keyword arguments for the callable.")


def _file_or_script(value: Any) -> Path | dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, str | Path):
        return Path(value)
    raise ValueError("should be a file or the script itself")


Script = Annotated[Path | dict[str, Any], BeforeValidator(_file_or_script, json_schema_input_type=str | dict[str, Any])]


class ScriptedService(BaseService):
    """Replies read from a script; no model is called."""

    provider: Literal["scripted"] = Field(description="Kind of service.")
    script: Script = Field(description="Script file, or the script itself.")
    delay: Duration = Field(default=0.0, description="Pause between streamed words, such as 30ms.")


class ReplayService(BaseService):
    """Replies of an earlier run, for tests of a team; what is asked has to be what was asked then."""

    provider: Literal["replay"] = Field(description="Kind of service.")
    log: FilePath = Field(description="Run directory that has the replies.")


Service = Annotated[
    OpenAIService | AzureOpenAIService | OllamaService | HostedService | GoogleService | BedrockService
    | AzureAIInferenceService | NvidiaService | PythonService | ScriptedService | ReplayService,
    Field(discriminator="provider"),
]  # fmt: skip
