"""An existing Semantic Kernel app gets a team that uses the app's own kernel, plugin object, service and runtime."""

import asyncio
from typing import Annotated

from semantic_kernel import Kernel
from semantic_kernel.agents.runtime import InProcessRuntime
from semantic_kernel.functions import kernel_function

from magentic_kit import TeamFactory
from magentic_kit.testing import ScriptedChatCompletion


# --- the app as it was: a kernel with a service, a plugin object with state, a runtime
class Shop:
    def __init__(self) -> None:
        self.stock = {"lamp": 3, "chair": 0}

    @kernel_function(description="Tells how many of an item are in stock.")
    def in_stock(self, item: Annotated[str, "Name of the item."]) -> int:
        return self.stock[item]


SCRIPT = {  # in place of `OpenAIChatCompletion(service_id="house")`, so that this runs without a key
    "manager": {
        "facts": "Asked for: lamps.",
        "plan": "- Clerk: look into the stock.",
        "ledger": [
            {"ledger": {"next": "Clerk", "instruction": "How many lamps are there?"}},
            {"ledger": {"satisfied": True}},
        ],
        "answer": "There are 3 lamps left.",
    },
    "Clerk": [
        {"tool_calls": [{"name": "shop.in_stock", "arguments": {"item": "lamp"}}]},
        "The stock says {{tool_result}}.",
    ],
}


async def main() -> str:
    kernel = Kernel(services=[ScriptedChatCompletion(SCRIPT, service_id="house")])
    shop = Shop()
    runtime = InProcessRuntime()
    runtime.start()

    # --- what the app adds
    team = {
        "name": "shop",
        "manager": {"service": "house"},
        "agents": [
            {
                "name": "Clerk",
                "description": "Knows the stock.",
                "model": {"connection": {"service_id": "house"}},
                "tools": [{"id": "shop.in_stock"}],
            }
        ],
    }
    async with TeamFactory.from_dict(team, kernel=kernel, plugins={"shop": shop}) as factory:
        result = await factory.run("Can I order two lamps?", runtime=runtime, out=None)
    print(f"{result.outcome}: {result.answer}")
    # --- end of what the app adds

    await runtime.stop_when_idle()
    return result.answer


if __name__ == "__main__":
    asyncio.run(main())
