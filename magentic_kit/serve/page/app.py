"""The live page as an ASGI app: teams, their runs as they go on, and what a person decides in them."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from sse_starlette.sse import EventSourceResponse
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from magentic_kit.errors import ConfigError, KitError, Problem
from magentic_kit.runlog.listing import effective_events
from magentic_kit.runlog.record import RunRecord
from magentic_kit.serve.guard import Access, RequestGuard
from magentic_kit.serve.page.feed import Feed
from magentic_kit.serve.page.forms import edits_of, inputs_of, limits_of, unknown_calls_of
from magentic_kit.serve.page.registry import Runs, load_factories
from magentic_kit.serve.page.rendering import Site, policy_of, render_page, render_run, runs_part
from magentic_kit.serve.page.run_feed import RunFeed
from magentic_kit.serve.page.security import FORM, Keys, PageGuard, read_form
from magentic_kit.serve.page.teams import TeamCard, Teams
from magentic_kit.team.plan import TaskLedger
from magentic_kit.views.comparison import figures

_SEND_TIMEOUT = 30.0
"""Seconds after which a reader who takes nothing is left."""


class HomeFeed(Feed):
    """The list of runs, for one reader and what is searched for."""

    def __init__(self, runs: Runs, query: str) -> None:
        super().__init__()
        self._runs, self._query = runs, query
        self._context: dict[str, Any] = {}

    async def poll(self) -> None:
        """Looks at the logs."""
        self._context = await list_context(self._runs, self._query)

    def render(self) -> None:
        """Puts the list."""
        self.put("runs", runs_part(**self._context))


async def list_context(runs: Runs, query: str) -> dict[str, Any]:
    """Returns what the list of runs is rendered with."""
    rows, more = await runs.read_rows(query)
    waiting = f"{runs.waiting} waiting for you" if runs.waiting else "Teams at work"
    return {"rows": rows, "more": more, "query": query, "waiting": waiting, "site": runs.site}


class Pages:
    """The routes of the page."""

    def __init__(self, teams: Teams, runs: Runs, keys: Keys) -> None:
        from magentic_kit.serve.page.drafts import Drafts  # after Semantic Kernel's import

        self.teams, self.runs, self.keys = teams, runs, keys
        self.drafts = Drafts()

    def routes(self) -> list[Route]:
        """Returns them."""
        return [
            Route("/", self.home),
            Route("/events", self.home_events),
            Route("/favicon.ico", _no_icon),
            Route("/compare", self.compare),
            Route("/teams/{key}", self.team),
            Route("/teams/{key}/run", self.start, methods=["POST"]),
            Route("/plans/{key}", self.draft),
            Route("/plans/{key}", self.carry_out, methods=["POST"]),
            Route("/runs/{name}", self.run),
            Route("/runs/{name}/events", self.run_events),
            Route("/runs/{name}/questions/{number:int}", self.answer, methods=["POST"]),
            Route("/runs/{name}/stop", self.stop, methods=["POST"]),
            Route("/runs/{name}/resume", self.resume, methods=["POST"]),
            Route("/runs/{name}/again", self.again),
            Route("/runs/{name}/again", self.run_again, methods=["POST"]),
        ]

    # -- looking

    async def home(self, request: Request) -> Response:
        """Shows teams and runs."""
        query = request.query_params.get("q", "")
        context = await list_context(self.runs, query)
        return self._page("home.html.j2", teams=self.teams.cards(), feed=HomeFeed(self.runs, query), **context)

    async def home_events(self, request: Request) -> Response:
        """Sends the list of runs whenever it changes."""
        feed = HomeFeed(self.runs, request.query_params.get("q", ""))
        return _events(feed, request, tick=2.0)

    async def compare(self, request: Request) -> Response:
        """Shows two runs side by side."""
        names = request.query_params.getlist("run")
        if len(names) != 2:
            return self._message("Mark two runs", hint="Two runs are compared, no more and no less.", status=422)
        records = [RunRecord.of(effective_events(self._feed(name).run_dir)) for name in names]
        before, after = records
        of_before, of_after = figures(before), figures(after)
        return self._page(
            "compare.html.j2",
            names=names,
            before=before,
            after=after,
            figures=[(name, value, of_after[name]) for name, value in of_before.items()],
            pairs=list(itertools.zip_longest(before.turns, after.turns)),
        )

    async def team(self, request: Request) -> Response:
        """Shows a team, and the form of a task for it."""
        card = self._card(request)
        return self._team(card, {}, card.problems, 200)

    async def draft(self, request: Request) -> Response:
        """Shows a plan, or that it is being made."""
        draft = _found(self.drafts.find, request.path_params["key"])
        return self._page("draft.html.j2", draft=draft, problems=draft.problems, form={})

    async def run(self, request: Request) -> Response:
        """Shows a run as it is now."""
        feed = self._feed(request.path_params["name"])
        await feed.refresh()
        policy = policy_of("run.html.j2")
        return HTMLResponse(render_run(feed), headers={"Content-Security-Policy": policy})

    async def run_events(self, request: Request) -> Response:
        """Sends the parts of a run's page as they change."""
        return _events(self._feed(request.path_params["name"]), request, tick=1.0)

    async def again(self, request: Request) -> Response:
        """Shows the form of a run that takes over what it can from this one."""
        return await self._again(self._feed(request.path_params["name"]), {}, (), 200)

    # -- being in charge

    async def start(self, request: Request) -> Response:
        """Begins a run, or only a plan."""
        form, card = await read_form(request, self.keys), self._card(request)
        if card.config is None:
            return self._team(card, form, card.problems, 422)
        inputs, limits = inputs_of(form, card.config), limits_of(form)
        task = form.get("task", "")
        if form.get("how") == "plan":
            draft = self.drafts.begin(card, task, inputs, limits)
            return self._go(f"/plans/{draft.key}")
        overrides = {"review.plan": True} if "review_plan" in form else {}
        try:
            factory = (await load_factories()).from_yaml(card.path)
            feed = await self.runs.start(factory, task, inputs=inputs, limits=limits, overrides=overrides)
        except ConfigError as error:
            return self._team(card, form, error.problems, 422)
        return self._go_to(feed)

    async def carry_out(self, request: Request) -> Response:
        """Begins a run of an edited plan."""
        form, draft = await read_form(request, self.keys), _found(self.drafts.find, request.path_params["key"])
        if draft.ledger is None:
            raise HTTPException(409, "this plan is not made yet")
        plan = TaskLedger(task=draft.ledger.task, facts=form.get("facts", ""), plan=form.get("plan", ""))
        try:
            factory = (await load_factories()).from_yaml(draft.card.path)
            feed = await self.runs.start(factory, None, inputs=draft.inputs, limits=draft.limits, plan=plan)
        except ConfigError as error:
            return self._page("draft.html.j2", 422, draft=draft, problems=error.problems, form=form)
        return self._go_to(feed)

    async def answer(self, request: Request) -> Response:
        """Takes a person's decision."""
        form, feed = await read_form(request, self.keys), self._feed(request.path_params["name"])
        try:
            if feed.active is None:
                raise ConfigError.one("the run has ended", file="answer")
            feed.active.questions.answer(request.path_params["number"], form)
        except ConfigError as error:
            return self._message("This was not taken", problems=error.problems, status=409)
        return self._go_to(feed)

    async def stop(self, request: Request) -> Response:
        """Ends a run as cancelled."""
        await read_form(request, self.keys)
        feed = self._feed(request.path_params["name"])
        if feed.active is not None:
            feed.active.is_stopping = True
            feed.active.run.cancel()
            feed.changed()
        return self._go_to(feed)

    async def resume(self, request: Request) -> Response:
        """Goes on with a run, with raised limits."""
        form, name = await read_form(request, self.keys), request.path_params["name"]
        feed = self._feed(name)
        await self.runs.resume(name, limits=limits_of(form), unknown_tools=unknown_calls_of(form))
        return self._go_to(feed)

    async def run_again(self, request: Request) -> Response:
        """Begins a run with edited instructions that reuses what is unchanged."""
        form, feed = await read_form(request, self.keys), self._feed(request.path_params["name"])
        try:
            factory = (await load_factories()).from_run(feed.run_dir)
            edits = edits_of(form, factory.blueprint.config)
            inputs = RunRecord.of(effective_events(feed.run_dir)).inputs
            begun = await self.runs.start(
                factory, form.get("task"), inputs=inputs, limits=limits_of(form), overrides=edits, reuse=feed.run_dir
            )
        except KitError as error:
            return await self._again(feed, form, _problems(error), 422)
        return self._go_to(begun)

    # -- answers

    def _page(self, name: str, status: int = 200, **context: Any) -> Response:
        html = render_page(name, **({"site": self.runs.site, "is_home": False} | context))
        return HTMLResponse(html, status, headers={"Content-Security-Policy": policy_of(name)})

    def _message(
        self, title: str, *, hint: str = "", problems: tuple[Problem, ...] = (), status: int = 200
    ) -> Response:
        return self._page("message.html.j2", status, title=title, hint=hint, problems=problems)

    def _team(self, card: TeamCard, form: Any, problems: tuple[Problem, ...], status: int) -> Response:
        models = {}
        if card.team is not None:
            services = card.team.config.services
            names = {agent.name: card.team.service_of(agent) for agent in card.team.config.agents}
            for name, service in (names | {"manager": card.team.manager_service}).items():
                config = services.get(service)
                models[name] = " ".join(filter(None, (getattr(config, "provider", ""), getattr(config, "model", ""))))
        return self._page("team.html.j2", status, team=card, form=form, problems=problems, models=models)

    async def _again(self, feed: RunFeed, form: Any, problems: tuple[Problem, ...], status: int) -> Response:
        config, record = None, feed.record
        try:
            record = RunRecord.of(effective_events(feed.run_dir))
            async with (await load_factories()).from_run(feed.run_dir) as factory:
                config = factory.blueprint.config
        except KitError as error:
            problems = problems or _problems(error)
        context = {"record": record, "config": config, "name": feed.run_dir.name}
        return self._page("again.html.j2", status, form=form, problems=problems, **context)

    def _feed(self, name: str) -> RunFeed:
        return _found(self.runs.feed, name)

    def _card(self, request: Request) -> TeamCard:
        return _found(self.teams.card, request.path_params["key"])

    def _go_to(self, feed: RunFeed) -> Response:
        return self._go(f"/runs/{feed.run_dir.name}")

    def _go(self, path: str) -> Response:
        return RedirectResponse(self.runs.site.prefix + path, 303)


async def _no_icon(request: Request) -> Response:
    return Response(status_code=204)


def _found(find: Any, key: str) -> Any:
    try:
        return find(key)
    except KeyError:
        raise HTTPException(404, "there is nothing of this name") from None


def _problems(error: KitError) -> tuple[Problem, ...]:
    if isinstance(error, ConfigError):
        return error.problems
    return ConfigError.one(str(error), file="run").problems


def _events(feed: Feed, request: Request, *, tick: float) -> Response:
    place = request.headers.get("last-event-id") or request.query_params.get("after", "")
    return EventSourceResponse(feed.follow(place, tick=tick), ping=15, send_timeout=_SEND_TIMEOUT)


@asynccontextmanager
async def page_app(
    teams: list[Path], *, out: Path, access: Access, keys: Keys, prefix: str = ""
) -> AsyncIterator[ASGIApp]:
    """Opens the page of these team files and of the runs under `out`; on leaving, its runs are cancelled."""
    await load_factories()
    runs = Runs(out, Site(prefix, keys.csrf))
    pages = Pages(Teams(teams), runs, keys)
    app = Starlette(routes=pages.routes(), exception_handlers={HTTPException: _refuse})
    try:
        # The token is asked for by the page's own guard, which takes it from the address.
        yield RequestGuard(PageGuard(app, keys), replace(access, token=None), bodies=(FORM,))
    finally:
        await pages.drafts.close()
        await runs.close()


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return PlainTextResponse(str(error.detail), error.status_code)
