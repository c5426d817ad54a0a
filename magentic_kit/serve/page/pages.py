"""The pages that are looked at: teams, runs as they go on, two runs side by side."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from sse_starlette.sse import EventSourceResponse
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from magentic_kit.errors import ConfigError, KitError, Problem
from magentic_kit.runlog.listing import effective_events
from magentic_kit.runlog.record import RunRecord
from magentic_kit.serve.page.drafts import Drafts
from magentic_kit.serve.page.feed import Feed
from magentic_kit.serve.page.registry import Runs, load_factories
from magentic_kit.serve.page.rendering import policy_of, render_page, runs_part
from magentic_kit.serve.page.run_feed import RunFeed
from magentic_kit.serve.page.teams import TeamCard, Teams
from magentic_kit.team.loading import Team
from magentic_kit.views.comparison import figures
from magentic_kit.views.html import TextLimits

if TYPE_CHECKING:
    from magentic_kit.cluster.entry import Entry

_T = TypeVar("_T")
Problems: TypeAlias = tuple[Problem, ...]
SEND_TIMEOUT = 30.0
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
    entries: list[Entry] = []
    problem = ""
    asked = runs.waiting
    if runs.queue is not None:
        entries, problem = await runs.queue.read_rows(query)
        asked += sum(entry.state == "waiting" for entry in entries)
    waiting = f"{asked} waiting for you" if asked else "Teams at work"
    return {
        "queued": entries,
        "problem": problem,
        "rows": rows,
        "more": more,
        "query": query,
        "waiting": waiting,
        "site": runs.site,
    }


class Pages:
    """Answers to GET, and what answers to forms need of them."""

    def __init__(self, teams: Teams, runs: Runs) -> None:
        self.teams, self.runs, self.drafts = teams, runs, Drafts()

    async def home(self, request: Request) -> Response:
        """Shows teams and runs."""
        query = request.query_params.get("q", "")
        context = await list_context(self.runs, query)
        return self.page("home.html.j2", teams=self.teams.cards(), feed=HomeFeed(self.runs, query), **context)

    async def home_events(self, request: Request) -> Response:
        """Sends the list of runs whenever it changes."""
        feed = HomeFeed(self.runs, request.query_params.get("q", ""))
        return events_of(feed, request, tick=2.0)

    async def compare(self, request: Request) -> Response:
        """Shows two runs side by side."""
        names = request.query_params.getlist("run")
        if len(names) != 2:
            return self.message("Mark two runs", hint="Two runs are compared, no more and no less.", status=422)
        run_dirs = [self.find_feed(name).run_dir for name in names]
        try:
            before, after = [await asyncio.to_thread(_record, run_dir) for run_dir in run_dirs]
        except KitError as error:
            return self.message("These runs cannot be compared", problems=problems_of(error), status=422)
        of_before, of_after = figures(before), figures(after)
        return self.page(
            "compare.html.j2",
            names=names,
            before=before,
            after=after,
            figures=[(name, value, of_after[name]) for name, value in of_before.items() if name != "run"],
            pairs=list(itertools.zip_longest(before.turns, after.turns)),
        )

    async def team(self, request: Request) -> Response:
        """Shows a team, and the form of a task for it."""
        card = self.find_card(request)
        return self.team_page(card, {}, card.problems, 200)

    async def draft(self, request: Request) -> Response:
        """Shows a plan, or that it is being made."""
        draft = found(self.drafts.find, request.path_params["key"])
        return self.page("draft.html.j2", draft=draft, problems=draft.problems, form={})

    async def run(self, request: Request) -> Response:
        """Shows a run as it is now."""
        return await self.show(self.find_feed(request.path_params["name"]))

    async def run_events(self, request: Request) -> Response:
        """Sends the parts of a run's page as they change."""
        return events_of(self.find_feed(request.path_params["name"]), request, tick=1.0)

    async def again(self, request: Request) -> Response:
        """Shows the form of a run that takes over what it can from this one."""
        return await self.again_page(self.find_feed(request.path_params["name"]), {}, (), 200)

    # -- answers

    async def show(self, feed: RunFeed) -> Response:
        """Returns the page of a run as it is now."""
        await feed.refresh()
        return HTMLResponse(feed.page(), headers={"Content-Security-Policy": policy_of("run.html.j2")})

    def page(self, template: str, status: int = 200, **context: Any) -> Response:
        """Returns the page of this template."""
        shared: dict[str, Any] = {"site": self.runs.site, "is_home": False}
        shared.update(context)
        html = render_page(template, TextLimits(), **shared)
        return HTMLResponse(html, status, headers={"Content-Security-Policy": policy_of(template)})

    def message(self, title: str, *, hint: str = "", problems: Problems = (), status: int = 200) -> Response:
        """Returns a page with a few words."""
        return self.page("message.html.j2", status, title=title, hint=hint, problems=problems)

    def team_page(self, card: TeamCard, form: Mapping[str, str], problems: Problems, status: int) -> Response:
        """Returns the page of a team, with what was filled in and what was wrong with it."""
        models = _models(card)
        return self.page("team.html.j2", status, team=card, form=form, problems=problems, models=models)

    async def again_page(self, feed: RunFeed, form: Mapping[str, str], problems: Problems, status: int) -> Response:
        """Returns the form of a run that takes over what it can, with what was filled in."""
        config, record = None, feed.record
        try:
            record = RunRecord.of(effective_events(feed.run_dir))
            async with (await load_factories()).from_run(feed.run_dir) as factory:
                config = factory.blueprint.config
        except KitError as error:
            problems = problems or problems_of(error)
        context = {"record": record, "config": config, "name": feed.run_dir.name}
        return self.page("again.html.j2", status, form=form, problems=problems, **context)

    def find_feed(self, name: str) -> RunFeed:
        """Returns the page of a run. Raises `HTTPException`."""
        return found(self.runs.feed, name)

    def find_card(self, request: Request) -> TeamCard:
        """Returns the team of a request. Raises `HTTPException`."""
        return found(self.teams.card, request.path_params["key"])

    def go_to(self, feed: RunFeed) -> Response:
        """Sends the browser to the page of a run."""
        return self.go(f"/runs/{feed.run_dir.name}")

    def go(self, path: str) -> Response:
        """Sends the browser to another page."""
        return RedirectResponse(self.runs.site.prefix + path, 303)


def _record(run_dir: Path) -> RunRecord:
    return RunRecord.of(effective_events(run_dir))


def _models(card: TeamCard) -> dict[str, str]:
    """Returns who answers for each participant of a team."""
    if card.team is None:
        return {}
    models = {"manager": _model(card.team, card.team.manager_service)}
    for agent in card.team.config.agents:
        models[agent.name] = agent.model.id or _model(card.team, card.team.service_of(agent))
        if agent.type == "human":
            models[agent.name] = "a person"
        elif agent.team is not None:
            models[agent.name] = "a team"
    return models


def _model(team: Team, service: str) -> str:
    config = team.config.services.get(service)
    return " ".join(filter(None, (getattr(config, "provider", ""), getattr(config, "model", ""))))


def found(find: Callable[[str], _T], key: str) -> _T:
    """Returns what has this name. Raises `HTTPException` if nothing has."""
    try:
        return find(key)
    except KeyError:
        raise HTTPException(404, "there is nothing of this name") from None


def problems_of(error: KitError) -> Problems:
    """The problems of an error, as a page lists them."""
    if isinstance(error, ConfigError):
        return error.problems
    return ConfigError.one(str(error), file="run").problems


def events_of(feed: Feed, request: Request, *, tick: float) -> Response:
    """Sends the parts of a page as they change, which is looked for every `tick` seconds."""
    place = request.headers.get("last-event-id") or request.query_params.get("after", "")
    return EventSourceResponse(feed.follow(place, tick=tick), ping=15, send_timeout=SEND_TIMEOUT)
