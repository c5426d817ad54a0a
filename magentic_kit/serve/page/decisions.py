"""What a person decides on the page, as forms that are sent: each begins something, or lets it go on or end."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from magentic_kit.errors import ConfigError, KitError
from magentic_kit.runlog.listing import effective_events
from magentic_kit.runlog.record import RunRecord
from magentic_kit.serve.page.forms import edits_of, inputs_of, limits_of, unknown_calls_of
from magentic_kit.serve.page.pages import Pages, found, problems_of
from magentic_kit.serve.page.registry import load_factories
from magentic_kit.serve.page.security import Keys, read_form
from magentic_kit.serve.page.uploads import read_form_with_files
from magentic_kit.team.plan import TaskLedger


class Decisions:
    """Answers to POST: each sends the browser to the page that shows what came of it."""

    def __init__(self, pages: Pages, keys: Keys) -> None:
        self._pages, self._keys = pages, keys

    async def start(self, request: Request) -> Response:
        """Begins a run, or only a plan."""
        sent, card = await read_form_with_files(request, self._keys), self._pages.find_card(request)
        form = sent.fields
        if card.config is None:
            return self._pages.team_page(card, form, card.problems, 422)
        inputs, limits = inputs_of(form, card.config), limits_of(form)
        task = form.get("task", "")
        if form.get("how") == "plan":
            draft = self._pages.drafts.begin(card, sent, task, inputs, limits)
            return self._pages.go(f"/plans/{draft.key}")
        overrides = {"review.plan": True} if "review_plan" in form else {}
        try:
            factory = (await load_factories()).from_yaml(card.path)
            feed = await self._pages.runs.start(
                factory, task, inputs=inputs, limits=limits, overrides=overrides, attach=sent.files
            )
        except ConfigError as error:
            return self._pages.team_page(card, form, sent.named(error.problems), 422)
        return self._pages.go_to(feed)

    async def carry_out(self, request: Request) -> Response:
        """Begins a run of an edited plan."""
        form, draft = await read_form(request, self._keys), found(self._pages.drafts.find, request.path_params["key"])
        if draft.ledger is None:
            raise HTTPException(409, "this plan is not made yet")
        plan = TaskLedger(task=draft.ledger.task, facts=form.get("facts", ""), plan=form.get("plan", ""))
        try:
            factory = (await load_factories()).from_yaml(draft.card.path)
            given = {"inputs": draft.inputs, "limits": draft.limits, "attach": draft.sent.files}
            feed = await self._pages.runs.start(factory, None, plan=plan, **given)
        except ConfigError as error:
            problems = draft.sent.named(error.problems)
            return self._pages.page("draft.html.j2", 422, draft=draft, problems=problems, form=form)
        return self._pages.go_to(feed)

    async def answer(self, request: Request) -> Response:
        """Takes a person's decision."""
        form, feed = await read_form(request, self._keys), self._pages.find_feed(request.path_params["name"])
        try:
            if feed.active is None:
                raise ConfigError.one("the run has ended", file="answer")
            feed.active.questions.answer(request.path_params["number"], form)
        except ConfigError as error:
            return self._pages.message("This was not taken", problems=error.problems, status=409)
        return self._pages.go_to(feed)

    async def stop(self, request: Request) -> Response:
        """Ends a run as cancelled."""
        await read_form(request, self._keys)
        feed = self._pages.find_feed(request.path_params["name"])
        if feed.active is not None:
            feed.active.is_stopping = True
            feed.active.run.cancel()
            feed.changed(at_once=True)
        return self._pages.go_to(feed)

    async def resume(self, request: Request) -> Response:
        """Goes on with a run, with raised limits."""
        form, name = await read_form(request, self._keys), request.path_params["name"]
        feed = self._pages.find_feed(name)
        await self._pages.runs.resume(name, limits=limits_of(form), unknown_tools=unknown_calls_of(form))
        return self._pages.go_to(feed)

    async def follow(self, request: Request) -> Response:
        """Begins a run of the same team that goes on from this one with a new task."""
        form, feed = await read_form(request, self._keys), self._pages.find_feed(request.path_params["name"])
        try:
            factory = (await load_factories()).from_run(feed.run_dir)
            inputs = RunRecord.of(effective_events(feed.run_dir)).inputs
            begun = await self._pages.runs.start(factory, form.get("task"), inputs=inputs, history=feed.run_dir)
        except KitError as error:
            return self._pages.message("This was not begun", problems=problems_of(error), status=422)
        return self._pages.go_to(begun)

    async def run_again(self, request: Request) -> Response:
        """Begins a run with edited instructions that reuses what is unchanged."""
        form, feed = await read_form(request, self._keys), self._pages.find_feed(request.path_params["name"])
        try:
            factory = (await load_factories()).from_run(feed.run_dir)
            edits = edits_of(form, factory.blueprint.config)
            inputs = RunRecord.of(effective_events(feed.run_dir)).inputs
            begun = await self._pages.runs.start(
                factory, form.get("task"), inputs=inputs, limits=limits_of(form), overrides=edits, reuse=feed.run_dir
            )
        except KitError as error:
            return await self._pages.again_page(feed, form, problems_of(error), 422)
        return self._pages.go_to(begun)
