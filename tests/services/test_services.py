"""Every provider is Semantic Kernel's own connector, set up from a few words and closed when done."""

from __future__ import annotations

import importlib.util
import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from openai.types.completion_usage import PromptTokensDetails
from pydantic import TypeAdapter
from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase
from semantic_kernel.connectors.ai.completion_usage import CompletionUsage
from semantic_kernel.contents import ChatHistory

from magentic_kit.errors import ConfigError
from magentic_kit.services.connectors import build_service, close_service
from magentic_kit.services.errors import as_service_error
from magentic_kit.services.usage import cached_of, usage_of
from magentic_kit.team.services import Service
from magentic_kit.team.targets import module_object

SDK = {
    "ollama": "ollama",
    "anthropic": "anthropic",
    "google": "google.genai",
    "mistral": "mistralai",
    "bedrock": "boto3",
    "azure_ai_inference": "azure.ai.inference",
}
PROVIDERS = ["openai", "azure_openai", "nvidia", *SDK]
KEYS = dict.fromkeys(
    (
        "OPENAI_API_KEY",
        "AZURE_OPENAI_API_KEY",
        "NVIDIA_API_KEY",
        "ANTHROPIC_API_KEY",
        "GOOGLE_AI_API_KEY",
        "MISTRALAI_API_KEY",
        "AZURE_AI_INFERENCE_API_KEY",
    ),
    "a-key",
)


def service(
    provider: str, *, env: dict[str, str] | None = None, folder: Path | None = None, **options: Any
) -> ChatCompletionClientBase:
    config = TypeAdapter(Service).validate_python({"provider": provider, **options})
    with pytest.MonkeyPatch.context() as patch:
        for name in KEYS:
            patch.delenv(name, raising=False)
        for name, value in (KEYS if env is None else env).items():
            patch.setenv(name, value)
        return build_service("default", config, search_path=folder)


def refusal(provider: str, **options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        service(provider, **options)
    assert len(caught.value.problems) == 1
    return caught.value.problems[0].message


# -- what is missing is said in one line

MISSING = {
    "openai key": ("openai", {"model": "m"}, "key: set OPENAI_API_KEY"),
    "openai key of another name": ("openai", {"model": "m", "api_key_env": "MINE"}, "key: set MINE"),
    "named key of a local server": (
        *("openai", {"model": "m", "base_url": "http://127.0.0.1:1/v1", "api_key_env": "MINE"}),
        "key: set MINE",
    ),
    "openai model": (
        *("openai", {"base_url": "http://127.0.0.1:1/v1"}),
        "model: set model in the team file, or OPENAI_CHAT_MODEL_ID",
    ),
    "azure endpoint": (
        *("azure_openai", {"model": "m"}),
        "endpoint: set endpoint in the team file, or AZURE_OPENAI_ENDPOINT",
    ),
    "azure key": (
        *("azure_openai", {"model": "m", "endpoint": "https://x.openai.azure.com"}),
        "key: set AZURE_OPENAI_API_KEY",
    ),
    "azure deployment": (
        *("azure_openai", {"endpoint": "https://x.openai.azure.com", "auth": "entra"}),
        "model: set model in the team file, or AZURE_OPENAI_CHAT_DEPLOYMENT_NAME",
    ),
    "nvidia key": ("nvidia", {"model": "m"}, "key: set NVIDIA_API_KEY"),
}


@pytest.mark.parametrize("name", MISSING)
def test_a_missing_setting_is_one_line_that_names_it(name: str) -> None:
    provider, options, lacks = MISSING[name]
    assert refusal(provider, env={}, **options) == f"service 'default' has no {lacks} (in the environment or .env)"


@pytest.mark.parametrize(("provider", "module"), SDK.items())
def test_a_missing_extra_is_one_line_with_the_install_command(provider: str, module: str) -> None:
    if _installed(module):
        pytest.skip(f"{module} is installed")
    extra = {"azure_ai_inference": "azure"}.get(provider, provider)
    options = {"endpoint": "https://x"} if provider == "azure_ai_inference" else {}
    told = refusal(provider, model="m", **options)
    assert told == f"service 'default' needs an extra: pip install 'magentic-kit[{extra}]'"


def test_what_a_connector_refuses_is_one_line_without_the_key() -> None:
    env = {"AZURE_OPENAI_API_KEY": "sk-abcdefghijklmnopqrst", "AZURE_OPENAI_ENDPOINT": "http://plain"}
    told = refusal("azure_openai", model="m", env=env)
    assert told.startswith("service 'default' cannot be made: ServiceInitializationError: ")
    assert "https" in told and "sk-" not in told and "\n" not in told


# -- every connector talks to a server and closes what it opened


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


@dataclass
class Server:
    """Answers on loopback as each provider would; `status` makes every answer an error."""

    url: str
    status: int = 200
    requests: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)

    def answer(self, path: str, body: Any) -> tuple[str, str]:
        if self.status != 200:
            return "application/json", json.dumps({"error": {"message": "no, sorry", "type": "x"}, "message": "no"})
        tokens = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        told = {"role": "assistant", "content": "hello"}
        choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
        reply = {"id": "x", "created": 1, "model": "m", "usage": tokens}
        if "/api/chat" in path:
            at = {"model": "m", "created_at": "2026-01-01T00:00:00Z", "done": True}
            return "application/x-ndjson", json.dumps(at | {"message": told, "prompt_eval_count": 3, "eval_count": 2})
        if "/messages" in path:
            message = {"id": "x", "type": "message", "role": "assistant", "model": "m", "stop_sequence": None}
            used = {"usage": {"input_tokens": 3, "output_tokens": 2}}
            if not body.get("stream"):
                text = {"content": [{"type": "text", "text": "hello"}], "stop_reason": "end_turn"}
                return "application/json", json.dumps(message | text | used)
            empty: dict[str, Any] = {"content": [], "stop_reason": None}
            return _events(
                {"type": "message_start", "message": message | empty | used},
                {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
                {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hello"}},
                {"type": "content_block_stop", "index": 0},
                {
                    "type": "message_delta",
                    "delta": {"stop_reason": "end_turn"},
                    "usage": {"output_tokens": 2},
                },
                {"type": "message_stop"},
            )
        if "enerateContent" in path:
            said = {
                "content": {"role": "model", "parts": [{"text": "hello"}]},
                "finishReason": "STOP",
                "index": 0,
            }
            counted = {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5}
            whole = {"candidates": [said], "usageMetadata": counted}
            return _events(whole) if "stream" in path else ("application/json", json.dumps(whole))
        if "/converse" in path:
            output = {"message": {"role": "assistant", "content": [{"text": "hello"}]}}
            spent = {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}
            whole = {"output": output, "stopReason": "end_turn", "usage": spent, "metrics": {"latencyMs": 1}}
            return "application/json", json.dumps(whole)
        if isinstance(body, dict) and body.get("stream"):
            chunk = reply | {"object": "chat.completion.chunk", "choices": [choice | {"delta": told}]}
            return _events(chunk)
        return "application/json", json.dumps(
            reply | {"object": "chat.completion", "choices": [choice | {"message": told}]}
        )


def _events(*events: dict[str, Any]) -> tuple[str, str]:
    named = (f"event: {e['type']}\n" if "type" in e else "" for e in events)
    lines = (f"{name}data: {json.dumps(event)}\n\n" for name, event in zip(named, events, strict=True))
    return "text/event-stream", "".join(lines)


@pytest.fixture
def server() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            state.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            kind, text = state.answer(self.path, body)
            self.send_response(state.status)
            self.send_header("content-type", kind)
            self.send_header("retry-after", "7")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        state = Server(f"http://127.0.0.1:{http.server_address[1]}")
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        http.shutdown()
        thread.join()


def connected(
    provider: str, url: str, monkeypatch: pytest.MonkeyPatch, *, model: str = "amazon.nova"
) -> ChatCompletionClientBase:
    """The provider's service with its client pointed at `url`."""
    if provider in SDK and not _installed(SDK[provider]):
        pytest.skip(f"needs {SDK[provider]}")
    for name, value in {
        "ANTHROPIC_BASE_URL": url,
        "GOOGLE_GEMINI_BASE_URL": url,
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "AKIAAAAAAAAAAAAAAAAA",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }.items():
        monkeypatch.setenv(name, value)
    where: dict[str, Any] = {
        "openai": {"base_url": f"{url}/v1"},
        "nvidia": {"base_url": f"{url}/v1"},
        "azure_openai": {"endpoint": url},
        "azure_ai_inference": {"endpoint": url},
        "ollama": {"host": url},
    }.get(provider, {})
    made = service(provider, model=model, **where)
    if provider == "mistral":
        made.async_client.sdk_configuration.server_url = url  # type: ignore[attr-defined]
    return made


def question() -> ChatHistory:
    history = ChatHistory(system_message="Be brief.")
    history.add_user_message("a < b?")
    return history


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_provider_answers_whole_and_streamed(
    provider: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = connected(provider, server.url, monkeypatch)
    settings = made.get_prompt_execution_settings_class()
    whole = (await made.get_chat_message_contents(question(), settings()))[0]
    assert (whole.content, usage_of(whole.metadata)) == ("hello", (3, 2))
    text, counted = "", set()
    async for pieces in made.get_streaming_chat_message_contents(question(), settings()):
        text += pieces[0].content
        counted.add(usage_of(pieces[0].metadata))
    assert text == "hello" and (3, 2) in counted
    assert made.service_id == "default"
    assert "a < b?" in json.dumps(server.requests[0][2]) and len(server.requests) == 2
    await close_service(made)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_the_model_that_the_config_names_is_asked(
    provider: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_OPENAI_BASE_URL", f"{server.url}/openai/deployments/another")
    made = connected(provider, server.url, monkeypatch, model="amazon.other")
    assert made.ai_model_id == "amazon.other"
    await made.get_chat_message_contents(question(), made.get_prompt_execution_settings_class()())
    path, _, body = server.requests[0]
    assert "amazon.other" in path or body["model"] == "amazon.other"
    assert provider != "azure_openai" or path.startswith("/openai/deployments/amazon.other/chat")
    await close_service(made)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(("status", "retryable"), [(401, False), (429, True), (500, True)])
async def test_an_error_is_sent_up_at_once_and_understood(
    provider: str, status: int, retryable: bool, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = connected(provider, server.url, monkeypatch)
    server.status = status
    with pytest.raises(Exception) as caught:
        await made.get_chat_message_contents(question(), made.get_prompt_execution_settings_class()())
    fault = as_service_error(caught.value, service="default", describe="m")
    assert (fault.status, fault.retryable) == (status, retryable)
    assert fault.retry_after == (None if provider == "ollama" else 7.0)  # its client drops the headers
    assert f"service 'default' (m): {status} " in str(fault) and "no" in str(fault)
    assert len(server.requests) == 1, "the client must leave retries to the run"
    await close_service(made)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_dead_server_is_a_lost_connection(provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = connected(provider, "http://127.0.0.1:9", monkeypatch)
    with pytest.raises(Exception) as caught:
        await made.get_chat_message_contents(question(), made.get_prompt_execution_settings_class()())
    fault = as_service_error(caught.value, service="default", describe="m")
    assert fault.retryable and "(m): the connection failed: " in str(fault)
    await close_service(made)


async def test_a_closed_service_has_no_open_client() -> None:
    made = service("openai", model="m")
    copy = made.model_copy()
    await close_service(made)
    assert copy.client.is_closed()  # type: ignore[attr-defined]


async def test_a_service_with_nothing_to_close_is_closed_quietly(caplog: pytest.LogCaptureFixture) -> None:
    await close_service(service("scripted", script={"manager": ["hi"]}))
    assert not caplog.records


async def test_a_local_server_without_a_key_is_sent_a_placeholder_and_never_waits_forever_to_connect() -> None:
    made = service("openai", model="m", base_url="http://127.0.0.1:9/v1", env={})
    client = made.client  # type: ignore[attr-defined]
    assert (client.api_key, client.max_retries) == ("no-key", 0)
    assert (client.timeout.connect, client.timeout.read) == (10.0, None)
    await close_service(made)


async def test_the_environment_fills_in_what_the_file_leaves_open() -> None:
    env = {"OPENAI_API_KEY": " k\n", "OPENAI_CHAT_MODEL_ID": "m", "OPENAI_ORG_ID": "org"}
    made = service("openai", env={**env, "MINE": "other"})
    client = made.client  # type: ignore[attr-defined]
    assert (made.ai_model_id, client.api_key, client.organization) == ("m", "k", "org")
    mine = service("openai", model="n", api_key_env="MINE", env={**env, "MINE": "other"})
    assert (mine.ai_model_id, mine.client.api_key) == ("n", "other")  # type: ignore[attr-defined]
    for built in (made, mine):
        await close_service(built)


async def test_azure_signs_in_with_entra_id_without_a_key() -> None:
    made = service("azure_openai", deployment="d", endpoint="https://x.openai.azure.com", auth="entra", env={})
    assert str(made.client.base_url) == "https://x.openai.azure.com/openai/"  # type: ignore[attr-defined]
    assert made.ai_model_id == "d"
    await close_service(made)


# -- services of your own

OWN = """
from magentic_kit.testing import ScriptedChatCompletion
def make(words): return ScriptedChatCompletion({"manager": [words]}, service_id="mine")
def wrong(): return 42
def broken(): raise LookupError("no such thing")
"""


async def test_a_service_may_come_from_a_module_beside_the_team_file(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    made = service("python", target="own:make", args={"words": "hi"}, folder=tmp_path)
    assert made.service_id == "default"
    reply = await made.get_chat_message_contents(ChatHistory(), made.get_prompt_execution_settings_class()())
    assert reply[0].content == "hi"


@pytest.mark.parametrize(
    ("target", "told"),
    [
        (
            "own:wrong",
            "service 'default' cannot be made: TypeError: own:wrong made a int, not a chat-completion service",
        ),
        ("own:broken", "service 'default' cannot be made: LookupError: no such thing"),
        ("own:mak", "target 'own:mak': own has no 'mak'; did you mean 'make'?"),
    ],
)
def test_a_service_of_your_own_that_does_not_work_is_one_line(tmp_path: Path, target: str, told: str) -> None:
    (tmp_path / "own.py").write_text(OWN)
    assert refusal("python", target=target, folder=tmp_path) == told


def test_a_service_of_your_own_is_named_after_its_model(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    made = service("python", target="own:make", args={"words": "hi"}, model="mine", folder=tmp_path)
    assert made.ai_model_id == "mine"


@pytest.mark.parametrize("inline", [True, False])
async def test_a_script_is_read_from_a_file_or_given_inline(tmp_path: Path, inline: bool) -> None:
    (tmp_path / "script.yaml").write_text("manager: [from a script]")
    script = {"manager": ["from a script"]} if inline else str(tmp_path / "script.yaml")
    made = service("scripted", script=script, delay="1ms")
    reply = await made.get_chat_message_contents(ChatHistory(), made.get_prompt_execution_settings_class()())
    assert reply[0].content == "from a script"


@dataclass
class AnthropicUsage:
    input_tokens: int
    output_tokens: int


@pytest.mark.parametrize(
    ("metadata", "tokens"),
    [
        ({"usage": CompletionUsage(prompt_tokens=3, completion_tokens=2)}, (3, 2)),
        ({"usage": (CompletionUsage(prompt_tokens=3, completion_tokens=2),)}, (3, 2)),  # Mistral
        ({"usage": AnthropicUsage(3, 2)}, (3, 2)),
        ({"usage": {"input_tokens": 3}}, (3, None)),
        ({"usage": {"input_tokens": 3, "output_tokens": 2}}, (3, 2)),
        ({"usage": CompletionUsage()}, (None, None)),
        ({"usage": {}}, (None, None)),
        ({"usage": None}, (None, None)),
        ({}, (None, None)),
        ({"usage": {"input_tokens": 3, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 1}}, (9, None)),
    ],
)
def test_usage_is_read_in_every_shape(metadata: dict[str, Any], tokens: tuple[int | None, int | None]) -> None:
    assert usage_of(metadata) == tokens


@pytest.mark.parametrize(
    ("usage", "cached"),
    [
        (CompletionUsage(prompt_tokens=9, prompt_tokens_details=PromptTokensDetails(cached_tokens=4)), 4),
        (CompletionUsage(prompt_tokens=9), None),
        ({"input_tokens": 9, "input_tokens_details": {"cached_tokens": 4}}, 4),
        ({"input_tokens": 3, "cache_read_input_tokens": 5}, 5),
        ({"prompt_tokens": 3, "prompt_cache_hit_tokens": 2}, 2),
        (None, None),
    ],
)
def test_cached_tokens_are_read_in_every_shape(usage: Any, cached: int | None) -> None:
    assert cached_of({"usage": usage}) == cached


# -- python targets


def team(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_two_teams_may_have_modules_of_the_same_name(tmp_path: Path) -> None:
    one = team(
        tmp_path / "one",
        plugins__sqlite="from .base import NAME\nclass Plugin: name = NAME",
        plugins__base="NAME = 1",
    )
    two = team(tmp_path / "two", plugins__sqlite="class Plugin: name = 2")
    path = list(sys.path)
    first, second = (module_object("plugins.sqlite:Plugin", folder) for folder in (one, two))
    assert (first.name, second.name) == (1, 2)
    assert module_object("plugins.sqlite:Plugin.name", one) == 1
    assert module_object("plugins.sqlite:Plugin", one) is first
    assert sys.path == path and "plugins" not in sys.modules


def test_a_module_beside_the_team_file_comes_before_an_installed_one(tmp_path: Path) -> None:
    import colorsys

    assert module_object("colorsys:rgb_to_hsv", tmp_path) is colorsys.rgb_to_hsv
    assert module_object("colorsys:rgb_to_hsv") is colorsys.rgb_to_hsv
    assert module_object("colorsys:MINE", team(tmp_path / "own", colorsys="MINE = 7")) == 7


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("nowhere:x", "target 'nowhere:x' cannot be imported: ModuleNotFoundError: No module named 'nowhere'"),
        (
            "json.nowhere:x",
            "target 'json.nowhere:x' cannot be imported: ModuleNotFoundError: No module named 'json.nowhere'",
        ),
        (
            "own.nowhere:x",
            "target 'own.nowhere:x' cannot be imported: ModuleNotFoundError: No module named 'own.nowhere'",
        ),
        ("good:Plugn", "target 'good:Plugn': good has no 'Plugn'; did you mean 'Plugin'?"),
        ("good:x", "target 'good:x': good has no 'x'"),
        (
            "raises:x",
            "target 'raises:x' cannot be imported: ZeroDivisionError: division by zero ({0}/raises.py:2)",
        ),
        (
            "lacks:x",
            "target 'lacks:x' cannot be imported: ModuleNotFoundError: No module named 'pandaz' ({0}/lacks.py:1)",
        ),
        ("syntax:x", "target 'syntax:x' cannot be imported: SyntaxError: invalid syntax (syntax.py, line 1)"),
        ("exits:x", "target 'exits:x' cannot be imported: SystemExit: 3 ({0}/exits.py:1)"),
        (
            "deep:x",
            "target 'deep:x' cannot be imported: JSONDecodeError: Expecting value: line 1 column 1 "
            "(char 0) ({0}/deep.py:2)",
        ),
    ],
)
def test_a_target_that_cannot_be_had_says_why_and_where(tmp_path: Path, target: str, told: str) -> None:
    team(
        tmp_path,
        good="class Plugin: pass",
        own__module="",
        raises="x = 1\n1 / 0",
        lacks="import pandaz",
        syntax="x = = 1",
        exits="raise SystemExit(3)",
        deep="import json\njson.loads('')",
    )
    with pytest.raises(ConfigError) as caught:
        module_object(target, tmp_path)
    assert caught.value.problems[0].message == told.format(tmp_path)
    assert caught.value.__cause__ is not None
