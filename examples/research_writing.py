"""A briefing on any topic, by a real model whose key is in .env: python examples/research_writing.py [TOPIC]."""

import asyncio
import sys
from pathlib import Path

from dotenv import load_dotenv

from magentic_kit import ConfigError, TeamFactory
from magentic_kit.views.display import make_console

TEAM = Path(__file__).parent.parent / "configs" / "research_writing.yaml"


async def main() -> str:
    inputs = {"topic": " ".join(sys.argv[1:])} if sys.argv[1:] else {}
    console = make_console()  # shows the run on standard error
    try:
        async with TeamFactory.from_yaml(TEAM) as factory:
            result = await factory.run(inputs=inputs, views=[console])
    finally:
        console.close()
    print(result.answer)
    return f"{result.outcome}: the sources and all that was said are in {result.run_dir}/report.html"


if __name__ == "__main__":
    load_dotenv()
    try:
        print(asyncio.run(main()), file=sys.stderr)
    except ConfigError as error:  # such as a key that is missing
        sys.exit(str(error))
