"""A web app of one's own with a team in it, below `/teams`: by every protocol, and on a live page.

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
from magentic_kit.serve.page.security import Keys

TEAM = os.environ.get("TEAM", Path(__file__).parent.parent / "configs" / "sales_analysis.yaml")


async def home(request: Request) -> Response:
    return PlainTextResponse("Ask the team at /teams/v1, as you would ask OpenAI.")


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    async with factory, teams.router.lifespan_context(teams):  # all runs end, then the connections to the models
        yield


factory, keys = TeamFactory.from_yaml(TEAM), Keys()
teams = create_app([factory], page=keys, mounted="/teams")
app = Starlette(routes=[Route("/", home), Mount("/teams", teams)], lifespan=lifespan)

if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8000"))
    print(f"the live page: http://127.0.0.1:{port}/teams/page/?token={keys.token}")
    uvicorn.run(app, port=port)
