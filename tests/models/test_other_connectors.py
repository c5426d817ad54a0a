"""What is not about OpenAI's protocol holds for other connectors too, by their own wire formats on loopback."""

# ruff: noqa: E501  # what servers send, as they send it

from __future__ import annotations

import importlib.util
import json
from typing import Any

import pytest
from semantic_kernel.functions import kernel_function
from support.openai_server import Reply, TeamBrain, ToolCall
from support.provider_servers import PROVIDERS, SDK, ProviderServer, Raw, Refuse, Thoughtful, tier_of
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


# -- reasoning


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("form", ["in the text", "in the provider's own field"])
async def test_reasoning_is_told_apart(provider: str, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reply: Reply = Reply("<think>Is it {done}?</think>\nAda has looked.")
    if form != "in the text":
        reply = Thoughtful("Ada has looked.", reasoning="Is it {done}?")
    result, log, server = await run(provider, brain().on("Ada", "turn", None, reply), monkeypatch)
    assert result.outcome == "satisfied", result.error
    assert result.record.turns[0].text.strip() == "Ada has looked."
    assert any("{done}" in event.reasoning for event in log if isinstance(event, ev.ModelCallFinished))
    assert not any("{done}" in text for text in server.asked), "never sent back"


# -- how a reply ended

LENGTH, FILTER = "cut off at the model's length limit", "cut by the provider's content filter"
ENDINGS: dict[tuple[str, str], str] = {
    ("ollama", "length"): LENGTH,
    ("anthropic", "max_tokens"): LENGTH,
    ("anthropic", "model_context_window_exceeded"): LENGTH,
    ("anthropic", "refusal"): "is a refusal",
    ("google", "MAX_TOKENS"): LENGTH,
    ("google", "SAFETY"): FILTER,
    ("google", "PROHIBITED_CONTENT"): FILTER,
    ("google", "RECITATION"): FILTER,
    ("google", "BLOCKLIST"): FILTER,
    ("mistral", "length"): LENGTH,
    ("mistral", "model_length"): LENGTH,
    ("mistral", "content_filter"): FILTER,
    ("bedrock", "max_tokens"): LENGTH,
    ("bedrock", "content_filtered"): FILTER,
    ("bedrock", "guardrail_intervened"): FILTER,
    ("azure_ai_inference", "length"): LENGTH,
    ("azure_ai_inference", "content_filter"): FILTER,
    ("nvidia", "length"): LENGTH,
    ("nvidia", "content_filter"): FILTER,
}
WHOLE = {
    ("ollama", "load"),
    ("anthropic", "stop_sequence"),
    ("anthropic", "pause_turn"),
    ("google", "OTHER"),
    ("google", "A_REASON_OF_TOMORROW"),
    ("mistral", "a_reason_of_tomorrow"),
    ("bedrock", "stop_sequence"),
    ("azure_ai_inference", "eos"),
    ("nvidia", "eos"),
}


@pytest.mark.parametrize(("provider", "finish"), ENDINGS)
async def test_a_turn_that_is_not_whole_is_a_note(provider: str, finish: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = brain().on("Ada", "turn", None, Reply("Half of it", finish_reason=finish))
    result, _, server = await run(provider, answers, monkeypatch)
    assert result.outcome == "satisfied", result.error
    words = ENDINGS[provider, finish]
    assert words in result.record.turns[0].note and any(words in text for text in server.asked)
    assert result.record.turns[0].text == "Half of it"


@pytest.mark.parametrize(("provider", "finish"), sorted(WHOLE))
async def test_any_other_ending_is_a_whole_reply(provider: str, finish: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = brain().on("Ada", "turn", None, Reply("All of it", finish_reason=finish))
    result, _, _ = await run(provider, answers, monkeypatch)
    assert result.outcome == "satisfied", result.error
    assert (result.record.turns[0].text, result.record.turns[0].note) == ("All of it", "")


# -- refusals of one request

CONTENT: dict[str, Raw] = {
    "anthropic": Raw(400, {"type": "error", "error": {"type": "invalid_request_error", "message": "Output blocked by content filtering policy"}}),
    "google": Raw(200, {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 1}}),
    "mistral": Raw(403, {"object": "error", "message": "The request was blocked by a guardrail: moderation", "type": "guardrail"}),
    "bedrock": Raw(400, {"message": "The model returned the following errors: Output blocked by content filtering policy"}),
    "azure_ai_inference": Raw(400, {"error": {"code": "content_filter", "message": "The response was filtered due to the prompt triggering"}}),
    "nvidia": Raw(400, {"error": {"message": "Input violates the content policy", "type": "BadRequest", "code": 400}}),
}  # fmt: skip
FULL: dict[str, Raw] = {
    "ollama": Raw(400, {"error": "input length exceeds the context length"}),
    "anthropic": Raw(400, {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 9 > 8"}}),
    "google": Raw(400, {"error": {"code": 400, "message": "The input token count (9) exceeds the maximum number of tokens allowed (8).", "status": "INVALID_ARGUMENT"}}),
    "mistral": Raw(400, {"object": "error", "message": "Prompt contains 9 tokens, too large for model with 8 maximum context length"}),
    "bedrock": Raw(400, {"message": "Input is too long for requested model."}),
    "azure_ai_inference": Raw(400, {"error": {"code": "context_length_exceeded", "message": "This model's maximum context length is 8 tokens."}}),
    "nvidia": Raw(400, {"object": "error", "message": "This model's maximum context length is 8 tokens. Please reduce the length of the messages.", "code": 400}),
}  # fmt: skip


@pytest.mark.parametrize("provider", CONTENT)
async def test_a_refused_content_of_one_turn_is_a_note(provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = [CONTENT[provider]]

    def refuse(body: dict[str, Any], said: str) -> Raw | None:
        return refused.pop() if refused and "You are Ada." in said else None

    result, _, server = await run(provider, brain(), monkeypatch, refuse)
    assert result.outcome == "satisfied", result.error
    assert "was refused" in result.record.turns[0].note and any("was refused" in text for text in server.asked)


@pytest.mark.parametrize("provider", FULL)
async def test_a_full_context_is_cut_and_asked_again(provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    long = "word " * 400
    answers = brain()
    answers.agents = {"Ada": long, "Bob": long}
    result, log, _ = await run(
        provider, answers, monkeypatch, lambda body, said: FULL[provider] if len(said) > 9_000 else None
    )
    assert result.outcome == "satisfied", result.error
    assert any(isinstance(event, ev.ContextShortened) for event in log)


# -- names of functions

NAMES = {"dots": "weather.look", "underscores": "weather_look", "two": "weather__look", "alone": "look", "its own": "weather-look"}  # fmt: skip


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("name", NAMES)
async def test_what_the_log_says_of_a_name_is_what_happened_with_any_connector(
    provider: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = brain()
    calls = [ToolCall(NAMES[name], {"city": city}) for city in ("Rome", "Oslo")]
    answers.agents = {"Ada": [Reply("Let me look.", tool_calls=calls), "It is sunny."], "Bob": "Fine."}
    weather = Weather()
    result, log, server = await run(provider, answers, monkeypatch, plugins={"weather": weather})
    assert result.outcome == "satisfied", result.error
    assert sorted(weather.seen) == ["Oslo", "Rome"]
    done = [event for event in log if isinstance(event, ev.ToolCallFinished)]
    assert [event.function for event in done] == ["weather.look"] * 2
    assert any("Sunny in Rome." in text and "Sunny in Oslo." in text for text in server.asked), "both results sent"


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_name_that_no_function_has_is_refused_with_any_connector(
    provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = brain()
    call = Reply(tool_calls=[ToolCall("files-delete", {"city": "Rome"})])
    answers.agents = {"Ada": [call, "I cannot."], "Bob": "Fine."}
    weather = Weather()
    result, log, server = await run(provider, answers, monkeypatch, plugins={"weather": weather})
    assert result.outcome == "satisfied", result.error
    assert not weather.seen and len([e for e in log if isinstance(e, ev.ToolCallDenied)]) == 1
    assert any("files-delete" in text for text in server.asked)


# -- ledgers

TIERS = {
    "ollama": ("json_schema", "json_object", "prompt"),
    "anthropic": ("prompt",),
    "google": ("json_schema", "json_object", "prompt"),
    "mistral": ("json_schema", "json_object", "prompt"),
    "bedrock": ("prompt",),
    "azure_ai_inference": ("json_schema", "json_object", "prompt"),
    "nvidia": ("json_schema", "json_object", "prompt"),
}
REFUSED_TIER: dict[str, Any] = {
    "ollama": {"error": "invalid format: expected \"json\" or a JSON schema"},
    "google": {"error": {"code": 400, "message": "Invalid JSON payload received. Unknown name \"response\" at 'generation_config'", "status": "INVALID_ARGUMENT"}},
    "mistral": {"object": "error", "message": "Structured output is not enabled for this model", "type": "invalid_request_error"},
    "azure_ai_inference": {"error": {"code": "BadRequest", "message": "Invalid parameter: 'response_format' is not supported with this model."}},
    "nvidia": {"object": "error", "message": "'response_format.type' must be 'text' or 'json_object'", "code": 400},
}  # fmt: skip


@pytest.mark.parametrize(("provider", "tier"), [(p, tier) for p, tiers in TIERS.items() for tier in tiers])
async def test_the_strictest_form_of_a_ledger_that_the_server_takes_is_found(
    provider: str, tier: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stricter = TIERS[provider][: TIERS[provider].index(tier)]

    def refuse(body: dict[str, Any], said: str) -> Raw | None:
        return Raw(400, REFUSED_TIER[provider]) if tier_of(body) in stricter else None

    result, log, server = await run(provider, brain(), monkeypatch, refuse)
    assert result.outcome == "satisfied", result.error
    ledgers = [event for event in log if isinstance(event, ev.ProgressLedger)]
    assert {event.tier for event in ledgers} == {tier} and not any(event.repaired for event in ledgers)
    asked = [tier_of(body) for body in server.bodies if "is_request_satisfied" in json.dumps(body)]
    assert [*dict.fromkeys(asked)] == [*TIERS[provider][: len(stricter) + 1]], "each stricter form was tried"


@pytest.mark.parametrize(("provider", "tier"), [(p, tier) for p, tiers in TIERS.items() for tier in tiers])
async def test_a_form_of_a_ledger_in_the_team_file_is_the_only_one(
    provider: str, tier: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, log, server = await run(provider, brain(), monkeypatch, structured_output=tier)
    assert result.outcome == "satisfied", result.error
    assert {event.tier for event in log if isinstance(event, ev.ProgressLedger)} == {tier}
    asked = {tier_of(body) for body in server.bodies if "is_request_satisfied" in json.dumps(body)}
    assert asked == {tier}
