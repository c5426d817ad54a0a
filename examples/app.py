"""A web app that runs a team per request: events as server-sent events, and a route to cancel.

POST   /runs               {"task": "…", "inputs": {…}}, as application/json  ->  {"run_id": "…"}
GET    /runs/{id}/events   the events as they come, for one reader; who leaves cancels the run
DELETE /runs/{id}          cancels the run

It is for this machine: pages of other origins are refused. `Access.of` takes a token and other hosts, too.
"""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn
from sse_starlette.sse import EventSourceResponse
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from magentic_kit import ConfigError, Run, TeamFactory
from magentic_kit.events import to_dict
from magentic_kit.serve.guard import Access, RequestGuard

TEAM = os.environ.get("TEAM", Path(__file__).parent.parent / "configs" / "sales_analysis.yaml")
KEYS = {"task": str, "inputs": dict}
runs: dict[str, Run] = {}


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    async with TeamFactory.from_yaml(TEAM) as app.state.factory:
        yield
        for run in runs.values():
            run.cancel()
            await run.result()


async def start(request: Request) -> Response:
    asked = await body(request)
    try:
        run = request.app.state.factory.start(asked.get("task"), inputs=asked.get("inputs", {}))
    except ConfigError as error:
        raise HTTPException(422, str(error)) from error
    runs[run.run_id] = run
    return JSONResponse({"run_id": run.run_id}, 201)


async def body(request: Request) -> dict[str, Any]:
    try:
        asked = await request.json()
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "this is not JSON") from error
    if not isinstance(asked, dict):
        raise HTTPException(422, "send an object with 'task' and 'inputs'")
    for key, value in asked.items():
        if key not in KEYS:
            raise HTTPException(422, f"there is no key {key!r}; there is {', '.join(KEYS)}")
        if not isinstance(value, KEYS[key]):
            raise HTTPException(422, f"{key!r} cannot be {value!r}")
    return asked


async def events(request: Request) -> Response:
    run = find(request)

    async def stream() -> AsyncIterator[dict[str, Any]]:
        try:
            async for event in run.events():
                yield {"event": event.type, "id": str(event.seq), "data": json.dumps(to_dict(event))}
        finally:
            run.cancel()
            del runs[run.run_id]

    return EventSourceResponse(stream())


async def cancel(request: Request) -> Response:
    find(request).cancel()
    return Response(status_code=202)


def find(request: Request) -> Run:
    if run := runs.get(request.path_params["id"]):
        return run
    raise HTTPException(404, "there is no such run")


app = Starlette(
    routes=[
        Route("/runs", start, methods=["POST"]),
        Route("/runs/{id}/events", events),
        Route("/runs/{id}", cancel, methods=["DELETE"]),
    ],
    middleware=[Middleware(RequestGuard, Access.of("127.0.0.1"))],
    lifespan=lifespan,
)

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")))
