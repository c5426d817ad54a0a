"""A team whose functions come from an MCP server, which starts and ends with the run."""

import asyncio
import os
import sys
from pathlib import Path

from magentic_kit import TeamFactory

TEAM = Path(__file__).parent.parent / "configs" / "library_mcp.yaml"


async def main() -> None:
    env = {**os.environ, "PYTHON": sys.executable}
    async with TeamFactory.from_yaml(TEAM, env=env) as factory:
        result = await factory.run(inputs={"year": 1978}, out=None)
    for call in result.record.tool_calls:
        print(f"{call.function}({call.arguments}) -> {call.result}")
    print(f"{result.outcome}: {result.answer}")


if __name__ == "__main__":
    asyncio.run(main())
