"""Plans that a person judges: asked once, logged, and known again on resume."""

from __future__ import annotations

from dataclasses import dataclass, replace

from magentic_kit import events as ev
from magentic_kit.errors import PlanRejected
from magentic_kit.runlog.control import RunControl
from magentic_kit.runlog.emitter import RunEmitter
from magentic_kit.runlog.replay import RecordedSteps
from magentic_kit.team.people import PlanReview, PlanReviewRequest, Reviewer, ask


@dataclass(frozen=True)
class PlanReviews:
    """The reviews of the plans of one run."""

    reviewer: Reviewer
    emitter: RunEmitter
    control: RunControl
    steps: RecordedSteps

    async def review(self, request: PlanReviewRequest) -> PlanReview:
        """The person's review, of the log or asked for now. Raises `PlanRejected`."""
        version, facts, plan = request.revision, request.facts, request.plan
        recorded = self.steps.find("plan review", tuple(self.emitter.redactor.value([version, facts, plan])))
        if isinstance(recorded, ev.PlanReviewed):
            review = PlanReview(recorded.decision, recorded.feedback)
        else:
            with self.control.asking():
                review = await ask(self.reviewer, replace(request, id=f"{self.emitter.run_id}/plan-{version}"))
        self.emitter.emit(ev.PlanReviewed(version=version, decision=review.decision, feedback=review.feedback))
        if review.decision == "reject":
            raise PlanRejected(review.feedback)
        return review
