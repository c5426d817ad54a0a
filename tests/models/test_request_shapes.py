"""A server that refuses the shape of a request is asked in its dialect, which is found once and remembered."""

# tables of what servers send

from __future__ import annotations

from typing import Any

import pytest
from semantic_kernel.functions import kernel_function
from support.openai_server import Reply, Request, ToolCall
from support.real_servers import (
    RealServer,
    Refusal,
    agents_only,
    brain,
    completion,
    events,
    fastapi_words,
    has,
    has_names,
    has_role,
    llamacpp_words,
    openai_words,
    roles_out_of_order,
    team,
    vllm_words,
    when,
)

from magentic_kit import TeamFactory
from magentic_kit.services.dialects import DIALECT


class Weather:
    @kernel_function(description="Looks at the weather.")
    def look(self, city: str = "Paris") -> str:
        return f"Sunny in {city}."


ALTERNATE = "Conversation roles must alternate user/assistant/user/assistant/..."
TOOLS = {"tools": [{"id": "weather.look", "type": "function"}]}

COPES: dict[str, tuple[Refusal, str, dict[str, Any]]] = {
    "vLLM with a template of Mistral: roles must alternate": (
        *(when(roles_out_of_order, vllm_words(400, ALTERNATE)), "alternate_roles", {}),
    ),
    "llama.cpp with a template of Gemma: roles must alternate, as status 500": (
        *(when(roles_out_of_order, llamacpp_words(f"{ALTERNATE} at row 15, column 43:")), "alternate_roles", {}),
    ),
    "Mistral: order of roles": (
        when(
            roles_out_of_order,
            vllm_words(400, "Expected last role User or Tool (or Assistant with prefix True) for serving but got user"),
        ),
        *("alternate_roles", {}),
    ),
    "Perplexity: roles should alternate": (
        when(
            roles_out_of_order,
            openai_words(400, "After the (optional) system message(s), user or tool message(s) should alternate"),
        ),
        *("alternate_roles", {}),
    ),
    "LM Studio: a template raises, told as text": (
        when(roles_out_of_order, Reply(status=400, body='{"error": "Error rendering prompt: ' + ALTERNATE + '"}')),
        *("alternate_roles", {}),
    ),
    "a gateway that tells the refusal inside a stream": (
        when(roles_out_of_order, events({"error": {"message": ALTERNATE, "code": 400}})),
        *("alternate_roles", {}),
    ),
    "older vLLM: no stream_options": (
        when(
            has("stream_options"),
            vllm_words(400, "[{'type': 'extra_forbidden', 'loc': ('body', 'stream_options'), 'msg': 'Extra inputs'}]"),
        ),
        *("no_stream_options", {}),
    ),
    "Mistral: no stream_options, status 422": (
        *(when(has("stream_options"), fastapi_words("stream_options")), "no_stream_options", {}),
    ),
    "older Azure: no stream_options": (
        when(has("stream_options"), openai_words(400, "Unrecognized request argument supplied: stream_options")),
        *("no_stream_options", {}),
    ),
    "Mistral: no names of speakers, status 422": (
        *(when(has_names, fastapi_words("messages", 0, "system", "name")), "names_as_text", {}),
    ),
    "Groq: no names of speakers": (
        when(has_names, openai_words(400, "'messages.0' : for 'role:system' property 'name' is unsupported")),
        *("names_as_text", {}),
    ),
    "OpenAI: a name that does not match its pattern": (
        when(
            has_names,
            openai_words(400, "Invalid 'messages[0].name': string does not match pattern.", param="messages[0].name"),
        ),
        *("names_as_text", {}),
    ),
    "OpenAI: an organization that is not verified may not stream": (
        when(
            has("stream"),
            openai_words(400, "Your organization must be verified to stream this model.", param="stream"),
        ),
        *("no_stream", {}),
    ),
    "a gateway without streaming": (
        *(when(has("stream"), vllm_words(400, "Streaming is not supported for this model")), "no_stream", {}),
    ),
    "Bedrock's gateway: no streaming, status 422": (
        *(when(has("stream"), fastapi_words("stream", message="streaming is disabled")), "no_stream", {}),
    ),
    "Llama's API: no tool_choice": (
        when(agents_only(has("tool_choice")), openai_words(400, "tool_choice is not supported", param="tool_choice")),
        *("no_tool_choice", {}),
    ),
    "OpenRouter: no endpoint takes tool_choice, status 404": (
        when(
            agents_only(has("tool_choice")),
            openai_words(404, "No endpoints found that support the provided 'tool_choice' value.", code=404),
        ),
        *("no_tool_choice", {}),
    ),
    "OpenRouter: no endpoint takes the parameters, status 404": (
        when(
            agents_only(has("tool_choice")),
            openai_words(404, "No endpoints found that can handle the requested parameters.", code=404),
        ),
        *("no_tool_choice", {}),
    ),
    "o3: no parallel_tool_calls": (
        when(
            has("parallel_tool_calls"),
            openai_words(400, "Unsupported parameter: 'parallel_tool_calls' is not supported with this model."),
        ),
        *("no_parallel_tool_calls", {"parallel_tool_calls": True}),
    ),
    "a gateway: no parallel_tool_calls, status 422": (
        *(when(has("parallel_tool_calls"), fastapi_words("parallel_tool_calls")), "no_parallel_tool_calls"),
        {"parallel_tool_calls": True},
    ),
    "LiteLLM: unsupported parameters": (
        when(
            has("parallel_tool_calls"),
            openai_words(
                400, "UnsupportedParamsError: the provider does not support parameters: ['parallel_tool_calls']"
            ),
        ),
        *("no_parallel_tool_calls", {"parallel_tool_calls": True}),
    ),
    "Groq: json_object beside functions": (
        when(
            agents_only(has("response_format")),
            openai_words(400, "response_format` json_object cannot be combined with tool/function calling"),
        ),
        *("no_response_format_with_tools", {"response_format": {"type": "json_object"}}),
    ),
    "Cerebras: functions beside response_format": (
        when(
            agents_only(has("response_format")),
            openai_words(400, '"tools" is incompatible with "response_format"', code="wrong_api_format"),
        ),
        *("no_response_format_with_tools", {"response_format": {"type": "json_object"}}),
    ),
    "Gemini: no response_format beside functions": (
        when(
            agents_only(has("response_format")),
            openai_words(400, "Function calling with a response mime type: 'application/json' is unsupported"),
        ),
        *("no_response_format_with_tools", {"response_format": {"type": "json_object"}}),
    ),
    "o1 and later: max_completion_tokens in place of max_tokens": (
        when(
            has("max_tokens"),
            openai_words(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."),
        ),
        *("max_completion_tokens", {"max_tokens": 500}),
    ),
    "a local server: max_tokens in place of max_completion_tokens": (
        *(when(has("max_completion_tokens"), fastapi_words("max_completion_tokens")), "max_tokens"),
        {"max_completion_tokens": 500},
    ),
    "older Azure: max_tokens in place of max_completion_tokens": (
        when(
            has("max_completion_tokens"),
            openai_words(400, "Unrecognized request argument supplied: max_completion_tokens"),
        ),
        *("max_tokens", {"max_completion_tokens": 500}),
    ),
    "Kimi: only one temperature": (
        when(has("temperature"), openai_words(400, "invalid temperature: only 1 is allowed for this model")),
        *("no_temperature", {"temperature": 0.2}),
    ),
    "gpt-5: only the default temperature": (
        when(
            has("temperature"),
            openai_words(400, "Unsupported value: 'temperature' does not support 0.2 with this model."),
        ),
        *("no_temperature", {"temperature": 0.2}),
    ),
    "Claude by a gateway: temperature and top_p are deprecated": (
        when(has("top_p"), openai_words(400, "`temperature` and `top_p` cannot both be specified")),
        *("no_top_p", {"top_p": 0.9}),
    ),
    "xAI: no presence_penalty": (
        when(has("presence_penalty"), openai_words(400, "Argument not supported on this model: presence_penalty")),
        *("no_presence_penalty", {"presence_penalty": 0.1}),
    ),
    "DeepSeek's and other servers that know no role developer": (
        when(
            has_role("developer"),
            openai_words(400, "unknown variant `developer`, expected one of `system`, `user`, `assistant`, `tool`"),
        ),
        *("instructions_as_system", {}),
    ),
    "older Azure: no role developer": (
        when(
            has_role("developer"),
            openai_words(
                400, "'developer' is not one of ['system', 'assistant', 'user', 'function', 'tool'] - 'messages.0.role'"
            ),
        ),
        *("instructions_as_system", {}),
    ),
    "SGLang: unexpected role developer": (
        *(when(has_role("developer"), vllm_words(400, "Unexpected message role.")), "instructions_as_system", {}),
    ),
    "Gemma: no role system": (
        *(when(has_role("system"), llamacpp_words("System role not supported")), "instructions_as_user", {}),
    ),
    "o1-mini: no role system": (
        when(
            has_role("system"),
            openai_words(400, "Unsupported value: 'messages[0].role' does not support 'system' with this model."),
        ),
        *("instructions_as_user", {}),
    ),
    "Gemini's API with Gemma: no instructions": (
        when(
            has_role("system"),
            openai_words(400, "Developer instruction is not enabled for models/gemma-3-27b-it", code=400),
        ),
        *("instructions_as_user", {}),
    ),
    "Mistral: ids of function calls have nine letters and digits": (
        when(
            lambda r: any(len(m.get("tool_call_id", "123456789")) != 9 for m in r.messages),
            vllm_words(400, "Tool call id was call_Ada_0_0 but must be a-z, A-Z, 0-9, with a length of 9."),
        ),
        *("short_call_ids", {}),
    ),
    "a gateway: function calls need a content": (
        when(
            lambda r: any("content" not in m for m in r.messages),
            fastapi_words("messages", 2, "content", message="Field required"),
        ),
        *("content_with_calls", {}),
    ),
}


def data(base_url: str, name: str) -> dict[str, Any]:
    options = COPES[name][2]
    made = team(base_url)
    for agent in made["agents"]:
        agent |= {"model": {"options": options}, "tools": [{"id": "weather.look", "type": "function"}]}
    if "developer" in name:
        made["services"]["default"]["instruction_role"] = "developer"
    return made


def answers() -> Any:
    made = brain()
    made.agents["Ada"] = [Reply(tool_calls=[ToolCall("weather-look", {"city": "Rome"})]), "It is sunny in Rome."]  # type: ignore[index]
    return made


async def run(server: RealServer, made: dict[str, Any]) -> Any:
    async with TeamFactory.from_dict(made, plugins={"weather": Weather()}) as factory:
        return await factory.run("How is the weather?", out=None)


@pytest.mark.parametrize("name", COPES)
async def test_a_refused_shape_is_put_otherwise_once_and_remembered(name: str) -> None:
    refusal, dialect, _ = COPES[name]
    with RealServer(answers(), refusal) as server:
        result = await run(server, data(server.base_url, name))
        assert result.outcome == "satisfied", result.error
        assert result.answer == "The final answer." and [turn.agent for turn in result.record.turns][:2] == [
            "Ada",
            "Bob",
        ]
        # Which of several parameters is meant, a server may not say: then one after another is tried.
        assert len(server.refused) <= (6 if "the parameters" in name else 2 if "Gemini's" in name else 1)
    assert dialect in DIALECT


@pytest.mark.parametrize("name", COPES)
async def test_a_dialect_in_the_team_file_is_spoken_from_the_first_request(name: str) -> None:
    refusal, dialect, _ = COPES[name]
    with RealServer(answers(), refusal) as server:
        made = data(server.base_url, name)
        made["services"]["default"]["dialect"] = [dialect]
        result = await run(server, made)
        assert result.outcome == "satisfied", result.error
        assert not server.refused


async def test_joined_messages_keep_who_said_what() -> None:
    with RealServer(brain(), COPES["vLLM with a template of Mistral: roles must alternate"][0]) as server:
        assert (await run(server, team(server.base_url))).outcome == "satisfied"
        last = [request for request in server.requests if "You are Bob." in str(request.messages[0])][-1]
    assert "Ada: Ada has looked." in str(last.messages)
    assert [message["role"] for message in last.messages][:2] == ["system", "user"]


IGNORED = {
    "a proxy that ignores `stream` and sends one JSON body": lambda text: completion(text),
    "a proxy that sends one JSON body with leading blank lines": lambda text: Reply(
        body="\n\n" + str(completion(text).body)
    ),
    "a proxy that calls one JSON body an event stream": lambda text: Reply(
        body=completion(text).body, headers={"Content-Type": "text/event-stream"}
    ),
}


@pytest.mark.parametrize("name", IGNORED)
async def test_a_reply_in_one_piece_is_read_whatever_was_asked_for(name: str) -> None:
    answering = brain()

    def in_one_piece(request: Request) -> Any:
        reply = answering(request)
        return IGNORED[name](reply.text if isinstance(reply, Reply) else reply)

    with RealServer(in_one_piece) as server:
        result = await run(server, team(server.base_url))
    assert (result.outcome, result.answer) == ("satisfied", "The final answer."), result.error


HOPELESS = {
    "a server without functions": (openai_words(404, "No endpoints found that support tool use."), "tool use"),
    "a model that is not there": (openai_words(404, "The model `m` does not exist", code="model_not_found"), "exist"),
    "vLLM started without a parser of calls": (
        vllm_words(400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'),
        "--enable-auto-tool-choice",
    ),
}


@pytest.mark.parametrize("name", HOPELESS)
async def test_what_no_dialect_cures_fails_with_the_servers_words_and_is_not_asked_without_end(name: str) -> None:
    reply, words = HOPELESS[name]
    with RealServer(answers(), when(lambda request: request.tools, reply)) as server:
        result = await run(server, data(server.base_url, "o1-mini: no role system"))
        assert result.outcome != "satisfied" or words in str(result.record.turns)
        assert len(server.refused) <= 20
