"""A person in charge, in Python: every plan and every write is judged by functions of yours."""

import asyncio
import shutil
import tempfile
from pathlib import Path

from magentic_kit import TeamFactory
from magentic_kit.team.people import PlanReview, PlanReviewRequest, ToolReview, ToolReviewRequest

CONFIGS = Path(__file__).parent.parent / "configs"


def review_plan(request: PlanReviewRequest) -> PlanReview:
    print(f"plan {request.revision}: {request.plan}")
    return PlanReview.revise("number the orders") if request.revision == 1 else PlanReview.approve()


async def review_tool(request: ToolReviewRequest) -> ToolReview:
    print(f"{request.agent} wants {request.function}({dict(request.arguments)})")
    return ToolReview.approve() if request.arguments.get("path") == "orders.md" else ToolReview.deny("only orders.md")


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(CONFIGS, folder, dirs_exist_ok=True)
        async with TeamFactory.from_yaml(Path(folder) / "plan_review.yaml") as factory:
            result = await factory.run(reviewer=review_plan, approver=review_tool, out=None)
        print(f"{result.outcome}: {(Path(folder) / 'notes' / 'orders.md').read_text()}")


if __name__ == "__main__":
    asyncio.run(main())
