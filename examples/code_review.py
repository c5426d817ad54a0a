"""A review of the code in a folder, by a real model whose key is in .env: python examples/code_review.py FOLDER."""

import asyncio
import os
import sys
from pathlib import Path

from dotenv import load_dotenv

from magentic_kit import ConfigError, TeamFactory
from magentic_kit import events as ev

TEAM = Path(__file__).parent.parent / "configs" / "code_review.yaml"


async def main(folder: Path) -> int:
    read: dict[str, set[str]] = {}
    async with TeamFactory.from_yaml(TEAM, env={**os.environ, "REVIEW_ROOT": str(folder)}) as factory:
        async for event in factory.stream():
            match event:
                case ev.ProgressLedger(round=number, next_speaker=speaker, instruction_or_question=told):
                    print(f"round {number}: {speaker.answer}: {told.answer}", file=sys.stderr)
                case ev.ToolCallStarted(who=who, function="code.read", arguments=arguments):
                    read.setdefault(str(arguments.get("path")), set()).add(who)
                case ev.RunFinished(outcome=outcome, answer=answer):
                    print(answer)
    for path, readers in sorted(read.items()):
        print(f"{path}: read by {', '.join(sorted(readers))}", file=sys.stderr)
    return 0 if outcome == "satisfied" else 1


if __name__ == "__main__":
    load_dotenv()
    try:
        sys.exit(asyncio.run(main(Path(*sys.argv[1:2]).resolve())))
    except ConfigError as error:  # such as a key that is missing
        sys.exit(str(error))
