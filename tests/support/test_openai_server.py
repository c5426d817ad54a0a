"""The scripted server behaves to real clients as OpenAI does, and misbehaves exactly as it is told to."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from semantic_kernel.agents import ChatCompletionAgent, MagenticOrchestration, StandardMagenticManager
from semantic_kernel.agents.orchestration.prompts import _magentic_prompts as prompts
from semantic_kernel.agents.runtime import InProcessRuntime
from semantic_kernel.connectors.ai.open_ai import OpenAIChatCompletion
from semantic_kernel.functions import kernel_function
from support.openai_server import (
    PURPOSES,
    Answer,
    OpenAIServer,
    Reply,
    Request,
    TeamBrain,
    ToolCall,
    error,
    ledger,
)

# In the middle of a stream openai 2 lets the error of httpx through; openai 3 wraps it in its own.
TIMED_OUT = (openai.APITimeoutError, httpx.ReadTimeout)
CUT_OFF = (openai.APIConnectionError, httpx.RemoteProtocolError)

HELLO: Any = [{"role": "user", "content": "Hello"}]


def client(server: OpenAIServer, **options: Any) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=server.base_url, api_key="test", max_retries=0, **options)


async def ask(brain: Answer, *, stream: bool = False, timeout: float = 5.0, **options: Any) -> Any:
    """One request to a server of its own: the completion, or all chunks of the stream."""
    with OpenAIServer(brain) as server:
        async with client(server, timeout=timeout) as openai_client:
            call: Any = openai_client.chat.completions.create
            answer = await call(model="m", messages=HELLO, stream=stream, **options)
            return [chunk async for chunk in answer] if stream else answer


class TestReplies:
    async def test_a_completion_has_text_usage_and_a_finish_reason(self) -> None:
        completion = await ask(Reply("Good day", usage=(7, 3)))
        assert completion.choices[0].message.content == "Good day"
        assert completion.choices[0].finish_reason == "stop"
        assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (7, 3)

    async def test_a_stream_brings_the_role_then_word_by_word_and_then_the_finish(self) -> None:
        chunks = await ask("Good day, \n you", stream=True)
        assert [chunk.choices[0].delta.content for chunk in chunks] == ["", "Good ", "day, \n ", "you", None]
        assert chunks[0].choices[0].delta.role == "assistant"
        assert [chunk.choices[0].finish_reason for chunk in chunks] == [None, None, None, None, "stop"]

    async def test_a_stream_tells_usage_only_if_asked_and_known(self) -> None:
        asked: Any = {"stream_options": {"include_usage": True}}
        told = await ask(Reply("x", usage=(7, 3)), stream=True, **asked)
        assert (told[-1].choices, told[-1].usage.total_tokens) == ([], 10)
        for chunks in (
            await ask("x", stream=True),
            await ask(Reply("x", usage="unknown"), stream=True, **asked),
        ):
            assert all(chunk.usage is None for chunk in chunks)
        assert (await ask(Reply("x", usage="unknown"))).usage is None

    async def test_tool_calls_come_whole_or_in_pieces(self) -> None:
        reply = Reply(tool_calls=[ToolCall("db-query", {"sql": "SELECT 1 < 2"}), ToolCall("db-broken", '{"sql": ')])
        whole = (await ask(reply)).choices[0]
        assert whole.finish_reason == "tool_calls"
        assert [call.function.name for call in whole.message.tool_calls] == ["db-query", "db-broken"]
        assert whole.message.tool_calls[1].function.arguments == '{"sql": '

        deltas = [
            c.choices[0].delta.tool_calls[0] for c in await ask(reply, stream=True) if c.choices[0].delta.tool_calls
        ]
        first = [delta for delta in deltas if delta.index == 0]
        assert (first[0].id, first[0].function.name) == (whole.message.tool_calls[0].id, "db-query")
        assert len(first) > 3
        assert json.loads("".join(d.function.arguments for d in first)) == {"sql": "SELECT 1 < 2"}

    async def test_a_list_is_gone_through_and_its_last_answer_repeats(self) -> None:
        with OpenAIServer(["one", lambda request: f"two of {request.model}"]) as server:
            async with client(server) as openai_client:
                answers = [
                    (await openai_client.chat.completions.create(model="m", messages=HELLO)).choices[0].message.content
                    for _ in range(3)
                ]
        assert answers == ["one", "two of m", "two of m"]

    async def test_a_broken_script_is_answered_with_500_and_raised_at_the_end(self) -> None:
        with pytest.raises(ZeroDivisionError), OpenAIServer(lambda request: str(1 / 0)) as server:
            async with client(server) as openai_client:
                with pytest.raises(openai.InternalServerError, match="the script is broken"):
                    await openai_client.chat.completions.create(model="m", messages=HELLO)


class TestFaults:
    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize(
        ("reply", "raised"),
        [
            (error(400, "no json_schema here", code="unsupported"), openai.BadRequestError),
            (error(401), openai.AuthenticationError),
            (error(429, retry_after=2), openai.RateLimitError),
            (error(500), openai.InternalServerError),
            (Reply(status=503, body="<h1>Bad gateway</h1>"), openai.InternalServerError),
        ],
    )
    async def test_a_refusal_raises_what_openai_raises(
        self, reply: Reply, raised: type[openai.APIStatusError], stream: bool
    ) -> None:
        with pytest.raises(raised) as caught:
            await ask(reply, stream=stream)
        assert caught.value.status_code == reply.status
        assert caught.value.response.headers.get("retry-after") == reply.headers.get("retry-after")

    async def test_an_error_tells_its_message_and_code(self) -> None:
        with pytest.raises(openai.RateLimitError, match="all used up") as caught:
            await ask(error(429, "all used up", code="insufficient_quota"))
        assert caught.value.code == "insufficient_quota"

    async def test_html_with_status_200_is_no_completion(self) -> None:
        assert await ask(Reply(body="<html>Sign in</html>")) == "<html>Sign in</html>"
        assert await ask(Reply(body="<html>Sign in</html>"), stream=True) == []

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize("hang", ["before", "in_stream"])
    async def test_a_hung_answer_ends_in_the_clients_timeout(self, hang: Any, stream: bool) -> None:
        with pytest.raises(TIMED_OUT):
            await ask(Reply("one two three", hang=hang), stream=stream, timeout=0.1)

    @pytest.mark.parametrize("cut_after", [0, 1])
    async def test_a_cut_answer_raises(self, cut_after: int) -> None:
        with pytest.raises(openai.APIConnectionError):
            await ask(Reply("one two three", cut_after=cut_after))

    @pytest.mark.parametrize(("cut_after", "seen"), [(0, []), (3, ["", "one ", "two "])])
    async def test_a_cut_stream_brings_what_was_sent_before_the_cut(self, cut_after: int, seen: list[str]) -> None:
        arrived = []
        with OpenAIServer(Reply("one two three", cut_after=cut_after)) as server:
            async with client(server) as openai_client:
                stream = await openai_client.chat.completions.create(model="m", messages=HELLO, stream=True)
                with pytest.raises(CUT_OFF):
                    async for chunk in stream:
                        arrived.append(chunk.choices[0].delta.content)
        assert arrived == seen

    async def test_a_stream_can_end_without_a_finish(self) -> None:
        chunks = await ask(Reply("one two", end_without_finish=True), stream=True)
        assert [chunk.choices[0].delta.content for chunk in chunks] == ["", "one ", "two"]
        assert chunks[-1].choices[0].finish_reason is None

    async def test_a_delay_lies_before_each_chunk(self) -> None:
        started = asyncio.get_running_loop().time()
        await ask(Reply("one two", chunk_delay=0.01), stream=True)
        assert asyncio.get_running_loop().time() - started >= 0.05


class TestLifetime:
    @pytest.mark.parametrize("hang", ["before", "in_stream"])
    async def test_a_client_that_leaves_a_hung_request_leaves_nothing_behind(self, hang: Any) -> None:
        with OpenAIServer(Reply("one two", hang=hang)) as server:
            async with client(server) as openai_client:
                call = asyncio.ensure_future(openai_client.chat.completions.create(model="m", messages=HELLO))
                await server.reached(lambda s: s.hanging)
                assert (len(server.requests), server.open_connections) == (1, 1)
                call.cancel()
                await server.reached(lambda s: not s.hanging and not s.open_connections)

    def test_closing_ends_hung_requests_and_the_thread(self, recwarn: Any, caplog: Any) -> None:
        with httpx.Client() as http:
            with OpenAIServer(Reply(hang="before")) as server:
                body = {"model": "m", "messages": HELLO}
                url = f"{server.base_url}/chat/completions"
                failures: list[Exception] = []

                def post() -> None:
                    try:
                        http.post(url, json=body)
                    except httpx.HTTPError as failure:
                        failures.append(failure)

                poster = threading.Thread(target=post)
                poster.start()
                server.wait_for(lambda s: s.hanging)
            poster.join(5)
            assert [type(failure) for failure in failures] == [httpx.RemoteProtocolError]
            with pytest.raises(httpx.ConnectError):
                http.post(url, json=body)
        assert "openai-server" not in {thread.name for thread in threading.enumerate()}
        assert not recwarn.list
        assert not caplog.records

    def test_waiting_in_vain_tells_what_the_server_saw(self) -> None:
        with OpenAIServer("x") as server, pytest.raises(TimeoutError, match="0 connections open"):
            server.wait_for(lambda s: s.hanging, timeout=0.02)


class Database:
    """A plugin whose results are real."""

    @kernel_function
    def query(self, sql: str) -> str:
        """Runs a query."""
        return f"rows of {sql}"


def team() -> TeamBrain:
    return TeamBrain(
        rounds=[("Analyst", "Count the rows."), ("Writer", "Write it up.")],
        agents={
            "Analyst": [
                Reply(
                    tool_calls=[
                        ToolCall("db-query", {"sql": "SELECT 1"}),
                        ToolCall("db-query", {"sql": "SELECT 2"}),
                    ]
                ),
                lambda request: f"The database says: {'; '.join(request.last_tool_results)}",
            ],
            "Writer": "Written.",
        },
        facts=lambda request: f"Facts about {request.task}",
        answer=lambda request: f"Answer to {request.task}",
    )


async def orchestrate(server: OpenAIServer, *tasks: str, max_stall_count: int = 3) -> list[str]:
    """Plain Semantic Kernel runs, all at once; the answers."""

    async def one(task: str) -> str:
        def service() -> OpenAIChatCompletion:
            return OpenAIChatCompletion(ai_model_id="m", async_client=openai_client)

        analyst = ChatCompletionAgent(
            name="Analyst", description="Counts.", instructions="You count.", service=service(), plugins=[]
        )
        analyst.kernel.add_plugin(Database(), "db")
        writer = ChatCompletionAgent(name="Writer", description="Writes.", instructions="You write.", service=service())
        manager = StandardMagenticManager(service(), max_stall_count=max_stall_count)
        runtime = InProcessRuntime()
        runtime.start()
        try:
            orchestration = MagenticOrchestration(members=[analyst, writer], manager=manager)
            return str(await (await orchestration.invoke(task, runtime)).get(timeout=10))
        finally:
            await runtime.stop()

    async with client(server) as openai_client:
        return list(await asyncio.gather(*map(one, tasks)))


def told(request: Request) -> tuple[str, str, int]:
    return request.who, request.purpose, request.turn


SATISFIED = [
    ("manager", "facts", 0),
    ("manager", "plan", 0),
    ("manager", "ledger", 0),
    ("Analyst", "turn", 0),
    ("Analyst", "turn", 1),
    ("manager", "ledger", 1),
    ("Writer", "turn", 0),
    ("manager", "ledger", 2),
    ("manager", "answer", 0),
]


class TestTeams:
    def test_purposes_are_the_beginnings_of_semantic_kernels_prompts(self) -> None:
        names = {
            "facts": "TASK_LEDGER_FACTS",
            "plan": "TASK_LEDGER_PLAN",
            "facts_update": "TASK_LEDGER_FACTS_UPDATE",
            "plan_update": "TASK_LEDGER_PLAN_UPDATE",
            "ledger": "PROGRESS_LEDGER",
            "answer": "FINAL_ANSWER",
        }
        assert names.keys() == PURPOSES.keys()
        for purpose, name in names.items():
            assert getattr(prompts, f"ORCHESTRATOR_{name}_PROMPT").lstrip().startswith(PURPOSES[purpose])

    async def test_a_plain_semantic_kernel_run_ends_satisfied(self) -> None:
        task = 'Is a < b & "c"?\n\nSay why.'
        with OpenAIServer(team()) as server:
            assert await orchestrate(server, task) == [f"Answer to {task}"]
            await server.reached(lambda s: not s.open_connections)
        assert [told(request) for request in server.requests] == SATISFIED
        assert {request.task for request in server.requests} == {task}
        tools = server.requests[4]
        assert tools.tool_names == ["db-query"]
        assert sorted(tools.last_tool_results) == ["rows of SELECT 1", "rows of SELECT 2"]
        assert tools.stream and tools.stream_options == {"include_usage": True}
        assert server.requests[2].response_format["type"] == "json_schema"
        assert "rows of SELECT 1" in str(server.requests[5].messages)

    async def test_runs_of_different_tasks_at_once_and_of_one_task_in_turn_keep_apart(self) -> None:
        with OpenAIServer(team()) as server:
            assert await orchestrate(server, "First?", "Second?") == ["Answer to First?", "Answer to Second?"]
            assert await orchestrate(server, "First?") == ["Answer to First?"]
        for task, times in (("First?", 2), ("Second?", 1)):
            assert [told(request) for request in server.requests if request.task == task] == SATISFIED * times

    async def test_a_stalled_run_asks_for_new_facts_and_a_new_plan(self) -> None:
        stalled = ledger("Writer", "Again.", progress=False)
        brain = team().on("manager", "ledger", 0, stalled).on("manager", "facts_update", None, "New facts.")
        with OpenAIServer(brain) as server:
            await orchestrate(server, "First?", max_stall_count=0)
        assert [told(request) for request in server.requests][2:6] == [
            ("manager", "ledger", 0),
            ("manager", "facts_update", 0),
            ("manager", "plan_update", 0),
            ("manager", "ledger", 1),
        ]
        assert "New facts." in str(server.requests[5].messages)

    async def test_an_override_uses_up_nothing_and_a_re_asked_ledger_is_still_a_ledger(self) -> None:
        def refuse(request: Request) -> Reply | None:
            return error(400) if request.response_format else None

        brain = team().on("manager", "ledger", 1, "not JSON").on("manager", "ledger", None, refuse)
        prompt = {"role": "user", "content": f"\n{PURPOSES['ledger']}\n\nWhy?\n\nAnd we have assembled …"}
        correction = [{"role": "assistant", "content": "?"}, {"role": "user", "content": "That was no JSON."}]
        statuses, speakers = [], []
        with OpenAIServer(brain) as server:
            async with httpx.AsyncClient() as http:
                for extra in ({"response_format": {"type": "json_schema"}}, {}, {}, {}, {}):
                    body = {"model": "m", "messages": [prompt, *correction], **extra}
                    response = await http.post(f"{server.base_url}/chat/completions", json=body)
                    statuses.append(response.status_code)
                    if response.status_code == 200:
                        speakers.append(response.json()["choices"][0]["message"]["content"])
        assert [told(request) for request in server.requests] == [("manager", "ledger", n) for n in range(5)]
        assert statuses == [400, 200, 200, 200, 200]
        assert speakers[0] == "not JSON"
        assert speakers[1:] == [
            ledger("Analyst", "Count the rows."),
            ledger("Writer", "Write it up."),
            ledger("Writer", "Nothing more.", satisfied=True),
        ]


class TestEveryTest:
    @pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "example.com"])
    async def test_has_no_network(self, host: str) -> None:
        with pytest.raises(RuntimeError, match="loopback only"):
            socket.create_connection((host, 80), timeout=1)
        with pytest.raises(RuntimeError, match="loopback only"):
            await asyncio.open_connection(host, 80)

    def test_may_use_local_sockets(self, tmp_path: Any) -> None:
        with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as local:
            listener.bind(str(tmp_path / "socket"))
            listener.listen()
            local.connect(str(tmp_path / "socket"))

    @pytest.fixture(scope="class")
    def users_environment(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT", "MISTRALAI_API_KEY", "KEPT"):
                patch.setenv(name, "the user's")
            yield

    def test_has_no_provider_settings(self, users_environment: None) -> None:
        assert not [name for name in os.environ if name.startswith(("OPENAI_", "AZURE_", "MISTRAL"))]
        assert os.environ["KEPT"] == "the user's"
