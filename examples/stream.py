"""The typed events of a run as they come: who speaks, what is called, how it ends."""

import asyncio
from pathlib import Path

from magentic_kit import TeamFactory
from magentic_kit import events as ev

TEAM = Path(__file__).parent.parent / "configs" / "sales_analysis.yaml"


async def main() -> None:
    async with TeamFactory.from_yaml(TEAM) as factory:
        async for event in factory.stream():
            match event:
                case ev.PlanCreated(plan=plan):
                    print(f"plan:\n{plan}")
                case ev.ProgressLedger(round=number, next_speaker=speaker):
                    print(f"round {number}: {speaker.answer or 'done'}")
                case ev.ToolCallFinished(function=function, seconds=seconds):
                    print(f"  {function} took {seconds:.3f} s")
                case ev.RunFinished(outcome=outcome, answer=answer):
                    print(f"{outcome}: {answer}")


if __name__ == "__main__":
    asyncio.run(main())
