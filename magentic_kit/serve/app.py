"""One ASGI app that serves teams to others' clients: by MCP, A2A, AG-UI, and as an OpenAI-compatible API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Mount, Route

from magentic_kit.errors import ConfigError
from magentic_kit.factory import TeamFactory
from magentic_kit.serve.guard import Access, RequestGuard
from magentic_kit.serve.mcp import McpEndpoint, team_server
from magentic_kit.serve.openai_api import openai_routes
from magentic_kit.serve.page.app import create_page
from magentic_kit.serve.page.registry import Runs, Watch
from magentic_kit.serve.page.rendering import Site
from magentic_kit.serve.page.security import Keys
from magentic_kit.serve.teams import ServedTeams, ServerOptions

THIS_MACHINE = Access.of("127.0.0.1")
"""Answers requests of this machine that no page of another origin sent."""
PAGE = "/page"
"""Where the live page is."""


def create_app(
    factories: Iterable[TeamFactory],
    options: ServerOptions | None = None,
    *,
    access: Access | None = THIS_MACHINE,
    page: Keys | None = None,
    mounted: str = "",
) -> Starlette:
    """Makes an app to serve, or to mount into one of yours.

    It has `/mcp`, `/v1/models`, `/v1/chat/completions`, and for each team `/a2a/TEAM` and `/ag-ui/TEAM` if
    `magentic-kit[a2a]` and `magentic-kit[ag-ui]` are installed. Runs go on within its lifespan, as long as the
    factories are open: an app that mounts it enters `router.lifespan_context(app)`. `access` says who may send
    requests; None leaves that to the app around it. With the keys of a `page`, the operator's live page of all runs
    is at `/page/?token=…`; then the app knows where it is `mounted`, such as "/teams". Raises `ConfigError`.
    """
    return app_of(ServedTeams(factories, options or ServerOptions()), access, page, mounted=mounted)


def app_of(teams: ServedTeams, access: Access | None, page: Keys | None = None, *, mounted: str = "") -> Starlette:
    """Makes the app of teams that are served, whose runs end with its lifespan. Raises `ConfigError`."""
    endpoint = McpEndpoint(team_server(teams))
    routes: list[BaseRoute] = [Route("/mcp", endpoint), *openai_routes(teams)]
    if _has("a2a"):
        from magentic_kit.serve.a2a_routes import a2a_routes

        routes += a2a_routes(teams, has_token=access is not None and access.token is not None)
    if _has("ag_ui"):
        from magentic_kit.serve.ag_ui import ag_ui_routes

        routes += ag_ui_routes(teams)

    middleware = []
    if access is not None:
        middleware.append(Middleware(RequestGuard, access))
    served = [Mount("", routes=routes, middleware=middleware)]
    pages = []
    if page is not None:
        pages.append(_live_page(teams, access, page, mounted + PAGE))
        served.insert(0, Mount(PAGE, pages[0]))

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(endpoint.run())
            for one in pages:
                await stack.enter_async_context(one.router.lifespan_context(one))
            stack.push_async_callback(teams.close)
            yield

    return Starlette(routes=served, lifespan=lifespan)


def _live_page(teams: ServedTeams, access: Access | None, keys: Keys, prefix: str) -> Starlette:
    """Makes the page of the teams that have a file; the runs of clients are shown on it as they go on."""
    if teams.options.out is None:
        raise ConfigError.one("the live page shows run directories: it needs a folder for them", file="out")
    runs = Runs(Path(teams.options.out), Site(prefix, keys.csrf))
    teams.watch = lambda: Watch(runs)
    files = [factory.blueprint.team.path for factory in teams.by_name.values()]
    return create_page([file for file in files if file is not None], runs, access=access, keys=keys)


def addresses(teams: ServedTeams, url: str) -> str:
    """Says where clients find what, a line for each protocol and team."""
    lines = [f"serving on {url}", f"  MCP     {url}/mcp", f"  OpenAI  {url}/v1  models: {', '.join(teams.by_name)}"]
    for package, path, protocol in (("a2a", "a2a", "A2A"), ("ag_ui", "ag-ui", "AG-UI")):
        if _has(package):
            lines += [f"  {protocol:6}  {url}/{path}/{name}" for name in teams.by_name]
        else:
            lines.append(f"  {protocol:6}  not installed: pip install 'magentic-kit[{path}]'")
    return "\n".join(lines)


def _has(package: str) -> bool:
    return find_spec(package) is not None
