"""The live page as an ASGI app, behind its guards."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from magentic_kit.serve.guard import Access, RequestGuard
from magentic_kit.serve.page.decisions import Decisions
from magentic_kit.serve.page.pages import Pages
from magentic_kit.serve.page.registry import Runs, load_factories
from magentic_kit.serve.page.security import FORM, Keys, PageGuard
from magentic_kit.serve.page.teams import Teams
from magentic_kit.serve.page.uploads import FILES_FORM


def create_page(teams: Sequence[Path], runs: Runs, *, access: Access | None, keys: Keys) -> Starlette:
    """Makes the page of these team files and runs; those that it has begun are cancelled with its lifespan.

    `access` says who may send requests, None leaves that to the app around it; the page asks for its keys anyway.
    """
    pages = Pages(Teams(teams), runs)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await load_factories()
        try:
            yield
        finally:
            await pages.drafts.close()
            await runs.close()

    routes = _routes(pages, Decisions(pages, keys))
    if runs.queue is not None:
        from magentic_kit.serve.page.queue_pages import QueuePages

        routes += QueuePages(runs.queue, pages, keys).routes()
    middleware = [Middleware(PageGuard, keys)]
    if access is not None:
        # The token is asked for by the page's own guard, which takes it from the address.
        whoever = replace(access, token=None)
        middleware.insert(0, Middleware(RequestGuard, whoever, bodies=(FORM, FILES_FORM)))
    return Starlette(
        routes=routes,
        exception_handlers={HTTPException: _refuse},
        middleware=middleware,
        lifespan=lifespan,
    )


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return PlainTextResponse(str(error.detail), error.status_code)


def _routes(pages: Pages, decisions: Decisions) -> list[Route]:
    return [
        Route("/", pages.home),
        Route("/events", pages.home_events),
        Route("/favicon.ico", _no_icon),
        Route("/compare", pages.compare),
        Route("/teams/{key}", pages.team),
        Route("/teams/{key}/run", decisions.start, methods=["POST"]),
        Route("/plans/{key}", pages.draft),
        Route("/plans/{key}", decisions.carry_out, methods=["POST"]),
        Route("/runs/{name}", pages.run),
        Route("/runs/{name}/events", pages.run_events),
        Route("/runs/{name}/questions/{number:int}", decisions.answer, methods=["POST"]),
        Route("/runs/{name}/stop", decisions.stop, methods=["POST"]),
        Route("/runs/{name}/resume", decisions.resume, methods=["POST"]),
        Route("/runs/{name}/follow", decisions.follow, methods=["POST"]),
        Route("/runs/{name}/again", pages.again),
        Route("/runs/{name}/again", decisions.run_again, methods=["POST"]),
    ]


async def _no_icon(request: Request) -> Response:
    return Response(status_code=204)
