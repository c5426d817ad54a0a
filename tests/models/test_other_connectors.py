"""What is not about OpenAI's protocol holds for other connectors too, by their own wire formats on loopback."""

# ruff: noqa: E501  # what servers send, as they send it

from __future__ import annotations

import importlib.util
import json
from typing import Any

import pytest
from semantic_kernel.functions import kernel_function
from support.openai_server import Reply, TeamBrain, ToolCall
from support.provider_servers import SDK, ProviderServer, Raw, Refuse, Thoughtful, tier_of
from support.real_servers import brain, team

from magentic_kit import TeamFactory
from magentic_kit import events as ev


class Weather:
    def __init__(self) -> None:
        self.seen: list[str] = []

    @kernel_function(description="Looks at the weather.")
    def look(self, city: str = "Paris") -> str:
        self.seen.append(city)
        return f"Sunny in {city}."


def require(provider: str) -> None:
    try:
        missing = importlib.util.find_spec(SDK[provider]) is None
    except ModuleNotFoundError:
        missing = True
    if missing:
        pytest.skip(f"needs {SDK[provider]}")


async def run(
    provider: str,
    answers: TeamBrain,
    monkeypatch: pytest.MonkeyPatch,
    refuse: Refuse = lambda body, said: None,
    *,
    plugins: dict[str, Any] | None = None,
    **service: Any,
) -> tuple[Any, list[ev.AnyEvent], ProviderServer]:
    require(provider)
    log: list[ev.AnyEvent] = []
    with ProviderServer(provider, answers, refuse) as server:
        server.prepare(monkeypatch)
        made = team("x", limits={"retries": 0})
        made["services"]["default"] = {**server.service(), **service}
        for agent in made["agents"] if plugins else ():
            agent["tools"] = [{"id": "weather.look", "type": "function"}]
        async with TeamFactory.from_dict(made, plugins=plugins or {}) as factory:
            if provider == "mistral":
                connector: Any = factory.blueprint.service("default")
                connector.async_client.sdk_configuration.server_url = server.url
            result = await factory.run("t", out=None, sinks=[log.append])
    return result, log, server


CONNECTORS: dict[str, str] = {
    "Ollama": "ollama",
    "Anthropic": "anthropic",
    "Google": "google",
    "Mistral": "mistral",
    "Bedrock": "bedrock",
    "Azure AI Inference": "azure_ai_inference",
    "NVIDIA": "nvidia",
}

# -- reasoning

REASONING: dict[str, Reply] = {
    "`<think>` tags in the text": Reply("<think>Is it {done}?</think>\nAda has looked."),
    "the provider's own field": Thoughtful("Ada has looked.", reasoning="Is it {done}?"),
    "a closing tag alone": Reply("Is it {done}?\n</think>\n\nAda has looked."),
}


@pytest.mark.parametrize("connector", CONNECTORS)
@pytest.mark.parametrize("form", REASONING)
async def test_reasoning_is_told_apart_with_any_connector(
    connector: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = brain().on("Ada", "turn", None, REASONING[form])
    result, log, server = await run(CONNECTORS[connector], answers, monkeypatch)
    assert result.outcome == "satisfied", result.error
    assert result.record.turns[0].text.strip() == "Ada has looked."
    assert any("{done}" in event.reasoning for event in log if isinstance(event, ev.ModelCallFinished))
    assert not any("{done}" in text for text in server.asked), "never sent back"


# -- how a reply ended

LENGTH, FILTER = "cut off at the model's length limit", "cut by the provider's content filter"
ENDINGS: dict[str, tuple[str, str, str]] = {
    "Ollama: `length`": ("ollama", "length", LENGTH),
    "Anthropic: `max_tokens`": ("anthropic", "max_tokens", LENGTH),
    "Anthropic: `model_context_window_exceeded`": ("anthropic", "model_context_window_exceeded", LENGTH),
    "Anthropic: `refusal`": ("anthropic", "refusal", "is a refusal"),
    "Google: `MAX_TOKENS`": ("google", "MAX_TOKENS", LENGTH),
    "Google: `SAFETY`": ("google", "SAFETY", FILTER),
    "Google: `PROHIBITED_CONTENT`": ("google", "PROHIBITED_CONTENT", FILTER),
    "Google: `RECITATION`": ("google", "RECITATION", FILTER),
    "Google: `BLOCKLIST`": ("google", "BLOCKLIST", FILTER),
    "Mistral: `length`": ("mistral", "length", LENGTH),
    "Mistral: `model_length`": ("mistral", "model_length", LENGTH),
    "Mistral: `content_filter`": ("mistral", "content_filter", FILTER),
    "Bedrock: `max_tokens`": ("bedrock", "max_tokens", LENGTH),
    "Bedrock: `content_filtered`": ("bedrock", "content_filtered", FILTER),
    "Bedrock: `guardrail_intervened`": ("bedrock", "guardrail_intervened", FILTER),
    "Azure AI Inference: `length`": ("azure_ai_inference", "length", LENGTH),
    "Azure AI Inference: `content_filter`": ("azure_ai_inference", "content_filter", FILTER),
    "NVIDIA: `length`": ("nvidia", "length", LENGTH),
    "NVIDIA: `content_filter`": ("nvidia", "content_filter", FILTER),
}
WHOLE: dict[str, tuple[str, str]] = {
    "Ollama: `load`": ("ollama", "load"),
    "Anthropic: `stop_sequence`": ("anthropic", "stop_sequence"),
    "Anthropic: `pause_turn`": ("anthropic", "pause_turn"),
    "Google: `OTHER`": ("google", "OTHER"),
    "Google: `A_REASON_OF_TOMORROW`": ("google", "A_REASON_OF_TOMORROW"),
    "Mistral: `a_reason_of_tomorrow`": ("mistral", "a_reason_of_tomorrow"),
    "Bedrock: `stop_sequence`": ("bedrock", "stop_sequence"),
    "Azure AI Inference: `eos`": ("azure_ai_inference", "eos"),
    "NVIDIA: `eos`": ("nvidia", "eos"),
}


@pytest.mark.parametrize("name", ENDINGS)
async def test_a_turn_that_is_not_whole_is_a_note_with_any_connector(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider, finish, words = ENDINGS[name]
    answers = brain().on("Ada", "turn", None, Reply("Half of it", finish_reason=finish))
    result, _, server = await run(provider, answers, monkeypatch)
    assert result.outcome == "satisfied", result.error
    assert words in result.record.turns[0].note and any(words in text for text in server.asked)
    assert result.record.turns[0].text == "Half of it"


@pytest.mark.parametrize("name", WHOLE)
async def test_any_other_ending_is_that_of_a_whole_reply(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    provider, finish = WHOLE[name]
    answers = brain().on("Ada", "turn", None, Reply("All of it", finish_reason=finish))
    result, _, _ = await run(provider, answers, monkeypatch)
    assert result.outcome == "satisfied", result.error
    assert (result.record.turns[0].text, result.record.turns[0].note) == ("All of it", "")


# -- refusals of one request

CONTENT: dict[str, Raw] = {
    "Anthropic": Raw(400, {"type": "error", "error": {"type": "invalid_request_error", "message": "Output blocked by content filtering policy"}}),
    "Google": Raw(200, {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 1}}),
    "Mistral": Raw(403, {"object": "error", "message": "The request was blocked by a guardrail: moderation", "type": "guardrail"}),
    "Bedrock": Raw(400, {"message": "The model returned the following errors: Output blocked by content filtering policy"}),
    "Azure AI Inference": Raw(400, {"error": {"code": "content_filter", "message": "The response was filtered due to the prompt triggering"}}),
    "NVIDIA": Raw(400, {"error": {"message": "Input violates the content policy", "type": "BadRequest", "code": 400}}),
}  # fmt: skip
FULL: dict[str, Raw] = {
    "Ollama": Raw(400, {"error": "input length exceeds the context length"}),
    "Anthropic": Raw(400, {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 9 > 8"}}),
    "Google": Raw(400, {"error": {"code": 400, "message": "The input token count (9) exceeds the maximum number of tokens allowed (8).", "status": "INVALID_ARGUMENT"}}),
    "Mistral": Raw(400, {"object": "error", "message": "Prompt contains 9 tokens, too large for model with 8 maximum context length"}),
    "Bedrock": Raw(400, {"message": "Input is too long for requested model."}),
    "Azure AI Inference": Raw(400, {"error": {"code": "context_length_exceeded", "message": "This model's maximum context length is 8 tokens."}}),
    "NVIDIA": Raw(400, {"object": "error", "message": "This model's maximum context length is 8 tokens. Please reduce the length of the messages.", "code": 400}),
}  # fmt: skip


@pytest.mark.parametrize("connector", CONTENT)
async def test_a_refused_content_of_one_turn_is_a_note_with_any_connector(
    connector: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = [CONTENT[connector]]

    def refuse(body: dict[str, Any], said: str) -> Raw | None:
        return refused.pop() if refused and "You are Ada." in said else None

    result, _, server = await run(CONNECTORS[connector], brain(), monkeypatch, refuse)
    assert result.outcome == "satisfied", result.error
    assert "was refused" in result.record.turns[0].note and any("was refused" in text for text in server.asked)


@pytest.mark.parametrize("connector", FULL)
async def test_a_full_context_is_cut_and_asked_again_with_any_connector(
    connector: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "word " * 400
    answers = brain()
    answers.agents = {"Ada": long, "Bob": long}
    result, log, _ = await run(
        CONNECTORS[connector], answers, monkeypatch, lambda body, said: FULL[connector] if len(said) > 9_000 else None
    )
    assert result.outcome == "satisfied", result.error
    assert any(isinstance(event, ev.ContextShortened) for event in log)


# -- names of functions

NAMES: dict[str, str] = {
    "dots in place of dashes": "weather.look",
    "underscores in place of dashes": "weather_look",
    "two underscores": "weather__look",
    "the function alone": "look",
    "its own name": "weather-look",
}


@pytest.mark.parametrize("connector", CONNECTORS)
@pytest.mark.parametrize("name", NAMES)
async def test_what_the_log_says_of_a_name_is_what_happened_with_any_connector(
    connector: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = brain()
    calls = [ToolCall(NAMES[name], {"city": city}) for city in ("Rome", "Oslo")]
    answers.agents = {"Ada": [Reply("Let me look.", tool_calls=calls), "It is sunny."], "Bob": "Fine."}
    weather = Weather()
    result, log, server = await run(CONNECTORS[connector], answers, monkeypatch, plugins={"weather": weather})
    assert result.outcome == "satisfied", result.error
    assert sorted(weather.seen) == ["Oslo", "Rome"]
    done = [event for event in log if isinstance(event, ev.ToolCallFinished)]
    assert [event.function for event in done] == ["weather.look"] * 2
    assert any("Sunny in Rome." in text and "Sunny in Oslo." in text for text in server.asked), "both results sent"


@pytest.mark.parametrize("connector", CONNECTORS)
async def test_a_name_that_no_function_has_is_refused_with_any_connector(
    connector: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = brain()
    call = Reply(tool_calls=[ToolCall("files-delete", {"city": "Rome"})])
    answers.agents = {"Ada": [call, "I cannot."], "Bob": "Fine."}
    weather = Weather()
    result, log, server = await run(CONNECTORS[connector], answers, monkeypatch, plugins={"weather": weather})
    assert result.outcome == "satisfied", result.error
    assert not weather.seen and len([e for e in log if isinstance(e, ev.ToolCallDenied)]) == 1
    assert any("files-delete" in text for text in server.asked)


# -- ledgers

SCHEMA, OBJECT, PROMPT = "json_schema", "json_object", "prompt"
LEDGERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "Ollama: a schema": ("ollama", (SCHEMA,)),
    "Ollama: JSON": ("ollama", (SCHEMA, OBJECT)),
    "Ollama: the prompt alone": ("ollama", (SCHEMA, OBJECT, PROMPT)),
    "Google: a schema": ("google", (SCHEMA,)),
    "Google: JSON": ("google", (SCHEMA, OBJECT)),
    "Google: the prompt alone": ("google", (SCHEMA, OBJECT, PROMPT)),
    "Mistral: a schema": ("mistral", (SCHEMA,)),
    "Mistral: JSON": ("mistral", (SCHEMA, OBJECT)),
    "Mistral: the prompt alone": ("mistral", (SCHEMA, OBJECT, PROMPT)),
    "Azure AI Inference: a schema": ("azure_ai_inference", (SCHEMA,)),
    "Azure AI Inference: JSON": ("azure_ai_inference", (SCHEMA, OBJECT)),
    "Azure AI Inference: the prompt alone": ("azure_ai_inference", (SCHEMA, OBJECT, PROMPT)),
    "NVIDIA: a schema": ("nvidia", (SCHEMA,)),
    "NVIDIA: JSON": ("nvidia", (SCHEMA, OBJECT)),
    "NVIDIA: the prompt alone": ("nvidia", (SCHEMA, OBJECT, PROMPT)),
    "Anthropic: the prompt alone": ("anthropic", (PROMPT,)),
    "Bedrock: the prompt alone": ("bedrock", (PROMPT,)),
}
"""The provider, and the forms of a ledger that are tried up to the one that the server takes."""

REFUSED_TIER: dict[str, Any] = {
    "ollama": {"error": "invalid format: expected \"json\" or a JSON schema"},
    "google": {"error": {"code": 400, "message": "Invalid JSON payload received. Unknown name \"response\" at 'generation_config'", "status": "INVALID_ARGUMENT"}},
    "mistral": {"object": "error", "message": "Structured output is not enabled for this model", "type": "invalid_request_error"},
    "azure_ai_inference": {"error": {"code": "BadRequest", "message": "Invalid parameter: 'response_format' is not supported with this model."}},
    "nvidia": {"object": "error", "message": "'response_format.type' must be 'text' or 'json_object'", "code": 400},
}  # fmt: skip


@pytest.mark.parametrize("name", LEDGERS)
async def test_the_strictest_form_of_a_ledger_that_a_server_takes_is_found_with_any_connector(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider, tried = LEDGERS[name]

    def refuse(body: dict[str, Any], said: str) -> Raw | None:
        if tier_of(body) in tried[:-1]:
            return Raw(400, REFUSED_TIER[provider])
        return None

    result, log, server = await run(provider, brain(), monkeypatch, refuse)
    assert result.outcome == "satisfied", result.error
    ledgers = [event for event in log if isinstance(event, ev.ProgressLedger)]
    assert {event.tier for event in ledgers} == {tried[-1]} and not any(event.repaired for event in ledgers)
    asked = [tier_of(body) for body in server.bodies if "is_request_satisfied" in json.dumps(body)]
    assert tuple(dict.fromkeys(asked)) == tried


@pytest.mark.parametrize("name", LEDGERS)
async def test_a_form_of_a_ledger_in_the_team_file_is_the_only_one_with_any_connector(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider, tried = LEDGERS[name]
    result, log, server = await run(provider, brain(), monkeypatch, structured_output=tried[-1])
    assert result.outcome == "satisfied", result.error
    assert {event.tier for event in log if isinstance(event, ev.ProgressLedger)} == {tried[-1]}
    asked = {tier_of(body) for body in server.bodies if "is_request_satisfied" in json.dumps(body)}
    assert asked == {tried[-1]}
