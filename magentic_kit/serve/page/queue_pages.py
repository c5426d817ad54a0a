"""Answers to requests about queued runs: each is followed, answered, cancelled, or let go on again."""

from __future__ import annotations

from collections.abc import Callable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from magentic_kit.cluster.database import Database
from magentic_kit.errors import ConfigError, KitError
from magentic_kit.serve.page.forms import unknown_calls_of
from magentic_kit.serve.page.pages import Pages, events_of, problems_of
from magentic_kit.serve.page.questions import no_longer_asked
from magentic_kit.serve.page.queued import QueuedFeed, QueuedRuns
from magentic_kit.serve.page.security import Keys, read_form


class QueuePages:
    """Answers to requests about queued runs."""

    def __init__(self, queue: QueuedRuns, pages: Pages, keys: Keys) -> None:
        self._queue, self._pages, self._keys = queue, pages, keys

    def routes(self) -> list[Route]:
        """Where they are asked for."""
        return [
            Route("/queued/{id}", self._show),
            Route("/queued/{id}/events", self._events),
            Route("/queued/{id}/questions/{number:int}", self._answer, methods=["POST"]),
            Route("/queued/{id}/stop", self._stop, methods=["POST"]),
            Route("/queued/{id}/retry", self._retry, methods=["POST"]),
        ]

    async def _show(self, request: Request) -> Response:
        return await self._pages.show(await self._find(request))

    async def _events(self, request: Request) -> Response:
        return events_of(await self._find(request), request, tick=1.0)

    async def _answer(self, request: Request) -> Response:
        form, feed = await read_form(request, self._keys), await self._find(request)
        asked = {question.number: question.asked for question in feed.waiting}.get(request.path_params["number"])
        if asked is None:
            return self._pages.message("This was not taken", problems=problems_of(no_longer_asked()), status=409)
        calls = unknown_calls_of(form)
        decision, words = form.get("decision", ""), form.get("words", "")
        return await self._change(
            feed, lambda db: db.answer(feed.run_dir.name, decision, words, calls=calls, question=asked.id)
        )

    async def _stop(self, request: Request) -> Response:
        await read_form(request, self._keys)
        feed = await self._find(request)
        return await self._change(feed, lambda database: database.cancel(feed.run_dir.name))

    async def _retry(self, request: Request) -> Response:
        await read_form(request, self._keys)
        feed = await self._find(request)
        return await self._change(feed, lambda database: database.answer(feed.run_dir.name, "retry"))

    async def _find(self, request: Request) -> QueuedFeed:
        try:
            return await self._queue.find(request.path_params["id"])
        except ConfigError as error:
            raise HTTPException(404, str(error)) from error

    async def _change(self, feed: QueuedFeed, change: Callable[[Database], object]) -> Response:
        try:
            await self._queue.ask(change)
        except KitError as error:
            return self._pages.message("This was not taken", problems=problems_of(error), status=409)
        feed.changed(at_once=True)
        return self._pages.go(f"/queued/{feed.run_dir.name}")
