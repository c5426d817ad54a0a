"""A web app of one's own with a team in it: by MCP, A2A, AG-UI, and as an OpenAI-compatible API, below `/teams`.

It is for this machine: requests of pages elsewhere are refused. `access=None` leaves that to your app.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from magentic_kit import TeamFactory
from magentic_kit.serve.app import create_app

TEAM = os.environ.get("TEAM", Path(__file__).parent.parent / "configs" / "sales_analysis.yaml")


async def home(request: Request) -> Response:
    return PlainTextResponse("Ask the team at /teams/v1, as you would ask OpenAI.")


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    async with factory, teams.router.lifespan_context(teams):  # all runs end, then the connections to the models
        yield


factory = TeamFactory.from_yaml(TEAM)
teams = create_app([factory])
app = Starlette(routes=[Route("/", home), Mount("/teams", teams)], lifespan=lifespan)

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")))
