"""A team in a model's place: the `openai` package and Semantic Kernel's own connector, by another base URL.

`magentic-kit serve configs/sales_analysis.yaml` first, then this, with the address that it prints.
"""

import asyncio
import sys

from openai import AsyncOpenAI
from semantic_kernel.agents import ChatCompletionAgent
from semantic_kernel.connectors.ai.open_ai import OpenAIChatCompletion

QUESTION = "Which region grew fastest in 2025, and why?"


async def main(base_url: str) -> None:
    async with AsyncOpenAI(base_url=base_url, api_key="none, or the server's token") as client:
        team = (await client.models.list()).data[0].id
        stream = await client.chat.completions.create(
            model=team, messages=[{"role": "user", "content": QUESTION}], stream=True
        )
        async for chunk in stream:
            delta = chunk.choices[0].delta
            print(getattr(delta, "reasoning_content", None) or delta.content or "", end="", flush=True)

        service = OpenAIChatCompletion(ai_model_id=team, async_client=client)
        agent = ChatCompletionAgent(name="Desk", service=service)
        print(f"\n{await agent.get_response(QUESTION)}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8765/v1"))
