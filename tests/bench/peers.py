"""The other sides of the comparison: bare openai, plain Semantic Kernel, Agent Framework and AutoGen.

Each is the shortest honest script of its framework, with a client for each run; only the bare client is shared.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from cases import AGENTS, INSTRUCTIONS

Side = Callable[[str], Awaitable[None]]


def floor(base_url: str, rounds: int) -> Side:
    """The same calls with nothing around them, on one client: what a run costs at least."""
    from openai import AsyncOpenAI

    client = AsyncOpenAI(base_url=base_url)

    async def ask(messages: list[Any]) -> str:
        reply = await client.chat.completions.create(model="m", messages=messages)
        return reply.choices[0].message.content or ""

    async def speak(messages: list[Any]) -> str:
        stream: Any = await client.chat.completions.create(model="m", messages=messages, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])

    async def run(task: str) -> None:
        history = [{"role": "user", "content": f"We are working to address the following user request:\n{task}"}]
        for prompt in ("Below I will present you a request.", "Fantastic. To address this request we have assembled"):
            history.append({"role": "user", "content": await ask([*history, {"role": "user", "content": prompt}])})
        for _ in range(rounds + 1):
            judge = {"role": "user", "content": "Recall we are working on the following request:"}
            ledger = json.loads(await ask([*history, judge]))
            if ledger["is_request_satisfied"]["answer"]:
                break
            step = {"role": "user", "content": ledger["instruction_or_question"]["answer"]}
            history += [step, {"role": "user", "content": await speak([*history, step])}]
        final = {"role": "user", "content": "We are working on the following task:"}
        assert (await ask([*history, final])).startswith("answer")

    return run


def plain(base_url: str, rounds: int) -> Side:
    """Semantic Kernel's own Magentic orchestration."""
    from openai import AsyncOpenAI
    from semantic_kernel.agents import ChatCompletionAgent, MagenticOrchestration, StandardMagenticManager
    from semantic_kernel.agents.runtime import InProcessRuntime
    from semantic_kernel.connectors.ai.open_ai import OpenAIChatCompletion

    async def run(task: str) -> None:
        client = AsyncOpenAI(base_url=base_url)
        service = OpenAIChatCompletion(ai_model_id="m", async_client=client)
        agents = [
            ChatCompletionAgent(name=name, description=f"The {name}.", instructions=INSTRUCTIONS, service=service)
            for name in AGENTS
        ]
        manager = StandardMagenticManager(chat_completion_service=service, max_round_count=rounds + 1)
        runtime = InProcessRuntime()
        runtime.start()
        result = await MagenticOrchestration(members=agents, manager=manager).invoke(task, runtime)
        answer = await result.get()
        assert answer.content.startswith("answer"), answer
        await runtime.stop_when_idle()
        await client.close()

    return run


def agent_framework(base_url: str, rounds: int) -> Side:
    """Agent Framework's Magentic, streamed."""
    from agent_framework import Agent
    from agent_framework.openai import OpenAIChatCompletionClient
    from agent_framework.orchestrations import MagenticBuilder
    from openai import AsyncOpenAI

    async def run(task: str) -> None:
        client = AsyncOpenAI(base_url=base_url)
        chat = OpenAIChatCompletionClient(model="m", async_client=client)
        told = f"{INSTRUCTIONS} {task}"  # an agent is sent no more than its instruction, and the server needs the task
        agents = [Agent(chat, told, name=name, description=f"The {name}.") for name in AGENTS]
        workflow = MagenticBuilder(
            participants=agents, manager_agent=Agent(chat, name="manager"), max_round_count=rounds + 1
        ).build()
        answer = ""
        async for event in workflow.run(task, stream=True):
            if event.type == "output":
                answer = str(event.data)
        assert "answer" in answer, answer
        await client.close()

    return run


def autogen(base_url: str, rounds: int) -> Side:
    """AutoGen's MagenticOne group chat, with agents that stream."""
    from autogen_agentchat.agents import AssistantAgent
    from autogen_agentchat.teams import MagenticOneGroupChat
    from autogen_ext.models.openai import OpenAIChatCompletionClient

    capabilities: Any = {
        **dict.fromkeys(("vision", "function_calling", "structured_output", "multiple_system_messages"), False),
        "json_output": True,
        "family": "unknown",
    }

    async def run(task: str) -> None:
        client = OpenAIChatCompletionClient(model="m", base_url=base_url, model_info=capabilities)
        agents: list[Any] = [
            AssistantAgent(
                name,
                client,
                description=f"The {name}.",
                system_message=INSTRUCTIONS,
                model_client_stream=True,
            )
            for name in AGENTS
        ]
        team = MagenticOneGroupChat(agents, client, max_turns=rounds + 1)
        result = await team.run(task=task)
        answer = str(getattr(result.messages[-1], "content", ""))
        assert answer.startswith("answer"), answer
        await client.close()

    return run


SIDES: dict[str, Callable[[str, int], Side]] = {
    "floor": floor,
    "plain": plain,
    "agent-framework": agent_framework,
    "autogen": autogen,
}
